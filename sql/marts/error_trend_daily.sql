-- klaviyo.error_trend_daily: which errors occurred on each day, and which of them were new.
-- Grain:  one row per (account, job_kind, fingerprint, day) on which such an error occurred.
-- Reads:  klaviyo.job_errors, klaviyo_raw.jobs, klaviyo.job_kinds.
-- Units:  occurrences are errors; both measures add up over days. An error has no time of its own: its day is that on
--         which its job was created.
-- Left out: errors of a job that is missing.
create or replace view klaviyo.error_trend_daily as
with

errors as (
    select
        account,
        job_kind,
        fingerprint,
        job_id,
        created_on as day
    from klaviyo.job_errors
    where created_on is not null
),

days as (
    select
        account,
        job_kind,
        fingerprint,
        day,
        count(*) as occurrences,
        count(distinct job_id) as jobs
    from errors
    group by account, job_kind, fingerprint, day
),

first_days as (
    select
        account,
        job_kind,
        fingerprint,
        min(created_on) as first_day
    from klaviyo.job_errors
    group by account, job_kind, fingerprint
),

judged as (
    select
        days.account,
        days.job_kind,
        kinds.entity,
        kinds.operation,
        days.fingerprint,
        days.day,
        days.occurrences,
        days.jobs,
        days.day = first_days.first_day as is_new
    from days
    inner join first_days
        on
            days.account = first_days.account
            and days.job_kind = first_days.job_kind
            and days.fingerprint = first_days.fingerprint
    left join klaviyo.job_kinds as kinds on days.job_kind = kinds.job_kind
)

select * from judged;

comment on view klaviyo.error_trend_daily is
'One row per account, job kind, distinct error message and day (reporting time zone) on which it occurred.';
comment on column klaviyo.error_trend_daily.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.error_trend_daily.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.error_trend_daily.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.error_trend_daily.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.error_trend_daily.fingerprint is
'The message (detail, else title, else code) with ? for each id, number and quoted value.';
comment on column klaviyo.error_trend_daily.day is
'Day on which the jobs were created, in the reporting time zone.';
comment on column klaviyo.error_trend_daily.occurrences is
'Errors with this message in jobs of the day.';
comment on column klaviyo.error_trend_daily.jobs is
'Jobs of the day with such an error.';
comment on column klaviyo.error_trend_daily.is_new is
'Whether the account and kind had no such error on any day before.';
