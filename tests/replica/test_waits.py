"""What waits keeps neither an expiry nor a revocation waiting: each has a thread, or a bound."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import Matcher, RuleManager
from cidrgate.expiry.schedule import ExpirySchedule
from cidrgate.process.clock import since_boot
from cidrgate.replica import published_store as publication
from cidrgate.replica.published_store import PublishedStore
from cidrgate.replica.snapshots import write_snapshot
from cidrgate.stores.sqlite import SqliteStore
from tests.waiting import eventually, soon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LATE = 2.0
"""Seconds within which an end must be seen on a busy machine. What waits here waits until the test lets it go on."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists.db"


@pytest.fixture
def writer(path: Path) -> Iterator[RuleManager]:
    """Another node, which does not follow."""
    with RuleManager.open(path, create=True, follow=False) as manager:
        for account in ("ends", "paused", "other"):
            manager.create_account(account)
            manager.add(account, "8.8.8.0/24, 1.1.1.1/32")
        yield manager


class Wait:
    """A call that waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def __call__(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def waits(*arguments: Any, **more: Any) -> Any:
            self.begun.set()
            assert self.let_go.wait(60)
            return real(*arguments, **more)

        return waits


def connecting(wait: Wait, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SqliteStore, "watch", wait(SqliteStore.watch))


def reading(wait: Wait, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PublishedStore, "_unchanged", wait(PublishedStore._unchanged))


def housekeeping(owner: type, task: str) -> Callable[[Wait, pytest.MonkeyPatch], None]:
    def begin(wait: Wait, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("cidrgate.replica.follower._HOUSEKEEPING_PAUSE", 0.01)
        patch.setattr(owner, task, wait(getattr(owner, task)))

    begin.__name__ = task
    return begin


def writing_a_snapshot(wait: Wait, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("cidrgate.replica.published_store.write_snapshot", wait(write_snapshot))


BESIDE = [
    housekeeping(RuleManager, "sweep"),
    housekeeping(RuleManager, "store_matches"),
    housekeeping(SqliteStore, "tidy"),
    housekeeping(SqliteStore, "index_new_rows"),
    writing_a_snapshot,
]


@contextmanager
def waiting(
    begin: Callable[[Wait, pytest.MonkeyPatch], None], path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Iterator[RuleManager]:
    """A node of which a thread waits."""
    wait = Wait()
    if begin is writing_a_snapshot:
        options |= {"snapshot": path.with_suffix(".snapshot"), "refresh_snapshot": 0.001}
    begin(wait, monkeypatch)
    with RuleManager.open(path, **options) as node:
        try:
            assert wait.begun.wait(60)
            yield node
        finally:
            wait.let_go.set()


@pytest.mark.parametrize("begin", [connecting, reading, *BESIDE])
def test_entries_and_pauses_end_in_time_whatever_the_store_does(
    begin: Callable[[Wait, pytest.MonkeyPatch], None], path: Path, writer: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = datetime.now(UTC) + timedelta(seconds=3)
    writer.edit("ends", "1.1.1.1/32", expires_at=end)
    writer.set_mode("paused", "off", until=end, confirmed=["disable_enforcement"])
    with waiting(begin, path, monkeypatch) as node:
        assert node.allows("ends", "1.1.1.1") or datetime.now(UTC) >= end
        assert node.allows("paused", "9.9.9.9") or datetime.now(UTC) >= end
        eventually(lambda: not node.allows("ends", "1.1.1.1") and not node.allows("paused", "9.9.9.9"))
        assert timedelta(0) <= datetime.now(UTC) - end < timedelta(seconds=LATE)
        assert node.allows("ends", "8.8.8.8")


@pytest.mark.parametrize("begin", BESIDE)
def test_a_revocation_comes_in_time_whatever_other_tasks_wait_for(
    begin: Callable[[Wait, pytest.MonkeyPatch], None], path: Path, writer: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    with waiting(begin, path, monkeypatch) as node:
        began = time.monotonic()
        writer.remove("other", "1.1.1.1/32")
        eventually(lambda: not node.allows("other", "1.1.1.1"))
        node.remove("other", "8.8.8.0/24", allow_empty=True)
        assert node.allows("other", "9.9.9.9")
        assert time.monotonic() - began < LATE


def test_nothing_is_tried_in_a_store_that_is_not_reached(
    path: Path, writer: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task would fail, and say so beside the follower."""
    assert writer.history()
    swept: list[bool] = []
    monkeypatch.setattr("cidrgate.replica.follower._HOUSEKEEPING_PAUSE", 0.01)
    monkeypatch.setattr("cidrgate.replica.replica._POLL", 0.01)
    monkeypatch.setattr(RuleManager, "sweep", lambda _: swept.append(True))
    with waiting(connecting, path, monkeypatch):
        time.sleep(0.2)
        assert not swept
    with RuleManager.open(path):
        eventually(lambda: bool(swept))


