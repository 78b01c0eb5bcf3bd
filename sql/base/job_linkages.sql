-- klaviyo.job_linkages: which resources each bulk job has worked on, as listed when the job was last read.
-- Grain:  one row per (account, job_kind, job_id, position).
-- Reads:  klaviyo_raw.job_linkages, klaviyo_raw.jobs, klaviyo.job_kinds.
-- Nulls:  external_id of an id that does not hold one; run_id, status and created_at_utc if the job is missing.
create or replace view klaviyo.job_linkages as
with

linkages as (
    select
        *,
        -- A compound id is integration:::catalog:::external id; the last part may hold ::: itself.
        strpos(related_id, ':::') as first_mark,
        strpos(substr(related_id, strpos(related_id, ':::') + 3), ':::') as second_mark
    from klaviyo_raw.job_linkages
),

-- What is the same for all children of a job is made before the join: once for each job.
jobs as (
    select
        account,
        job_kind,
        job_id,
        run_id,
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
        coalesce(
            kinds.relationship,
            case linkages.related_type when 'list' then 'lists' when 'segment' then 'segments' end
        ) as relationship,
        linkages.related_type,
        linkages.related_id,
        case
            when linkages.first_mark > 0 and linkages.second_mark > 0
                then substr(linkages.related_id, linkages.first_mark + linkages.second_mark + 5)
        end as external_id,
        jobs.run_id,
        jobs.status,
        jobs.created_at_utc
    from linkages
    left join jobs
        on
            linkages.account = jobs.account
            and linkages.job_kind = jobs.job_kind
            and linkages.job_id = jobs.job_id
    left join klaviyo.job_kinds as kinds on linkages.job_kind = kinds.job_kind
)

select * from joined;

comment on view klaviyo.job_linkages is
'One row per resource that a bulk job lists: those that succeeded so far, or of a profile job its lists and segments.';
comment on column klaviyo.job_linkages.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.job_linkages.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.job_linkages.job_id is
'Klaviyo''s id of the job.';
comment on column klaviyo.job_linkages.position is
'Place of the resource in the job''s list.';
comment on column klaviyo.job_linkages.relationship is
'Name of the relationship: items, variants, categories, coupon-codes, lists or segments.';
comment on column klaviyo.job_linkages.related_type is
'Klaviyo''s type of the resource, e.g. catalog-item.';
comment on column klaviyo.job_linkages.related_id is
'Klaviyo''s id of the resource, e.g. $custom:::$default:::SKU-1.';
comment on column klaviyo.job_linkages.external_id is
'Your own id of the resource: the last part of related_id.';
comment on column klaviyo.job_linkages.run_id is
'The run that last wrote the job.';
comment on column klaviyo.job_linkages.status is
'Status of the job in Klaviyo''s words.';
comment on column klaviyo.job_linkages.created_at_utc is
'When the job was created, UTC.';
