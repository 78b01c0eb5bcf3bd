-- Times in the future, or from before Klaviyo was founded in 2012.
-- Five minutes are allowed, as Klaviyo's clock and this one need not agree.
-- Since:   of jobs and listings that runs from $since on wrote; all if it is null.
-- Returns: account, job_kind, job_id, subject, problem; one row for each fault found, none if all is well.
-- Reads:   klaviyo.jobs, klaviyo.job_observations, klaviyo.listings.
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

times as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo.jobs' as subject,
        unnest(['created_at_utc', 'completed_at_utc', 'first_seen_at_utc', 'last_changed_at_utc', 'vanished_at_utc'])
            as column_name,
        unnest([created_at_utc, completed_at_utc, first_seen_at_utc, last_changed_at_utc, vanished_at_utc])
            as value_utc
    from klaviyo.jobs
    where (account, job_kind, job_id) in (select checked_jobs.* from checked_jobs)
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo.job_observations' as subject,
        'observed_at_utc' as column_name,
        observed_at_utc as value_utc
    from klaviyo.job_observations
    where (account, job_kind, job_id) in (select checked_jobs.* from checked_jobs)
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.listings' as subject,
        'finished_at_utc' as column_name,
        finished_at_utc as value_utc
    from klaviyo.listings
    where cast($since as timestamptz) is null or run_id in (select runs.run_id from runs)
),

impossible as (
    select
        account,
        job_kind,
        job_id,
        subject,
        column_name || ' is ' || value_utc as problem
    from times
    where
        value_utc > current_timestamp at time zone 'UTC' + interval '5 minutes'
        or value_utc < timestamp '2012-01-01 00:00:00'
)

select * from impossible;