def test_lists_are_said_to_be_stale_in_time(
    path: Path, writer: RuleManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert writer.history()
    with waiting(reading, path, monkeypatch, max_staleness=0.2, on_stale="deny") as node:
        eventually(lambda: "the lists may be out of date" in caplog.text)
        assert not node.allows("other", "8.8.8.8")
        monkeypatch.undo()
    # `waiting` has let it go on.


def test_a_locked_file_delays_no_end(path: Path, writer: RuleManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a real lock: the sweep of the entry that has ended waits for it."""
    monkeypatch.setattr("cidrgate.replica.follower._HOUSEKEEPING_PAUSE", 0.01)
    writer.edit("paused", "1.1.1.1/32", expires_at=soon())
    end = datetime.now(UTC) + timedelta(seconds=3)
    writer.edit("ends", "1.1.1.1/32", expires_at=end)
    with RuleManager.open(path) as node, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        eventually(lambda: not node.allows("ends", "1.1.1.1"))
        assert datetime.now(UTC) - end < timedelta(seconds=LATE)
        other.execute("ROLLBACK")


def test_an_end_that_cannot_be_published_is_tried_again_and_said(
    path: Path, writer: RuleManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Other ends do not wait for it. Until then, the lists are as old as can be."""
    caplog.set_level(logging.INFO, "cidrgate")
    end = soon()
    writer.edit("ends", "1.1.1.1/32", expires_at=end)
    writer.set_mode("paused", "off", until=end, confirmed=["disable_enforcement"])
    failing = threading.Event()
    active = ExpirySchedule.active

    def sometimes(schedule: ExpirySchedule, account: str, cidrs: Any, at: datetime) -> list[str]:
        if account == "ends" and at >= end and failing.is_set():
            raise MemoryError
        return active(schedule, account, cidrs, at)

    monkeypatch.setattr(ExpirySchedule, "active", sometimes)
    failing.set()
    with RuleManager.open(path) as node:
        eventually(lambda: not node.allows("paused", "9.9.9.9"))
        eventually(lambda: node.staleness == float("inf"))
        assert node.allows("ends", "1.1.1.1")
        eventually(lambda: "expired entries could not be removed from the lists in memory: MemoryError" in caplog.text)
        failing.clear()
        eventually(lambda: not node.allows("ends", "1.1.1.1"))
        eventually(lambda: "it works again" in caplog.text)


class _Breaks(logging.Filter):
    """A filter of the program with a bug."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "is enforced again" in record.getMessage():
            raise OSError("the log's disk is full")
        return True


@pytest.mark.fault("a filter or a handler of the program's log raises an exception")
def test_a_log_that_breaks_keeps_no_list_open(path: Path, writer: RuleManager) -> None:
    end = soon()
    writer.set_mode("paused", "off", until=end, confirmed=["disable_enforcement"])
    logger, broken = logging.getLogger("cidrgate"), _Breaks()
    logger.addFilter(broken)
    try:
        with RuleManager.open(path) as node:
            eventually(lambda: not node.allows("paused", "9.9.9.9"))
            writer.remove("other", "1.1.1.1/32")
            eventually(lambda: not node.allows("other", "1.1.1.1"))
            assert node.follows
    finally:
        logger.removeFilter(broken)


def test_a_change_waits_for_another_read_no_longer_than_its_bound(
    path: Path, writer: RuleManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert writer.history()
    monkeypatch.setattr(publication, "_PUBLICATION", 0.1)
    with RuleManager.open(path, follow=False) as node:
        held, let_go = threading.Event(), threading.Event()

        def read() -> None:
            with node._replica.published._reading:
                held.set()
                let_go.wait(60)

        reader = threading.Thread(target=read)
        reader.start()
        assert held.wait(60)
        began = time.monotonic()
        node.remove("other", "1.1.1.1/32")
        assert time.monotonic() - began < LATE
        assert "another read of the store delays its publication" in caplog.text
        let_go.set()
        reader.join()
        assert not node.allows("other", "1.1.1.1")  # the next question reads it


CHANGES: list[Callable[[RuleManager], object]] = [
    lambda manager: manager.add("other", "9.9.9.0/24", expires_at=datetime.now(UTC) + timedelta(hours=1)),
    lambda manager: manager.remove("other", "1.1.1.1/32"),
    lambda manager: manager.edit("ends", "8.8.8.0/24", expires_at=None),
    lambda manager: manager.create_account("new", parent="ends"),
    lambda manager: manager.rename_account("other", "renamed", confirmed=["disable_enforcement"]),
    lambda manager: manager.edit_account("ends", parent="other", confirmed=["other_list", "disable_enforcement"]),
    lambda manager: manager.delete_account("paused", confirmed=["disable_enforcement"]),
    lambda manager: manager.set_mode("other", "off", confirmed=["disable_enforcement"]),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_snapshot_may_have_changes_that_are_published_while_it_is_written(
    change: Callable[[RuleManager], object], when: str, path: Path, writer: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads it reads these accounts again, so that both nodes allow the same."""
    writer.edit("ends", "8.8.8.0/24", expires_at=datetime.now(UTC) + timedelta(hours=2))
    snapshot = path.with_suffix(".snapshot")
    save = Matcher.save

    def changing(matcher: Matcher, *arguments: Any, **more: Any) -> None:
        if when == "before":
            change(writer)
        save(matcher, *arguments, **more)
        if when == "after":
            change(writer)

    class Changing:
        def __init__(self, matcher: Matcher) -> None:
            self._matcher = matcher

        def save(self, *arguments: Any, **more: Any) -> None:
            changing(self._matcher, *arguments, **more)

    def write(to: Path, matcher: Matcher, *more: Any) -> None:
        write_snapshot(to, Changing(matcher), *more)  # type: ignore[arg-type]

    monkeypatch.setattr("cidrgate.replica.published_store.write_snapshot", write)
    writer.save_snapshot(snapshot)
    monkeypatch.undo()
    with RuleManager.open(path, snapshot=snapshot, follow=False) as reader:
        names = {one.name for one in writer.accounts()}
        assert set(reader.matcher) == set(writer.matcher) == names
        for name in names:
            assert reader.matcher.prefixes(name) == writer.matcher.prefixes(name)
            assert reader.matcher.mode(name) == writer.matcher.mode(name)
        assert reader._replica.published._schedule.expiries() == writer._replica.published._schedule.expiries()


def test_ages_count_while_the_machine_is_suspended(
    path: Path, writer: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of a machine that was suspended for a night cannot be made for real here."""
    assert abs(writer.known_at - since_boot()) < 60
    with RuleManager.open(path, follow=False, max_staleness=60, on_stale="deny") as node:
        assert node.allows("other", "8.8.8.8")
        monkeypatch.setattr(publication, "since_boot", lambda: since_boot() + 8 * 3600)
        assert 8 * 3600 <= node.staleness < 9 * 3600
        assert not node.allows("other", "8.8.8.8")
