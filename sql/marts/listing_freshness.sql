-- klaviyo.listing_freshness: how old what we know is.
-- Grain:  one row per (account, job_kind) that was ever listed.
-- Reads:  klaviyo.listings, klaviyo.job_kinds.
-- Units:  seconds up to the moment of the query.
-- Nulls:  last_complete_at_utc and age_seconds if no listing was ever complete; last_error if the last one was.
create or replace view klaviyo.listing_freshness as
with

summed_up as (
    select
        account,
        job_kind,
        max(case when is_complete then finished_at_utc end) as last_complete_at_utc,
        -- Never null, which arg_max would leave out.
        arg_max(coalesce(error, ''), coalesce(started_at_utc, timestamp '0001-01-01 00:00:00')) as last_error
    from klaviyo.listings
    group by account, job_kind
),

aged as (
    select
        summed_up.account,
        summed_up.job_kind,
        kinds.entity,
        kinds.operation,
        summed_up.last_complete_at_utc,
        cast(date_diff(
            'microsecond', summed_up.last_complete_at_utc, current_timestamp at time zone 'UTC'
        ) as double) / 1000000 as age_seconds,
        nullif(summed_up.last_error, '') as last_error
    from summed_up
    left join klaviyo.job_kinds as kinds on summed_up.job_kind = kinds.job_kind
)

select * from aged;

comment on view klaviyo.listing_freshness is
'One row per account and job kind: when its listing was last read to the end, and what went wrong since.';
comment on column klaviyo.listing_freshness.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.listing_freshness.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.listing_freshness.entity is
'What the jobs work on: item, variant, category, coupon-code or profile.';
comment on column klaviyo.listing_freshness.operation is
'What they do to it: create, update, delete, import, suppress or unsuppress.';
comment on column klaviyo.listing_freshness.last_complete_at_utc is
'When a run last read the listing to its last page, UTC.';
comment on column klaviyo.listing_freshness.age_seconds is
'Seconds from then to the moment of the query.';
comment on column klaviyo.listing_freshness.last_error is
'Error of the newest listing; null if that went well.';
