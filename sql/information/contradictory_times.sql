-- Times of a job that contradict each other or its status: Klaviyo's, or those of a clock here that went back.
-- Since:   of jobs that a run saw change from $since on; all if it is null.
-- Returns: account, job_kind, job_id, subject, problem; one row for each contradiction found.
-- Reads:   klaviyo_raw.jobs.
with

-- Before any time is converted, which takes longer than to compare it.
contradictory as (
    select *
    from klaviyo_raw.jobs
    where
        (cast($since as timestamptz) is null or coalesce(last_changed_at, first_seen_at, created_at) >= $since)
        and (
            created_at is null
            or completed_at < created_at
            or expires_at < created_at
            or last_changed_at < first_seen_at
            or (status = 'complete' and completed_at is null)
        )
),

renamed as (
    select
        account,
        job_kind,
        job_id,
        created_at at time zone 'UTC' as created_at_utc,
        completed_at at time zone 'UTC' as completed_at_utc,
        expires_at at time zone 'UTC' as expires_at_utc,
        first_seen_at at time zone 'UTC' as first_seen_at_utc,
        last_changed_at at time zone 'UTC' as last_changed_at_utc
    from contradictory
),

told as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo.jobs' as subject,
        case
            when created_at_utc is null
                then 'created_at_utc is null'
            when completed_at_utc < created_at_utc
                then 'completed ' || completed_at_utc || ', before it was created ' || created_at_utc
            when expires_at_utc < created_at_utc
                then 'expires ' || expires_at_utc || ', before it was created ' || created_at_utc
            when last_changed_at_utc < first_seen_at_utc
                then 'last changed ' || last_changed_at_utc || ', before it was first seen ' || first_seen_at_utc
            else 'complete without completed_at_utc'
        end as problem
    from renamed
)

select * from told;
