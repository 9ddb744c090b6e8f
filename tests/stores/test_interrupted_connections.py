"""Connections of a store whose use a signal handler interrupts: no place of a pool and no store is lost."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from cidrgate import ForkedError, RuleManager, StoreBusyError, StoreError
from cidrgate.stores import open_store
from cidrgate.stores.connection_pool import ConnectionPool
from cidrgate.stores.sqlite import SqliteStore
from cidrgate.stores.waits import answer_by
from tests.interruptions import ERRORS, POOLS, Alarm, in_another_thread, interruptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Pool

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:Double checkin"
)


def take_all(pool: Pool) -> int:
    """Take every place of a pool at the same time, and return how many there are."""
    with ExitStack() as taken:
        for _ in range(pool.size()):  # type: ignore[attr-defined]
            taken.enter_context(closing(pool.connect())).execute("SELECT 1")
        return int(pool.checkedout())  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    """Pytest keeps what is logged, and with it the frames of each traceback and what they refer to."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "lists.db", create=True, lock_timeout=2, pool_size=5)
    yield store
    store.close()


def read(store: SqliteStore) -> None:
    with store.read_autocommit() as transaction:
        transaction.log_start()


def read_state(store: SqliteStore) -> None:
    with store.read() as transaction:
        transaction.log_start()


def write(store: SqliteStore) -> None:
    with store.write() as transaction:
        transaction.log_start()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("use", [read, write])
def test_no_place_of_a_pool_is_lost(use: Any, error: type[BaseException], store: SqliteStore) -> None:
    count = 0
    for where in interruptions(lambda: use(store), error, POOLS):
        count += 1
        for engine in (store._readers, store._writers):
            if engine.pool.checkedout():  # type: ignore[attr-defined]
                gc.collect()
            assert engine.pool.checkedout() == 0, where  # type: ignore[attr-defined]
            assert in_another_thread(partial(take_all, engine.pool)) == engine.pool.size(), where  # type: ignore[attr-defined]
        in_another_thread(partial(write, store))
    assert count > 100


def keeping(kept: list[BaseException], use: Callable[[], object]) -> Callable[[], object]:
    """A use whose exceptions the application keeps."""

    def use_and_keep() -> None:
        try:
            use()
        except BaseException as raised:
            kept.append(raised)
            raise

    return use_and_keep


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("use", [read, write])
def test_no_place_is_lost_while_the_application_keeps_what_was_raised(
    use: Any, error: type[BaseException], store: SqliteStore
) -> None:
    """With the traceback, its frames, and what they refer to."""
    kept: list[BaseException] = []
    use_and_keep = keeping(kept, partial(use, store))
    gc.disable()
    try:
        for where in interruptions(use_and_keep, error, POOLS):
            for engine in (store._readers, store._writers):
                assert engine.pool.checkedout() == 0, where  # type: ignore[attr-defined]
                assert in_another_thread(partial(take_all, engine.pool)) == engine.pool.size(), where  # type: ignore[attr-defined]
            in_another_thread(partial(write, store))
    finally:
        gc.enable()
    assert len(kept) > 100
    kept.clear()
    gc.collect()
    for engine in (store._readers, store._writers):
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


@pytest.mark.fault("a signal handler raises an exception in a call, such as the soft time limit of Celery")
@pytest.mark.parametrize("kind", ["entries", "replace"])
def test_alarms_lose_no_place(kind: str, shared_store_url: str) -> None:
    """Those of timers, wherever they come: also in SQLAlchemy and in finalizers."""
    with RuleManager.open(shared_store_url, create=True, lock_timeout=5, follow=False) as manager:
        manager.create_account("a")

        def handle(*_: object) -> None:
            raise Alarm

        before = signal.signal(signal.SIGALRM, handle)
        alarms, begin = 0, time.monotonic()
        chosen = random.Random(2)
        while (after := time.monotonic() - begin) < 4 or (alarms <= 100 and after < 60):  # on a busy machine
            try:
                signal.setitimer(signal.ITIMER_REAL, chosen.uniform(0.0003, 0.003))
                try:
                    for number in range(20):
                        manager.entries("a") if kind == "entries" else manager.replace("a", [f"8.8.{number}.0/24"])
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Exception:  # noqa: BLE001 - the alarm, or the error that it caused
                alarms += 1
        signal.signal(signal.SIGALRM, before)
        assert alarms > 100
        gc.collect()
        for engine in (manager._store._readers, manager._store._writers):  # type: ignore[attr-defined]
            assert engine.pool.checkedout() == 0
            assert in_another_thread(partial(take_all, engine.pool)) == engine.pool.size()
        assert manager.replace("a", ["9.9.9.0/24"]).after


