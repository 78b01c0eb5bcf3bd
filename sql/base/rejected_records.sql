-- klaviyo.rejected_records: what the API sent that could not be read.
-- Grain:  one row per (account, run_id, position).
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
        run_id,
        position,
        endpoint,
        json_path,
        reason,
        raw,
        rejected_at at time zone 'UTC' as rejected_at_utc
    from rejected
)

select * from renamed;

comment on view klaviyo.rejected_records is
'One row per record that could not be read: kept as it came, never dropped.';
comment on column klaviyo.rejected_records.account is
'Label of the Klaviyo account in the settings.';
comment on column klaviyo.rejected_records.job_kind is
'Which of the nine kinds of bulk job, e.g. item-create.';
comment on column klaviyo.rejected_records.run_id is
'The run that met the record.';
comment on column klaviyo.rejected_records.position is
'Place of the record among those the run rejected.';
comment on column klaviyo.rejected_records.endpoint is
'Where the record came from.';
comment on column klaviyo.rejected_records.json_path is
'Which part of it could not be read.';
comment on column klaviyo.rejected_records.reason is
'What was expected there, and what was found.';
comment on column klaviyo.rejected_records.raw is
'The record as it came, as JSON text.';
comment on column klaviyo.rejected_records.rejected_at_utc is
'When the run met the record, UTC.';
