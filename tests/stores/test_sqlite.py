"""What is the SQLite store's own: the log's triggers, locks, durability settings, and faults of the file."""

from __future__ import annotations

import gc
import resource
import sqlite3
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import StoreError
from cidrgate.stores.sqlite import SqliteStore
from tests.forks import in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(path, create=True, lock_timeout=0.05)
    yield opened
    opened.close()


def create(store: SqliteStore, *names: str) -> None:
    with store.write() as transaction:
        transaction.insert_accounts(names, parent=None, at=NOW, actor=None)


def names(store: SqliteStore) -> list[str]:
    with store.read() as transaction:
        return [account.name for account in transaction.accounts()]


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """The disk is full, as far as this process can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def opened(path: Path) -> int:
    """How many times this process has a file open."""
    return sum(link.is_symlink() and link.resolve() == path for link in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a system that lists open files in /proc")
@pytest.mark.parametrize("during", [lambda store: in_child(lambda: None), SqliteStore.close], ids=["fork", "close"])
@pytest.mark.parametrize("begin", [SqliteStore.read, SqliteStore.write], ids=["read", "write"])
def test_a_transaction_during_which_connections_are_closed_closes_its_own(
    during: Callable[[SqliteStore], object], begin: Callable[[SqliteStore], Any], path: Path
) -> None:
    """Otherwise a garbage collection would have to, and Python 3.13 warns of each."""
    store = SqliteStore(path, create=True)
    gc.disable()
    try:
        with begin(store):
            during(store)
            assert opened(path)
        assert not opened(path)
        if not store._closed:
            assert names(store) == []
    finally:
        gc.enable()
        store.close()


@contextmanager
def tidied(store: SqliteStore) -> Iterator[None]:
    store.tidy()
    yield


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a system that lists open files in /proc")
@pytest.mark.parametrize("begin", [SqliteStore.read, SqliteStore.read_autocommit, SqliteStore.write, tidied])
def test_a_connection_that_is_opened_while_the_store_is_closed_is_closed_too(
    begin: Callable[[SqliteStore], Any], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread has looked whether the store is closed, and another one closes it before the first one connects."""
    monkeypatch.setattr("cidrgate.stores.sqlite.store._is_larger", lambda *_: True)
    store = SqliteStore(path, create=True)
    look = store._refuse_closed

    def close_after_it() -> None:
        look()
        store.close()

    monkeypatch.setattr(store, "_refuse_closed", close_after_it)
    with begin(store):
        pass
    assert not opened(path)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a system that lists open files in /proc")
def test_a_connection_that_comes_back_while_the_pool_is_closed_is_closed_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(path, create=True)
    pool = store._readers.pool
    make_anew, reading = pool.recreate, store.read()
    reading.__enter__()

    def make_anew_after_it() -> Any:
        reading.__exit__(None, None, None)
        return make_anew()

    monkeypatch.setattr(pool, "recreate", make_anew_after_it)
    store.close()
    assert not opened(path)


@pytest.mark.parametrize("use", [SqliteStore.watch, SqliteStore.read, SqliteStore.write])
def test_a_closed_store_opens_nothing(use: Callable[[SqliteStore], Any], path: Path) -> None:
    for place in (path, None):
        store = SqliteStore(place, create=place is not None)
        store.close()
        with pytest.raises(StoreError, match="is closed; open it again"), use(store):
            pass


@pytest.mark.parametrize("statement", ["UPDATE changes SET actor = 'somebody else'", "DELETE FROM changes"])
def test_the_log_is_append_only(statement: str, store: SqliteStore, path: Path) -> None:
    create(store, "a", "b")
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute("SELECT * FROM changes").fetchall()
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
        assert connection.execute("SELECT * FROM changes").fetchall() == before


def test_a_commit_is_on_the_disk_when_it_returns(store: SqliteStore, path: Path) -> None:
    with store.write() as transaction:
        ask = transaction._connection.exec_driver_sql
        assert ask("PRAGMA journal_mode").scalar() == "wal"
        assert ask("PRAGMA synchronous").scalar() == 2  # FULL
        assert ask("PRAGMA foreign_keys").scalar() == 1


def test_a_reader_sees_one_moment_and_blocks_no_writer(store: SqliteStore) -> None:
    create(store, "a")
    with store.read() as transaction:
        assert len(transaction.accounts()) == 1
        create(store, "b")
        assert len(transaction.accounts()) == 1
    assert names(store) == ["a", "b"]


def test_a_writer_locks_before_it_reads(store: SqliteStore, path: Path) -> None:
    with store.write(), closing(sqlite3.connect(path, timeout=0)) as other:
        other.isolation_level = None
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")


def test_a_lock_held_for_too_long_is_explained(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked by another process.*try again"):
            create(store, "a")
        other.execute("ROLLBACK")
    create(store, "a")
    assert names(store) == ["a"]


def test_a_writer_waits_for_another(path: Path) -> None:
    patient = SqliteStore(path, create=True)
    with closing(sqlite3.connect(path)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=create, args=(patient, "a"))
        waiting.start()
        waiting.join(0.05)
        assert names(patient) == []
        other.execute("COMMIT")
        waiting.join()
    assert names(patient) == ["a"]
    patient.close()


def test_a_full_disk_is_explained_and_nothing_is_stored(store: SqliteStore, path: Path) -> None:
    create(store, "a")
    many = [f"account-{number}" for number in range(5_000)]
    with no_file_grows_beyond(path.stat().st_size + 200_000), pytest.raises(StoreError, match="disk"):
        create(store, *many)
    assert names(store) == ["a"]
    create(store, "b")
    assert names(store) == ["a", "b"]


def test_a_damaged_file_is_explained(store: SqliteStore, path: Path) -> None:
    create(store, *(f"account-{number}" for number in range(2_000)))
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(StoreError, match="damaged; restore it from a backup"):
        names(SqliteStore(path))


def test_a_table_that_is_missing_is_reported_as_it_is(store: SqliteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE entries")
    with pytest.raises(StoreError, match="failed: no such table: entries"), store.read() as transaction:
        transaction.entry_counts(NOW)
