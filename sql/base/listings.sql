-- klaviyo.listings: how each run fared with each listing of jobs.
-- Grain:  one row per (account, job_kind, run_id).
-- Reads:  klaviyo_raw.listings.
-- Nulls:  error of a listing that was read to its last page, and the details of its jobs with it.
create or replace view klaviyo.listings as
with

listings as (
    select * from klaviyo_raw.listings
),

renamed as (
    select
        account,
        job_kind,
        run_id,
        started_at at time zone 'UTC' as started_at_utc,
        finished_at at time zone 'UTC' as finished_at_utc,
        is_complete,
        page_count,
        job_count,
        changed_count,
        detail_count,
        rejected_count,
        request_count,
        retry_count,
        throttled_seconds,
        api_revision,
        error
    from listings
)

select * from renamed;

comment on view klaviyo.listings is
'One row per account, job kind and run: how far the listing was read, and what it took.';
comment on column klaviyo.listings.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.listings.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.listings.run_id is
'The run that read the listing.';
comment on column klaviyo.listings.started_at_utc is
'When the run began to read the listing, UTC.';
comment on column klaviyo.listings.finished_at_utc is
'When it had read the last page, or gave up, UTC.';
comment on column klaviyo.listings.is_complete is
'Whether the last page was reached, details aside; an incomplete listing says nothing about absent jobs.';
comment on column klaviyo.listings.page_count is
'Pages read.';
comment on column klaviyo.listings.job_count is
'Jobs listed.';
comment on column klaviyo.listings.changed_count is
'Jobs that were new or had changed.';
comment on column klaviyo.listings.detail_count is
'Jobs of which the detail was read.';
comment on column klaviyo.listings.rejected_count is
'Records that could not be read; they stand in rejected_records.';
comment on column klaviyo.listings.request_count is
'Requests sent, repeated ones included.';
comment on column klaviyo.listings.retry_count is
'Requests that repeated a failed one.';
comment on column klaviyo.listings.throttled_seconds is
'Seconds spent waiting for Klaviyo''s rate limits.';
comment on column klaviyo.listings.api_revision is
'The API revision that was asked for.';
comment on column klaviyo.listings.error is
'Why the listing is not complete, or if it is, why the detail of one of its jobs could not be read; else null.';
