-- klaviyo.listing_freshness: how old what we know is.
-- Grain:  one row per (account, job_kind) that was ever listed.
-- Reads:  klaviyo.listings.
-- Units:  seconds up to the moment of the query.
-- Nulls:  last_complete_at_utc and age_seconds if no listing was ever complete; last_error if the last one was.
create or replace view klaviyo.listing_freshness as
with

listings as (
    select * from klaviyo.listings
),

numbered as (
    select
        account,
        job_kind,
        error,
        case when is_complete then finished_at_utc end as complete_at_utc,
        row_number() over (
            partition by account, job_kind
            order by started_at_utc desc nulls last, run_id desc
        ) as newest_first
    from listings
),

summed_up as (
    select
        account,
        job_kind,
        max(complete_at_utc) as last_complete_at_utc,
        max(case when newest_first = 1 then error end) as last_error
    from numbered
    group by account, job_kind
),

aged as (
    select
        account,
        job_kind,
        last_complete_at_utc,
        cast(date_diff('microsecond', last_complete_at_utc, current_timestamp at time zone 'UTC') as double)
        / 1000000 as age_seconds,
        last_error
    from summed_up
)

select * from aged;

comment on view klaviyo.listing_freshness is
'One row per account and job kind: when its listing was last read to the end, and what went wrong since.';
comment on column klaviyo.listing_freshness.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.listing_freshness.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.listing_freshness.last_complete_at_utc is
'When a run last read the listing to its last page, UTC.';
comment on column klaviyo.listing_freshness.age_seconds is
'Seconds from then to the moment of the query.';
comment on column klaviyo.listing_freshness.last_error is
'Error of the newest listing; null if that went well.';
