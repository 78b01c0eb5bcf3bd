-- klaviyo.job_throughput_daily: how much work came in and got done on each day of the reporting time zone.
-- Grain:  one row per (account, job_kind, day): days on which something happened, and known days on which nothing did.
-- Reads:  klaviyo.jobs, klaviyo.known_days, klaviyo.job_kinds.
-- Units:  jobs and operations; all of them add up over kinds, accounts and days:
--         select day, sum(operations_completed) from klaviyo.job_throughput_daily group by day
create or replace view klaviyo.job_throughput_daily as
with

events as (
    select
        account,
        job_kind,
        created_on as day,
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
        0 as jobs_created,
        0 as operations_created,
        case when is_finished then 1 else 0 end as jobs_finished,
        case when is_finished then 0 else 1 end as jobs_vanished,
        case when is_finished then operations_completed else 0 end as operations_completed,
        case when is_finished then operations_failed else 0 end as operations_failed,
        case when is_finished then operations_skipped else 0 end as operations_skipped
    from klaviyo.jobs
    where ended_on is not null

    union all

    select
        account,
        job_kind,
        day,
        0 as jobs_created,
        0 as operations_created,
        0 as jobs_finished,
        0 as jobs_vanished,
        0 as operations_completed,
        0 as operations_failed,
        0 as operations_skipped
    from klaviyo.known_days
),

days as (
    select
        account,
        job_kind,
        day,
        cast(sum(jobs_created) as bigint) as jobs_created,
        cast(sum(operations_created) as bigint) as operations_created,
        cast(sum(jobs_finished) as bigint) as jobs_finished,
        cast(sum(jobs_vanished) as bigint) as jobs_vanished,
        cast(sum(operations_completed) as bigint) as operations_completed,
        cast(sum(operations_failed) as bigint) as operations_failed,
        cast(sum(operations_skipped) as bigint) as operations_skipped
    from events
    group by account, job_kind, day
),

joined as (
    select
        days.account,
        days.job_kind,
        kinds.entity,
        kinds.operation,
        days.day,
        days.jobs_created,
        days.operations_created,
        days.jobs_finished,
        days.jobs_vanished,
        days.operations_completed,
        days.operations_failed,
        days.operations_skipped
    from days
    left join klaviyo.job_kinds as kinds on days.job_kind = kinds.job_kind
)

select * from joined;

comment on view klaviyo.job_throughput_daily is
'One row per account, job kind and day (reporting time zone), empty days included. Measures may be summed up.';
comment on column klaviyo.job_throughput_daily.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_throughput_daily.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_throughput_daily.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.job_throughput_daily.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.job_throughput_daily.day is
'Day in the reporting time zone.';
comment on column klaviyo.job_throughput_daily.jobs_created is
'Jobs created on the day.';
comment on column klaviyo.job_throughput_daily.operations_created is
'Operations of the jobs created on the day.';
comment on column klaviyo.job_throughput_daily.jobs_finished is
'Jobs that ended on the day, complete or cancelled.';
comment on column klaviyo.job_throughput_daily.jobs_vanished is
'Jobs that were gone on the day, or past their expiry, before they had finished.';
comment on column klaviyo.job_throughput_daily.operations_completed is
'Operations that succeeded in the jobs that ended on the day.';
comment on column klaviyo.job_throughput_daily.operations_failed is
'Operations that failed in the jobs that ended on the day.';
comment on column klaviyo.job_throughput_daily.operations_skipped is
'Operations that suppressions passed over in the jobs that ended on the day; neither completed nor failed.';
