-- klaviyo.known_hours: the hours in which no job means that there was none.
-- Grain:  one row per (account, job_kind, hour_utc).
-- Reads:  klaviyo.listing_periods, klaviyo.reporting_offsets, klaviyo_raw.jobs.
-- Rule:   that of known_days. Hours are those of the reporting time zone: where its clocks are half an hour off, so
--         are they, and the hours of a day add up to the day.
-- Used by: every hourly view, for its rows of zeros.
create or replace view klaviyo.known_hours as
with

periods as (
    select
        periods.account,
        periods.job_kind,
        periods.first_complete_at_utc,
        offsets.offset_seconds * interval '1 second' as clock_offset,
        greatest(periods.known_from_utc, offsets.from_utc) as from_utc,
        least(periods.known_until_utc, offsets.until_utc - interval '1 microsecond') as until_utc
    from klaviyo.listing_periods as periods
    inner join klaviyo.reporting_offsets as offsets
        on periods.known_from_utc < offsets.until_utc and periods.known_until_utc >= offsets.from_utc
),

local_hours as (
    select
        account,
        job_kind,
        first_complete_at_utc,
        clock_offset,
        unnest(generate_series(
            date_trunc('hour', from_utc + clock_offset), until_utc + clock_offset, interval '1 hour'
        )) as local_hour
    from periods
),

hours as (
    select
        account,
        job_kind,
        first_complete_at_utc,
        local_hour - clock_offset as hour_utc,
        cast(local_hour as date) as day,
        cast(extract(hour from local_hour) as integer) as hour
    from local_hours
),

later_hours as (
    select
        account,
        job_kind,
        hour_utc,
        day,
        hour
    from hours
    where hour_utc + interval '1 hour' > first_complete_at_utc
),

earlier_hours as (
    select
        hours.account,
        hours.job_kind,
        hours.hour_utc,
        hours.day,
        hours.hour
    from hours
    where
        hours.hour_utc + interval '1 hour' <= hours.first_complete_at_utc
        and exists (
            select 1
            from klaviyo_raw.jobs as jobs
            where
                jobs.account = hours.account
                and jobs.job_kind = hours.job_kind
                and jobs.created_on <= hours.day
                and jobs.created_at at time zone 'UTC' < hours.hour_utc + interval '1 hour'
        )
),

known_hours as (
    select * from later_hours
    union
    select * from earlier_hours
)

select * from known_hours;

comment on view klaviyo.known_hours is
'One row per account, job kind and hour of which a complete listing knows the jobs.';
comment on column klaviyo.known_hours.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.known_hours.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.known_hours.hour_utc is
'First moment of the hour, UTC; not a full hour where the clocks of the reporting time zone are not.';
comment on column klaviyo.known_hours.day is
'Its day in the reporting time zone.';
comment on column klaviyo.known_hours.hour is
'Its hour of that day, 0 to 23.';
