-- klaviyo.known_days: the days on which no job means that there was none.
-- Grain:  one row per (account, job_kind, day).
-- Reads:  klaviyo.listing_periods, klaviyo.reporting_offsets, klaviyo_raw.jobs.
-- Rule:   from the first job or the first complete listing, whichever is earlier, to the last complete listing; a day
--         of which no listing knows any moment is not among them.
-- Used by: every daily view, for its rows of zeros.
create or replace view klaviyo.known_days as
with

periods as (
    select
        periods.account,
        periods.job_kind,
        cast(periods.known_from_utc + first_offset.offset_seconds * interval '1 second' as date) as from_day,
        cast(periods.known_until_utc + last_offset.offset_seconds * interval '1 second' as date) as until_day,
        cast(periods.first_complete_at_utc + listed_offset.offset_seconds * interval '1 second' as date)
            as first_listed_day
    from klaviyo.listing_periods as periods
    inner join klaviyo.reporting_offsets as first_offset
        on periods.known_from_utc >= first_offset.from_utc and periods.known_from_utc < first_offset.until_utc
    inner join klaviyo.reporting_offsets as last_offset
        on periods.known_until_utc >= last_offset.from_utc and periods.known_until_utc < last_offset.until_utc
    inner join klaviyo.reporting_offsets as listed_offset
        on
            periods.first_complete_at_utc >= listed_offset.from_utc
            and periods.first_complete_at_utc < listed_offset.until_utc
),

days as (
    select
        account,
        job_kind,
        first_listed_day,
        cast(unnest(generate_series(
            cast(from_day as timestamp), cast(until_day as timestamp), interval '1 day'
        )) as date) as day
    from periods
),

later_days as (
    select
        account,
        job_kind,
        day
    from days
    where day >= first_listed_day
),

-- Jobs are looked at for the week before the first listing only: a filter on later days never reaches them.
earlier_days as (
    select
        days.account,
        days.job_kind,
        days.day
    from days
    where
        days.day < days.first_listed_day
        and exists (
            select 1
            from klaviyo_raw.jobs as jobs
            where
                jobs.account = days.account
                and jobs.job_kind = days.job_kind
                and jobs.created_on <= days.day
        )
),

known_days as (
    select * from later_days
    union
    select * from earlier_days
)

select * from known_days;

comment on view klaviyo.known_days is
'One row per account, job kind and day (reporting time zone) of which a complete listing knows the jobs.';
comment on column klaviyo.known_days.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.known_days.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.known_days.day is
'A day in the reporting time zone.';
