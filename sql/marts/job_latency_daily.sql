-- klaviyo.job_latency_daily: how long the jobs that ended on each day had taken from creation to end.
-- Grain:  one row per (account, job_kind, day), without gaps from the first day to the last.
-- Reads:  klaviyo.jobs.
-- Units:  seconds, interpolated between neighbours. Quantiles do not add up: for a quantile over kinds, accounts or
--         days ask klaviyo.jobs, e.g. select quantile_cont(duration_seconds, 0.95) from klaviyo.jobs
-- Nulls:  every column of seconds on a day on which no job ended.
-- Left out: a finished job whose completed_at is not known.
create or replace view klaviyo.job_latency_daily as
with

jobs as (
    select * from klaviyo.jobs
),

busy_days as (
    select
        account,
        job_kind,
        completed_on as day,
        count(*) as jobs_finished,
        quantile_cont(duration_seconds, 0.5) as p50_seconds,
        quantile_cont(duration_seconds, 0.95) as p95_seconds,
        quantile_cont(duration_seconds, 0.99) as p99_seconds,
        max(duration_seconds) as max_seconds
    from jobs
    where is_finished and completed_on is not null
    group by account, job_kind, completed_on
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
        0 as jobs_finished,
        null as p50_seconds,
        null as p95_seconds,
        null as p99_seconds,
        null as max_seconds
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

comment on view klaviyo.job_latency_daily is
'One row per account, job kind and day on which jobs ended (reporting time zone), empty days included.';
comment on column klaviyo.job_latency_daily.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_latency_daily.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_latency_daily.day is
'Day of completed_at in the reporting time zone.';
comment on column klaviyo.job_latency_daily.jobs_finished is
'Jobs that ended on the day, complete or cancelled.';
comment on column klaviyo.job_latency_daily.p50_seconds is
'Half of these jobs took at most so many seconds from creation to end.';
comment on column klaviyo.job_latency_daily.p95_seconds is
'95 of 100 jobs took at most so many seconds from creation to end.';
comment on column klaviyo.job_latency_daily.p99_seconds is
'99 of 100 jobs took at most so many seconds from creation to end.';
comment on column klaviyo.job_latency_daily.max_seconds is
'The slowest job took so many seconds from creation to end.';
