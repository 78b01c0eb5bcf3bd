"""How a listing went: the same counts in the ledger, in JSON and on a terminal."""

from __future__ import annotations

from dataclasses import fields

from klaviyo_jobs.cli.render import outcome_object
from klaviyo_jobs.errors import StatusError
from klaviyo_jobs.extract.outcomes import ListingCounts, ListingOutcome
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_jobs.model.tables import LISTINGS

COUNTS = [each.name for each in fields(ListingCounts) if not each.name.startswith("_")]


def outcome(**members: object) -> ListingOutcome:
    """Return an outcome that counts 1, 2, 3 ... in the order of its counts."""
    counts = {name: number for number, name in enumerate(COUNTS, 1)}
    return ListingOutcome(account="shop", kind=KINDS["item-create"], **{**counts, **members})  # type: ignore[arg-type]


def test_every_count_is_a_column_of_the_ledger() -> None:
    """A count that the table does not have would be lost on the way there."""
    assert set(COUNTS) < set(LISTINGS.schema.names)


def test_every_count_of_the_ledger_is_counted() -> None:
    """The table has no count that no listing fills."""
    assert {name for name in LISTINGS.schema.names if name.endswith(("_count", "_seconds"))} == set(COUNTS)


def test_an_outcome_is_told_in_columns() -> None:
    """Each count under its own name, in the order of the table."""
    told = outcome().columns()

    assert list(told) == [name for name in LISTINGS.schema.names if name in told]
    assert {name: told[name] for name in COUNTS} == {name: number for number, name in enumerate(COUNTS, 1)}


def test_an_outcome_as_json_has_the_public_members() -> None:
    """What `--json` prints for a listing: these members, in this order, and the first line of an error."""
    error = StatusError("item-create, page 1: answered 400", status=400, detail="", data="d", next_step="n")

    told = outcome(is_complete=True, error=error)

    assert list(outcome_object(told)) == [
        "account",
        "job_kind",
        "is_complete",
        "page_count",
        "job_count",
        "changed_count",
        "detail_count",
        "rejected_count",
        "request_count",
        "retry_count",
        "throttled_seconds",
        "error",
    ]
    assert outcome_object(told)["account"] == "shop"
    assert outcome_object(told)["job_kind"] == "item-create"
    assert outcome_object(told)["is_complete"] is True
    assert outcome_object(told)["error"] == error.headline
