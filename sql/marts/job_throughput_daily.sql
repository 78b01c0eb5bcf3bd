-- klaviyo.job_throughput_daily: how much work came in and got done on each day of the reporting time zone.
-- Grain:  one row per (account, job_kind, day), without gaps from the first day to the last.
-- Reads:  klaviyo.jobs.
-- Units:  jobs and operations; all of them add up over kinds, accounts and days:
--         select day, sum(operations_completed) from klaviyo.job_throughput_daily group by day
-- Left out: a finished job whose completed_at is not known, as it has no day to stand in.
create or replace view klaviyo.job_throughput_daily as
with

jobs as (
    select * from klaviyo.jobs
),

events as (
    select
        account,
        job_kind,
        created_on as day,
        1 as jobs_created,
        0 as jobs_finished,
        0 as operations_completed,
        0 as operations_failed
    from jobs
    where created_on is not null

    union all

    select
        account,
        job_kind,
        completed_on as day,
        0 as jobs_created,
        1 as jobs_finished,
        coalesce(completed_count, 0) as operations_completed,
        coalesce(failed_count, 0) as operations_failed
    from jobs
    where is_finished and completed_on is not null
),

busy_days as (
    select
        account,
        job_kind,
        day,
        cast(sum(jobs_created) as bigint) as jobs_created,
        cast(sum(jobs_finished) as bigint) as jobs_finished,
        cast(sum(operations_completed) as bigint) as operations_completed,
        cast(sum(operations_failed) as bigint) as operations_failed
    from events
    group by account, job_kind, day
),

neighbours as (
    select
        account,
        job_kind,
        day,
        lead(day) over (partition by account, job_kind order by day) as next_day
    from busy_days
),

quiet_days as (
    select
        account,
        job_kind,
        cast(unnest(
            generate_series(day + interval '1 day', next_day - interval '1 day', interval '1 day')
        ) as date) as day,
        0 as jobs_created,
        0 as jobs_finished,
        0 as operations_completed,
        0 as operations_failed
    from neighbours
    -- A gap of more than ten years is a wrong date, not quiet: one such job would fill the view with zeros.
    where next_day <= day + interval '10 years'
),

days as (
    select * from busy_days
    union all
    select * from quiet_days
)

select * from days;

comment on view klaviyo.job_throughput_daily is
'One row per account, job kind and day (reporting time zone), empty days included. Measures may be summed up.';
comment on column klaviyo.job_throughput_daily.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_throughput_daily.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_throughput_daily.day is
'Day in the reporting time zone.';
comment on column klaviyo.job_throughput_daily.jobs_created is
'Jobs created on the day.';
comment on column klaviyo.job_throughput_daily.jobs_finished is
'Jobs that ended on the day, complete or cancelled.';
comment on column klaviyo.job_throughput_daily.operations_completed is
'Operations that succeeded in the jobs that ended on the day.';
comment on column klaviyo.job_throughput_daily.operations_failed is
'Operations that failed in the jobs that ended on the day.';
