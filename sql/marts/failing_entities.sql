-- klaviyo.failing_entities: which items, variants and categories failed, and whether a later job repaired it.
-- Grain:  one row per (account, related_type, related_id); job_kind is that of its last failed job.
-- Reads:  klaviyo.job_errors, klaviyo.jobs, and klaviyo_raw.job_linkages: the view on it looks up a job for each row.
-- Units:  failures are jobs, of any operation on the entity; failures >= 2 gives those that failed again and again.
-- Times:  a failure is dated by the creation of its job, and a later job is one created later.
-- Nulls:  external_id of an id that holds none; last_detail of an error without; both times if the job is missing.
-- Left out: errors that do not name the resource that failed.
create or replace view klaviyo.failing_entities as
with

errors as (
    select
        *,
        split_part(job_kind, '-', 1) as entity
    from klaviyo.job_errors
    where related_id is not null
),

linkages as (
    select * from klaviyo_raw.job_linkages
),

jobs as (
    select * from klaviyo.jobs
),

-- A job may list several errors of one entity, but the entity failed in it once.
failed_jobs as (
    select
        account,
        entity,
        related_id,
        job_kind,
        job_id,
        min(created_at_utc) as failed_utc
    from errors
    group by account, entity, related_id, job_kind, job_id
),

failures as (
    select
        account,
        entity,
        related_id,
        count(*) as failures,
        min(failed_utc) as first_failed_utc,
        max(failed_utc) as last_failed_utc
    from failed_jobs
    group by account, entity, related_id
),

last_errors as (
    select
        account,
        entity,
        related_id,
        -- A job that is missing has no time, and comes before all that have one. Of two that were created in the same
        -- microsecond either may be the last: to tell them apart would take the memory of as many ids as there are.
        arg_max(
            struct_pack(job_kind := job_kind, detail := detail),
            -- As one number: DuckDB 1.0 compares no structs here.
            cast(coalesce(epoch_us(created_at_utc), -62135596800000000) as hugeint) * 1000000 + position
        ) as last_error
    from errors
    group by account, entity, related_id
),

-- A job lists the resources it has succeeded with. One created after the last failure has no error of the entity.
-- The job is looked up in a second step: DuckDB 1.1, found in BI drivers, takes minutes to join all three at once.
successes as (
    select
        failures.account,
        failures.entity,
        failures.related_id,
        failures.last_failed_utc,
        linkages.job_kind,
        linkages.job_id
    from linkages
    inner join failures
        on
            linkages.account = failures.account
            and linkages.related_id = failures.related_id
            and split_part(linkages.job_kind, '-', 1) = failures.entity
),

repairs as (
    select
        successes.account,
        successes.entity,
        successes.related_id,
        max(jobs.created_at_utc) as last_succeeded_utc
    from successes
    inner join jobs
        on
            successes.account = jobs.account
            and successes.job_kind = jobs.job_kind
            and successes.job_id = jobs.job_id
    where
        jobs.outcome in ('succeeded', 'partly_failed')
        and jobs.created_at_utc > successes.last_failed_utc
    group by successes.account, successes.entity, successes.related_id
),

joined as (
    select
        failures.account,
        last_errors.last_error.job_kind,
        'catalog-' || failures.entity as related_type,
        failures.related_id,
        nullif(regexp_extract(failures.related_id, '^.*?:::.*?:::(.*)$', 1), '') as external_id,
        failures.failures,
        failures.first_failed_utc,
        failures.last_failed_utc,
        last_errors.last_error.detail as last_detail,
        repairs.last_succeeded_utc is not null as is_repaired
    from failures
    inner join last_errors
        on
            failures.account = last_errors.account
            and failures.entity = last_errors.entity
            and failures.related_id = last_errors.related_id
    left join repairs
        on
            failures.account = repairs.account
            and failures.entity = repairs.entity
            and failures.related_id = repairs.related_id
)

select * from joined;

comment on view klaviyo.failing_entities is
'One row per item, variant or category that failed in a bulk job: how often, and whether it was repaired since.';
comment on column klaviyo.failing_entities.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.failing_entities.job_kind is
'Kind of the last job in which it failed.';
comment on column klaviyo.failing_entities.related_type is
'Klaviyo''s type of the resource, e.g. catalog-item.';
comment on column klaviyo.failing_entities.related_id is
'Klaviyo''s id of the resource, e.g. $custom:::$default:::SKU-1.';
comment on column klaviyo.failing_entities.external_id is
'Your own id of the resource: the last part of related_id.';
comment on column klaviyo.failing_entities.failures is
'Jobs in which it failed, whether they create, update or delete.';
comment on column klaviyo.failing_entities.first_failed_utc is
'Creation of the first job in which it failed, UTC.';
comment on column klaviyo.failing_entities.last_failed_utc is
'Creation of the last job in which it failed, UTC.';
comment on column klaviyo.failing_entities.last_detail is
'What went wrong there.';
comment on column klaviyo.failing_entities.is_repaired is
'Whether a job created later, of whatever operation, completed and lists it among what succeeded.';
