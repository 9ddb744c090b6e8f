"""Managers that share a store: what one changes comes to the matchers of the others, whatever happens on the way."""

from __future__ import annotations

import gc
import signal
import sqlite3
import sys
import threading
import weakref
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cidrgate import CidrgateError, NewEntry, RuleManager, StoreError
from cidrgate.replica.published_store import PublishedStore
from cidrgate.stores import open_store
from tests.waiting import eventually
from tests.warm_starts import output_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def url(shared_store_url: str) -> str:
    return shared_store_url


@pytest.fixture
def writer(url: str) -> Iterator[RuleManager]:
    with RuleManager.open(url, follow=False) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        yield manager


@pytest.fixture
def reader(url: str, writer: RuleManager) -> Iterator[RuleManager]:
    with RuleManager.open(url) as manager:
        yield manager


def test_every_kind_of_change_comes_to_the_other_manager(writer: RuleManager, reader: RuleManager) -> None:
    matcher = reader.matcher

    def shows(account: str, *cidrs: str) -> Callable[[], bool]:
        return lambda: matcher.prefixes(account) == list(cidrs)

    writer.add("acct-1", "1.1.1.1/32")
    eventually(shows("acct-1", "1.1.1.1/32", "8.8.8.0/24"))
    writer.edit("acct-1", "1.1.1.1/32", "1.1.1.0/24")
    eventually(shows("acct-1", "1.1.1.0/24", "8.8.8.0/24"))
    writer.create_account("sub-1", parent="acct-1")
    eventually(shows("sub-1", "1.1.1.0/24", "8.8.8.0/24"))
    writer.remove("acct-1", "8.8.8.0/24")
    eventually(shows("sub-1", "1.1.1.0/24"))
    writer.replace("acct-1", "9.9.9.9/32")
    eventually(shows("acct-1", "9.9.9.9/32"))
    writer.import_accounts({"acct-2": [NewEntry("8.8.4.4/32")]})
    eventually(shows("acct-2", "8.8.4.4/32"))
    writer.restore("acct-1", to_sequence=writer.history("acct-1")[1].sequence)
    eventually(shows("acct-1", "1.1.1.0/24"))
    writer.remove("acct-1", "1.1.1.0/24", allow_empty=True)
    eventually(lambda: matcher.allows("sub-1", "5.5.5.5"))


def test_a_manager_that_does_not_follow_catches_up_when_it_changes_something(url: str, writer: RuleManager) -> None:
    with RuleManager.open(url, follow=False) as other:
        writer.add("acct-1", "1.1.1.1/32")
        assert other.matcher.prefixes("acct-1") == ["8.8.8.0/24"]
        other.create_account("acct-2")
        assert other.matcher.prefixes("acct-1") == ["1.1.1.1/32", "8.8.8.0/24"]


