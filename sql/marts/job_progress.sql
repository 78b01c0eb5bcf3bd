-- klaviyo.job_progress: what each bulk job got done between one look at it and the next.
-- Grain:  one row per (account, job_kind, job_id, observed_at_utc).
-- Reads:  klaviyo.job_observations, klaviyo.jobs.
-- Units:  operations and seconds. The operations of all rows of a job add up to its counts when last seen. A job that
--         had ended before that was seen took its own time, not that between two runs.
-- Nulls:  since_utc, seconds and operations_per_second of the first look at a job whose creation is not known; seconds
--         and operations_per_second where a clock went back; operations_per_second where a count did.
create or replace view klaviyo.job_progress as
with

observations as (
    select * from klaviyo.job_observations
),

jobs as (
    select * from klaviyo.jobs
),

looks as (
    select
        account,
        job_kind,
        job_id,
        observed_at_utc,
        status,
        coalesce(completed_count, 0) as completed_count,
        coalesce(failed_count, 0) as failed_count,
        coalesce(skipped_count, 0) as skipped_count
    from observations
),

paired as (
    select
        account,
        job_kind,
        job_id,
        observed_at_utc,
        status,
        completed_count,
        failed_count,
        skipped_count,
        lag(observed_at_utc) over job_history as previous_utc,
        -- Without lag's own default: DuckDB 2.0 forgets it in a view that an older DuckDB has stored.
        coalesce(lag(completed_count) over job_history, 0) as previous_completed_count,
        coalesce(lag(failed_count) over job_history, 0) as previous_failed_count,
        coalesce(lag(skipped_count) over job_history, 0) as previous_skipped_count
    from looks
    window job_history as (partition by account, job_kind, job_id order by observed_at_utc)
),

-- Before the first look lies the creation of the job.
spans as (
    select
        paired.account,
        paired.job_kind,
        jobs.entity,
        jobs.operation,
        paired.job_id,
        paired.observed_at_utc,
        paired.status,
        case when jobs.is_finished then jobs.completed_at_utc end as completed_at_utc,
        coalesce(paired.previous_utc, jobs.created_at_utc) as since_utc,
        paired.completed_count - paired.previous_completed_count as operations_completed,
        paired.failed_count - paired.previous_failed_count as operations_failed,
        paired.skipped_count - paired.previous_skipped_count as operations_skipped
    from paired
    left join jobs
        on
            paired.account = jobs.account
            and paired.job_kind = jobs.job_kind
            and paired.job_id = jobs.job_id
),

timed as (
    select
        *,
        case
            when least(observed_at_utc, completed_at_utc) >= since_utc
                then
                    cast(date_diff(
                        'microsecond', since_utc, least(observed_at_utc, completed_at_utc)
                    ) as double) / 1000000
        end as seconds
    from spans
),

rated as (
    select
        account,
        job_kind,
        entity,
        operation,
        job_id,
        observed_at_utc,
        status,
        since_utc,
        seconds,
        operations_completed,
        operations_failed,
        case
            when operations_completed >= 0 and operations_failed >= 0 and operations_skipped >= 0
                then (operations_completed + operations_failed + operations_skipped) / nullif(seconds, 0)
        end as operations_per_second,
        operations_skipped
    from timed
)

select * from rated;

comment on view klaviyo.job_progress is
'One row per bulk job and change that a run saw: what was done since the look before.';
comment on column klaviyo.job_progress.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_progress.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_progress.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.job_progress.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.job_progress.job_id is
'Klaviyo''s id of the job.';
comment on column klaviyo.job_progress.observed_at_utc is
'When the run saw the change, UTC.';
comment on column klaviyo.job_progress.status is
'Status in Klaviyo''s words at that time.';
comment on column klaviyo.job_progress.since_utc is
'The look before, or the creation of the job if this is the first, UTC.';
comment on column klaviyo.job_progress.seconds is
'Seconds from since_utc to observed_at_utc, or to completed_at_utc if the job had ended by then; null if negative.';
comment on column klaviyo.job_progress.operations_completed is
'Operations that succeeded in between.';
comment on column klaviyo.job_progress.operations_failed is
'Operations that failed in between.';
comment on column klaviyo.job_progress.operations_per_second is
'All together, skipped ones too, per second; null if a count went back.';
comment on column klaviyo.job_progress.operations_skipped is
'Operations that were passed over in between, neither completed nor failed.';
