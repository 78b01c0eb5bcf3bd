-- klaviyo.job_kinds: what the jobs of each kind do, and to what.
-- Grain:  one row per (job_kind).
-- Reads:  nothing.
-- Nulls:  relationship of kinds whose jobs name resources in several.
create or replace view klaviyo.job_kinds as
with

kinds (entity, operation, relationship, resource_type, lists_results, does_expire) as (
    values
    ('item', 'create', 'items', 'catalog-item', true, true),
    ('item', 'update', 'items', 'catalog-item', true, true),
    ('item', 'delete', 'items', 'catalog-item', true, true),
    ('variant', 'create', 'variants', 'catalog-variant', true, true),
    ('variant', 'update', 'variants', 'catalog-variant', true, true),
    ('variant', 'delete', 'variants', 'catalog-variant', true, true),
    ('category', 'create', 'categories', 'catalog-category', true, true),
    ('category', 'update', 'categories', 'catalog-category', true, true),
    ('category', 'delete', 'categories', 'catalog-category', true, true),
    ('coupon-code', 'create', 'coupon-codes', 'coupon-code', true, true),
    ('profile', 'import', 'lists', 'profile', false, true),
    ('profile', 'suppress', null, 'profile', false, false),
    ('profile', 'unsuppress', null, 'profile', false, false)
)

select
    entity || '-' || operation as job_kind,
    entity,
    operation,
    relationship,
    resource_type,
    lists_results,
    does_expire
from kinds;

comment on view klaviyo.job_kinds is
'One row per kind of bulk job: what it does, and to what.';
comment on column klaviyo.job_kinds.job_kind is
'Name of the kind, e.g. item-create.';
comment on column klaviyo.job_kinds.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.job_kinds.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.job_kinds.relationship is
'Name of the list of resources in such a job, e.g. items; null if there are several.';
comment on column klaviyo.job_kinds.resource_type is
'Klaviyo''s type of what the jobs work on, e.g. catalog-item.';
comment on column klaviyo.job_kinds.lists_results is
'Whether the resources that a job lists are those it has succeeded with; if not, the lists and segments it is about.';
comment on column klaviyo.job_kinds.does_expire is
'Whether Klaviyo forgets the jobs, seven days after their creation.';
