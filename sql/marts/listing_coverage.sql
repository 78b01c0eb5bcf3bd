-- klaviyo.listing_coverage: of which days it is known which jobs there were.
-- Grain:  one row per (account, job_kind, day), without gaps from the first job or complete listing to the last one.
-- Reads:  klaviyo.known_days, klaviyo.jobs, klaviyo.job_kinds.
-- Rule:   a complete listing at T knows the jobs created in the seven days before it.
-- Left out: account and job_kind of which no listing was complete.
create or replace view klaviyo.listing_coverage as
with

known_days as (
    select * from klaviyo.known_days
),

first_jobs as (
    select
        account,
        job_kind,
        min(created_on) as first_day
    from klaviyo.jobs
    group by account, job_kind
),

spans as (
    select
        known_days.account,
        known_days.job_kind,
        -- A job that is ten years older than all listings has a wrong date.
        greatest(
            least(min(known_days.day), min(first_jobs.first_day)), min(known_days.day) - interval '10 years'
        ) as first_day,
        max(known_days.day) as last_day
    from known_days
    left join first_jobs
        on known_days.account = first_jobs.account and known_days.job_kind = first_jobs.job_kind
    group by known_days.account, known_days.job_kind
),

days as (
    select
        account,
        job_kind,
        cast(unnest(generate_series(
            cast(first_day as timestamp), cast(last_day as timestamp), interval '1 day'
        )) as date) as day
    from spans
),

judged as (
    select
        days.account,
        days.job_kind,
        kinds.entity,
        kinds.operation,
        days.day,
        known_days.day is not null as is_known
    from days
    left join known_days
        on
            days.account = known_days.account
            and days.job_kind = known_days.job_kind
            and days.day = known_days.day
    left join klaviyo.job_kinds as kinds on days.job_kind = kinds.job_kind
)

select * from judged;

comment on view klaviyo.listing_coverage is
'One row per account, job kind and day (reporting time zone): whether the jobs of the day are known.';
comment on column klaviyo.listing_coverage.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.listing_coverage.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.listing_coverage.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.listing_coverage.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.listing_coverage.day is
'A day in the reporting time zone.';
comment on column klaviyo.listing_coverage.is_known is
'Whether a complete listing of the seven days from then on knows of it; otherwise jobs may be missing, or all of them.';
