-- klaviyo.reporting_settings: what the other views are told.
-- Grain:  exactly one row.
-- Reads:  nothing.
-- Units:  seconds, jobs.
-- Values: the defaults; views.py writes other values in their place when a setting asks for them.
create or replace view klaviyo.reporting_settings as
select
    'UTC' as reporting_timezone,
    21600 as stuck_after_seconds,
    500 as jobs_in_progress_limit;

comment on view klaviyo.reporting_settings is
'One row: the settings that the other views read.';
comment on column klaviyo.reporting_settings.reporting_timezone is
'Time zone whose midnights bound a day in every daily view, e.g. Europe/Berlin.';
comment on column klaviyo.reporting_settings.stuck_after_seconds is
'Age from which an unfinished job counts as stuck; six hours unless set otherwise.';
comment on column klaviyo.reporting_settings.jobs_in_progress_limit is
'How many jobs Klaviyo lets be in progress at one time.';
