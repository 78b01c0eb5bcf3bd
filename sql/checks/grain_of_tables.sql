-- Rows of the raw tables that have the key of another row.
-- Children are counted a job: as many as their last place says, and each place once, unless some could not be read;
-- only of jobs where that does not hold is every key compared.
-- Since:   of jobs and listings that runs from $since on wrote; all if it is null.
-- Returns: account, job_kind, job_id, subject, problem; one row for each fault found, none if all is well.
-- Reads:   every table of klaviyo_raw that every warehouse has.
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
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.jobs' as subject,
        count(*) as row_count
    from klaviyo_raw.jobs
    where (account, job_kind, job_id) in (select checked_jobs.* from checked_jobs)
    group by account, job_kind, job_id
),

suspect_errors as (
    select
        account,
        job_kind,
        job_id
    from klaviyo_raw.job_errors
    where (account, job_kind, job_id) in (select checked_jobs.* from checked_jobs)
    group by account, job_kind, job_id
    having count(*) <> max(position) + 1 or 2 * sum(position) <> count(*) * (count(*) - 1)
),

errors as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_errors' as subject,
        count(*) as row_count
    from klaviyo_raw.job_errors
    where (account, job_kind, job_id) in (select suspect_errors.* from suspect_errors)
    group by account, job_kind, job_id, position
),

suspect_linkages as (
    select
        account,
        job_kind,
        job_id
    from klaviyo_raw.job_linkages
    where (account, job_kind, job_id) in (select checked_jobs.* from checked_jobs)
    group by account, job_kind, job_id
    having count(*) <> max(position) + 1 or 2 * sum(position) <> count(*) * (count(*) - 1)
),

linkages as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_linkages' as subject,
        count(*) as row_count
    from klaviyo_raw.job_linkages
    where (account, job_kind, job_id) in (select suspect_linkages.* from suspect_linkages)
    group by account, job_kind, job_id, position
),

observations as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_observations' as subject,
        count(*) as row_count
    from klaviyo_raw.job_observations
    where (account, job_kind, job_id) in (select checked_jobs.* from checked_jobs)
    group by account, job_kind, job_id, observed_at
),

listings as (
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo_raw.listings' as subject,
        count(*) as row_count
    from klaviyo_raw.listings
    where cast($since as timestamptz) is null or run_id in (select runs.run_id from runs)
    group by account, job_kind, run_id
),

rejected as (
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo_raw.rejected_records' as subject,
        count(*) as row_count
    from klaviyo_raw.rejected_records
    where cast($since as timestamptz) is null or run_id in (select runs.run_id from runs)
    group by account, job_kind, record_hash
),

grains as (
    select * from jobs
    union all
    select * from errors
    union all
    select * from linkages
    union all
    select * from observations
    union all
    select * from listings
    union all
    select * from rejected
),

repeated as (
    select
        account,
        job_kind,
        job_id,
        subject,
        row_count || ' rows have one key' as problem
    from grains
    where row_count > 1
)

select * from repeated;
