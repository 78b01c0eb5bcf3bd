-- klaviyo.failing_entities: which items, variants, categories and coupon codes failed, and which later job repaired it.
-- Grain:  one row per (account, related_type, related_id); job_kind is that of its last failed job.
-- Reads:  klaviyo.job_errors, klaviyo.jobs, klaviyo.job_kinds, and klaviyo_raw.job_linkages: the view on it looks up a
--         job for each row.
-- Units:  failures are jobs, of any operation on the entity; failures >= 2 gives those that failed again and again.
-- Times:  a failure is dated by the creation of its job, and a later job is one created later.
-- Rule:   a failed delete is repaired by a later delete only, as any other success proves that the entity is still
--         there; a failed create or update by whatever succeeds later. Repaired is what has no failure left.
-- Nulls:  external_id of an id that holds none; last_detail of an error without; both times if the job is missing;
--         repaired_utc and repaired_by_job_id of what is not repaired.
-- Left out: errors that do not name the resource that failed.
create or replace view klaviyo.failing_entities as
with

errors as (
    select
        errors.account,
        kinds.entity,
        errors.related_id,
        errors.job_kind,
        errors.job_id,
        kinds.operation,
        kinds.resource_type,
        errors.detail,
        errors.created_at_utc,
        -- What puts errors in order, as one number: the time of the job (a job that is missing has none, and comes
        -- first), the place, and of two jobs that were created in the same microsecond either. Of texts an aggregate
        -- would keep as many as there are entities, in memory that DuckDB cannot spill.
        cast(coalesce(epoch_us(errors.created_at_utc), -62135596800000000) as hugeint) * 4611686018427387904
        + cast(errors.position as hugeint) * 4398046511104
        + cast(hash(errors.job_id) >> 22 as hugeint) as error_rank
    from klaviyo.job_errors as errors
    inner join klaviyo.job_kinds as kinds on errors.job_kind = kinds.job_kind
    where errors.related_id is not null
),

-- A job may list several errors of one entity, but the entity failed in it once.
failed_jobs as (
    select
        account,
        entity,
        related_id,
        operation,
        job_kind,
        job_id,
        min(created_at_utc) as failed_utc,
        max(error_rank) as error_rank
    from errors
    group by account, entity, related_id, operation, job_kind, job_id
),

failures as (
    select
        account,
        entity,
        related_id,
        count(*) as failures,
        min(failed_utc) as first_failed_utc,
        max(failed_utc) as last_failed_utc,
        max(case when operation = 'delete' then failed_utc end) as last_failed_delete_utc,
        max(case when operation <> 'delete' then failed_utc end) as last_failed_write_utc,
        count(case when operation = 'delete' then 1 end) as failed_deletes,
        max(error_rank) as error_rank
    from failed_jobs
    group by account, entity, related_id
),

-- A job lists the resources it has succeeded with. One created after the last failure has no error of the entity.
-- The job is looked up in a second step: DuckDB 1.1, found in BI drivers, takes minutes to join all three at once.
successes as (
    select
        failures.account,
        failures.entity,
        failures.related_id,
        failures.last_failed_delete_utc,
        failures.last_failed_write_utc,
        kinds.operation,
        linkages.job_kind,
        linkages.job_id
    from klaviyo_raw.job_linkages as linkages
    inner join klaviyo.job_kinds as kinds on linkages.job_kind = kinds.job_kind and kinds.lists_results
    inner join failures
        on
            linkages.account = failures.account
            and linkages.related_id = failures.related_id
            and kinds.entity = failures.entity
),

repairs as (
    select
        successes.account,
        successes.entity,
        successes.related_id,
        min(
            case
                when successes.operation = 'delete' and jobs.created_at_utc > successes.last_failed_delete_utc
                    then jobs.created_at_utc
            end
        ) as deleted_utc,
        arg_min(
            successes.job_id,
            case
                when successes.operation = 'delete' and jobs.created_at_utc > successes.last_failed_delete_utc
                    then jobs.created_at_utc
            end
        ) as deleted_by_job_id,
        min(
            case when jobs.created_at_utc > successes.last_failed_write_utc then jobs.created_at_utc end
        ) as written_utc,
        arg_min(
            successes.job_id,
            case when jobs.created_at_utc > successes.last_failed_write_utc then jobs.created_at_utc end
        ) as written_by_job_id
    from successes
    inner join klaviyo.jobs as jobs
        on
            successes.account = jobs.account
            and successes.job_kind = jobs.job_kind
            and successes.job_id = jobs.job_id
    where jobs.outcome in ('succeeded', 'partly_failed', 'incomplete')
    group by successes.account, successes.entity, successes.related_id
),

joined as (
    select
        failures.account,
        last_errors.job_kind,
        failures.entity,
        last_errors.operation,
        last_errors.resource_type as related_type,
        failures.related_id,
        nullif(regexp_extract(failures.related_id, '^.*?:::.*?:::(.*)$', 1), '') as external_id,
        failures.failures,
        failures.first_failed_utc,
        failures.last_failed_utc,
        last_errors.detail as last_detail,
        (failures.failed_deletes = 0 or repairs.deleted_utc is not null)
        and (failures.failed_deletes = failures.failures or repairs.written_utc is not null) as is_repaired,
        repairs.deleted_utc,
        repairs.deleted_by_job_id,
        repairs.written_utc,
        repairs.written_by_job_id
    from failures
    inner join errors as last_errors
        on
            failures.account = last_errors.account
            and failures.entity = last_errors.entity
            and failures.related_id = last_errors.related_id
            and failures.error_rank = last_errors.error_rank
    left join repairs
        on
            failures.account = repairs.account
            and failures.entity = repairs.entity
            and failures.related_id = repairs.related_id
),

judged as (
    select
        account,
        job_kind,
        entity,
        operation,
        related_type,
        related_id,
        external_id,
        failures,
        first_failed_utc,
        last_failed_utc,
        last_detail,
        is_repaired,
        case when is_repaired then greatest(deleted_utc, written_utc) end as repaired_utc,
        case
            when is_repaired and (deleted_utc is null or written_utc > deleted_utc) then written_by_job_id
            when is_repaired then deleted_by_job_id
        end as repaired_by_job_id
    from joined
)

select * from judged;

comment on view klaviyo.failing_entities is
'One row per resource that failed in a bulk job: how often it failed, and whether it was repaired since.';
comment on column klaviyo.failing_entities.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.failing_entities.job_kind is
'Kind of the last job in which it failed.';
comment on column klaviyo.failing_entities.entity is
'What failed: an item, a variant or a category.';
comment on column klaviyo.failing_entities.operation is
'What that last job was to do to it: create, update or delete.';
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
'Whether later jobs have made good what failed: a failed delete by a delete, any other failure by any success.';
comment on column klaviyo.failing_entities.repaired_utc is
'Creation of the job since which nothing is left to repair, UTC; null if something is.';
comment on column klaviyo.failing_entities.repaired_by_job_id is
'That job.';
