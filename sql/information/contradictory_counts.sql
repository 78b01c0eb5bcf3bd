-- Counts by which Klaviyo contradicts itself.
-- Only complete jobs are looked at: until then counters move one by one, and a cancelled job ends midway.
-- Since:   of jobs that a run saw change from $since on; all if it is null.
-- Returns: account, job_kind, job_id, subject, problem; one row for each contradiction found.
-- Reads:   klaviyo_raw.jobs.
with

jobs as (
    select
        account,
        job_kind,
        job_id,
        status = 'complete' as is_complete,
        total_count,
        completed_count,
        failed_count,
        coalesce(skipped_count, 0) as skipped_count,
        coalesce(error_count, 0) as error_count
    from klaviyo_raw.jobs
    where cast($since as timestamptz) is null or coalesce(last_changed_at, first_seen_at, created_at) >= $since
),

judged as (
    select
        account,
        job_kind,
        job_id,
        'klaviyo.jobs' as subject,
        case
            when total_count < 0 or completed_count < 0 or failed_count < 0 or skipped_count < 0
                then 'a count is negative'
            when is_complete and failed_count <> error_count
                then 'failed_count is ' || failed_count || ', but error_count is ' || error_count
            when is_complete and total_count <> completed_count + coalesce(failed_count, error_count) + skipped_count
                then
                    'total_count is ' || total_count || ', but ' || completed_count || ' completed and '
                    || coalesce(failed_count, error_count) || ' failed'
                    || case when skipped_count = 0 then '' else ', and ' || skipped_count || ' were skipped' end
        end as problem
    from jobs
),

contradictory as (
    select * from judged
    where problem is not null
)

select * from contradictory;
