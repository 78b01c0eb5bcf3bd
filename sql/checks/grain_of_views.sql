-- Rows of the views that have the key of another row.
-- Returns: account, job_kind, job_id, subject, problem; one row for each fault found, none if all is well.
-- Reads:   every view of klaviyo.
with

grains as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo.jobs' as subject,
        count(*) as row_count
    from klaviyo.jobs
    group by account, job_kind, job_id
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo.job_errors' as subject,
        count(*) as row_count
    from klaviyo.job_errors
    group by account, job_kind, job_id, position
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo.job_linkages' as subject,
        count(*) as row_count
    from klaviyo.job_linkages
    group by account, job_kind, job_id, position
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo.job_observations' as subject,
        count(*) as row_count
    from klaviyo.job_observations
    group by account, job_kind, job_id, observed_at_utc
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.listings' as subject,
        count(*) as row_count
    from klaviyo.listings
    group by account, job_kind, run_id
    union all
    select
        account,
        null as job_kind,
        null as job_id,
        'klaviyo.rejected_records' as subject,
        count(*) as row_count
    from klaviyo.rejected_records
    group by account, run_id, position
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.job_throughput_hourly' as subject,
        count(*) as row_count
    from klaviyo.job_throughput_hourly
    group by account, job_kind, hour_utc
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.job_throughput_daily' as subject,
        count(*) as row_count
    from klaviyo.job_throughput_daily
    group by account, job_kind, day
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.job_failure_rates_daily' as subject,
        count(*) as row_count
    from klaviyo.job_failure_rates_daily
    group by account, job_kind, day
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.job_latency_daily' as subject,
        count(*) as row_count
    from klaviyo.job_latency_daily
    group by account, job_kind, day
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo.job_progress' as subject,
        count(*) as row_count
    from klaviyo.job_progress
    group by account, job_kind, job_id, observed_at_utc
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.error_ranking' as subject,
        count(*) as row_count
    from klaviyo.error_ranking
    group by account, job_kind, fingerprint, code, title
    union all
    select
        account,
        null as job_kind,
        null as job_id,
        'klaviyo.failing_entities' as subject,
        count(*) as row_count
    from klaviyo.failing_entities
    group by account, related_type, related_id
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo.stuck_jobs' as subject,
        count(*) as row_count
    from klaviyo.stuck_jobs
    group by account, job_kind, job_id
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.jobs_in_progress' as subject,
        count(*) as row_count
    from klaviyo.jobs_in_progress
    group by account, job_kind
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.listing_freshness' as subject,
        count(*) as row_count
    from klaviyo.listing_freshness
    group by account, job_kind
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
