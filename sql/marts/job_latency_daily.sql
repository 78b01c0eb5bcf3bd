-- klaviyo.job_latency_daily: how long the jobs that ended on each day had taken from creation to end.
-- Grain:  one row per (account, job_kind, day): days on which jobs ended, and known days on which none did.
-- Reads:  klaviyo.jobs, klaviyo.known_days, klaviyo.job_kinds.
-- Units:  seconds, interpolated between neighbours. Quantiles do not add up: for a quantile over kinds, accounts or
--         days ask klaviyo.jobs, e.g. select quantile_cont(duration_seconds, 0.95) from klaviyo.jobs
-- Nulls:  every column of seconds on a day on which no job ended of which Klaviyo says when.
create or replace view klaviyo.job_latency_daily as
with

ended as (
    select
        account,
        job_kind,
        ended_on as day,
        1 as is_job,
        duration_seconds
    from klaviyo.jobs
    where ended_on is not null and is_finished

    union all

    select
        account,
        job_kind,
        day,
        0 as is_job,
        null as duration_seconds
    from klaviyo.known_days
),

days as (
    select
        account,
        job_kind,
        day,
        cast(sum(is_job) as bigint) as jobs_finished,
        quantile_cont(duration_seconds, 0.5) as p50_seconds,
        quantile_cont(duration_seconds, 0.95) as p95_seconds,
        quantile_cont(duration_seconds, 0.99) as p99_seconds,
        max(duration_seconds) as max_seconds
    from ended
    group by account, job_kind, day
),

joined as (
    select
        days.account,
        days.job_kind,
        kinds.entity,
        kinds.operation,
        days.day,
        days.jobs_finished,
        days.p50_seconds,
        days.p95_seconds,
        days.p99_seconds,
        days.max_seconds
    from days
    left join klaviyo.job_kinds as kinds on days.job_kind = kinds.job_kind
)

select * from joined;

comment on view klaviyo.job_latency_daily is
'One row per account, job kind and day on which jobs ended (reporting time zone), empty days included.';
comment on column klaviyo.job_latency_daily.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_latency_daily.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_latency_daily.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.job_latency_daily.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.job_latency_daily.day is
'Day on which jobs ended, in the reporting time zone.';
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
