-- klaviyo.jobs: every bulk job ever seen, with how it ended or how far it has got.
-- Grain:  one row per (account, job_kind, job_id).
-- Reads:  klaviyo_raw.jobs.
-- Units:  counts are operations, shares run 0 to 1, times are naive UTC.
-- Nulls:  failed_share of a job without operations; duration_seconds of an unfinished job.
create or replace view klaviyo.jobs as
with

jobs as (
    select * from klaviyo_raw.jobs
),

renamed as (
    select
        jobs.account,
        jobs.job_kind,
        jobs.job_id,
        split_part(jobs.job_kind, '-', 1) as entity,
        split_part(jobs.job_kind, '-', 2) as operation,
        jobs.status,
        -- Only status and completed_at tell the end: counters run ahead of them. A status that Klaviyo
        -- adds one day is known by its completed_at; from then on its job is judged like a complete one.
        case
            when jobs.status in ('complete', 'cancelled') then true
            when jobs.status in ('queued', 'processing') then false
            else jobs.completed_at is not null
        end as is_finished,
        jobs.created_at at time zone 'UTC' as created_at_utc,
        jobs.completed_at at time zone 'UTC' as completed_at_utc,
        jobs.expires_at at time zone 'UTC' as expires_at_utc,
        jobs.total_count,
        jobs.completed_count,
        jobs.failed_count,
        jobs.error_count,
        jobs.linkage_count,
        jobs.first_seen_at at time zone 'UTC' as first_seen_at_utc,
        jobs.last_changed_at at time zone 'UTC' as last_changed_at_utc,
        jobs.vanished_at at time zone 'UTC' as vanished_at_utc,
        jobs.created_on,
        jobs.completed_on,
        jobs.unread_error_count,
        jobs.unread_linkage_count
    from jobs
),

judged as (
    select
        account,
        job_kind,
        job_id,
        entity,
        operation,
        status,
        case
            when not is_finished and vanished_at_utc is not null then 'vanished'
            when not is_finished then 'in_progress'
            when status = 'cancelled' then 'cancelled'
            -- Klaviyo calls a job complete even if every one of its operations failed.
            when failed_count > 0 and (failed_count = total_count or completed_count = 0) then 'failed'
            when failed_count > 0 then 'partly_failed'
            else 'succeeded'
        end as outcome,
        is_finished,
        created_at_utc,
        completed_at_utc,
        expires_at_utc,
        total_count,
        completed_count,
        failed_count,
        -- A count that is absent is 0 by the vendor's own default.
        case
            when total_count > 0 then cast(coalesce(failed_count, 0) as double) / total_count
        end as failed_share,
        case
            when is_finished
                then cast(date_diff('microsecond', created_at_utc, completed_at_utc) as double) / 1000000
        end as duration_seconds,
        error_count,
        linkage_count,
        first_seen_at_utc,
        last_changed_at_utc,
        vanished_at_utc,
        created_on,
        completed_on,
        unread_error_count,
        unread_linkage_count
    from renamed
)

select * from judged;

comment on view klaviyo.jobs is
'One row per bulk job: how it ended, or how far it has got.';
comment on column klaviyo.jobs.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.jobs.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.jobs.job_id is
'Klaviyo''s id of the job; unique within account and job_kind.';
comment on column klaviyo.jobs.entity is
'What the job works on: item, variant or category.';
comment on column klaviyo.jobs.operation is
'What the job does to it: create, update or delete.';
comment on column klaviyo.jobs.status is
'Status in Klaviyo''s words: queued, processing, complete or cancelled.';
comment on column klaviyo.jobs.outcome is
'succeeded, partly_failed, failed (all operations), cancelled, in_progress, or vanished (gone before it finished).';
comment on column klaviyo.jobs.is_finished is
'Whether the job is complete or cancelled; a status not known here is, once completed_at is set.';
comment on column klaviyo.jobs.created_at_utc is
'When the job was created, UTC.';
comment on column klaviyo.jobs.completed_at_utc is
'When the job ended, UTC; null until then.';
comment on column klaviyo.jobs.expires_at_utc is
'When Klaviyo forgets the job, UTC: seven days after its creation.';
comment on column klaviyo.jobs.total_count is
'Operations to be processed.';
comment on column klaviyo.jobs.completed_count is
'Operations that succeeded; failed ones are not among them.';
comment on column klaviyo.jobs.failed_count is
'Operations that failed.';
comment on column klaviyo.jobs.failed_share is
'failed_count / total_count; null if the job has no operations. Never average it: sum both counts first.';
comment on column klaviyo.jobs.duration_seconds is
'Seconds from created_at_utc to completed_at_utc; null until the job is finished.';
comment on column klaviyo.jobs.error_count is
'Errors the job listed when it was last read.';
comment on column klaviyo.jobs.linkage_count is
'Related resources the job listed when it was last read.';
comment on column klaviyo.jobs.first_seen_at_utc is
'When a run first read the job, UTC.';
comment on column klaviyo.jobs.last_changed_at_utc is
'When a run last found the job changed, UTC.';
comment on column klaviyo.jobs.vanished_at_utc is
'When a complete listing first lacked the job although it had not finished, UTC; null if it never did.';
comment on column klaviyo.jobs.created_on is
'Day of created_at_utc in the reporting time zone.';
comment on column klaviyo.jobs.completed_on is
'Day of completed_at_utc in the reporting time zone.';
comment on column klaviyo.jobs.unread_error_count is
'Errors among error_count that could not be read and so have no row; they stand in rejected_records.';
comment on column klaviyo.jobs.unread_linkage_count is
'Related resources among linkage_count that could not be read and so have no row; they stand in rejected_records.';
