-- klaviyo.job_throughput_hourly: how much work came in and got done in each hour of UTC.
-- Grain:  one row per (account, job_kind, hour_utc), without gaps from the first hour to the last.
-- Reads:  klaviyo.jobs.
-- Units:  jobs and operations; all of them add up over kinds, accounts and hours:
--         select hour_utc, sum(operations_completed) from klaviyo.job_throughput_hourly group by hour_utc
-- Left out: a finished job whose completed_at is not known, as it has no hour to stand in.
create or replace view klaviyo.job_throughput_hourly as
with

jobs as (
    select * from klaviyo.jobs
),

events as (
    select
        account,
        job_kind,
        date_trunc('hour', created_at_utc) as hour_utc,
        1 as jobs_created,
        0 as jobs_finished,
        0 as operations_completed,
        0 as operations_failed
    from jobs
    where created_at_utc is not null

    union all

    select
        account,
        job_kind,
        date_trunc('hour', completed_at_utc) as hour_utc,
        0 as jobs_created,
        1 as jobs_finished,
        coalesce(completed_count, 0) as operations_completed,
        coalesce(failed_count, 0) as operations_failed
    from jobs
    where is_finished and completed_at_utc is not null
),

busy_hours as (
    select
        account,
        job_kind,
        hour_utc,
        cast(sum(jobs_created) as bigint) as jobs_created,
        cast(sum(jobs_finished) as bigint) as jobs_finished,
        cast(sum(operations_completed) as bigint) as operations_completed,
        cast(sum(operations_failed) as bigint) as operations_failed
    from events
    group by account, job_kind, hour_utc
),

neighbours as (
    select
        account,
        job_kind,
        hour_utc,
        lead(hour_utc) over (partition by account, job_kind order by hour_utc) as next_hour_utc
    from busy_hours
),

quiet_hours as (
    select
        account,
        job_kind,
        unnest(
            generate_series(
                hour_utc + interval '1 hour', next_hour_utc - interval '1 hour', interval '1 hour'
            )
        ) as hour_utc,
        0 as jobs_created,
        0 as jobs_finished,
        0 as operations_completed,
        0 as operations_failed
    from neighbours
    -- A gap of more than ten years is a wrong date, not quiet: one such job would fill the view with zeros.
    where next_hour_utc <= hour_utc + interval '10 years'
),

hours as (
    select * from busy_hours
    union all
    select * from quiet_hours
)

select * from hours;

comment on view klaviyo.job_throughput_hourly is
'One row per account, job kind and hour (UTC), empty hours included. Measures may be summed up.';
comment on column klaviyo.job_throughput_hourly.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_throughput_hourly.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_throughput_hourly.hour_utc is
'Start of the hour, UTC.';
comment on column klaviyo.job_throughput_hourly.jobs_created is
'Jobs created in the hour.';
comment on column klaviyo.job_throughput_hourly.jobs_finished is
'Jobs that ended in the hour, complete or cancelled.';
comment on column klaviyo.job_throughput_hourly.operations_completed is
'Operations that succeeded in the jobs that ended in the hour.';
comment on column klaviyo.job_throughput_hourly.operations_failed is
'Operations that failed in the jobs that ended in the hour.';
