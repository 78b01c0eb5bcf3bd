-- Times of a job that contradict each other or its status.
-- Since:   of jobs that runs from $since on wrote; all if it is null.
-- Returns: account, job_kind, job_id, subject, problem; one row for each fault found, none if all is well.
-- Reads:   klaviyo.jobs.
with

runs as (
    select load_id as run_id
    from klaviyo_raw._dlt_loads
    where cast($since as timestamptz) is null or inserted_at >= $since
),

checked_jobs as (
    select
        account,
        job_kind,
        job_id
    from klaviyo_raw.jobs
    where cast($since as timestamptz) is null or run_id in (select runs.run_id from runs)
),

jobs as (
    select * from klaviyo.jobs
    where (account, job_kind, job_id) in (select checked_jobs.* from checked_jobs)
),

judged as (
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
            when status = 'complete' and completed_at_utc is null
                then 'complete without completed_at_utc'
        end as problem
    from jobs
),

out_of_order as (
    select * from judged
    where problem is not null
)

select * from out_of_order;
