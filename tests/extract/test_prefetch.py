"""Iterators in threads of their own: everything arrives, in order and in turn, and nothing stays behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from klaviyo_jobs.extract.prefetch import ITEMS_AHEAD, prefetch, round_robin
from support.waiting import wait_until


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """The threads that iterators run in."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


def threads_called(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def counting(served: list[int], count: int = 100) -> Generator[int]:
    """Yield numbers and note each one that is asked for."""
    for number in range(count):
        served.append(number)
        yield number


def test_every_item_arrives_in_order(pool: ThreadPoolExecutor) -> None:
    """What is yielded between the nones is what the iterator gave."""
    items = [item for item in prefetch(counting([], 200), "order", pool) if item is not None]

    assert items == list(range(200))
    assert threads_called("order") == []


def test_an_empty_iterator_ends(pool: ThreadPoolExecutor) -> None:
    """No item, no error, no thread."""
    assert [item for item in prefetch(counting([], 0), "empty", pool) if item is not None] == []
    assert threads_called("empty") == []


def test_the_iterator_runs_in_a_thread_of_the_given_name(pool: ThreadPoolExecutor) -> None:
    """Log lines and stack dumps tell the listings apart."""

    def names() -> Generator[str]:
        yield threading.current_thread().name

    assert [item for item in prefetch(names(), "default/item-create", pool) if item is not None] == [
        "default/item-create"
    ]


def test_none_is_yielded_while_nothing_is_ready(pool: ThreadPoolExecutor) -> None:
    """The reader is never blocked: it goes on with something else."""
    go_on = threading.Event()

    def waiting() -> Generator[str]:
        go_on.wait(5)
        yield "late"

    items = prefetch(waiting(), "waiting", pool)
    first = next(items)
    go_on.set()

    assert first is None
    assert [item for item in items if item is not None] == ["late"]


def test_an_error_arrives_after_the_items_before_it(pool: ThreadPoolExecutor) -> None:
    """The error is the iterator's own, raised where the items are read."""
    problem = ValueError("no more")

    def failing() -> Generator[int]:
        yield 1
        yield 2
        raise problem

    items: list[int] = []
    with pytest.raises(ValueError, match="no more") as caught:
        items.extend(item for item in prefetch(failing(), "failing", pool) if item is not None)

    assert caught.value is problem
    assert items == [1, 2]
    assert threads_called("failing") == []


def test_the_iterator_is_only_a_few_items_ahead(pool: ThreadPoolExecutor) -> None:
    """Memory is bounded: a reader that does not read stops the iterator."""
    served: list[int] = []
    items = prefetch(counting(served), "ahead", pool)
    while next(items) is None:
        pass

    wait_until(lambda: len(served) >= ITEMS_AHEAD + 2)
    time.sleep(0.1)

    # One taken, those in the queue, and the one that waits for a place in it.
    assert len(served) == ITEMS_AHEAD + 2
    items.close()


def test_closing_ends_the_thread(pool: ThreadPoolExecutor) -> None:
    """A reader that leaves off leaves no thread and asks for no more items."""
    served: list[int] = []
    items = prefetch(counting(served), "closing", pool)
    while next(items) is None:
        pass

    items.close()

    assert threads_called("closing") == []
    assert len(served) <= ITEMS_AHEAD + 2


def test_an_error_of_the_reader_ends_the_thread(pool: ThreadPoolExecutor) -> None:
    """A reader that fails between two items closes the generator as it goes."""

    def read() -> None:
        items = prefetch(counting([]), "reader", pool)
        try:
            for item in items:
                if item == 1:
                    raise KeyError
        finally:
            items.close()

    with pytest.raises(KeyError):
        read()

    assert threads_called("reader") == []


def test_the_iterator_itself_is_closed_when_the_reader_leaves_off(pool: ThreadPoolExecutor) -> None:
    """What the iterator holds open - pools, connections - is let go at once, in the thread that opened it."""
    closed: list[str] = []

    def holding() -> Generator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(threading.current_thread().name)

    items = prefetch(holding(), "holding", pool)
    while next(items) is None:
        pass
    items.close()

    assert closed == ["holding"]


def test_several_iterators_are_read_in_turn() -> None:
    """One item of each a round; one that has ended is left out of the rounds that follow."""
    items = list(round_robin([iter([1, 2, 3]), iter([10]), iter([100, 200])]))

    assert items == [1, 10, 100, 2, 200, 3]


def test_one_that_is_not_ready_holds_up_no_other() -> None:
    """None is passed on only after a round in which no iterator had an item."""
    slow: list[str | None] = [None, None, None, "slow"]
    quick: list[str | None] = ["a", "b"]

    assert list(round_robin([iter(slow), iter(quick)])) == ["a", "b", None, "slow"]


def test_the_next_begins_when_one_has_ended() -> None:
    """No more than so many are under way."""
    begun: list[str] = []

    def counted(name: str) -> Iterator[str]:
        begun.append(name)
        yield f"{name}1"
        yield f"{name}2"

    items = round_robin(map(counted, "abc"), at_once=2)

    assert [next(items), next(items), list(begun)] == ["a1", "b1", ["a", "b"]]
    assert [item for item in items if item is not None] == ["a2", "b2", "c1", "c2"]
    assert begun == ["a", "b", "c"]


def test_no_iterators_give_no_items() -> None:
    """Nothing to read is no reason to wait."""
    assert list(round_robin([])) == []
