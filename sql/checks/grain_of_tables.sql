-- Rows of the raw tables that have the key of another row.
-- Returns: account, job_kind, job_id, subject, problem; one row for each fault found, none if all is well.
-- Reads:   every table of klaviyo_raw that every warehouse has.
with

grains as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.jobs' as subject,
        count(*) as row_count
    from klaviyo_raw.jobs
    group by account, job_kind, job_id
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_errors' as subject,
        count(*) as row_count
    from klaviyo_raw.job_errors
    group by account, job_kind, job_id, position
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_linkages' as subject,
        count(*) as row_count
    from klaviyo_raw.job_linkages
    group by account, job_kind, job_id, position
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo_raw.job_observations' as subject,
        count(*) as row_count
    from klaviyo_raw.job_observations
    group by account, job_kind, job_id, observed_at
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo_raw.listings' as subject,
        count(*) as row_count
    from klaviyo_raw.listings
    group by account, job_kind, run_id
    union all
    select
        account,
        null as job_kind,
        null as job_id,
        'klaviyo_raw.rejected_records' as subject,
        count(*) as row_count
    from klaviyo_raw.rejected_records
    group by account, run_id, position
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