def no_connection() -> sqlite3.Connection:
    raise sqlite3.OperationalError("unable to open database file")


def test_a_connection_that_cannot_be_opened_takes_no_place() -> None:
    pool = ConnectionPool(no_connection, pool_size=2, max_overflow=0, timeout=0.01)
    for _ in range(5):
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            pool.connect()
    pool._creator = partial(sqlite3.connect, ":memory:")
    assert take_all(pool) == 2


def test_no_more_connections_are_opened_than_there_are_places() -> None:
    opened: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        time.sleep(0.01)
        opened.append(sqlite3.connect(":memory:", check_same_thread=False))
        return opened[-1]

    pool = ConnectionPool(connect, pool_size=3, max_overflow=0, timeout=20)

    def use() -> None:
        for _ in range(50):
            with closing(pool.connect()) as connection:
                connection.execute("SELECT 1")

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 3
    assert (pool.checkedout(), pool.checkedin(), pool.overflow()) == (0, 3, 0)
    pool.dispose()
    assert (pool.checkedout(), pool.checkedin(), pool.overflow()) == (0, 0, -3)
    assert take_all(pool) == 3


def test_an_entry_in_a_reference_cycle_frees_its_place_before_a_thread_is_refused() -> None:
    pool = ConnectionPool(partial(sqlite3.connect, ":memory:"), pool_size=2, max_overflow=0, timeout=0.01)
    gc.disable()
    try:
        for _ in range(2):
            cycle: list[Any] = [pool.connect()]
            cycle.append(cycle)
            del cycle
        assert pool.checkedout() == 2
        assert take_all(pool) == 2
    finally:
        gc.enable()
    with closing(pool.connect()), closing(pool.connect()), pytest.raises(PoolTimeoutError, match="all 2 connections"):
        pool.connect()


def test_a_place_that_becomes_free_ends_the_wait_of_a_thread() -> None:
    """Whether its entry was given back or dropped."""
    pool = ConnectionPool(partial(sqlite3.connect, ":memory:"), pool_size=1, max_overflow=0, timeout=20)
    for drop in (False, True):
        taken = [pool.connect()]
        thread = threading.Thread(target=lambda: pool.connect().close())
        thread.start()
        if drop:
            pool._drop(taken[0]._connection_record)
        taken.pop().close()
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("use", [read, read_state, write])
def test_a_wait_for_a_connection_ends_by_the_deadline_of_the_caller(use: Any, shared_store_url: str) -> None:
    store: Any = open_store(shared_store_url, create=True, lock_timeout=60, pool_size=2)
    with ExitStack() as taken:
        for pool in (store._readers.pool, store._writers.pool):
            for _ in range(pool.size()):
                taken.enter_context(closing(pool.connect()))
        began = time.monotonic()
        with answer_by(began + 0.1), pytest.raises(StoreBusyError, match="raise pool_size"):
            use(store)
        with pytest.raises(StoreBusyError, match="raise pool_size"), store.write(wait=0.1):
            pass
        assert time.monotonic() - began < 30
    store.close()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("use", [read, write])
def test_no_place_of_a_pool_of_postgresql_is_lost(use: Any, error: type[BaseException], postgres_url: str) -> None:
    from cidrgate.stores.postgres import PostgresStore

    store: Any = PostgresStore(postgres_url, create=True, lock_timeout=2, pool_size=4)
    kept: list[BaseException] = []
    use_and_keep = keeping(kept, partial(use, store))
    for where in interruptions(use_and_keep, error, POOLS):
        for engine in (store._readers, store._writers):
            assert engine.pool.checkedout() == 0, where
        in_another_thread(partial(read, store))
        in_another_thread(partial(write, store))
        if len(kept) > 40:
            kept.clear()
    for engine in (store._readers, store._writers):
        assert in_another_thread(partial(take_all, engine.pool)) == engine.pool.size()
    store.close()


