-- klaviyo.stuck_jobs: jobs that should have ended long ago.
-- Grain:  one row per (account, job_kind, job_id).
-- Reads:  klaviyo.jobs, klaviyo.reporting_settings (stuck_after_seconds: the one place of the threshold).
-- Units:  seconds up to the moment of the query. Without fresh listings a job only looks stuck: see listing_freshness.
-- Left out: vanished jobs, of which nobody will ever know more.
create or replace view klaviyo.stuck_jobs as
with

jobs as (
    select * from klaviyo.jobs
),

settings as (
    select stuck_after_seconds from klaviyo.reporting_settings
),

in_progress as (
    select
        account,
        job_kind,
        job_id,
        status,
        created_at_utc,
        cast(date_diff('microsecond', created_at_utc, current_timestamp at time zone 'UTC') as double)
        / 1000000 as age_seconds,
        last_changed_at_utc
    from jobs
    where outcome = 'in_progress'
),

stuck as (
    select in_progress.*
    from in_progress
    cross join settings
    where in_progress.age_seconds >= settings.stuck_after_seconds
)

select * from stuck;

comment on view klaviyo.stuck_jobs is
'One row per job that is still in progress although it is older than stuck_after_seconds in reporting_settings.';
comment on column klaviyo.stuck_jobs.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.stuck_jobs.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.stuck_jobs.job_id is
'Klaviyo''s id of the job.';
comment on column klaviyo.stuck_jobs.status is
'Status in Klaviyo''s words when the job was last read.';
comment on column klaviyo.stuck_jobs.created_at_utc is
'When the job was created, UTC.';
comment on column klaviyo.stuck_jobs.age_seconds is
'Seconds from its creation to the moment of the query.';
comment on column klaviyo.stuck_jobs.last_changed_at_utc is
'When a run last found the job changed, UTC.';
