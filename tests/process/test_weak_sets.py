"""`SharedWeakSet` against a set, and with threads that change it while others iterate over it."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from cidrgate.errors import StoreError
from cidrgate.process.weak_sets import SharedWeakSet
from cidrgate.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Member:
    """What a weak reference can refer to."""


@given(st.lists(st.tuples(st.sampled_from(["add", "discard", "free", "clear"]), st.integers(0, 4)), max_size=30))
def test_it_contains_the_members_that_exist(steps: list[tuple[str, int]]) -> None:
    members = {number: Member() for number in range(5)}
    found: SharedWeakSet[Member] = SharedWeakSet()
    model: set[int] = set()
    for step, number in steps:
        if step == "add":
            found.add(members[number])
            model.add(number)
        elif step == "discard":
            found.discard(members[number])
            model.discard(number)
        elif step == "free":
            members[number] = Member()
            model.discard(number)
        else:
            found.clear()
            model.clear()
        assert len(found) == len(model)
        assert {id(member) for member in found} == {id(members[number]) for number in model}
        assert {number for number, member in members.items() if member in found} == model


@pytest.fixture
def other_thread() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Runs a function again and again in another thread, which is switched to as often as possible."""
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def begin(step: Callable[[], object]) -> None:
        def repeat() -> None:
            while not ended.is_set():
                step()

        threads.append(threading.Thread(target=repeat))
        threads[-1].start()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield begin
    sys.setswitchinterval(before)
    ended.set()
    for thread in threads:
        thread.join()


def test_threads_add_and_free_members_during_an_iteration(
    other_thread: Callable[[Callable[[], object]], None],
) -> None:
    found: SharedWeakSet[Member] = SharedWeakSet()
    kept = [Member() for _ in range(20)]
    for member in kept:
        found.add(member)
    other_thread(lambda: found.add(Member()))
    for _ in range(2_000):
        assert len(list(found)) >= len(kept)


def test_a_change_is_committed_while_threads_begin_to_watch(
    other_thread: Callable[[Callable[[], object]], None],
) -> None:
    store = SqliteStore(None)
    watches = [store.watch(own_commits=True) for _ in range(500)]

    def watch() -> None:
        with suppress(StoreError):  # the thread goes on while the store is closed
            store.watch(own_commits=True)

    other_thread(watch)
    for _ in range(200):
        with store.write() as transaction:
            transaction.log_start()
    assert all(watch.wait(0) for watch in watches)
    store.close()
