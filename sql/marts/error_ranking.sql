-- klaviyo.error_ranking: which errors have occurred in all time, how often, and since when.
-- Grain:  one row per (account, job_kind, fingerprint, code, title).
-- Reads:  klaviyo.job_errors, klaviyo.job_kinds.
-- Units:  occurrences are errors. An error has no time of its own: it is dated by the creation of its job.
-- Window: none; for the errors of some days ask error_trend_daily, as a filter on last_seen_utc chooses rows that count
--         all time.
-- Nulls:  code and title as Klaviyo sent them; example_detail if no such error has one; times if the job is missing.
create or replace view klaviyo.error_ranking as
with

errors as (
    select * from klaviyo.job_errors
),

ranked as (
    select
        account,
        job_kind,
        fingerprint,
        code,
        title,
        count(*) as occurrences,
        count(distinct job_id) as jobs,
        min(created_at_utc) as first_seen_utc,
        max(created_at_utc) as last_seen_utc,
        min(detail) as example_detail,
        count(distinct related_id) as entities
    from errors
    group by account, job_kind, fingerprint, code, title
),

joined as (
    select
        ranked.account,
        ranked.job_kind,
        kinds.entity,
        kinds.operation,
        ranked.fingerprint,
        ranked.code,
        ranked.title,
        ranked.occurrences,
        ranked.jobs,
        ranked.first_seen_utc,
        ranked.last_seen_utc,
        ranked.example_detail,
        ranked.entities
    from ranked
    left join klaviyo.job_kinds as kinds on ranked.job_kind = kinds.job_kind
)

select * from joined;

comment on view klaviyo.error_ranking is
'One row per account, job kind and distinct error message of all time, its ids, numbers and quoted values masked.';
comment on column klaviyo.error_ranking.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.error_ranking.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.error_ranking.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.error_ranking.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.error_ranking.fingerprint is
'The message (detail, else title, else code) with ? for each id, number and quoted value.';
comment on column klaviyo.error_ranking.code is
'Klaviyo''s code of the error, e.g. invalid.';
comment on column klaviyo.error_ranking.title is
'What went wrong, in general.';
comment on column klaviyo.error_ranking.occurrences is
'Errors with this message.';
comment on column klaviyo.error_ranking.jobs is
'Jobs with such an error.';
comment on column klaviyo.error_ranking.first_seen_utc is
'Creation of the first job with such an error, UTC.';
comment on column klaviyo.error_ranking.last_seen_utc is
'Creation of the last job with such an error, UTC.';
comment on column klaviyo.error_ranking.example_detail is
'The detail of one such error, in full.';
comment on column klaviyo.error_ranking.entities is
'Distinct resources that such errors name; 0 if none names one.';
