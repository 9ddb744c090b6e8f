"""The matcher never differs from the store, whatever fails and wherever."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import pytest

from cidrgate import CidrgateError, Matcher, NewEntry, RuleError, RuleManager, StoreError
from cidrgate.expiry.schedule import ExpirySchedule
from cidrgate.replica import published_store as publication
from cidrgate.rules.decisions import decide
from cidrgate.stores import StoredList
from cidrgate.stores.sqlite import SqliteStore
from tests.stores.test_sqlite import no_file_grows_beyond
from tests.waiting import eventually, soon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cidrgate.values import Mode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists.db"


@pytest.fixture
def manager(path: Path) -> Iterator[RuleManager]:
    opened = RuleManager(SqliteStore(path, create=True, lock_timeout=0.05))
    opened.load()
    opened.create_account("acct-1")
    opened.create_account("sub-1", parent="acct-1")
    opened.add("acct-1", "8.8.8.0/24, 1.1.1.1/32")
    yield opened
    opened.close()


CHANGES: list[Callable[[RuleManager], object]] = [
    lambda manager: manager.create_account("acct-2"),
    lambda manager: manager.create_account("sub-2", parent="acct-1"),
    lambda manager: manager.add("acct-1", "9.9.9.9/32"),
    lambda manager: manager.edit("acct-1", "1.1.1.1/32", "1.1.1.0/24"),
    lambda manager: manager.remove("acct-1", "8.8.8.0/24, 1.1.1.1/32", allow_empty=True),
    lambda manager: manager.replace("acct-1", "9.9.9.9/32"),
    lambda manager: manager.import_accounts({"acct-3": [NewEntry("9.9.9.9/32")]}),
]


def state(manager: RuleManager) -> object:
    names = [account.name for account in manager.accounts()]
    return [(name, manager.matcher.prefixes(name), manager.entries(name)) for name in names], manager.history()


def assert_equal_to_store(manager: RuleManager) -> None:
    for account in manager.accounts():
        listed = [entry.cidr for entry in manager.entries(account.name)]
        assert manager.matcher.prefixes(account.name) == listed
        assert account.name in manager.matcher


@pytest.mark.parametrize("change", CHANGES)
def test_a_statement_that_fails_changes_nothing(
    change: Callable[[RuleManager], object], manager: RuleManager, path: Path
) -> None:
    before = state(manager)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON changes BEGIN SELECT RAISE(ABORT, 'out of order'); END"
        )
    with pytest.raises(StoreError, match="out of order"):
        change(manager)
    assert state(manager) == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER refuse")
    change(manager)
    assert state(manager) != before
    assert_equal_to_store(manager)


@pytest.mark.parametrize("change", CHANGES)
def test_a_commit_that_fails_changes_nothing(
    change: Callable[[RuleManager], object], manager: RuleManager, path: Path
) -> None:
    before = state(manager)
    with no_file_grows_beyond(1), pytest.raises(StoreError, match="disk"):
        change(manager)
    assert state(manager) == before
    change(manager)
    assert_equal_to_store(manager)


@pytest.mark.parametrize("change", CHANGES)
def test_a_lock_that_is_not_had_changes_nothing(
    change: Callable[[RuleManager], object], manager: RuleManager, path: Path
) -> None:
    before = state(manager)
    with closing(sqlite3.connect(path)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            change(manager)
        assert state(manager) == before


class FailingMatcher:
    """A matcher whose publications fail while `error` is set."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        self.error: BaseException | None = None

    def _publish_moved(
        self,
        account: str,
        prefixes: Iterable[str],
        *,
        when_empty: Literal["allow", "deny"] = "allow",
        mode: Mode = "enforce",
    ) -> None:
        if self.error is not None:
            raise self.error
        self._matcher.publish(account, prefixes, when_empty=when_empty, mode=mode)

    def mode(self, account: str) -> Mode:
        return self._matcher.mode(account)

    def __contains__(self, account: str) -> bool:
        return account in self._matcher

    def prefixes(self, account: str) -> list[str]:
        return self._matcher.prefixes(account)

    def allows(self, account: str, address: str) -> bool:
        return self._matcher.allows(account, address)


@pytest.fixture
def failing(manager: RuleManager, monkeypatch: pytest.MonkeyPatch) -> FailingMatcher:
    failing = FailingMatcher(manager.matcher)
    monkeypatch.setattr(manager._replica.published, "_matcher", failing)
    return failing


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
def test_no_answer_is_given_from_a_matcher_wider_than_the_store(
    error: BaseException, manager: RuleManager, failing: FailingMatcher
) -> None:
    failing.error = error
    with pytest.raises(type(error)):
        manager.replace("acct-1", "1.1.1.1/32")
    with pytest.raises(type(error)):
        manager.allows("acct-1", "8.8.8.8")
    with pytest.raises(type(error)):
        manager.matcher  # noqa: B018
    failing.error = None
    assert not manager.allows("acct-1", "8.8.8.8")
    assert manager.allows("acct-1", "1.1.1.1")
    assert_equal_to_store(manager)


