"""What runs out: descriptors, threads, memory, space. It is said what it was, and nothing is worse afterwards."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cidrgate import NewEntry, RuleManager, StoreError
from cidrgate.stores import open_store
from cidrgate.stores.sqlite import SqliteStore, store as sqlite_store
from tests.forks import in_child
from tests.servers.running import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[1]


# ---------------------------------------------------------------------------------------------------- descriptors


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def no_server(folder: Path) -> None:
    open_store(f"postgresql://postgres@127.0.0.1:{free_port()}/lists")


def no_database(folder: Path) -> None:
    (folder / "text").write_text("this is no database, whatever its name says" * 100)
    open_store(f"sqlite:///{folder}/text")


def no_folder(folder: Path) -> None:
    open_store(f"sqlite:///{folder}/nowhere/lists.db")


def no_thread(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_threads)
        RuleManager.open(f"sqlite:///{folder}/lists.db", snapshot=folder / "snapshot")


def no_more_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


FAILING = [no_server, no_database, no_folder, no_thread]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/fd, of Linux")
@pytest.mark.parametrize("fail", FAILING)
def test_what_cannot_be_opened_leaves_nothing_open(fail: Callable[[Path], None], tmp_path: Path) -> None:
    RuleManager.open(f"sqlite:///{tmp_path}/lists.db", create=True).close()
    with pytest.raises(StoreError):
        fail(tmp_path)
    before = descriptors()
    for _ in range(5):
        with pytest.raises(StoreError):
            fail(tmp_path)
    assert descriptors() == before


@pytest.mark.fault("the network to PostgreSQL is cut")
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/fd, of Linux")
def test_a_watch_that_is_not_had_leaves_nothing_open(postgres_server: PostgresServer, tmp_path: Path) -> None:
    store = open_store(postgres_server.take_database())
    store.watch().close()
    postgres_server.stop("immediate")
    before = descriptors()
    for _ in range(5):
        with pytest.raises(StoreError):
            store.watch()
    assert descriptors() == before
    postgres_server.start()
    store.close()
    file = SqliteStore(tmp_path / "lists.db", create=True)
    before = descriptors()
    (tmp_path / "lists.db").rename(tmp_path / "elsewhere")
    (tmp_path / "lists.db").mkdir()
    for _ in range(5):
        with pytest.raises(StoreError):
            file.watch()
    assert descriptors() == before
    file.close()


# -------------------------------------------------------------------------------------------------------- threads


@pytest.mark.fault("no thread can be started")
def test_without_a_thread_to_follow_with_nothing_is_opened(
    shared_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RuleManager.open(shared_store_url) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_more_threads)
            with pytest.raises(StoreError, match=r"no thread can be started.*raise the limit"):
                RuleManager.open(shared_store_url)
            with RuleManager.open(shared_store_url, follow=False) as other:
                assert other.allows("acct-1", "8.8.8.8")

            def follow() -> object:
                return manager.staleness == float("inf"), manager.allows("acct-1", "8.8.8.8")

            # A child that asks looks at the store itself, as nobody does so for it.
            assert in_child(follow) == {"made": [True, True]}
        manager.remove("acct-1", "8.8.8.0/24", allow_empty=True)
        assert manager.allows("acct-1", "9.9.9.9")


@pytest.mark.fault("no thread can be started")
def test_an_import_without_threads_is_done_by_the_caller(
    shared_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = {f"acct-{number}": [NewEntry("8.8.8.0/24")] for number in range(50)}
    monkeypatch.setattr("cidrgate.manager.rule_manager._ACCOUNTS_A_TRANSACTION", 10)
    with RuleManager.open(shared_store_url) as manager:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_more_threads)
            report = manager.import_accounts(lists)
        assert (report.accounts, report.problems) == (50, {})
        assert manager.counts() == dict.fromkeys(lists, 1)


# --------------------------------------------------------------------------------------------------------- memory

WITHOUT_MEMORY = """
import sys
from cidrgate import NewEntry, RuleManager, StoreError
with RuleManager.open(sys.argv[1], create=True, follow=False) as manager:
    manager.create_account("acct-1")
    manager.add("acct-1", "8.8.8.0/24")
    with manager._store.read() as transaction:
        # Of the whole library, in bytes; it cannot be raised again.
        transaction.connection.exec_driver_sql("PRAGMA hard_heap_limit = 6000000")
    try:
        manager.import_accounts({f"many-{number}": [NewEntry("8.8.4.0/24")] for number in range(100_000)}, strict=True)
    except StoreError as error:
        print(error)
    print(manager.matcher.prefixes("acct-1"), "many-1" in manager.matcher)
"""


@pytest.mark.fault("SQLite gets no memory")
def test_sqlite_without_memory_says_so_and_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/lists.db"
    command = [sys.executable, "-c", WITHOUT_MEMORY, url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said, state = done.stdout.splitlines()
    assert "no memory left" in said, done.stderr
    assert state == "['8.8.8.0/24'] False"
    with RuleManager.open(url, follow=False) as manager:
        assert manager.counts() == {"acct-1": 1}


# ---------------------------------------------------------------------------------------------------------- space


@pytest.fixture
def grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RuleManager]:
    """A store whose write-ahead log has grown far beyond what it shall keep."""
    monkeypatch.setattr(sqlite_store, "_WAL_LIMIT", 64 << 10)
    with RuleManager.open(f"sqlite:///{tmp_path}/lists.db", create=True, follow=False) as manager:
        with manager._store.read() as transaction:
            transaction.log_end()  # what is read here keeps the log from being cut
            manager.import_accounts({f"acct-{number}": [NewEntry("8.8.8.0/24")] for number in range(12_000)})
            assert wal(tmp_path) > 4 << 20
            manager._store.tidy()  # waits for nobody
            assert wal(tmp_path) > 4 << 20
        yield manager


def wal(folder: Path) -> int:
    return (folder / "lists.db-wal").stat().st_size


@pytest.mark.fault("the write-ahead log of a SQLite file grows")
def test_a_write_ahead_log_that_has_grown_is_cut(grown: RuleManager, tmp_path: Path) -> None:
    grown._store.tidy()
    assert wal(tmp_path) == 0
    assert len(grown.counts()) == 12_000


@pytest.mark.fault("the write-ahead log of a SQLite file grows")
def test_changes_after_a_bulk_of_them_cut_it_too(grown: RuleManager, tmp_path: Path) -> None:
    for number in range(20):
        grown.add(f"acct-{number}", "9.9.9.9/32")
    assert wal(tmp_path) < 1 << 20


@pytest.mark.fault("the write-ahead log of a SQLite file grows")
def test_a_manager_that_follows_cuts_it_by_itself(
    grown: RuleManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.replica.follower._HOUSEKEEPING_PAUSE", 0.05)
    monkeypatch.setattr("cidrgate.replica.replica._POLL", 0.05)
    grown.follow()
    eventually(lambda: wal(tmp_path) == 0)
