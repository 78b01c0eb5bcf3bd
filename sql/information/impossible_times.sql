-- Times in the future, or from before Klaviyo was founded in 2012.
-- Five minutes are allowed, as Klaviyo's clock and this one need not agree.
-- Since:   of jobs that a run saw change, and of listings that ended, from $since on; all if it is null.
-- Returns: account, job_kind, job_id, subject, problem; one row for each such time.
-- Reads:   klaviyo_raw.jobs, klaviyo_raw.job_observations, klaviyo_raw.listings.
with

times as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo.jobs' as subject,
        unnest(['created_at_utc', 'completed_at_utc', 'first_seen_at_utc', 'last_changed_at_utc', 'vanished_at_utc'])
            as column_name,
        unnest([created_at, completed_at, first_seen_at, last_changed_at, vanished_at]) at time zone 'UTC' as value_utc
    from klaviyo_raw.jobs
    where cast($since as timestamptz) is null or coalesce(last_changed_at, first_seen_at, created_at) >= $since
    union all
    select
        account,
        job_kind,
        job_id,
        'klaviyo.job_observations' as subject,
        'observed_at_utc' as column_name,
        observed_at at time zone 'UTC' as value_utc
    from klaviyo_raw.job_observations
    where cast($since as timestamptz) is null or observed_at >= $since
    union all
    select
        account,
        job_kind,
        null as job_id,
        'klaviyo.listings' as subject,
        'finished_at_utc' as column_name,
        finished_at at time zone 'UTC' as value_utc
    from klaviyo_raw.listings
    where cast($since as timestamptz) is null or finished_at >= $since
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
