-- klaviyo.jobs_in_progress: how much of Klaviyo's limit on jobs in progress is used.
-- Grain:  one row per (account, job_kind) that was ever listed, or has a job in progress.
-- Reads:  klaviyo.jobs, klaviyo.listings, klaviyo.reporting_settings, klaviyo.job_kinds.
-- Units:  jobs; shares run from 0 up. Klaviyo does not say whether the limit is one for each kind or for the account.
-- Left out: vanished jobs, and those past their expiry, which are in progress no more.
create or replace view klaviyo.jobs_in_progress as
with

thresholds as (
    select jobs_in_progress_limit from klaviyo.reporting_settings
),

in_progress as (
    select
        account,
        job_kind,
        count(*) as jobs_in_progress
    from klaviyo.jobs
    where ended_on is null and outcome = 'in_progress'
    group by account, job_kind
),

kinds as (
    select
        account,
        job_kind
    from klaviyo.listings
    union
    select
        account,
        job_kind
    from in_progress
),

counted as (
    select
        kinds.account,
        kinds.job_kind,
        coalesce(in_progress.jobs_in_progress, 0) as jobs_in_progress,
        cast(sum(coalesce(in_progress.jobs_in_progress, 0)) over (partition by kinds.account) as bigint)
            as account_jobs_in_progress
    from kinds
    left join in_progress
        on kinds.account = in_progress.account and kinds.job_kind = in_progress.job_kind
),

compared as (
    select
        counted.account,
        counted.job_kind,
        kinds.entity,
        kinds.operation,
        counted.jobs_in_progress,
        thresholds.jobs_in_progress_limit as limit_count,
        cast(counted.jobs_in_progress as double) / nullif(thresholds.jobs_in_progress_limit, 0) as used_share,
        counted.account_jobs_in_progress,
        cast(counted.account_jobs_in_progress as double) / nullif(thresholds.jobs_in_progress_limit, 0)
            as account_used_share
    from counted
    cross join thresholds
    left join klaviyo.job_kinds as kinds on counted.job_kind = kinds.job_kind
)

select * from compared;

comment on view klaviyo.jobs_in_progress is
'One row per account and job kind: jobs in progress, beside how many Klaviyo allows.';
comment on column klaviyo.jobs_in_progress.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.jobs_in_progress.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.jobs_in_progress.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.jobs_in_progress.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.jobs_in_progress.jobs_in_progress is
'Jobs that had not finished when they were last read.';
comment on column klaviyo.jobs_in_progress.limit_count is
'How many jobs Klaviyo lets be in progress at one time.';
comment on column klaviyo.jobs_in_progress.used_share is
'jobs_in_progress / limit_count.';
comment on column klaviyo.jobs_in_progress.account_jobs_in_progress is
'jobs_in_progress of all kinds of the account: whether the limit is one for all of them, Klaviyo does not say.';
comment on column klaviyo.jobs_in_progress.account_used_share is
'account_jobs_in_progress / limit_count.';
