"""
What the tables of `klaviyo_raw` and their columns mean, for the comments that SQL clients and BI tools show.

In:     nothing.
Out:    texts by table, and by column where no view of the schema `klaviyo` describes a column of that name.
"""

from __future__ import annotations

from typing import Final

from klaviyo_jobs.model.tables import SEEN_RANK, TOMBSTONE

TABLE_DESCRIPTIONS: Final = {
    "jobs": "Bulk jobs as they were last read; one row per account, job_kind and job_id.",
    "job_errors": "The errors that jobs listed when they were last read, in the API's order.",
    "job_linkages": "What jobs listed when they were last read, in the API's order: what they had succeeded with, "
    "or the lists and segments that jobs on profiles are about.",
    "job_observations": "Status and counts of jobs, a row each time a run saw that they had changed.",
    "listings": "Which run read which listing, how far, and with what error.",
    "rejected_records": "Records of the API that could not be read, each once, as they came.",
    "categories": "Categories as they last came with a job.",
    "items": "Items as they last came with a job.",
    "variants": "Variants as they last came with a job.",
    "coupon_codes": "Coupon codes as they last came with a job.",
    "lists": "Lists of profiles as they last came with a job.",
    "alarms": "Which breaches of `check` last, since when, when they were told, and which are acknowledged.",
}

COLUMN_DESCRIPTIONS: Final = {
    "account": "The label of the account in the settings; default if there is one key.",
    "job_kind": "What the job does with what, e.g. item-create.",
    "job_id": "The API's id of the job.",
    "run_id": "The run that wrote the row.",
    "created_at": "When it was created.",
    "completed_at": "When the job was completed.",
    "expires_at": "When Klaviyo forgets the job.",
    "updated_at": "When it was last updated, as Klaviyo says.",
    "first_seen_at": "When a run first saw the job.",
    "last_changed_at": "When a run last saw the job changed.",
    "vanished_at": "When a complete listing first lacked the job, which had not finished.",
    "observed_at": "When a run saw it so.",
    "started_at": "When it began: of a job, as Klaviyo says; of a listing, when the run began to read it.",
    "finished_at": "When the run had read the listing to its end, or left off.",
    "first_rejected_at": "When a run first met the record.",
    "last_rejected_at": "When a run last met the record.",
    "detail_read_at": "When the job's detail with included resources was last read; null while only the listing was.",
    "errors_read_at": "When the errors that are a list of their own were last read; null while only the listing was.",
    "content_hash": "A hash of all that is stored of what the API says of the job: another hash, another content.",
    "listed_hash": "A hash of the bytes by which a listing showed this content; null where none did.",
    "api_revision": "The API revision that was asked for.",
    "extra": "Members that the API sends and no column holds, as JSON.",
    "meta": "The error's member meta, as JSON.",
    "original_payload": "What the import was sent: personal data, kept only if import_error_payloads is set.",
    "raw": "The record as it came, as JSON, or as text where it is none.",
    "images": "Addresses of further images, as JSON.",
    "custom_metadata": "The shop's own members, as JSON.",
    TOMBSTONE: "Never set in a stored row: it tells a load that a job has no such rows any more.",
    SEEN_RANK: "Orders the reads of one resource: its time, then the job that it came with; the highest is kept.",
    "seen_in_job_id": "The job whose detail last held it.",
    "category_id": "Klaviyo's id of the category.",
    "item_id": "Klaviyo's id of the item.",
    "variant_id": "Klaviyo's id of the variant.",
    "coupon_code_id": "Klaviyo's id of the coupon code.",
    "list_id": "Klaviyo's id of the list.",
    "unique_code": "The code itself, as a customer enters it.",
    "opt_in_process": "Whether a new member has to confirm: double_opt_in or single_opt_in.",
    "external_id": "The shop's own id.",
    "name": "Its name.",
    "title": "Its title.",
    "description": "Its description.",
    "price": "Its price, in the shop's currency.",
    "url": "Its address in the shop.",
    "image_full_url": "The address of its image.",
    "image_thumbnail_url": "The address of a small image.",
    "published": "Whether it is published.",
    "sku": "The shop's stock-keeping unit.",
    "inventory_policy": "What Klaviyo does when nothing is left: 0 and 2 recommend it all the same, 1 does not.",
    "inventory_quantity": "How many are left.",
}
