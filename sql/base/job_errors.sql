-- klaviyo.job_errors: what went wrong in each bulk job, as listed when the job was last read.
-- Grain:  one row per (account, job_kind, job_id, position).
-- Reads:  klaviyo_raw.job_errors, klaviyo_raw.jobs.
-- Nulls:  every member of an error may be null; status, created_at_utc and created_on are if the job is missing.
create or replace view klaviyo.job_errors as
with

errors as (
    select * from klaviyo_raw.job_errors
),

-- Times are cast before the join: once for each job, not once for each row of its children.
jobs as (
    select
        account,
        job_kind,
        job_id,
        status,
        created_at at time zone 'UTC' as created_at_utc,
        created_on
    from klaviyo_raw.jobs
),

joined as (
    select
        errors.account,
        errors.job_kind,
        errors.job_id,
        errors.position,
        errors.error_id,
        errors.code,
        errors.title,
        errors.detail,
        errors.fingerprint,
        errors.source_pointer,
        errors.related_id,
        errors.meta,
        errors.run_id,
        jobs.status,
        jobs.created_at_utc,
        jobs.created_on
    from errors
    left join jobs
        on
            errors.account = jobs.account
            and errors.job_kind = jobs.job_kind
            and errors.job_id = jobs.job_id
)

select * from joined;

comment on view klaviyo.job_errors is
'One row per error of a bulk job, as listed when the job was last read.';
comment on column klaviyo.job_errors.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_errors.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_errors.job_id is
'Klaviyo''s id of the job.';
comment on column klaviyo.job_errors.position is
'Place of the error in the job''s list of errors.';
comment on column klaviyo.job_errors.error_id is
'Klaviyo''s id of the error.';
comment on column klaviyo.job_errors.code is
'Klaviyo''s code of the error, e.g. invalid; no list of codes is published.';
comment on column klaviyo.job_errors.title is
'What went wrong, in general.';
comment on column klaviyo.job_errors.detail is
'What went wrong, in particular; Klaviyo may word it differently at any time.';
comment on column klaviyo.job_errors.fingerprint is
'Detail (else title, else code) with ? in place of ids, numbers and quoted values: what errors of one sort share.';
comment on column klaviyo.job_errors.source_pointer is
'Which part of the job''s request the error is about, as a JSON pointer; it does not say which resource.';
comment on column klaviyo.job_errors.related_id is
'Klaviyo''s id of the resource that failed, e.g. $custom:::$default:::SKU-1; null in answers that lack it.';
comment on column klaviyo.job_errors.meta is
'The undocumented member `meta` of the error, as JSON text.';
comment on column klaviyo.job_errors.run_id is
'The run that read the error.';
comment on column klaviyo.job_errors.status is
'Status of the job in Klaviyo''s words.';
comment on column klaviyo.job_errors.created_at_utc is
'When the job was created, UTC.';
comment on column klaviyo.job_errors.created_on is
'Day of created_at_utc in the reporting time zone.';