def test_a_writer_killed_between_commit_and_publication_loses_nothing(
    url: str, writer: RuleManager, reader: RuleManager
) -> None:
    killed = output_of([sys.executable, "-m", "tests.killed_writer", url], cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL
    eventually(lambda: reader.matcher.prefixes("acct-1") == ["9.9.9.9/32"])
    assert reader.history("acct-1")[0].actor == "killed"


def test_a_follower_may_skip_a_change_but_never_goes_back(writer: RuleManager, reader: RuleManager) -> None:
    versions = [f"9.9.{number}.0/24" for number in range(100)]

    def change() -> None:
        for cidr in versions:
            writer.replace("acct-1", cidr)

    changing = threading.Thread(target=change)
    changing.start()
    seen = [-1]

    def moved_on_to_the_last() -> bool:
        [cidr] = reader.matcher.prefixes("acct-1")
        seen.append(versions.index(cidr) if cidr in versions else -1)
        return cidr == versions[-1]

    eventually(moved_on_to_the_last, patience=90)
    changing.join()
    assert seen == sorted(seen)


def test_a_change_that_is_applied_twice_does_no_harm(url: str, writer: RuleManager) -> None:
    with RuleManager.open(url, follow=False) as node:
        published = node._replica.published
        before = published._position
        writer.add("acct-1", "1.1.1.1/32")
        writer.create_account("sub-1", parent="acct-1")
        writer.remove("acct-1", "8.8.8.0/24")
        for _ in range(3):
            published._position = before
            published.catch_up()
            assert node.matcher.prefixes("sub-1") == ["1.1.1.1/32"]
            assert node.matcher.prefixes("acct-1") == ["1.1.1.1/32"]


def test_more_changes_than_are_worth_names_are_read_whole(
    writer: RuleManager, reader: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.replica.published_store._MOST_NAMES", 3)
    matcher = reader.matcher
    rows = matcher.rows(["acct-1"])
    writer.import_accounts({f"many-{number}": [NewEntry("8.8.4.4/32")] for number in range(50)})
    eventually(lambda: "many-49" in matcher)
    assert matcher.prefixes("many-7") == ["8.8.4.4/32"]
    assert matcher.prefixes("acct-1") == ["8.8.8.0/24"]
    assert reader.matcher is matcher
    assert matcher.allows_many(matcher.rows(["acct-1"]), ["8.8.8.8"]).tolist() == [True]
    assert len(rows) == 1


def test_staleness_is_small_while_the_store_is_followed(reader: RuleManager) -> None:
    assert 0 <= reader.staleness < 60


def test_without_news_an_old_node_denies_if_told_to(url: str, writer: RuleManager) -> None:
    with RuleManager.open(url, follow=False, max_staleness=0.05, on_stale="deny") as node:
        eventually(lambda: node.staleness > 0.05)
        assert not node.allows("acct-1", "8.8.8.8")
        assert node.allows("nobody", "8.8.8.8")

        def allows_after_load() -> bool:
            node.load()
            return node.allows("acct-1", "8.8.8.8")

        eventually(allows_after_load)  # a busy machine may need longer than 0.05 s between the two
    with RuleManager.open(url, follow=False, max_staleness=0.05) as node:
        eventually(lambda: node.staleness > 0.05)
        assert node.allows("acct-1", "8.8.8.8")


@pytest.mark.parametrize(("seconds", "on_stale"), [(0, "serve"), (-1, "deny"), (1, "allow")])
def test_settings_of_staleness_that_make_no_sense_are_refused(seconds: float, on_stale: str) -> None:
    with pytest.raises(ValueError, match=r"max_staleness|on_stale"):
        RuleManager.open("memory://", max_staleness=seconds, on_stale=on_stale)  # type: ignore[arg-type]


def test_nothing_is_followed_before_it_is_loaded(url: str) -> None:
    with RuleManager.open(url, follow=False), RuleManager.open(url, load=False) as manager:
        with pytest.raises(CidrgateError, match=r"load\(\)"):
            manager.follow()
        with pytest.raises(CidrgateError, match=r"load\(\)"):
            manager.save_snapshot("nowhere")


def test_a_store_that_fails_for_a_while_is_caught_up_with(
    writer: RuleManager, reader: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = threading.Event()
    failed = threading.Event()
    catch_up = PublishedStore.catch_up

    def sometimes(self: PublishedStore, *, check_first: bool = True, within: float | None = None) -> bool:
        if failing.is_set() and self is reader._replica.published:
            failed.set()
            raise StoreError("the store is out of order")
        return catch_up(self, check_first=check_first, within=within)

    monkeypatch.setattr(PublishedStore, "catch_up", sometimes)
    failing.set()
    writer.add("acct-1", "1.1.1.1/32")
    assert failed.wait(30)
    assert reader.allows("acct-1", "8.8.8.8")
    failing.clear()
    eventually(lambda: reader.allows("acct-1", "1.1.1.1"))


def test_a_thread_that_meets_a_bug_goes_on(
    writer: RuleManager, reader: RuleManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("cidrgate.replica.follower._LONGEST_PAUSE", 0.01)
    expire = PublishedStore.expire
    bugs = iter([ZeroDivisionError(), ZeroDivisionError()])

    def buggy(self: PublishedStore) -> float | None:
        for bug in bugs:
            raise bug
        return expire(self)

    monkeypatch.setattr(PublishedStore, "expire", buggy)
    writer.add("acct-1", "1.1.1.1/32")
    eventually(lambda: "ZeroDivisionError" in caplog.text)
    writer.add("acct-1", "9.9.9.9/32")
    eventually(lambda: reader.allows("acct-1", "9.9.9.9"))


def test_a_manager_nobody_closed_takes_its_thread_along(url: str) -> None:
    RuleManager.open(url, follow=False).close()
    manager = RuleManager.open(url)
    published = weakref.ref(manager._replica.published)
    follower = manager._replica.follower
    assert follower is not None
    del manager

    def gone() -> bool:
        gc.collect()  # again, as the thread may just be looking
        return published() is None

    eventually(gone)
    eventually(lambda: not follower._thread.is_alive())


def test_a_store_that_is_replaced_by_another_is_read_whole(tmp_path: Path) -> None:
    """As when a backup is restored under a service that runs: accounts may be gone, and the log goes back."""
    url = f"sqlite:///{tmp_path}/lists.db"
    with RuleManager.open(f"sqlite:///{tmp_path}/backup.db", create=True) as backup:
        backup.create_account("acct-1")
        backup.add("acct-1", "1.1.1.1/32")
    with RuleManager.open(url, create=True) as service:
        service.create_account("acct-1")
        service.create_account("acct-2")
        service.add("acct-1", "8.8.8.0/24")
        service.add("acct-2", "8.8.8.0/24")
        matcher = service.matcher
        with (
            closing(sqlite3.connect(tmp_path / "backup.db")) as source,
            closing(sqlite3.connect(tmp_path / "lists.db")) as target,
        ):
            source.backup(target)
        eventually(lambda: matcher.prefixes("acct-1") == ["1.1.1.1/32"])
        assert "acct-2" not in matcher
        assert service.matcher is matcher


UNCLOSED = """
import cidrgate.replica.replica
cidrgate.replica.replica._POLL = 0.0
from cidrgate import RuleManager
managers = [RuleManager.open(url) for url in {urls!r}]
"""


def test_a_process_ends_in_peace_though_nobody_has_closed_its_managers(tmp_path: Path) -> None:
    """A thread in SQLite would use connections that are gone while the interpreter ends."""
    path = str(tmp_path / "lists.db")
    open_store(path, create=True).close()
    for _ in range(10):
        code = UNCLOSED.format(urls=["memory://", "memory://", path])
        done = output_of([sys.executable, "-c", code], text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


IN_USE = """
import threading, time
from cidrgate import RuleManager
manager = RuleManager.open("memory://", follow=False)
manager.create_account("acct-1")
def ask():
    while True:
        manager.entries("acct-1")
threading.excepthook = lambda *_: None
for _ in range(2):
    threading.Thread(target=ask, daemon=True).start()
time.sleep(0.05)
"""


def test_a_process_ends_in_peace_though_its_threads_still_ask() -> None:
    for _ in range(10):
        done = output_of([sys.executable, "-c", IN_USE], text=True, timeout=60)
        assert done.returncode == 0, done.stderr
