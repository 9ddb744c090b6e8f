"""A list that the engine cannot publish keeps no other list waiting, and the lists never look current meanwhile."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import CidrgateError, Matcher, RuleManager, StoreError
from cidrgate.errors import SnapshotError
from cidrgate.replica import published_store as publication
from cidrgate.stores.sqlite import SqliteStore
from tests.waiting import eventually, soon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cidrgate.replica.published_store import PublishedStore


LAST = ["1.1.1.1/32", "8.8.8.0/24"]
"""The list that each account has before it fails."""


class Failing:
    """A matcher that cannot change the lists of some accounts: each keeps the one that it has had."""

    failing: frozenset[str] | set[str] = frozenset()

    def __init__(self) -> None:
        self._matcher = Matcher()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._matcher, name)
        if name not in ("publish", "_publish_moved", "_link_moved", "discard"):
            return method

        def change(account: str, *arguments: Any, **settings: Any) -> None:
            had = name in ("_publish_moved", "_link_moved") and arguments[0] in (LAST, "b")
            if account in self.failing and not had:
                raise MemoryError(account)
            method(account, *arguments, **settings)

        return change

    def adopt(self, other: Failing | Matcher) -> None:
        self._matcher.adopt(other._matcher if isinstance(other, Failing) else other)

    def __contains__(self, account: str) -> bool:
        return account in self._matcher

    def __iter__(self) -> Iterator[str]:
        return iter(self._matcher)

    def __len__(self) -> int:
        return len(self._matcher)


@pytest.fixture(autouse=True)
def failing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The accounts that cannot be published."""
    accounts: set[str] = set()
    monkeypatch.setattr(Failing, "failing", accounts)
    monkeypatch.setattr(publication, "Matcher", Failing)
    return accounts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists.db"


@pytest.fixture
def writer(path: Path) -> Iterator[RuleManager]:
    """A process that publishes nothing."""
    with RuleManager.open(path, create=True, load=False) as manager:
        for account in ("a", "b", "c", "gone"):
            manager.create_account(account)
        for account in ("a", "b", "c"):
            manager.add(account, "8.8.8.0/24, 1.1.1.1/32")
        manager.create_account("sub", parent="b")
        yield manager


@pytest.fixture
def node(path: Path, writer: RuleManager) -> Iterator[RuleManager]:
    with RuleManager.open(path, follow=False) as manager:
        yield manager


def published(manager: RuleManager) -> PublishedStore:
    return manager._replica.published


def few(_: pytest.MonkeyPatch) -> None:
    pass


def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "_FEW_NAMES", 0)


def all_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publication, "_FEW_NAMES", 0)
    monkeypatch.setattr(publication, "_MOST_NAMES", 0)


