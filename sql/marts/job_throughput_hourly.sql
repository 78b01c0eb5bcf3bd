-- klaviyo.job_throughput_hourly: how much work came in and got done in each hour.
-- Grain:  one row per (account, job_kind, hour_utc): hours in which something happened, and known hours in which
--         nothing did.
-- Reads:  klaviyo.jobs, klaviyo.known_hours, klaviyo.reporting_offsets, klaviyo.job_kinds.
-- Units:  jobs and operations; all of them add up over kinds, accounts and hours:
--         select hour_utc, sum(operations_completed) from klaviyo.job_throughput_hourly group by hour_utc
-- Hint:   a filter on day reaches the table of jobs; one on hour_utc alone does not.
create or replace view klaviyo.job_throughput_hourly as
with

moments as (
    select
        account,
        job_kind,
        created_on as day,
        created_at_utc as at_utc,
        1 as jobs_created,
        coalesce(total_count, 0) as operations_created,
        0 as jobs_finished,
        0 as jobs_vanished,
        0 as operations_completed,
        0 as operations_failed,
        0 as operations_skipped
    from klaviyo.jobs
    where created_on is not null

    union all

    select
        account,
        job_kind,
        ended_on as day,
        ended_at_utc as at_utc,
        0 as jobs_created,
        0 as operations_created,
        case when is_finished then 1 else 0 end as jobs_finished,
        case when is_finished then 0 else 1 end as jobs_vanished,
        case when is_finished then operations_completed else 0 end as operations_completed,
        case when is_finished then operations_failed else 0 end as operations_failed,
        case when is_finished then operations_skipped else 0 end as operations_skipped
    from klaviyo.jobs
    where ended_on is not null
),

events as (
    select
        moments.account,
        moments.job_kind,
        date_trunc('hour', moments.at_utc + offsets.offset_seconds * interval '1 second')
        - offsets.offset_seconds * interval '1 second' as hour_utc,
        moments.day,
        cast(extract(
            hour from moments.at_utc + offsets.offset_seconds * interval '1 second'
        ) as integer) as hour,
        moments.jobs_created,
        moments.operations_created,
        moments.jobs_finished,
        moments.jobs_vanished,
        moments.operations_completed,
        moments.operations_failed,
        moments.operations_skipped
    from moments
    inner join klaviyo.reporting_offsets as offsets
        on moments.at_utc >= offsets.from_utc and moments.at_utc < offsets.until_utc

    union all

    select
        account,
        job_kind,
        hour_utc,
        day,
        hour,
        0 as jobs_created,
        0 as operations_created,
        0 as jobs_finished,
        0 as jobs_vanished,
        0 as operations_completed,
        0 as operations_failed,
        0 as operations_skipped
    from klaviyo.known_hours
),

hours as (
    select
        account,
        job_kind,
        hour_utc,
        day,
        hour,
        cast(sum(jobs_created) as bigint) as jobs_created,
        cast(sum(operations_created) as bigint) as operations_created,
        cast(sum(jobs_finished) as bigint) as jobs_finished,
        cast(sum(jobs_vanished) as bigint) as jobs_vanished,
        cast(sum(operations_completed) as bigint) as operations_completed,
        cast(sum(operations_failed) as bigint) as operations_failed,
        cast(sum(operations_skipped) as bigint) as operations_skipped
    from events
    group by account, job_kind, hour_utc, day, hour
),

joined as (
    select
        hours.account,
        hours.job_kind,
        kinds.entity,
        kinds.operation,
        hours.hour_utc,
        hours.day,
        hours.hour,
        hours.jobs_created,
        hours.operations_created,
        hours.jobs_finished,
        hours.jobs_vanished,
        hours.operations_completed,
        hours.operations_failed,
        hours.operations_skipped
    from hours
    left join klaviyo.job_kinds as kinds on hours.job_kind = kinds.job_kind
)

select * from joined;

comment on view klaviyo.job_throughput_hourly is
'One row per account, job kind and hour, empty hours included. Measures may be summed up.';
comment on column klaviyo.job_throughput_hourly.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_throughput_hourly.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_throughput_hourly.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.job_throughput_hourly.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.job_throughput_hourly.hour_utc is
'First moment of the hour, UTC; not a full hour where the clocks of the reporting time zone are not.';
comment on column klaviyo.job_throughput_hourly.day is
'Its day in the reporting time zone; the hours of a day add up to job_throughput_daily.';
comment on column klaviyo.job_throughput_hourly.hour is
'Its hour of that day, 0 to 23.';
comment on column klaviyo.job_throughput_hourly.jobs_created is
'Jobs created in the hour.';
comment on column klaviyo.job_throughput_hourly.operations_created is
'Operations of the jobs created in the hour.';
comment on column klaviyo.job_throughput_hourly.jobs_finished is
'Jobs that ended in the hour, complete or cancelled.';
comment on column klaviyo.job_throughput_hourly.jobs_vanished is
'Jobs that were gone in the hour, or past their expiry, before they had finished.';
comment on column klaviyo.job_throughput_hourly.operations_completed is
'Operations that succeeded in the jobs that ended in the hour.';
comment on column klaviyo.job_throughput_hourly.operations_failed is
'Operations that failed in the jobs that ended in the hour.';
comment on column klaviyo.job_throughput_hourly.operations_skipped is
'Operations that suppressions passed over in the jobs that ended in the hour; neither completed nor failed.';
