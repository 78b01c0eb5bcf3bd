"""What the warehouse knows when a load begins: asked once for all listings, and told to each."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from klaviyo_jobs.extract.known_jobs import Recall
from klaviyo_jobs.extract.questions import KnownJob
from klaviyo_jobs.model.kinds import KINDS
from klaviyo_sandbox import Sandbox
from support.jobs import expired, finished, odd, under_way
from support.loads import DAY, NOW, Load, Warehouse
from support.pipelines import DATASET, own_pipeline, source_of


@pytest.fixture
def history(sandbox: Sandbox, warehouse: Warehouse) -> Warehouse:
    """A warehouse of 50 jobs that had expired when the newest was made, and so are not read ahead."""
    sandbox.world.add(
        *(expired("item-create", f"OLD{n:02}") for n in range(50)), finished("item-create", "NEW", created_at=NOW)
    )
    own_pipeline(warehouse).run(source_of(sandbox, kinds=["item-create"]))
    return warehouse


def is_closed(warehouse: Warehouse) -> bool:
    """Tell whether nobody in this process has the file open for writing, or else DuckDB refuses to open it otherwise."""
    try:
        duckdb.connect(str(warehouse.path), read_only=True).close()
    except duckdb.ConnectionException:
        return False
    return True


def test_two_questions_serve_all_listings_of_a_load(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """Two accounts of nine kinds, nothing new: one connection is opened, and DuckDB is asked for jobs twice."""
    other = sandbox.add_account("other", world="demo")
    accounts = {"one": sandbox.key, "two": other.key}
    for kind in KINDS:
        sandbox.world.add(finished(kind, "J1"), under_way(kind, "J2"))
    own_pipeline(warehouse).run(source_of(sandbox, api_key=None, accounts=accounts, include=[]))
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("call enable_logging('QueryLog')")
        own_pipeline(warehouse).extract(source_of(sandbox, api_key=None, accounts=accounts, include=[]))
        asked = [text for (text,) in connection.execute("select message from duckdb_logs").fetchall()]

    of_jobs = [text for text in asked if ".jobs" in text or '"jobs"' in text]
    assert len([text for text in of_jobs if "where 1 = 0" not in text]) == 2
    # Once for the instance, once for the connection that is made of it.
    assert len([text for text in asked if "search_path" in text]) == 2


def test_listings_are_told_apart(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """The same id of two accounts and two kinds is four jobs, each known as it is."""
    other = sandbox.add_account("other")
    for number, (world, kind) in enumerate(
        (world, kind) for world in (sandbox.world, other.world) for kind in ("item-create", "item-delete")
    ):
        world.add(finished(kind, "J1", total_count=number))
    own_pipeline(warehouse).run(
        source_of(
            sandbox,
            api_key=None,
            accounts={"one": sandbox.key, "two": other.key},
            kinds=["item-create", "item-delete"],
        )
    )
    listings = [(account, kind) for account in ("one", "two") for kind in ("item-create", "item-delete")]

    with Recall(own_pipeline(warehouse), listings) as recall:
        counts = [recall.known_jobs(*listing).find(["J1"])["J1"].state.observation.total_count for listing in listings]

    assert counts == [0, 1, 2, 3]


def test_a_job_that_is_no_longer_listed_is_known_by_its_id(history: Warehouse) -> None:
    """It is not read ahead, for its like may be millions; who asks for it is told."""
    with Recall(own_pipeline(history), [("default", "item-create")]) as recall:
        known = recall.known_jobs("default", "item-create")
        found = known.find(["OLD07", "NEW", "NONE"])

    assert sorted(found) == ["NEW", "OLD07"]
    assert found["OLD07"].is_settled


def test_only_jobs_that_may_still_be_listed_are_read_ahead(history: Warehouse) -> None:
    """After it is closed, the recall tells of those that it had read: memory does not grow with the history."""
    hashes = [listed for (listed,) in history.rows(f"select listed_hash from {DATASET}.jobs order by job_id desc")]
    with Recall(own_pipeline(history), [("default", "item-create")]) as recall:
        known = recall.known_jobs("default", "item-create")

    assert [known.find_kept(each, with_detail=False) for each in hashes if each] == [*[None] * 50, "NEW"]


def test_what_is_handed_over_twice_is_known_twice(history: Warehouse) -> None:
    """Two resources of one load may read the same listing: the second asks for each job, and finds it."""
    with Recall(own_pipeline(history), [("default", "item-create")]) as recall:
        found = [sorted(recall.known_jobs("default", "item-create").find(["NEW", "OLD01"])) for _ in range(2)]

    assert found == [["NEW", "OLD01"]] * 2


def test_threads_may_ask_at_once(history: Warehouse) -> None:
    """Listings are read in threads of their own, over one connection: each gets the answer to its own question."""
    ids = [f"OLD{n:02}" for n in range(50)]
    together = threading.Barrier(8)
    with Recall(own_pipeline(history), [("default", "item-create")]) as recall, ThreadPoolExecutor(8) as pool:
        known = recall.known_jobs("default", "item-create")

        def ask(first: int) -> list[dict[str, KnownJob]]:
            together.wait(5)
            return [known.find([job_id]) for job_id in ids[first:] + ids[:first]]

        answers = list(pool.map(ask, range(8)))

    assert [[[*found] for found in answer] for answer in answers] == [
        [[job_id] for job_id in ids[first:] + ids[:first]] for first in range(8)
    ]


def test_the_connection_lasts_from_the_first_to_the_last_that_reads(history: Warehouse) -> None:
    """Whoever leaves in between closes nothing; when the last has left, the file is free; who comes later opens it."""
    recall = Recall(own_pipeline(history), [("default", "item-create")])
    with recall:
        with recall:
            pass
        during = (recall.is_open, is_closed(history))
    after = (recall.is_open, is_closed(history))
    with recall:
        later = recall.known_jobs("default", "item-create").find(["OLD01"])

    assert (during, after) == ((True, False), (False, True))
    assert [*later] == ["OLD01"]


def test_a_load_that_fails_leaves_the_warehouse_closed(history: Warehouse, sandbox: Sandbox) -> None:
    """One listing is refused: the connection that the others shared is closed with the extraction."""
    with pytest.raises(PipelineStepFailed, match="refused the key"):
        own_pipeline(history).run(source_of(sandbox, api_key="pk_wrong"))

    assert is_closed(history)


def test_without_a_warehouse_nothing_is_known(warehouse: Warehouse) -> None:
    """No pipeline, or one whose destination has no table yet: nothing is found, and nothing has vanished."""
    for pipeline in (None, own_pipeline(warehouse)):
        with Recall(pipeline, [("default", "item-create")]) as recall:
            known = recall.known_jobs("default", "item-create")
            assert known.find(["J1"]) == {}
            assert known.last_observations(["J1"]) == {}
            assert known.absent(set()).num_rows == 0


def test_a_source_that_is_loaded_twice_asks_twice(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """What the first load stored the second knows, although both come from one source."""
    sandbox.world.add(finished("item-create", "J1"))
    source, pipeline = source_of(sandbox, kinds=["item-create"]), own_pipeline(warehouse)
    for _ in range(2):
        pipeline.run(source)

    assert warehouse.rows(f"select changed_count from {DATASET}.listings order by started_at") == [(1,), (0,)]


def test_an_old_job_that_never_finished_vanishes_too(sandbox: Sandbox, load: Load, warehouse: Warehouse) -> None:
    """It would have expired before the newest job was made, and left the list while nothing could be told from that."""
    sandbox.world.add(under_way("item-create", "OLD", created_at=NOW - 6 * DAY))
    load(kinds=["item-create"])
    sandbox.world.remove("item-create", "OLD")
    sandbox.clock.advance(20 * DAY)
    sandbox.world.add(
        finished("item-create", "NEW", created_at=NOW + 20 * DAY), odd("item-create", created_at=NOW + 20 * DAY)
    )
    load(kinds=["item-create"])
    vanished = "select job_id from klaviyo_raw.jobs where vanished_at is not null"
    before = warehouse.rows(vanished)
    sandbox.world.remove("item-create", "ODD")

    load(kinds=["item-create"])

    assert (before, warehouse.rows(vanished)) == ([], [("OLD",)])


def test_a_dataset_of_an_earlier_version_is_told_as_such(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """Whoever loads with a pipeline of their own is told what to do, and what was stored stays as it was."""
    sandbox.world.add(finished("item-create", "J1"))
    own_pipeline(warehouse).run(source_of(sandbox, kinds=["item-create"]))
    warehouse.rows(f"alter table {DATASET}.jobs drop column listed_hash")
    before = warehouse.rows(f"from {DATASET}.jobs")

    with pytest.raises(PipelineStepFailed, match="an earlier version of klaviyo-jobs: jobs lacks listed_hash"):
        own_pipeline(warehouse).run(source_of(sandbox, kinds=["item-create"]))

    assert warehouse.rows(f"from {DATASET}.jobs") == before
    assert is_closed(warehouse)
