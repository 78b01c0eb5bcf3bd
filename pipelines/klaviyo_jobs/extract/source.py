"""
The dlt source: settings become listings, listings become resources. Reading them is the work of `loads.py`.

In:     settings of the section `sources.klaviyo_jobs`, as arguments or as dlt finds them.
Out:    resources `item_create_jobs` ... `profile_unsuppress_jobs`, one a kind, each over the listings of all accounts.
        They fill the tables of the schema `klaviyo_raw` with Arrow tables, so dlt's row normaliser never sees a row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import dlt
from dlt.extract import DltResource
from dlt.extract.items import DataItemWithMeta

from klaviyo_jobs.api.client import Client
from klaviyo_jobs.choices import select_kinds, select_relationships
from klaviyo_jobs.extract.listing import Listing
from klaviyo_jobs.extract.loads import Loads
from klaviyo_jobs.extract.outcomes import ListingOutcome
from klaviyo_jobs.log import LOGGER
from klaviyo_jobs.model.days import zone_of
from klaviyo_jobs.model.kinds import JobKind
from klaviyo_jobs.model.revisions import DEFAULT_REVISION
from klaviyo_jobs.model.tables import ENTITY_TABLES, TABLES, Table
from klaviyo_jobs.settings import (
    DEFAULT_BASE_URL,
    Settings,
    check_base_url,
    check_revision,
    read_network_settings,
    resolve_keys,
)

SCHEMA_NAME: Final = "klaviyo_jobs"


@dlt.source(name=SCHEMA_NAME, section=SCHEMA_NAME, spec=Settings)
def klaviyo_jobs(
    api_key: str | None = None,
    accounts: Mapping[str, str] | None = None,
    base_url: str = DEFAULT_BASE_URL,
    revision: str = DEFAULT_REVISION,
    kinds: Sequence[str] | None = None,
    include: Sequence[str] | None = None,
    import_error_payloads: bool = False,
    reporting_timezone: str = "UTC",
    labels: Sequence[str] | None = None,
    full_refresh: bool = False,
    outcomes: list[ListingOutcome] | None = None,
) -> Iterable[DltResource]:
    """
    Read a Klaviyo account's bulk jobs, their errors, linkages and included resources.

    Args:
        api_key: Private API key with the scope `catalogs:read`, and those of other kinds that *kinds* names.
        accounts: Label to API key, to read several accounts; instead of *api_key*.
        base_url: The API's address; https, or http on this machine.
        revision: The API revision to ask for.
        kinds: Job kinds to read, e.g. `["item-create", "profile-*"]`, or `["all"]`; the nine of catalogs by default.
        include: Relationships whose resources are read from the details of new and changed create and update jobs:
            `categories` (the default), `items`, `variants`, `coupon-codes`, `lists`; an empty list reads no details.
        import_error_payloads: Ask for the customers' data that imports of profiles could not use, and keep it with
            their errors.
        reporting_timezone: The zone whose days the columns `created_on` and `completed_on` hold.
        labels: Which of *accounts* to read; all by default.
        full_refresh: Read and write every job that is listed, whatever the warehouse knows; history is kept.
        outcomes: Collects how each listing went. A failed listing is then only recorded, here and in the table
            `listings`, and the others are loaded; without it the first failure is raised and nothing is loaded.
    Returns:
        A source whose resources fill `jobs`, `job_errors`, `job_linkages`, `job_observations`, `listings`,
        `rejected_records` and a table for each included relationship.
    Raises:
        SettingError: A setting is missing or cannot be used.
    """
    asked = Settings(
        api_key=api_key,
        accounts=None if accounts is None else dict(accounts),
        base_url=base_url,
        revision=revision,
        kinds=None if kinds is None else list(kinds),
        include=None if include is None else list(include),
        import_error_payloads=import_error_payloads,
        reporting_timezone=reporting_timezone,
    )
    yield from _resources_of(build_listings(asked, labels=labels, full_refresh=full_refresh), outcomes)


def build_listings(
    settings: Settings, *, labels: Sequence[str] | None = None, full_refresh: bool = False
) -> list[Listing]:
    """
    Return the listings that *settings* ask for, kind by kind.

    Args:
        labels: The accounts to read; all by default.
        full_refresh: Whether to read and write every job listed, known or not.
    Raises:
        SettingError: A setting is missing or cannot be used.
    """
    base_url, revision = check_base_url(settings.base_url), check_revision(settings.revision)
    included = select_relationships(settings.include)
    wanted = select_kinds(settings.kinds)
    network = read_network_settings()
    zone_of(settings.reporting_timezone)
    if settings.import_error_payloads and any(kind.payload_field for kind in wanted):
        LOGGER.warning(
            "import_error_payloads is set: what imports of profiles could not use is kept with their errors, in the "
            "warehouse and in every copy of it. It is personal data of your customers."
        )
    clients = [
        Client(label, key, base_url=base_url, revision=revision, network=network)
        for label, key in resolve_keys(settings.api_key, settings.accounts, labels).items()
    ]
    return [
        Listing(
            client,
            kind,
            includes=kind.included is not None and kind.included.plural in included,
            is_full=full_refresh,
            keeps_payload=settings.import_error_payloads,
            reporting_timezone=settings.reporting_timezone,
        )
        for kind in wanted
        for client in clients
    ]


def tables_of(listings: Iterable[Listing]) -> list[Table]:
    """Return every table that a load of *listings* makes."""
    # The table of categories always: that a kind does not include them now says nothing of the views on them.
    entities = [each.kind.included for each in listings if each.includes]
    included = {"categories"} | {entity.table_name for entity in entities if entity is not None}
    return [table for name, table in TABLES.items() if name not in ENTITY_TABLES or name in included]


@dlt.source(name=SCHEMA_NAME, section=SCHEMA_NAME)
def build_source(
    listings: Sequence[Listing], outcomes: list[ListingOutcome], on_recalled: Callable[[str], None]
) -> Iterable[DltResource]:
    """
    Return the source of *listings* as the command reads them: failures go into *outcomes* and are not raised.

    Args:
        on_recalled: Called with the run id when it is known what the warehouse knows, and reading begins.
    """
    yield from _resources_of(listings, outcomes, on_recalled)


def _resources_of(
    listings: Sequence[Listing],
    outcomes: list[ListingOutcome] | None,
    on_recalled: Callable[[str], None] | None = None,
) -> Iterator[DltResource]:
    by_kind: dict[JobKind, list[Listing]] = defaultdict(list)
    for listing in listings:
        by_kind[listing.kind].append(listing)
    loads = Loads(listings, tables_of(listings), outcomes, on_recalled)

    @dlt.transformer
    def with_details(listings: Sequence[Listing]) -> Iterator[DataItemWithMeta | None]:
        yield from loads.iter_rows(listings)

    @dlt.resource
    def listed(listings: Sequence[Listing]) -> Iterator[DataItemWithMeta | None]:
        yield from loads.iter_rows(listings)

    for kind, of_accounts in by_kind.items():
        if of_accounts[0].includes:
            # One item: the accounts are read side by side, over one connection.
            parent = dlt.resource([of_accounts], name=kind.listing_name, selected=False)
            yield parent
            yield parent | with_details.with_name(kind.resource_name)
        else:
            yield listed.with_name(kind.resource_name)(of_accounts)
