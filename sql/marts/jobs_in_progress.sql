-- klaviyo.jobs_in_progress: how much of Klaviyo's limit on jobs in progress is used.
-- Grain:  one row per (account, job_kind) that ever had a job.
-- Reads:  klaviyo.jobs, klaviyo.reporting_settings.
-- Units:  jobs; used_share runs from 0 up. Klaviyo does not say whether the limit is one for each kind or one for the
--         account; for the latter: select account, sum(jobs_in_progress) from klaviyo.jobs_in_progress group by account
-- Left out: vanished jobs, which are in progress no more.
create or replace view klaviyo.jobs_in_progress as
with

jobs as (
    select * from klaviyo.jobs
),

settings as (
    select jobs_in_progress_limit from klaviyo.reporting_settings
),

counted as (
    select
        account,
        job_kind,
        count(case when outcome = 'in_progress' then 1 end) as jobs_in_progress
    from jobs
    group by account, job_kind
),

compared as (
    select
        counted.account,
        counted.job_kind,
        counted.jobs_in_progress,
        settings.jobs_in_progress_limit as limit_count,
        cast(counted.jobs_in_progress as double) / nullif(settings.jobs_in_progress_limit, 0) as used_share
    from counted
    cross join settings
)

select * from compared;

comment on view klaviyo.jobs_in_progress is
'One row per account and job kind: jobs in progress, beside how many Klaviyo allows.';
comment on column klaviyo.jobs_in_progress.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.jobs_in_progress.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.jobs_in_progress.jobs_in_progress is
'Jobs that had not finished when they were last read.';
comment on column klaviyo.jobs_in_progress.limit_count is
'How many jobs Klaviyo lets be in progress at one time.';
comment on column klaviyo.jobs_in_progress.used_share is
'jobs_in_progress / limit_count.';
