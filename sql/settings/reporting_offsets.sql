-- klaviyo.reporting_offsets: how far the clocks of the reporting time zone are ahead of UTC, and when.
-- Grain:  one row per (from_utc): periods of one offset, without gaps, from the first moment to the last.
-- Reads:  nothing.
-- Units:  seconds, negative west of Greenwich; times are naive UTC.
-- Values: those of UTC; views.py writes those of another zone in their place, by the rules of the package tzdata.
--         Whoever reads a copy would use rules of its own, which may be years older and give another day.
create or replace view klaviyo.reporting_offsets as
with

offsets (from_utc, until_utc, offset_seconds) as (
    values ('0001-01-01 00:00:00', '9999-01-01 00:00:00', 0)
)

select
    cast(from_utc as timestamp) as from_utc,
    cast(until_utc as timestamp) as until_utc,
    offset_seconds
from offsets;

comment on view klaviyo.reporting_offsets is
'One row per period: how far the clocks of the reporting time zone are ahead of UTC in it.';
comment on column klaviyo.reporting_offsets.from_utc is
'First moment of the period, UTC.';
comment on column klaviyo.reporting_offsets.until_utc is
'First moment after it, UTC.';
comment on column klaviyo.reporting_offsets.offset_seconds is
'Seconds to be added to UTC.';