def test_an_interrupted_publication_is_made_up_for_at_once(
    manager: RuleManager, failing: FailingMatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = publication._publish

    def interrupted_once(*_arguments: object) -> None:
        monkeypatch.setattr(publication, "_publish", publish)
        raise KeyboardInterrupt

    monkeypatch.setattr(publication, "_publish", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        manager.replace("acct-1", "1.1.1.1/32")
    assert failing.prefixes("acct-1") == ["1.1.1.1/32"]
    assert failing.prefixes("sub-1") == ["1.1.1.1/32"]


def test_a_change_catches_up_before_it_begins(manager: RuleManager, failing: FailingMatcher) -> None:
    failing.error = MemoryError()
    with pytest.raises(MemoryError):
        manager.replace("acct-1", "1.1.1.1/32")
    failing.error = None
    manager.create_account("acct-2")
    assert failing.prefixes("acct-1") == ["1.1.1.1/32"]


def test_a_manager_that_has_not_loaded_answers_from_no_matcher(path: Path, manager: RuleManager) -> None:
    with RuleManager.open(f"sqlite:///{path}", load=False) as unloaded:
        with pytest.raises(CidrgateError, match=r"load\(\)"):
            unloaded.allows("acct-1", "8.8.8.8")
        with pytest.raises(CidrgateError, match=r"load\(\)"):
            unloaded.matcher  # noqa: B018
        unloaded.add("acct-1", "9.9.9.9/32")
        with pytest.raises(RuleError):
            unloaded.add("acct-1", "9.9.9.9/32")
        with pytest.raises(CidrgateError, match=r"load\(\)"):
            unloaded.allows("acct-1", "8.8.8.8")
        assert unloaded.explain("acct-1", "9.9.9.9").allowed
        unloaded.load()
        assert unloaded.allows("acct-1", "9.9.9.9")
        assert_equal_to_store(unloaded)


def test_loading_again_catches_up_with_other_writers(path: Path, manager: RuleManager) -> None:
    matcher = manager.matcher
    with RuleManager.open(f"sqlite:///{path}", load=False) as other:
        other.remove("acct-1", "8.8.8.0/24", "1.1.1.1/32", allow_empty=True)
        other.create_account("acct-2")
        other.create_account("sub-2", parent="acct-2")
        other.add("acct-2", "9.9.9.9/32")
    assert not matcher.allows("acct-1", "7.7.7.7")
    manager.load()
    assert manager.matcher is matcher
    assert matcher.allows("acct-1", "7.7.7.7")
    assert not matcher.allows("sub-2", "7.7.7.7")
    assert_equal_to_store(manager)


def test_a_change_publishes_what_other_writers_made_of_the_list(path: Path, manager: RuleManager) -> None:
    with RuleManager.open(f"sqlite:///{path}", load=False) as other:
        other.remove("acct-1", "8.8.8.0/24")
    manager.add("acct-1", "9.9.9.9/32")
    assert manager.matcher.prefixes("acct-1") == ["1.1.1.1/32", "9.9.9.9/32"]


class _Turnstile:
    """A lock that counts who has come to it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.came: list[int] = []

    def acquire(self, timeout: float) -> bool:
        self.came.append(1)
        return self.lock.acquire(timeout=timeout)

    def release(self) -> None:
        self.lock.release()


def test_who_waits_to_look_at_the_store_is_looked_for(
    path: Path, manager: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look is enough for all that wait, and it sees what each of them waits for."""
    published, turnstile = manager._replica.published, _Turnstile()
    looks: list[int] = []
    read = published._read

    def counted(*arguments: Any) -> None:
        looks.append(1)
        read(*arguments)

    monkeypatch.setattr(published, "_read", counted)
    monkeypatch.setattr(published, "_reading", turnstile)
    with RuleManager(SqliteStore(path)) as other, ThreadPoolExecutor(4) as pool:
        with turnstile.lock:
            other.add("acct-1", "9.9.9.9/32")
            waiting = [pool.submit(published.catch_up) for _ in range(4)]
            eventually(lambda: len(turnstile.came) == 4)
        for one in waiting:
            one.result()
    assert len(looks) == 1
    assert_equal_to_store(manager)


@pytest.mark.parametrize("enforced", [True, False])
def test_the_store_says_whether_a_list_of_which_nothing_matches_is_enforced(enforced: bool) -> None:
    matcher = Matcher()
    publication._publish(
        matcher, ExpirySchedule(), [StoredList("acct-1", None, [], {}, enforced)], (), datetime.now(UTC), []
    )
    assert "acct-1" in matcher
    assert matcher.enforced("acct-1") is enforced
    assert matcher.allows("acct-1", "8.8.8.8") is not enforced


def test_the_store_says_of_each_list_whether_it_is_enforced(manager: RuleManager) -> None:
    manager.create_account("empty")
    manager.create_account("ended")
    manager.add("ended", "9.9.9.9/32", expires_at=soon())
    eventually(lambda: not decide("ended", manager.entries("ended"), "9.9.9.9", datetime.now(UTC)).allowed)
    with manager._store.read() as transaction:
        for lists in (list(transaction.lists()), transaction.lists_named(["acct-1", "sub-1", "empty", "ended"])):
            assert {one.account: one.enforced for one in lists} == {
                "acct-1": True,
                "sub-1": False,
                "empty": False,
                "ended": True,
            }
