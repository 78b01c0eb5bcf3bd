-- klaviyo.jobs: every bulk job ever seen, with how it ended or how far it has got.
-- Grain:  one row per (account, job_kind, job_id).
-- Reads:  klaviyo_raw.jobs, klaviyo_raw.job_observations, klaviyo.reporting_offsets, klaviyo.job_kinds.
-- Units:  counts are operations, shares run 0 to 1, times are naive UTC.
-- Rule:   what a suppression skipped is neither completed nor failed: it is a part of the total, so of the whole of
--         failed_share, and a job of which the rest was done has succeeded.
-- Nulls:  failed_share of a job without operations; duration_seconds of a job of which completed_at is not known, or
--         lies before its creation; ended_at_utc of a job in progress.
create or replace view klaviyo.jobs as
with

-- Jobs that Klaviyo says ended when. They are apart from all others so that a filter on the day reaches the table.
dated as (
    select
        *,
        true as is_finished,
        completed_at at time zone 'UTC' as ended_at_utc,
        completed_on as ended_on
    from klaviyo_raw.jobs
    where completed_on is not null and coalesce(status, '') not in ('queued', 'processing')
),

-- All others: only status and completed_at tell the end, as counters run ahead of them. A status that Klaviyo adds one
-- day is known by its completed_at; from then on its job is judged like a complete one.
undated as (
    select
        *,
        case
            when status in ('complete', 'cancelled') then true
            when status in ('queued', 'processing') then false
            else completed_at is not null
        end as is_finished
    from klaviyo_raw.jobs
    where completed_on is null
    union all
    select
        *,
        false as is_finished
    from klaviyo_raw.jobs
    where completed_on is not null and coalesce(status, '') in ('queued', 'processing')
),

-- Klaviyo may name no time of an end; then it is when a run first saw it.
without_time as (
    select
        account,
        job_kind,
        job_id
    from klaviyo_raw.jobs
    where completed_at is null and status in ('complete', 'cancelled')
),

seen_ends as (
    select
        observations.account,
        observations.job_kind,
        observations.job_id,
        min(observations.observed_at) as seen_at
    from klaviyo_raw.job_observations as observations
    -- There is a job for each of these keys, once.
    inner join without_time
        on
            observations.account = without_time.account
            and observations.job_kind = without_time.job_kind
            and observations.job_id = without_time.job_id
    where observations.status in ('complete', 'cancelled')
    group by observations.account, observations.job_kind, observations.job_id
),

-- Past its expiry, seven days after its creation, nobody will ever hear of a job again: it is in progress no more,
-- whether a run saw it vanish or not. Jobs of some kinds do not expire.
ending as (
    select
        undated.*,
        case
            when undated.is_finished
                then coalesce(
                    undated.completed_at, seen_ends.seen_at, undated.last_changed_at, undated.first_seen_at
                )
            when
                undated.vanished_at is not null
                or coalesce(
                    undated.expires_at,
                    case when coalesce(kinds.does_expire, true) then undated.created_at + interval '7 days' end
                ) <= current_timestamp
                then least(
                    undated.vanished_at,
                    coalesce(
                        undated.expires_at,
                        case when coalesce(kinds.does_expire, true) then undated.created_at + interval '7 days' end
                    )
                )
        end at time zone 'UTC' as ended_at_utc
    from undated
    left join seen_ends
        on
            undated.account = seen_ends.account
            and undated.job_kind = seen_ends.job_kind
            and undated.job_id = seen_ends.job_id
    left join klaviyo.job_kinds as kinds on undated.job_kind = kinds.job_kind
),

ended as (
    select * from dated
    union all
    select
        ending.*,
        cast(ending.ended_at_utc + offsets.offset_seconds * interval '1 second' as date) as ended_on
    from ending
    left join klaviyo.reporting_offsets as offsets
        on ending.ended_at_utc >= offsets.from_utc and ending.ended_at_utc < offsets.until_utc
),

renamed as (
    select
        account,
        job_kind,
        job_id,
        status,
        is_finished,
        created_at at time zone 'UTC' as created_at_utc,
        completed_at at time zone 'UTC' as completed_at_utc,
        expires_at at time zone 'UTC' as expires_at_utc,
        started_at at time zone 'UTC' as started_at_utc,
        ended_at_utc,
        total_count,
        completed_count,
        failed_count,
        skipped_count,
        -- A count that is absent is 0 by the vendor's own default; but the errors are there to be counted.
        greatest(coalesce(completed_count, 0), 0) as operations_completed,
        greatest(coalesce(failed_count, error_count, 0), 0) as operations_failed,
        greatest(coalesce(skipped_count, 0), 0) as operations_skipped,
        error_count,
        linkage_count,
        first_seen_at at time zone 'UTC' as first_seen_at_utc,
        last_changed_at at time zone 'UTC' as last_changed_at_utc,
        vanished_at at time zone 'UTC' as vanished_at_utc,
        created_on,
        completed_on,
        ended_on,
        unread_error_count,
        unread_linkage_count
    from ended
),

