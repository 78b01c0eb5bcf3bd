-- klaviyo.entity_history: what bulk jobs did to an item, a variant, a category or a coupon code, one after the other.
-- Grain:  one row per (account, job_kind, job_id, result, position).
-- Reads:  klaviyo_raw.job_linkages, klaviyo_raw.job_errors, klaviyo_raw.jobs, klaviyo.job_kinds.
-- Times:  at_utc is the creation of the job: nobody is told when an operation was done.
-- Rule:   a job lists what it has succeeded with so far, and errors that may name what failed. An entity has a row for
--         each success that lists it (there is one, unless a job lists it twice), and one for its errors in a job.
-- Nulls:  external_id of an id that holds none; detail of a success, and of an error without; at_utc if the job is
--         missing.
-- Left out: errors that do not name the resource that failed; the lists and segments that jobs on profiles are about,
--         which are no results.
-- Hint:   a filter on related_id reaches both tables; there is a row for each resource of each job.
create or replace view klaviyo.entity_history as
with

others as (
    select job_kind
    from klaviyo.job_kinds
    where not lists_results
),

results as (
    select
        account,
        job_kind,
        job_id,
        position,
        related_id,
        'succeeded' as result,
        null as detail
    from klaviyo_raw.job_linkages
    where job_kind not in (select others.job_kind from others)

    union all

    select
        account,
        job_kind,
        job_id,
        min(position) as position,
        related_id,
        'failed' as result,
        arg_min(detail, position) as detail
    from klaviyo_raw.job_errors
    where related_id is not null
    group by account, job_kind, job_id, related_id
),

joined as (
    select
        results.account,
        kinds.resource_type as related_type,
        results.related_id,
        nullif(regexp_extract(results.related_id, '^.*?:::.*?:::(.*)$', 1), '') as external_id,
        jobs.created_at at time zone 'UTC' as at_utc,
        results.job_kind,
        results.job_id,
        kinds.entity,
        kinds.operation,
        results.result,
        results.position,
        results.detail
    from results
    left join klaviyo_raw.jobs as jobs
        on
            results.account = jobs.account
            and results.job_kind = jobs.job_kind
            and results.job_id = jobs.job_id
    left join klaviyo.job_kinds as kinds on results.job_kind = kinds.job_kind
)

select * from joined;

comment on view klaviyo.entity_history is
'One row per resource and bulk job that named it: what the job did to it, and whether it succeeded.';
comment on column klaviyo.entity_history.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.entity_history.related_type is
'Klaviyo''s type of the resource, e.g. catalog-item.';
comment on column klaviyo.entity_history.related_id is
'Klaviyo''s id of the resource, e.g. $custom:::$default:::SKU-1.';
comment on column klaviyo.entity_history.external_id is
'Your own id of the resource: the last part of related_id.';
comment on column klaviyo.entity_history.at_utc is
'When the job was created, UTC.';
comment on column klaviyo.entity_history.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.entity_history.job_id is
'Klaviyo''s id of the job.';
comment on column klaviyo.entity_history.entity is
'What the job works on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.entity_history.operation is
'What it was to do: create, update or delete.';
comment on column klaviyo.entity_history.result is
'succeeded or failed.';
comment on column klaviyo.entity_history.position is
'Its place among the successes of the job, or the first one among its errors, counted from 0.';
comment on column klaviyo.entity_history.detail is
'What went wrong, in particular; the first error that names the resource.';
