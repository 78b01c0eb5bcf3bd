"""The bound of the database's memory, in every way it is opened, and what becomes of a question that needs more."""

from __future__ import annotations

from pathlib import Path

import dlt
import duckdb
import pytest

from klaviyo_jobs.errors import WarehouseError
from klaviyo_jobs.memory import MemoryBounds
from klaviyo_jobs.warehouse.engines.duckdb import open_copy, open_warehouse
from klaviyo_jobs.warehouse.engines.duckdb_load import destination_of
from klaviyo_jobs.warehouse.publish import publish
from support.loads import Load, Warehouse

BOUND = "select current_setting('memory_limit'), current_setting('temp_directory')"


@pytest.fixture
def memory(tmp_path: Path) -> MemoryBounds:
    """300 MB, of which the database has half, and a folder."""
    return MemoryBounds(300_000_000, tmp_path / "spill")


@pytest.fixture
def bound(tmp_path: Path) -> tuple[str, str]:
    """What DuckDB says of it: it counts in 1024s."""
    return "143.0 MiB", str(tmp_path / "spill")


def test_an_open_warehouse_is_bound(warehouse: Warehouse, memory: MemoryBounds, bound: tuple[str, str]) -> None:
    """Whatever the machine has."""
    with open_warehouse(warehouse.path, memory) as connection:
        assert connection.execute(BOUND).fetchone() == bound


def test_a_copy_that_is_checked_is_bound(warehouse: Warehouse, memory: MemoryBounds, bound: tuple[str, str]) -> None:
    """As a reader opens it, but for its bound."""
    duckdb.connect(str(warehouse.path)).close()

    with open_copy(warehouse.path, memory) as connection:
        assert connection.execute(BOUND).fetchone() == bound


def test_a_load_is_bound(warehouse: Warehouse, memory: MemoryBounds, bound: tuple[str, str], tmp_path: Path) -> None:
    """What dlt opens by itself, as for a dry run, is bound too."""
    pipeline = dlt.pipeline(
        "bound", pipelines_dir=str(tmp_path), destination=destination_of(warehouse.path, memory), dataset_name="raw"
    )

    with pipeline.sql_client() as client:
        assert client.execute_sql(BOUND) == [bound]


def test_the_bound_is_half_of_512_mb_unless_it_is_set(warehouse: Warehouse) -> None:
    """Python, its libraries and the rows on their way have the other half."""
    with open_warehouse(warehouse.path) as connection:
        assert connection.execute("select current_setting('memory_limit')").fetchone() == ("244.1 MiB",)


@pytest.fixture
def too_large(load: Load, warehouse: Warehouse) -> Warehouse:
    """A warehouse with a view of which one value needs more memory than the bound."""
    load(kinds=["item-create"])
    warehouse.rows("create view klaviyo.too_large as select list(range) as numbers from range(60_000_000)")
    return warehouse


def test_a_question_that_needs_more_says_what_to_set(
    too_large: Warehouse, memory: MemoryBounds, tmp_path: Path
) -> None:
    """Exit code 7, with words of its own: neither the file nor the copy is damaged."""
    with pytest.raises(WarehouseError, match="the memory that `memory_limit` leaves to the database") as caught:
        publish(too_large.path, tmp_path / "copy.duckdb", memory, verifies=True)

    assert caught.value.next_step == "raise `memory_limit`, or let `temp_directory` be on a disk with more room."


def test_either_all_parquet_files_are_written_or_none(
    too_large: Warehouse, memory: MemoryBounds, tmp_path: Path
) -> None:
    """The last view fails: the files of those before it are not put in place, and nothing else is left."""
    with pytest.raises(WarehouseError, match="the memory that `memory_limit` leaves to the database"):
        publish(too_large.path, tmp_path / "copy.duckdb", memory, parquet=tmp_path / "parquet")

    assert list((tmp_path / "parquet").iterdir()) == []