# -------------------------------------------------------------------------------------------------- in memory


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("use", [read, write])
def test_an_interrupted_transaction_in_memory_ends_its_turn(use: Any, error: type[BaseException]) -> None:
    store = SqliteStore(None, lock_timeout=0.2)
    for _ in interruptions(lambda: use(store), error):
        in_another_thread(partial(use, store))
    store.close()


@pytest.mark.parametrize("error", ERRORS)
def test_a_store_in_memory_whose_close_was_interrupted_is_closed_later(error: type[BaseException]) -> None:
    store = SqliteStore(None)
    for _ in interruptions(store.close, error):
        in_another_thread(store.close)
        store = SqliteStore(None)
    store.close()


def test_a_child_that_was_forked_in_a_transaction_in_memory_ends_it() -> None:
    store = SqliteStore(None)
    child = -1
    try:
        with store.read():
            child = os.fork()
    except ForkedError as error:
        done = error.__cause__ is None
        try:
            in_another_thread(partial(write, store))
        finally:
            os._exit(not done)
    finally:
        if not child:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    in_another_thread(partial(write, store))
    store.close()


# ------------------------------------------------------------------------------------------- the write-ahead log


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store with at most one open connection: SQLite deletes the log when it is closed."""
    store = SqliteStore(tmp_path / "alone.db", create=True, lock_timeout=2, pool_size=2)
    yield store
    store.close()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("use", [read, write])
def test_a_store_whose_last_connection_was_interrupted_is_used_again(
    use: Any, error: type[BaseException], alone: SqliteStore
) -> None:
    kept = alone._writers if use is write else alone._readers
    other = alone._readers if use is write else alone._writers
    use(alone)
    for _ in interruptions(lambda: use(alone), error, POOLS):
        in_another_thread(partial(use, alone))
        other.dispose()
        assert kept.pool.checkedin() == 1  # type: ignore[attr-defined]


def test_a_store_whose_last_connection_failed_is_used_again(alone: SqliteStore) -> None:
    """SQLAlchemy closes a connection that cannot be reset, whatever the reason is."""
    failures: list[BaseException] = []
    wal = alone._path.with_name("alone.db-wal")  # type: ignore[union-attr]

    def fail(*_: object) -> None:
        if failures:
            raise failures.pop()

    event.listen(alone._readers, "reset", fail)
    for failure in (sqlite3.OperationalError("disk I/O error"), MemoryError()):
        failures.append(failure)
        read(alone)
        assert not wal.exists()
        read(alone)
        assert wal.exists()
    write(alone)


def test_a_store_whose_last_connection_was_freed_is_used_again(alone: SqliteStore) -> None:
    alone._readers.pool._pool._items.clear()  # type: ignore[attr-defined]
    gc.collect()
    assert not alone._path.with_name("alone.db-wal").exists()  # type: ignore[union-attr]
    read(alone)
    write(alone)


def test_a_store_whose_watch_failed_is_used_again(alone: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = alone.watch()
    alone._readers.dispose()
    monkeypatch.setattr(watch._connection, "execute", partial(raise_, sqlite3.OperationalError("disk I/O error")))
    with pytest.raises(StoreError, match="disk"):
        watch.wait(0)
    assert not alone._path.with_name("alone.db-wal").exists()  # type: ignore[union-attr]
    watch.wait(0)
    read(alone)
    write(alone)
    watch.close()


def raise_(error: BaseException, *_: object) -> None:
    raise error


def test_a_log_that_was_deleted_beside_an_open_connection_stays_refused(alone: SqliteStore) -> None:
    """Also after other connections were closed and opened."""
    watch = alone.watch()
    wal = alone._path.with_name("alone.db-wal")  # type: ignore[union-attr]
    wal.unlink()
    for _ in range(3):
        alone._readers.dispose()
        for use in (read, read_state):
            with pytest.raises(StoreError, match="write-ahead log"):
                use(alone)
        with pytest.raises(StoreError, match=r"write-ahead log|the disk reports an error"):  # SQLite may notice first
            write(alone)
        with pytest.raises(StoreError, match="write-ahead log"):
            watch.wait(0)
    watch.close()  # which writes what is in the log that is gone
    write(alone)
