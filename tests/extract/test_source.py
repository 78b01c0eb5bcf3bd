"""The dlt source: what the API holds stands in the tables, field by field, whoever's pipeline loads it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

import klaviyo_jobs
from klaviyo_jobs.model.kinds import DEFAULT_KINDS, KINDS
from klaviyo_jobs.model.tables import TABLES
from klaviyo_sandbox import JobError, Sandbox, related_id
from support.expected import assert_loaded, expected_errors, expected_jobs, loaded_errors, loaded_jobs
from support.jobs import finished, under_way
from support.loads import HOUR, NOW, Load, Warehouse
from support.pipelines import DATASET, own_pipeline, source_of


def test_a_run_equals_the_api_field_by_field(warehouse: Warehouse) -> None:
    """350 item-create jobs on 4 pages: every job, error and linkage is loaded as served, in order, to the microsecond."""
    with Sandbox("full", clock=NOW) as sandbox:
        summary = Load(sandbox, warehouse)(kinds=["item-create"])
        pages = [request.path for request in sandbox.requests]

    assert len(pages) == 4
    assert summary.error is None
    assert summary.job_count == 350
    assert_loaded(sandbox, warehouse, "item-create")


def test_details_bring_the_included_categories(warehouse: Warehouse) -> None:
    """230 category-create jobs of 20 entities and 3 errors each: one detail call a job, and every category is loaded."""
    with Sandbox("full", clock=NOW) as sandbox:
        Load(sandbox, warehouse)(kinds=["category-create"])
        endpoints = [request.endpoint for request in sandbox.requests]
        included = {linkage for job in sandbox.expected("category-create") for linkage in job.related_ids or ()}

    assert (endpoints.count("list"), endpoints.count("detail")) == (3, 230)
    assert loaded_jobs(warehouse, "category-create") == expected_jobs(sandbox, "category-create")
    assert loaded_errors(warehouse, "category-create") == expected_errors(sandbox, "category-create")
    assert {
        category_id for (category_id,) in warehouse.rows("select category_id from klaviyo_raw.categories")
    } == included
    assert warehouse.value("select count(*) from klaviyo_raw.job_errors") == 230 * 3


@pytest.fixture(scope="module")
def thirteen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Warehouse]]:
    """An API with three jobs of each of the nine kinds, and the warehouse of a run."""
    warehouse = Warehouse(tmp_path_factory.mktemp("nine") / "warehouse.duckdb")
    with Sandbox(clock=NOW) as sandbox:
        for kind in KINDS:
            sandbox.world.add(
                finished(kind, "J1", "A", "B", created_at=NOW - 2 * HOUR, completed_at=NOW - HOUR),
                under_way(kind, "J2"),
                finished(
                    kind,
                    "J3",
                    created_at=NOW - 3 * HOUR,
                    completed_at=NOW - HOUR,
                    completed_count=0,
                    failed_count=1,
                    errors=[JobError("It does not exist.", related_id("C"))],
                    related_ids=None,
                ),
            )
        Load(sandbox, warehouse)(kinds=["all"])
        yield sandbox, warehouse


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_equals_the_api(thirteen: tuple[Sandbox, Warehouse], kind: str) -> None:
    """Each of the thirteen kinds is read from its own listing into the same tables."""
    sandbox, warehouse = thirteen

    assert_loaded(sandbox, warehouse, kind)
    assert warehouse.value("select count(*) from klaviyo_raw.jobs where job_kind = ?", kind) == 3


def test_a_category_is_loaded_with_its_attributes(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """An included category becomes a row with its id, the shop's own id, its name, its time and the job it came with."""
    sandbox.world.add(finished("category-create", "C1", "SHOES"))
    sandbox.world.describe(
        related_id("SHOES"), external_id="SHOES", name="Shoes", updated="2026-11-20T11:59:58.123456+00:00"
    )

    load(kinds=["category-create"])

    assert warehouse.rows(
        "select account, category_id, external_id, name, updated_at at time zone 'UTC', seen_in_job_id, extra from klaviyo_raw.categories"
    ) == [
        (
            "default",
            "$custom:::$default:::SHOES",
            "SHOES",
            "Shoes",
            dt.datetime(2026, 11, 20, 11, 59, 58, 123456),  # noqa: DTZ001 - as the query gives it
            "C1",
            None,
        )
    ]


def test_a_second_run_leaves_the_tables_equal(warehouse: Warehouse) -> None:
    """Nothing changed at the API, so nothing changes in the warehouse but the ledger."""
    with Sandbox("full", clock=NOW) as sandbox:
        load = Load(sandbox, warehouse)
        load(kinds=["item-create", "category-create"])
        before = warehouse.contents()
        load(kinds=["item-create", "category-create"])
        after = warehouse.contents()

    assert after == before
    assert warehouse.count("listings") == 4


