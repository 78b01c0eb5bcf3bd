-- klaviyo.job_linkages: which resources each bulk job has worked on, as listed when the job was last read.
-- Grain:  one row per (account, job_kind, job_id, position).
-- Reads:  klaviyo_raw.job_linkages, klaviyo_raw.jobs.
-- Nulls:  external_id of an id that does not hold one; status and created_at_utc if the job is missing.
create or replace view klaviyo.job_linkages as
with

linkages as (
    select * from klaviyo_raw.job_linkages
),

-- Times are cast before the join: once for each job, not once for each row of its children.
jobs as (
    select
        account,
        job_kind,
        job_id,
        status,
        created_at at time zone 'UTC' as created_at_utc
    from klaviyo_raw.jobs
),

joined as (
    select
        linkages.account,
        linkages.job_kind,
        linkages.job_id,
        linkages.position,
        linkages.relationship,
        linkages.related_type,
        linkages.related_id,
        linkages.external_id,
        linkages.run_id,
        jobs.status,
        jobs.created_at_utc
    from linkages
    left join jobs
        on
            linkages.account = jobs.account
            and linkages.job_kind = jobs.job_kind
            and linkages.job_id = jobs.job_id
)

select * from joined;

comment on view klaviyo.job_linkages is
'One row per resource that a bulk job lists: those that succeeded so far; failed ones stand in job_errors.';
comment on column klaviyo.job_linkages.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_linkages.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_linkages.job_id is
'Klaviyo''s id of the job.';
comment on column klaviyo.job_linkages.position is
'Place of the resource in the job''s list.';
comment on column klaviyo.job_linkages.relationship is
'Name of the list: items, variants or categories.';
comment on column klaviyo.job_linkages.related_type is
'Klaviyo''s type of the resource, e.g. catalog-item.';
comment on column klaviyo.job_linkages.related_id is
'Klaviyo''s id of the resource, e.g. $custom:::$default:::SKU-1.';
comment on column klaviyo.job_linkages.external_id is
'Your own id of the resource: the last part of related_id.';
comment on column klaviyo.job_linkages.run_id is
'The run that read the linkage.';
comment on column klaviyo.job_linkages.status is
'Status of the job in Klaviyo''s words.';
comment on column klaviyo.job_linkages.created_at_utc is
'When the job was created, UTC.';
