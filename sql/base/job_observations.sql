-- klaviyo.job_observations: what each bulk job looked like each time a run found it changed.
-- Grain:  one row per (account, job_kind, job_id, observed_at_utc).
-- Reads:  klaviyo_raw.job_observations.
create or replace view klaviyo.job_observations as
with

observations as (
    select * from klaviyo_raw.job_observations
),

renamed as (
    select
        account,
        job_kind,
        job_id,
        observed_at at time zone 'UTC' as observed_at_utc,
        status,
        total_count,
        completed_count,
        failed_count,
        error_count,
        linkage_count,
        run_id,
        skipped_count
    from observations
)

select * from renamed;

comment on view klaviyo.job_observations is
'One row per bulk job and change that a run saw: the history of the job.';
comment on column klaviyo.job_observations.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_observations.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_observations.job_id is
'Klaviyo''s id of the job.';
comment on column klaviyo.job_observations.observed_at_utc is
'When the run saw the change, UTC.';
comment on column klaviyo.job_observations.status is
'Status in Klaviyo''s words at that time.';
comment on column klaviyo.job_observations.total_count is
'Operations to be processed.';
comment on column klaviyo.job_observations.completed_count is
'Operations that had succeeded.';
comment on column klaviyo.job_observations.failed_count is
'Operations that had failed.';
comment on column klaviyo.job_observations.error_count is
'Errors the job listed.';
comment on column klaviyo.job_observations.linkage_count is
'Related resources the job listed.';
comment on column klaviyo.job_observations.run_id is
'The run that saw the change.';
comment on column klaviyo.job_observations.skipped_count is
'Profiles that a suppression had passed over; null in jobs of other kinds.';
