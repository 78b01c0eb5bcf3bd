-- klaviyo.rejected_records: what the API sent that could not be read.
-- Grain:  one row per (account, job_kind, record_hash).
-- Reads:  klaviyo_raw.rejected_records.
create or replace view klaviyo.rejected_records as
with

rejected as (
    select * from klaviyo_raw.rejected_records
),

renamed as (
    select
        account,
        job_kind,
        record_hash,
        endpoint,
        json_path,
        reason,
        raw,
        first_rejected_at at time zone 'UTC' as first_rejected_at_utc,
        last_rejected_at at time zone 'UTC' as last_rejected_at_utc,
        times,
        run_id
    from rejected
)

select * from renamed;

comment on view klaviyo.rejected_records is
'One row per record that could not be read: kept once and as it came, never dropped.';
comment on column klaviyo.rejected_records.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.rejected_records.job_kind is
'Which of the thirteen kinds of bulk job, e.g. item-create.';
comment on column klaviyo.rejected_records.record_hash is
'Hash of the record, and of the job that it is a part of.';
comment on column klaviyo.rejected_records.endpoint is
'Where the record came from, when a run last met it.';
comment on column klaviyo.rejected_records.json_path is
'Which part of it could not be read.';
comment on column klaviyo.rejected_records.reason is
'What was expected there, and what was found.';
comment on column klaviyo.rejected_records.raw is
'The record as it came, as JSON text.';
comment on column klaviyo.rejected_records.first_rejected_at_utc is
'When a run first met the record, UTC.';
comment on column klaviyo.rejected_records.last_rejected_at_utc is
'When a run last met the record, UTC.';
comment on column klaviyo.rejected_records.times is
'How many runs met the record.';
comment on column klaviyo.rejected_records.run_id is
'The run that last met the record.';
