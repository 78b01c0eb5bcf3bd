-- klaviyo.job_failure_rates_daily: how much of the work that ended on each day failed.
-- Grain:  one row per (account, job_kind, day), without gaps from the first day to the last.
-- Reads:  klaviyo.jobs.
-- Units:  jobs and operations, which add up; failed_share (0 to 1) does not. Over several rows it is
--         sum(operations_failed) / nullif(sum(operations_total), 0)
-- Nulls:  failed_share of a day without operations.
-- Left out: cancelled jobs from all but jobs_cancelled; a finished job whose completed_at is not known;
--         the operations of a job whose total is null, zero or negative, as they are a share of nothing.
create or replace view klaviyo.job_failure_rates_daily as
with

jobs as (
    select * from klaviyo.jobs
),

ended as (
    select
        account,
        job_kind,
        completed_on as day,
        outcome,
        outcome <> 'cancelled' as is_complete,
        outcome <> 'cancelled' and total_count > 0 as has_share,
        total_count,
        coalesce(failed_count, 0) as failed_count
    from jobs
    where is_finished and completed_on is not null
),

busy_days as (
    select
        account,
        job_kind,
        day,
        count(case when is_complete then 1 end) as jobs_complete,
        count(case when outcome = 'cancelled' then 1 end) as jobs_cancelled,
        count(case when outcome = 'failed' then 1 end) as jobs_failed,
        count(case when outcome = 'partly_failed' then 1 end) as jobs_partly_failed,
        cast(sum(case when has_share then total_count else 0 end) as bigint) as operations_total,
        cast(sum(case when has_share then failed_count else 0 end) as bigint) as operations_failed
    from ended
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
        0 as jobs_complete,
        0 as jobs_cancelled,
        0 as jobs_failed,
        0 as jobs_partly_failed,
        0 as operations_total,
        0 as operations_failed
    from neighbours
    -- A gap of more than ten years is a wrong date, not quiet: one such job would fill the view with zeros.
    where next_day <= day + interval '10 years'
),

days as (
    select * from busy_days
    union all
    select * from quiet_days
),

weighted as (
    select
        account,
        job_kind,
        day,
        jobs_complete,
        jobs_cancelled,
        jobs_failed,
        jobs_partly_failed,
        operations_total,
        operations_failed,
        cast(operations_failed as double) / nullif(operations_total, 0) as failed_share
    from days
)

select * from weighted;

comment on view klaviyo.job_failure_rates_daily is
'One row per account, job kind and day on which jobs ended (reporting time zone), empty days included.';
comment on column klaviyo.job_failure_rates_daily.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_failure_rates_daily.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_failure_rates_daily.day is
'Day of completed_at in the reporting time zone.';
comment on column klaviyo.job_failure_rates_daily.jobs_complete is
'Jobs that completed on the day, failed ones included, cancelled ones not.';
comment on column klaviyo.job_failure_rates_daily.jobs_cancelled is
'Jobs that were cancelled on the day; no other column counts them.';
comment on column klaviyo.job_failure_rates_daily.jobs_failed is
'Complete jobs of which every operation failed.';
comment on column klaviyo.job_failure_rates_daily.jobs_partly_failed is
'Complete jobs of which some operations failed.';
comment on column klaviyo.job_failure_rates_daily.operations_total is
'Operations of the complete jobs.';
comment on column klaviyo.job_failure_rates_daily.operations_failed is
'Operations of the complete jobs that failed.';
comment on column klaviyo.job_failure_rates_daily.failed_share is
'operations_failed / operations_total; null if there were none. Never average it: sum both columns first.';
