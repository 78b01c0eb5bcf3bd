-- klaviyo.job_kinds: what the jobs of each kind do, and to what.
-- Grain:  one row per (job_kind).
-- Reads:  nothing.
create or replace view klaviyo.job_kinds as
with

kinds (entity, operation, relationship, resource_type) as (
    values
    ('item', 'create', 'items', 'catalog-item'),
    ('item', 'update', 'items', 'catalog-item'),
    ('item', 'delete', 'items', 'catalog-item'),
    ('variant', 'create', 'variants', 'catalog-variant'),
    ('variant', 'update', 'variants', 'catalog-variant'),
    ('variant', 'delete', 'variants', 'catalog-variant'),
    ('category', 'create', 'categories', 'catalog-category'),
    ('category', 'update', 'categories', 'catalog-category'),
    ('category', 'delete', 'categories', 'catalog-category')
)

select
    entity || '-' || operation as job_kind,
    entity,
    operation,
    relationship,
    resource_type
from kinds;

comment on view klaviyo.job_kinds is
'One row per kind of bulk job: what it does, and to what.';
comment on column klaviyo.job_kinds.job_kind is
'Name of the kind, e.g. item-create.';
comment on column klaviyo.job_kinds.entity is
'What the jobs work on: item, variant or category.';
comment on column klaviyo.job_kinds.operation is
'What they do to it: create, update or delete.';
comment on column klaviyo.job_kinds.relationship is
'Name of the list of resources in such a job, e.g. items.';
comment on column klaviyo.job_kinds.resource_type is
'Klaviyo''s type of these resources, e.g. catalog-item.';
