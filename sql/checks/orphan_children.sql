-- Errors, linkages and observations of a job that is not there.
-- Since:   of rows that runs from $since on wrote; all if it is null. Linkages do not say which run wrote them, and are
--          looked at with all only.
-- Returns: account, job_kind, job_id, subject, problem; one row for each fault found, none if all is well.
-- Reads:   klaviyo_raw.jobs, job_errors, job_linkages, job_observations.
with

runs as (
    select load_id as run_id
    from klaviyo_raw._dlt_loads
    where cast($since as timestamptz) is null or inserted_at >= $since
),

children as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_errors' as subject,
        count(*) as row_count
    from klaviyo_raw.job_errors
    where cast($since as timestamptz) is null or run_id in (select runs.run_id from runs)
    group by account, job_kind, job_id
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_linkages' as subject,
        count(*) as row_count
    from klaviyo_raw.job_linkages
    where cast($since as timestamptz) is null
    group by account, job_kind, job_id
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_observations' as subject,
        count(*) as row_count
    from klaviyo_raw.job_observations
    where cast($since as timestamptz) is null or run_id in (select runs.run_id from runs)
    group by account, job_kind, job_id
),

orphans as (
    select
        children.account,
        children.job_kind,
        children.job_id,
        children.subject,
        children.row_count || ' rows of a job that is not there' as problem
    from children
    left join klaviyo_raw.jobs as jobs
        on
            children.account = jobs.account
            and children.job_kind = jobs.job_kind
            and children.job_id = jobs.job_id
    where jobs.job_id is null
)

select * from orphans;