@pytest.mark.usefixtures("no_file")
def test_an_empty_account_gets_every_table(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """All tables and views are there after the first run, whatever it found."""
    load(include=["categories", "items", "variants"])

    tables = warehouse.rows(
        "select table_name from duckdb_tables() where schema_name = 'klaviyo_raw' and table_name not like '\\_dlt%' escape '\\' order by 1"
    )
    assert [name for (name,) in tables] == [
        "categories",
        "items",
        "job_errors",
        "job_linkages",
        "job_observations",
        "jobs",
        "listings",
        "rejected_records",
        "variants",
    ]
    assert warehouse.rows("from klaviyo.jobs") == []


def test_dlt_users_load_one_resource_with_their_own_pipeline(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """The source is a normal dlt source: select a resource and run it in any pipeline."""
    sandbox.world.add(finished("item-create", "J1", "A"), finished("category-create", "C1"))

    own_pipeline(warehouse).run(source_of(sandbox).with_resources("item_create_jobs"))

    assert warehouse.rows(f"select account, job_kind, job_id, status, linkage_count from {DATASET}.jobs") == [
        ("default", "item-create", "J1", "complete", 1)
    ]
    assert warehouse.rows(f"select job_id, related_id from {DATASET}.job_linkages") == [
        ("J1", "$custom:::$default:::A")
    ]


def test_dlt_users_configure_the_source_the_dlt_way(
    sandbox: Sandbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without arguments the source takes its settings from the section `sources.klaviyo_jobs`."""
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__API_KEY", sandbox.key)
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__BASE_URL", sandbox.base_url)
    monkeypatch.setenv("SOURCES__KLAVIYO_JOBS__KINDS", '["item-create"]')

    own_pipeline(warehouse).run(klaviyo_jobs.klaviyo_jobs())

    assert [request.kind for request in sandbox.requests] == ["item-create"]


def test_a_failed_listing_fails_the_pipeline_of_a_dlt_user(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """In somebody's own pipeline an error is raised, not only written down: their scheduler has to see it."""
    with pytest.raises(PipelineStepFailed, match="refused the key"):
        own_pipeline(warehouse).run(source_of(sandbox, api_key="pk_wrong"))


def test_the_category_create_resource_depends_on_its_listing(sandbox: Sandbox) -> None:
    """With categories included, category-create is a transformer over its listing; item-create reads its listing itself."""
    source = source_of(sandbox)

    assert source.resources["category_create_jobs"].is_transformer
    assert not source.resources["item_create_jobs"].is_transformer
    assert sorted(source.selected_resources) == sorted(KINDS[name].resource_name for name in DEFAULT_KINDS)


@pytest.mark.parametrize(
    "revision", ["2022-10-17", "2023-12-15", "2024-10-15", "2025-01-15", "2026-07-15", "2026-10-15"]
)
def test_every_revision_loads_the_same(revision: str, warehouse: Warehouse) -> None:
    """Ids on top or among the attributes, old and new relationships and media types: the rows are the same."""
    with Sandbox(clock=NOW, serve_retired=True) as sandbox:
        sandbox.world.add(
            finished(
                "category-create",
                "C1",
                "A",
                total_count=2,
                failed_count=1,
                errors=[JobError("It does not exist.", related_id("B"))],
            ),
            under_way("item-create", "J1"),
        )
        Load(sandbox, warehouse)(kinds=["item-create", "category-create"], revision=revision)

    assert warehouse.rows(
        "select job_id, status, created_at, completed_at, completed_count, failed_count, api_revision from klaviyo_raw.jobs order by 1"
    ) == [
        ("C1", "complete", NOW - HOUR, NOW, 1, 1, revision),
        ("J1", "processing", NOW - HOUR, None, 0, 0, revision),
    ]
    assert warehouse.rows("select job_id, code, detail from klaviyo_raw.job_errors") == [
        ("C1", "invalid", "It does not exist.")
    ]
    assert warehouse.rows("select job_id, related_type, external_id from klaviyo.job_linkages") == [
        ("C1", "catalog-category", "A")
    ]
    assert warehouse.rows("select external_id, seen_in_job_id from klaviyo_raw.categories") == [("A", "C1")]


def test_dlt_users_may_read_a_resource_by_hand(sandbox: Sandbox) -> None:
    """Without a pipeline there is no warehouse to ask: every job is new, and comes as a row of an Arrow table."""
    sandbox.world.add(finished("item-create", "J1", errors=[JobError("No.")]))
    source = source_of(sandbox)

    tables = list(source.resources["item_create_jobs"])

    rows = [row for table in tables for row in table.to_pylist()]
    assert [row["job_id"] for row in rows if "expires_at" in row] == ["J1"]
    assert [(row["job_id"], row["detail"]) for row in rows if "error_id" in row] == [("J1", "No.")]
    assert [(row["is_complete"], row["job_count"]) for row in rows if "page_count" in row] == [(True, 1)]


def test_dlt_users_may_give_the_settings_as_arguments(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """Accounts, which of them, revision, kinds and what is included are all heeded, in sequences of any sort."""
    second = sandbox.add_account("second")
    second.world.add(finished("category-create", "C1", "A"))

    own_pipeline(warehouse).run(
        klaviyo_jobs.klaviyo_jobs(
            accounts={"one": sandbox.key, "two": second.key},
            labels=("two",),
            base_url=sandbox.base_url,
            revision="2025-01-15",
            kinds=("category-create",),
            include=(),
        )
    )

    assert warehouse.rows(
        f"select account, job_kind, api_revision, job_count, detail_count from {DATASET}.listings"
    ) == [("two", "category-create", "2025-01-15", 1, 0)]


@pytest.mark.parametrize(("arguments", "changed"), [({}, 0), ({"full_refresh": True}, 1)], ids=["by default", "asked"])
def test_dlt_users_read_all_again_when_they_ask_for_it(
    arguments: dict[str, Any], changed: int, sandbox: Sandbox, warehouse: Warehouse
) -> None:
    """Only a full refresh writes a job that the second run finds unchanged."""
    sandbox.world.add(finished("item-create", "J1"))
    pipeline = own_pipeline(warehouse)
    for _ in range(2):
        pipeline.run(source_of(sandbox, kinds=["item-create"], **arguments))

    assert warehouse.rows(f"select job_count, changed_count from {DATASET}.listings order by started_at") == [
        (1, 1),
        (1, changed),
    ]


def test_dlt_users_go_on_from_the_warehouse_of_a_run(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """A pipeline of one's own into the same file holds what the command has read, under one schema of dlt's."""
    sandbox.world.add(finished("item-create", "J1"))
    load(kinds=["item-create"])

    own_pipeline(warehouse, "klaviyo_raw").run(source_of(sandbox, kinds=["item-create"]))

    assert warehouse.rows("select job_count, changed_count from klaviyo_raw.listings order by started_at") == [
        (1, 1),
        (1, 0),
    ]
    assert warehouse.rows("select distinct schema_name from klaviyo_raw._dlt_loads") == [("klaviyo_jobs",)]


@pytest.mark.usefixtures("no_file")
def test_what_is_not_included_gets_no_table_but_categories_do(load: Load, warehouse: Warehouse) -> None:
    """Views are built on the categories, so their table is there although no detail is read."""
    load(include=[])

    assert warehouse.rows(
        """
        select table_name from duckdb_tables()
        where schema_name = 'klaviyo_raw' and table_name in ('categories', 'items', 'variants')
        """
    ) == [("categories",)]


@pytest.mark.usefixtures("no_file")
def test_every_table_has_the_columns_it_is_declared_with(load: Load, warehouse: Warehouse) -> None:
    """In the declared order, and none of dlt's beside them."""
    load(kinds=["all"], include=["categories", "items", "variants", "coupon-codes", "lists"])

    columns: dict[str, list[str]] = {}
    for table, column in warehouse.rows(
        """
        select table_name, column_name from duckdb_columns()
        where schema_name = 'klaviyo_raw' and table_name not like '\\_dlt%' escape '\\' order by table_name, column_index
        """
    ):
        columns.setdefault(table, []).append(column)
    assert columns == {name: table.schema.names for name, table in TABLES.items()}


def test_jobs_that_delete_have_no_details(sandbox: Sandbox, load: Load) -> None:
    """The API includes nothing in them, so the listing is all that is asked for."""
    sandbox.world.add(finished("category-delete", "D1", "A"))

    load(kinds=["category-delete"])

    assert [request.endpoint for request in sandbox.requests] == ["list"]


def test_kinds_are_read_side_by_side(sandbox: Sandbox, load: Load) -> None:
    """While one listing waits for its answer the other has asked for its own."""
    sandbox.latency_seconds = 1.0

    load(kinds=["item-create", "item-delete"])

    first, second = sandbox.requests
    assert {first.kind, second.kind} == {"item-create", "item-delete"}
    assert abs(second.started_at - first.started_at) < 0.9
