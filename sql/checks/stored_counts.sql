-- Jobs of which not as many errors or linkages are stored as were listed, but for those that could not be read.
-- Since:   of jobs that runs from $since on wrote; all if it is null.
-- Returns: account, job_kind, job_id, subject, problem; one row for each fault found, none if all is well.
-- Reads:   klaviyo_raw.jobs, klaviyo_raw.job_errors, klaviyo_raw.job_linkages.
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
        job_id,
        coalesce(error_count, 0) as error_count,
        coalesce(linkage_count, 0) as linkage_count,
        coalesce(unread_error_count, 0) as unread_error_count,
        coalesce(unread_linkage_count, 0) as unread_linkage_count
    from klaviyo_raw.jobs
    where cast($since as timestamptz) is null or run_id in (select runs.run_id from runs)
),

job_keys as (
    select
        account,
        job_kind,
        job_id
    from checked_jobs
),

errors as (
    select
        account,
        job_kind,
        job_id,
        count(*) as row_count
    from klaviyo_raw.job_errors
    where (account, job_kind, job_id) in (select job_keys.* from job_keys)
    group by account, job_kind, job_id
),

linkages as (
    select
        account,
        job_kind,
        job_id,
        count(*) as row_count
    from klaviyo_raw.job_linkages
    where (account, job_kind, job_id) in (select job_keys.* from job_keys)
    group by account, job_kind, job_id
),

counted as (
    select
        jobs.account,
        jobs.job_kind,
        jobs.job_id,
        jobs.error_count,
        jobs.linkage_count,
        jobs.unread_error_count,
        jobs.unread_linkage_count,
        coalesce(errors.row_count, 0) as error_rows,
        coalesce(linkages.row_count, 0) as linkage_rows
    from checked_jobs as jobs
    left join errors
        on
            jobs.account = errors.account
            and jobs.job_kind = errors.job_kind
            and jobs.job_id = errors.job_id
    left join linkages
        on
            jobs.account = linkages.account
            and jobs.job_kind = linkages.job_kind
            and jobs.job_id = linkages.job_id
),

judged as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.jobs' as subject,
        case
            when error_rows + unread_error_count <> error_count
                then
                    'error_count is ' || error_count || ', ' || unread_error_count
                    || ' could not be read, but job_errors holds ' || error_rows
            when linkage_rows + unread_linkage_count <> linkage_count
                then
                    'linkage_count is ' || linkage_count || ', ' || unread_linkage_count
                    || ' could not be read, but job_linkages holds ' || linkage_rows
        end as problem
    from counted
),

missing as (
    select * from judged
    where problem is not null
)

select * from missing;
