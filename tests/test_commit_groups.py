"""Changes that are committed together: each is made whole or not at all, whatever becomes of the others."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cidrgate import Account, CidrgateError, RuleError, RuleManager
from cidrgate.commit_groups import CommitGroups
from cidrgate.errors import StoreError
from cidrgate.list_changes import ListOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cidrgate.stores import Transaction


def test_many_threads_get_what_each_asked_for(tmp_path: Path) -> None:
    """Some ask for what is refused: theirs alone fails, and what is stored equals what was acknowledged."""
    path = f"sqlite:///{tmp_path}/lists.db"
    with RuleManager.open(path) as manager:
        for number in range(4):
            manager.create_account(f"a{number}")

        def add(number: int) -> str | None:
            wanted = "10.0.0.0/8" if number % 5 == 0 else f"9.9.{number}.0/24"
            try:
                [entry] = manager.add(f"a{number % 4}", f"{wanted}", actor=f"t{number}")
            except RuleError:
                return None
            return f"{entry.account} {entry.cidr} {entry.created_by}"

        with ThreadPoolExecutor(12) as pool:
            acknowledged = [made for made in pool.map(add, range(150)) if made is not None]
        assert len(acknowledged) == 120
    with RuleManager.open(path) as manager:
        stored = [entry for number in range(4) for entry in manager.entries(f"a{number}")]
    assert sorted(f"{entry.account} {entry.cidr} {entry.created_by}" for entry in stored) == sorted(acknowledged)


class _Held:
    """A group whose first change waits until others stand in line, so that these become one group."""

    def __init__(self, manager: RuleManager) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.transactions = 0
        self._manager = manager
        self.groups = CommitGroups(self.change)

    def change(self) -> AbstractContextManager[Transaction]:
        self.transactions += 1
        return self._manager.store.write()

    def first(self, _transaction: Transaction) -> str:
        self.begun.set()
        assert self.go_on.wait(10)
        return "first"


@pytest.fixture
def manager() -> Iterator[RuleManager]:
    with RuleManager.open("memory://") as manager:
        yield manager


def test_a_fault_in_one_change_is_that_ones_alone(manager: RuleManager) -> None:
    held = _Held(manager)

    def broken(transaction: Transaction) -> None:
        transaction.insert_accounts(["never"], parent=None, at=datetime.now(UTC), actor=None)
        raise ZeroDivisionError

    def refused(transaction: Transaction) -> None:
        transaction.insert_accounts(["refused"], parent=None, at=datetime.now(UTC), actor=None)
        raise CidrgateError("no")

    def made(transaction: Transaction) -> Account:
        return transaction.insert_accounts(["made"], parent=None, at=datetime.now(UTC), actor=None)["made"].value()

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(held.groups.make, held.first)
        assert held.begun.wait(10)
        others = [pool.submit(held.groups.make, make) for make in (broken, refused, made)]
        while len(held.groups._waiting) < 3:
            time.sleep(0.001)
        held.go_on.set()
        assert first.result() == "first"
        with pytest.raises(ZeroDivisionError):
            others[0].result()
        with pytest.raises(CidrgateError, match="no"):
            others[1].result()
        assert others[2].result().name == "made"  # type: ignore[union-attr]
    assert [account.name for account in manager.accounts()] == ["made"]


def test_a_commit_that_fails_is_reported_to_everybody_in_the_group(manager: RuleManager) -> None:
    begun, go_on = threading.Event(), threading.Event()
    committed = 0

    @contextmanager
    def change() -> Iterator[Transaction]:
        nonlocal committed
        with manager.store.read() as transaction:
            yield transaction
        committed += 1
        if committed > 1:
            raise StoreError("the disk is full")

    groups = CommitGroups(change)

    def first(_transaction: Transaction) -> None:
        begun.set()
        assert go_on.wait(10)

    with ThreadPoolExecutor(3) as pool:
        earlier = pool.submit(groups.make, first)
        assert begun.wait(10)
        later = [pool.submit(groups.make, lambda _: 1) for _ in range(2)]
        while len(groups._waiting) < 2:
            time.sleep(0.001)
        go_on.set()
        earlier.result()
        for waiting in later:
            with pytest.raises(StoreError, match="the disk is full"):
                waiting.result()
    assert committed == 2


def test_a_supervisor_sees_a_change_before_it_is_committed_and_can_refuse_it(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    manager.add("acct-1", "8.8.8.0/24")
    seen: list[object] = []

    def refuse(_transaction: Transaction, made: object) -> None:
        seen.append(made)
        raise CidrgateError("not now")

    with pytest.raises(CidrgateError, match="not now"):
        manager.supervised(refuse).replace("acct-1", "9.9.9.0/24")
    [outcome] = seen
    assert isinstance(outcome, ListOutcome)
    assert outcome.account.version == 2
    assert [entry.cidr for entry in outcome.before] == ["8.8.8.0/24"]
    assert [entry.cidr for entry in outcome.after] == ["9.9.9.0/24"]
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["8.8.8.0/24"]


def test_a_dry_run_changes_nothing_and_tells_what_would_be(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    manager.add("acct-1", "8.8.8.0/24")
    before = manager.history()
    outcomes: list[object] = []
    dry = manager.supervised(lambda _, made: outcomes.append(made), dry_run=True)
    dry.create_account("acct-2")
    dry.add("acct-1", "9.9.9.0/24, 1.1.1.1/32")
    dry.edit("acct-1", "8.8.8.0/24", "8.8.0.0/16")
    dry.remove("acct-1", "8.8.8.0/24")
    dry.restore("acct-1", at=before[0].sequence)
    with pytest.raises(RuleError):
        dry.add("acct-1", "8.8.8.1/32")
    lists = [[entry.cidr for entry in made.after] for made in outcomes if isinstance(made, ListOutcome)]
    assert lists == [["1.1.1.1/32", "8.8.8.0/24", "9.9.9.0/24"], ["8.8.0.0/16"], [], []]
    assert manager.history() == before
    assert [account.name for account in manager.accounts()] == ["acct-1"]