@pytest.mark.parametrize("read", [few, by_name, all_lists])
def test_other_lists_are_published_and_the_age_is_infinite(
    read: Any, writer: RuleManager, node: RuleManager, failing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(monkeypatch)
    matcher = published(node)._matcher
    failing.update(["a", "sub", "gone"])
    for account in ("a", "b", "c"):
        writer.remove(account, "8.8.8.0/24")
    writer.edit_account("sub", parent="c", confirmed=["other_list"])
    writer.delete_account("gone")
    writer.create_account("new")
    writer.add("new", "9.9.9.9/32")
    for _ in range(3):
        with pytest.raises(MemoryError):
            published(node).catch_up()
        assert math.isinf(node.staleness)
        assert [matcher.prefixes(account) for account in ("b", "c", "new")] == [
            ["1.1.1.1/32"],
            ["1.1.1.1/32"],
            ["9.9.9.9/32"],
        ]
        assert matcher.prefixes("a") == ["1.1.1.1/32", "8.8.8.0/24"]  # its last list
    failing.clear()
    published(node).catch_up()
    assert node.staleness < 60
    assert sorted(matcher) == ["a", "b", "c", "new", "sub"]
    assert matcher.prefixes("a") == ["1.1.1.1/32"]
    assert matcher._parent_of("sub") == "c"


@pytest.mark.parametrize("read", [few, by_name, all_lists])
def test_entries_of_the_last_list_expire(
    read: Any, path: Path, writer: RuleManager, failing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule has the times of the list that is in the matcher, not of the one that could not be published."""
    end = datetime.now(UTC) + timedelta(seconds=2)
    writer.edit("a", "1.1.1.1/32", expires_at=end)
    with RuleManager.open(path, follow=False) as node:
        assert published(node)._matcher.prefixes("a") == LAST
        failing.add("a")
        writer.edit("a", "1.1.1.1/32", expires_at=None)
        writer.remove("a", "8.8.8.0/24")
        writer.remove("b", "8.8.8.0/24")
        with monkeypatch.context() as patched:
            read(patched)
            with pytest.raises(MemoryError):
                published(node).catch_up()
        failing.clear()
        assert published(node)._matcher.prefixes("a") == LAST
        eventually(lambda: datetime.now(UTC) > end)
        published(node).expire()
        assert published(node)._matcher.prefixes("a") == ["8.8.8.0/24"]
        assert math.isinf(node.staleness)
        published(node).catch_up()
        assert published(node)._matcher.prefixes("a") == ["1.1.1.1/32"]
        assert node.staleness < 60


def test_a_follower_publishes_later_changes_of_others(path: Path, writer: RuleManager, failing: set[str]) -> None:
    with RuleManager.open(path) as node:
        failing.add("a")
        writer.remove("a", "8.8.8.0/24")
        eventually(lambda: math.isinf(node.staleness))
        for account in ("b", "c"):
            writer.remove(account, "8.8.8.0/24")
            eventually(lambda account=account: not node.allows(account, "8.8.8.8"))  # type: ignore[misc]
            assert math.isinf(node.staleness)
        assert node.allows("a", "8.8.8.8")
        failing.clear()
        eventually(lambda: not node.allows("a", "8.8.8.8"))
        eventually(lambda: node.staleness < 60)


def test_a_change_of_another_list_is_made_and_does_not_fail(node: RuleManager, failing: set[str]) -> None:
    failing.add("a")
    with pytest.raises(MemoryError):
        node.remove("a", "8.8.8.0/24")
    node.remove("b", "8.8.8.0/24")
    assert published(node)._matcher.prefixes("b") == ["1.1.1.1/32"]
    with pytest.raises(MemoryError):
        node.matcher  # noqa: B018 - it is wider than the store
    failing.add("c")
    with pytest.raises(MemoryError):
        node.remove("c", "8.8.8.0/24")
    failing.clear()
    assert not any(node.allows(account, "8.8.8.8") for account in ("a", "b", "c"))


def test_no_snapshot_lacks_a_list(path: Path, node: RuleManager, failing: set[str], tmp_path: Path) -> None:
    snapshot = tmp_path / "lists.snapshot"
    node.save_snapshot(snapshot)
    failing.add("a")
    with RuleManager.open(path, load=False) as other:
        other.remove("a", "8.8.8.0/24")
        other.remove("b", "8.8.8.0/24")
    written = snapshot.read_bytes()
    with pytest.raises(MemoryError):
        published(node).catch_up()
    with pytest.raises(MemoryError):
        published(node).save_snapshot(snapshot)
    with pytest.raises(SnapshotError, match="cannot be published"):
        published(node)._save_snapshot(snapshot)
    assert snapshot.read_bytes() == written


def test_a_first_read_that_fails_loads_nothing_and_leaves_nothing_behind(path: Path, failing: set[str]) -> None:
    with RuleManager.open(path, create=True, load=False) as manager:
        for account in ("a", "b"):
            manager.create_account(account)
            manager.add(account, "8.8.8.0/24")
        failing.add("b")
        with pytest.raises(MemoryError):
            manager.load()
        with pytest.raises(CidrgateError, match=r"load\(\)"):
            manager.allows("a", "8.8.8.8")
        failing.clear()
        manager.delete_account("a", confirmed=["disable_enforcement"])
        manager.load()
        assert list(manager.matcher) == ["b"]


def let_one_expire(writer: RuleManager, node: RuleManager) -> None:
    end = soon()
    writer.edit("a", "1.1.1.1/32", expires_at=end)
    published(node).catch_up()
    eventually(lambda: datetime.now(UTC) > end)


def test_the_age_is_infinite_until_what_has_expired_is_removed(
    writer: RuleManager, path: Path, failing: set[str]
) -> None:
    with RuleManager.open(path, follow=False) as node:
        published(node).on_behind = lambda: None  # as if a follower removed what has expired
        let_one_expire(writer, node)
        failing.add("a")
        with pytest.raises(MemoryError):
            published(node).expire()
        published(node).catch_up()
        assert math.isinf(node.staleness)
        assert node.known_at == -math.inf
        failing.clear()
        published(node).expire()
        assert not node.allows("a", "1.1.1.1")
        assert node.staleness < 60


def test_without_a_follower_what_has_expired_is_removed_by_the_next_read(
    writer: RuleManager, node: RuleManager, failing: set[str]
) -> None:
    let_one_expire(writer, node)
    failing.add("a")
    with pytest.raises(MemoryError):
        node.add("c", "9.9.9.9/32")
    node.remove("c", "9.9.9.9/32")  # the fault is known, and it is not the one of this list
    writer.remove("b", "1.1.1.1/32")
    for _ in range(2):
        with pytest.raises(MemoryError):
            published(node).catch_up()
        assert math.isinf(node.staleness)
        assert published(node)._matcher.prefixes("b") == ["8.8.8.0/24"]
    failing.clear()
    assert not node.allows("a", "1.1.1.1")
    assert node.staleness < 60


def test_a_store_that_cannot_be_read_fails_as_before(
    node: RuleManager, writer: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: SqliteStore) -> None:
        raise StoreError("the store is lost")

    writer.remove("b", "1.1.1.1/32")
    monkeypatch.setattr(SqliteStore, "read_autocommit", lost)
    with pytest.raises(StoreError, match="lost"):
        published(node).catch_up()
