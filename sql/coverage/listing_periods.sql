-- klaviyo.listing_periods: for which time it is known which jobs there were.
-- Grain:  one row per (account, job_kind, known_from_utc); between two periods lies time that no listing knows of.
-- Reads:  klaviyo.listings.
-- Rule:   Klaviyo lists a job for seven days, so a complete listing at T knows of all that were created in the seven
--         days up to T.
-- Left out: account and job_kind of which no listing was complete.
create or replace view klaviyo.listing_periods as
with

listings as (
    select
        account,
        job_kind,
        coalesce(started_at_utc, finished_at_utc) as known_until_utc,
        coalesce(finished_at_utc, started_at_utc) - interval '7 days' as known_from_utc
    from klaviyo.listings
    where is_complete and coalesce(started_at_utc, finished_at_utc) is not null
),

-- Listings of one day leave no gap between them, and years of runs are many rows to put in order.
days as (
    select
        account,
        job_kind,
        min(known_from_utc) as known_from_utc,
        min(known_until_utc) as first_listed_utc,
        max(known_until_utc) as known_until_utc
    from listings
    group by account, job_kind, cast(known_until_utc as date)
),

compared as (
    select
        *,
        case
            when known_from_utc <= lag(known_until_utc) over (
                partition by account, job_kind
                order by known_until_utc
            ) then 0
            else 1
        end as is_beginning
    from days
),

numbered as (
    select
        *,
        sum(is_beginning) over (
            partition by account, job_kind
            order by known_until_utc
        ) as period,
        min(first_listed_utc) over (partition by account, job_kind) as first_complete_at_utc
    from compared
),

periods as (
    select
        account,
        job_kind,
        min(known_from_utc) as known_from_utc,
        max(known_until_utc) as known_until_utc,
        min(first_complete_at_utc) as first_complete_at_utc
    from numbered
    group by account, job_kind, period
)

select * from periods;

comment on view klaviyo.listing_periods is
'One row per account, job kind and stretch of time of which complete listings know every job that was created in it.';
comment on column klaviyo.listing_periods.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.listing_periods.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.listing_periods.known_from_utc is
'Seven days before the first complete listing of the period, UTC.';
comment on column klaviyo.listing_periods.known_until_utc is
'The last complete listing of the period, UTC.';
comment on column klaviyo.listing_periods.first_complete_at_utc is
'The first complete listing of the account and kind in any period, UTC.';