judged as (
    select
        renamed.account,
        renamed.job_kind,
        renamed.job_id,
        kinds.entity,
        kinds.operation,
        renamed.status,
        case
            when not renamed.is_finished and renamed.ended_at_utc is not null then 'vanished'
            when not renamed.is_finished then 'in_progress'
            when renamed.status = 'cancelled' then 'cancelled'
            -- Klaviyo calls a job complete even if every one of its operations failed, or some were never done.
            when renamed.total_count > 0 and renamed.operations_failed >= renamed.total_count then 'failed'
            when
                renamed.total_count > 0
                and renamed.completed_count is not null
                and renamed.operations_completed + renamed.operations_failed + renamed.operations_skipped
                < renamed.total_count
                then 'incomplete'
            when renamed.operations_failed > 0 and renamed.completed_count = 0 then 'failed'
            when renamed.operations_failed > 0 then 'partly_failed'
            else 'succeeded'
        end as outcome,
        renamed.is_finished,
        renamed.created_at_utc,
        renamed.completed_at_utc,
        renamed.expires_at_utc,
        renamed.total_count,
        renamed.completed_count,
        renamed.failed_count,
        case
            when renamed.total_count > 0 then cast(renamed.operations_failed as double) / renamed.total_count
        end as failed_share,
        case
            when renamed.is_finished and renamed.completed_at_utc >= renamed.created_at_utc
                then
                    cast(date_diff('microsecond', renamed.created_at_utc, renamed.completed_at_utc) as double)
                    / 1000000
        end as duration_seconds,
        renamed.error_count,
        renamed.linkage_count,
        renamed.first_seen_at_utc,
        renamed.last_changed_at_utc,
        renamed.vanished_at_utc,
        renamed.created_on,
        renamed.completed_on,
        renamed.unread_error_count,
        renamed.unread_linkage_count,
        renamed.ended_at_utc,
        renamed.ended_on,
        renamed.operations_completed,
        renamed.operations_failed,
        renamed.skipped_count,
        renamed.operations_skipped,
        renamed.started_at_utc
    from renamed
    left join klaviyo.job_kinds as kinds on renamed.job_kind = kinds.job_kind
)

select * from judged;

comment on view klaviyo.jobs is
'One row per bulk job: how it ended, or how far it has got.';
comment on column klaviyo.jobs.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.jobs.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.jobs.job_id is
'Klaviyo''s id of the job; unique within account and job_kind.';
comment on column klaviyo.jobs.entity is
'What the job works on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.jobs.operation is
'What the job does to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.jobs.status is
'Status in Klaviyo''s words: queued, processing, complete or cancelled.';
comment on column klaviyo.jobs.outcome is
'succeeded, partly_failed, failed (all operations), incomplete (some never done), cancelled, in_progress, or vanished.';
comment on column klaviyo.jobs.is_finished is
'Whether the job is complete or cancelled; a status not known here is, once completed_at is set.';
comment on column klaviyo.jobs.created_at_utc is
'When the job was created, UTC.';
comment on column klaviyo.jobs.completed_at_utc is
'When the job ended, UTC; null until then.';
comment on column klaviyo.jobs.expires_at_utc is
'When Klaviyo forgets the job, UTC: seven days after its creation; null of a kind that does not expire.';
comment on column klaviyo.jobs.total_count is
'Operations to be processed.';
comment on column klaviyo.jobs.completed_count is
'Operations that succeeded; failed ones are not among them.';
comment on column klaviyo.jobs.failed_count is
'Operations that failed.';
comment on column klaviyo.jobs.failed_share is
'operations_failed / total_count; null if the job has no operations. Never average it: sum both first.';
comment on column klaviyo.jobs.duration_seconds is
'Seconds from created_at_utc to completed_at_utc; null if the job is not finished or Klaviyo names no such time.';
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
comment on column klaviyo.jobs.ended_at_utc is
'When the job ended, UTC: completed_at_utc, else when a run first saw it ended; if it vanished, then or at its expiry.';
comment on column klaviyo.jobs.ended_on is
'Day of ended_at_utc in the reporting time zone; null while the job is in progress.';
comment on column klaviyo.jobs.operations_completed is
'Operations that succeeded: completed_count, 0 if that is absent.';
comment on column klaviyo.jobs.operations_failed is
'Operations that failed: failed_count, or the number of errors if that is absent.';
comment on column klaviyo.jobs.skipped_count is
'Profiles that a suppression passed over, neither completed nor failed; null in jobs of other kinds.';
comment on column klaviyo.jobs.operations_skipped is
'Operations that were passed over: skipped_count, 0 if that is absent.';
comment on column klaviyo.jobs.started_at_utc is
'When Klaviyo began with the job, UTC; told of imports of profiles only.';
