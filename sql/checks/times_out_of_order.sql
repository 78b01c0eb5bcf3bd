-- Times of a job that contradict each other or its status.
-- Returns: account, job_kind, job_id, subject, problem; one row for each fault found, none if all is well.
-- Reads:   klaviyo.jobs.
with

jobs as (
    select * from klaviyo.jobs
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
