-- Errors, linkages and observations of a job that is not there.
-- Returns: account, job_kind, job_id, subject, problem; one row for each fault found, none if all is well.
-- Reads:   klaviyo_raw.jobs, job_errors, job_linkages, job_observations.
with

jobs as (
    select * from klaviyo_raw.jobs
),

children as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_errors' as subject
    from klaviyo_raw.job_errors
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_linkages' as subject
    from klaviyo_raw.job_linkages
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_observations' as subject
    from klaviyo_raw.job_observations
),

orphans as (
    select
        children.account,
        children.job_kind,
        children.job_id,
        children.subject,
        count(*) || ' rows of a job that is not there' as problem
    from children
    left join jobs
        on
            children.account = jobs.account
            and children.job_kind = jobs.job_kind
            and children.job_id = jobs.job_id
    where jobs.job_id is null
    group by children.account, children.job_kind, children.job_id, children.subject
)

select * from orphans;
