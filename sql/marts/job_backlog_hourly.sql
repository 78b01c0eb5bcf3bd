-- klaviyo.job_backlog_hourly: how many jobs were in progress in each hour.
-- Grain:  one row per (account, job_kind, hour_utc): hours in which a job began or ended, and known hours.
-- Reads:  klaviyo.jobs, klaviyo.known_days, klaviyo.known_hours, klaviyo.reporting_offsets, klaviyo.reporting_settings,
--         klaviyo.job_kinds.
-- Units:  jobs. Peaks do not add up: kinds peak at different moments, so the account's peak stands in a column of its
--         own, the same for all kinds.
-- Rule:   a job is in progress from its creation to its end (ended_at_utc in klaviyo.jobs); one that has not ended,
--         until the day of the last complete listing is over.
create or replace view klaviyo.job_backlog_hourly as
with

last_days as (
    select
        account,
        job_kind,
        max(day) as last_day
    from klaviyo.known_days
    group by account, job_kind
),

jobs as (
    select
        jobs.account,
        jobs.job_kind,
        jobs.created_on,
        jobs.created_at_utc,
        jobs.ended_on,
        jobs.ended_at_utc,
        coalesce(jobs.ended_on, last_days.last_day) as until_day
    from klaviyo.jobs as jobs
    left join last_days on jobs.account = last_days.account and jobs.job_kind = last_days.job_kind
    where
        jobs.created_on is not null
        and (jobs.outcome = 'in_progress' or jobs.ended_at_utc > jobs.created_at_utc)
),

-- The days after that of its creation on which a job was in progress when they began: of nearly all jobs, none.
later_days as (
    select
        account,
        job_kind,
        cast(unnest(generate_series(
            cast(created_on as timestamp) + interval '1 day', cast(until_day as timestamp), interval '1 day'
        )) as date) as day,
        ended_on,
        ended_at_utc
    from jobs
    where until_day > created_on
),

moments as (
    select
        account,
        job_kind,
        created_on as day,
        created_at_utc as at_utc,
        1 as change
    from jobs
    union all
    select
        account,
        job_kind,
        created_on as day,
        ended_at_utc as at_utc,
        -1 as change
    from jobs
    where ended_on = created_on
    union all
    select
        account,
        job_kind,
        day,
        ended_at_utc as at_utc,
        -1 as change
    from later_days
    where ended_on = day
),

events as (
    select
        moments.account,
        moments.job_kind,
        moments.day,
        date_trunc('hour', moments.at_utc + offsets.offset_seconds * interval '1 second')
        - offsets.offset_seconds * interval '1 second' as hour_utc,
        moments.at_utc,
        moments.change
    from moments
    inner join klaviyo.reporting_offsets as offsets
        on moments.at_utc >= offsets.from_utc and moments.at_utc < offsets.until_utc
    union all
    -- What was in progress when the day began stands before its first hour.
    select
        account,
        job_kind,
        day,
        null as hour_utc,
        null as at_utc,
        cast(count(*) as integer) as change
    from later_days
    group by account, job_kind, day
),

-- Of two moments that are one, an end comes before a beginning: the two jobs were never in progress together.
running as (
    select
        account,
        job_kind,
        day,
        hour_utc,
        change,
        sum(change) over (
            partition by account, job_kind, day
            order by at_utc nulls first, change
            rows between unbounded preceding and current row
        ) as in_progress,
        sum(change) over (
            partition by account, day
            order by at_utc nulls first, change
            rows between unbounded preceding and current row
        ) as account_in_progress
    from events
),

hours as (
    select
        account,
        job_kind,
        day,
        hour_utc,
        sum(change) as change,
        max(in_progress) as most_in_progress,
        max(account_in_progress) as account_most_in_progress
    from (
        select * from running
        union all
        select
            account,
            job_kind,
            day,
            hour_utc,
            0 as change,
            null as in_progress,
            null as account_in_progress
        from klaviyo.known_hours
    ) as all_hours
    group by account, job_kind, day, hour_utc
),

started as (
    select
        account,
        job_kind,
        day,
        hour_utc,
        coalesce(sum(change) over (
            partition by account, job_kind, day
            order by hour_utc nulls first
            rows between unbounded preceding and 1 preceding
        ), 0) as jobs_in_progress,
        most_in_progress
    from hours
),

account_hours as (
    select
        account,
        day,
        hour_utc,
        sum(change) as change,
        max(account_most_in_progress) as most_in_progress
    from hours
    group by account, day, hour_utc
),

account_started as (
    select
        account,
        day,
        hour_utc,
        greatest(coalesce(sum(change) over (
            partition by account, day
            order by hour_utc nulls first
            rows between unbounded preceding and 1 preceding
        ), 0), most_in_progress) as most_in_progress
    from account_hours
),

joined as (
    select
        started.account,
        started.job_kind,
        kinds.entity,
        kinds.operation,
        started.hour_utc,
        started.day,
        cast(started.jobs_in_progress as bigint) as jobs_in_progress,
        cast(greatest(started.jobs_in_progress, started.most_in_progress) as bigint) as most_in_progress,
        cast(account_started.most_in_progress as bigint) as account_most_in_progress,
        thresholds.jobs_in_progress_limit as limit_count
    from started
    inner join account_started
        on
            started.account = account_started.account
            and started.day = account_started.day
            and started.hour_utc = account_started.hour_utc
    cross join klaviyo.reporting_settings as thresholds
    left join klaviyo.job_kinds as kinds on started.job_kind = kinds.job_kind
)

select * from joined;

comment on view klaviyo.job_backlog_hourly is
'One row per account, job kind and hour, empty hours included: how many jobs were in progress.';
comment on column klaviyo.job_backlog_hourly.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_backlog_hourly.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_backlog_hourly.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.job_backlog_hourly.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.job_backlog_hourly.hour_utc is
'First moment of the hour, UTC; not a full hour where the clocks of the reporting time zone are not.';
comment on column klaviyo.job_backlog_hourly.day is
'Its day in the reporting time zone.';
comment on column klaviyo.job_backlog_hourly.jobs_in_progress is
'Jobs in progress at the first moment of the hour.';
comment on column klaviyo.job_backlog_hourly.most_in_progress is
'Jobs in progress at one time in the hour, at most.';
comment on column klaviyo.job_backlog_hourly.account_most_in_progress is
'Jobs of all kinds of the account in progress at one time in the hour, at most; the same in the rows of all kinds.';
comment on column klaviyo.job_backlog_hourly.limit_count is
'How many jobs Klaviyo lets be in progress at one time.';
