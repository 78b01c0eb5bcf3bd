-- klaviyo.job_failure_rates_daily: how much of the work that ended on each day failed.
-- Grain:  one row per (account, job_kind, day): days on which jobs ended, and known days on which none did.
-- Reads:  klaviyo.jobs, klaviyo.known_days, klaviyo.job_kinds.
-- Units:  jobs and operations, which add up; failed_share (0 to 1) does not. Over several rows it is
--         sum(operations_failed) / nullif(sum(operations_total), 0)
-- Nulls:  failed_share of a day without operations.
-- Rule:   what suppressions skipped is a part of operations_total, and has not failed.
-- Left out: cancelled jobs from all but jobs_cancelled, vanished ones from all but jobs_vanished;
--         the operations of a job whose total is null, zero or negative, as they are a share of nothing.
create or replace view klaviyo.job_failure_rates_daily as
with

ended as (
    select
        account,
        job_kind,
        ended_on as day,
        outcome,
        case when outcome in ('cancelled', 'vanished') then 0 else 1 end as is_complete,
        case when outcome not in ('cancelled', 'vanished') and total_count > 0 then total_count else 0 end
            as operations_total,
        case when outcome not in ('cancelled', 'vanished') and total_count > 0 then operations_failed else 0 end
            as operations_failed,
        case when outcome not in ('cancelled', 'vanished') and total_count > 0 then operations_skipped else 0 end
            as operations_skipped
    from klaviyo.jobs
    where ended_on is not null

    union all

    select
        account,
        job_kind,
        day,
        null as outcome,
        0 as is_complete,
        0 as operations_total,
        0 as operations_failed,
        0 as operations_skipped
    from klaviyo.known_days
),

days as (
    select
        account,
        job_kind,
        day,
        cast(sum(is_complete) as bigint) as jobs_complete,
        count(case when outcome = 'cancelled' then 1 end) as jobs_cancelled,
        count(case when outcome = 'failed' then 1 end) as jobs_failed,
        count(case when outcome = 'partly_failed' then 1 end) as jobs_partly_failed,
        count(case when outcome = 'incomplete' then 1 end) as jobs_incomplete,
        count(case when outcome = 'vanished' then 1 end) as jobs_vanished,
        cast(sum(operations_total) as bigint) as operations_total,
        cast(sum(operations_failed) as bigint) as operations_failed,
        cast(sum(operations_skipped) as bigint) as operations_skipped
    from ended
    group by account, job_kind, day
),

weighted as (
    select
        days.account,
        days.job_kind,
        kinds.entity,
        kinds.operation,
        days.day,
        days.jobs_complete,
        days.jobs_cancelled,
        days.jobs_failed,
        days.jobs_partly_failed,
        days.jobs_incomplete,
        days.jobs_vanished,
        days.operations_total,
        days.operations_failed,
        cast(days.operations_failed as double) / nullif(days.operations_total, 0) as failed_share,
        days.operations_skipped
    from days
    left join klaviyo.job_kinds as kinds on days.job_kind = kinds.job_kind
)

select * from weighted;

comment on view klaviyo.job_failure_rates_daily is
'One row per account, job kind and day on which jobs ended (reporting time zone), empty days included.';
comment on column klaviyo.job_failure_rates_daily.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_failure_rates_daily.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_failure_rates_daily.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.job_failure_rates_daily.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.job_failure_rates_daily.day is
'Day on which jobs ended, in the reporting time zone.';
comment on column klaviyo.job_failure_rates_daily.jobs_complete is
'Jobs that completed on the day, failed ones included, cancelled ones not.';
comment on column klaviyo.job_failure_rates_daily.jobs_cancelled is
'Jobs that were cancelled on the day; no other column counts them.';
comment on column klaviyo.job_failure_rates_daily.jobs_failed is
'Complete jobs of which every operation failed.';
comment on column klaviyo.job_failure_rates_daily.jobs_partly_failed is
'Complete jobs of which some operations failed.';
comment on column klaviyo.job_failure_rates_daily.jobs_incomplete is
'Complete jobs of which some operations neither succeeded nor failed.';
comment on column klaviyo.job_failure_rates_daily.jobs_vanished is
'Jobs that were gone on the day, or past their expiry, before they had finished; no other column counts them.';
comment on column klaviyo.job_failure_rates_daily.operations_total is
'Operations of the complete jobs.';
comment on column klaviyo.job_failure_rates_daily.operations_failed is
'Operations of the complete jobs that failed.';
comment on column klaviyo.job_failure_rates_daily.failed_share is
'operations_failed / operations_total; null if there were none. Never average it: sum both columns first.';
comment on column klaviyo.job_failure_rates_daily.operations_skipped is
'Operations of the complete jobs that suppressions passed over: part of operations_total, and not failed.';
