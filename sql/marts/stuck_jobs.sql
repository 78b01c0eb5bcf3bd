-- klaviyo.stuck_jobs: jobs that should have ended long ago.
-- Grain:  one row per (account, job_kind, job_id).
-- Reads:  klaviyo.jobs, klaviyo.listings, klaviyo.reporting_settings (stuck_after_seconds: the one place of the
--         threshold), klaviyo.job_kinds.
-- Units:  seconds up to the last complete listing, which showed the job, or up to when a run last saw it change. What
--         has become of it since nobody knows: see listing_freshness.
-- Left out: vanished jobs, and those past their expiry, of which nobody will ever know more.
create or replace view klaviyo.stuck_jobs as
with

listings as (
    select
        account,
        job_kind,
        max(finished_at_utc) as listed_at_utc
    from klaviyo.listings
    where is_complete
    group by account, job_kind
),

thresholds as (
    select stuck_after_seconds from klaviyo.reporting_settings
),

in_progress as (
    select
        jobs.account,
        jobs.job_kind,
        jobs.entity,
        jobs.operation,
        jobs.job_id,
        jobs.status,
        jobs.created_at_utc,
        cast(date_diff(
            'microsecond',
            jobs.created_at_utc,
            coalesce(
                greatest(listings.listed_at_utc, jobs.last_changed_at_utc, jobs.first_seen_at_utc),
                current_timestamp at time zone 'UTC'
            )
        ) as double) / 1000000 as age_seconds,
        jobs.last_changed_at_utc
    from klaviyo.jobs as jobs
    left join listings on jobs.account = listings.account and jobs.job_kind = listings.job_kind
    where jobs.ended_on is null and jobs.outcome = 'in_progress'
),

stuck as (
    select in_progress.*
    from in_progress
    cross join thresholds
    where in_progress.age_seconds >= thresholds.stuck_after_seconds
)

select * from stuck;

comment on view klaviyo.stuck_jobs is
'One row per job that is still in progress although it is older than stuck_after_seconds in reporting_settings.';
comment on column klaviyo.stuck_jobs.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.stuck_jobs.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.stuck_jobs.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.stuck_jobs.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.stuck_jobs.job_id is
'Klaviyo''s id of the job.';
comment on column klaviyo.stuck_jobs.status is
'Status in Klaviyo''s words when the job was last read.';
comment on column klaviyo.stuck_jobs.created_at_utc is
'When the job was created, UTC.';
comment on column klaviyo.stuck_jobs.age_seconds is
'Seconds from its creation to the last complete listing, which showed it.';
comment on column klaviyo.stuck_jobs.last_changed_at_utc is
'When a run last found the job changed, UTC.';
