"""The SQLite store itself: opening it, its transactions, and bringing its tables up to date."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
import weakref
from contextlib import closing, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, create_engine, event, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from cidrgate.errors import StoreError
from cidrgate.forking import join_forks, sqlite_is_lost, work
from cidrgate.stores import migrations
from cidrgate.stores.schema import facts
from cidrgate.stores.sqlite.connections import OwnConnection
from cidrgate.stores.sqlite.failures import advice
from cidrgate.stores.sqlite.transaction import SqliteTransaction, compact_json
from cidrgate.stores.sqlite.watch import SqliteWatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine
    from sqlalchemy.pool import PoolProxiedConnection

__all__ = ["SqliteStore", "migrate"]

_CONNECTIONS = 15
"""How many threads of a process work on a file at once; each connection is kept, as opening one takes time."""

_BEGIN = "cidrgate_begin"
"""Execution option that holds the statement a transaction begins with; None where a single statement needs none."""

_APPLICATION_ID = int.from_bytes(b"CIDR")
"""Marks the file as ours (`PRAGMA application_id`): another program's database is never touched."""

_WAL_RETRY = 0.01
"""Seconds between two attempts to switch a file to write-ahead logging."""

_WAL_LIMIT = 16 << 20
"""Bytes that the write-ahead log keeps on the disk once it is not needed any more, after a bulk of changes."""

_TIDY_PATIENCE = 100
"""Milliseconds that others may be kept from writing while it is cut."""


class SqliteStore:
    """A store in a SQLite file, or in memory.

    Usable from several threads. Every failure of the database is a `StoreError` that says what to do.

    Args:
        path: The file, created when it does not exist; None for a database in memory that ends with the
            store.
        lock_timeout: How long to wait for another writer, in seconds.

    Attributes:
        revision_before: The revision of the tables before it was opened; None where they were created.

    Raises:
        StoreError: If the file cannot be used, is no database, or belongs to another program or to a newer
            cidrgate.

    Example:
        >>> store = SqliteStore(None)
        >>> with store.read() as transaction:
        ...     transaction.accounts()
        []
        >>> store.close()
    """

    writers = 1

    def __init__(self, path: str | Path | None, *, lock_timeout: float = 10.0) -> None:
        self._path = None if path is None else Path(path).absolute()
        self._name = "the store in memory" if self._path is None else f"the store {self._path}"
        self._closed = False
        # A database in memory lives in one connection, so its transactions take turns.
        self._turn: AbstractContextManager[Any] = threading.RLock() if path is None else nullcontext()
        if self._path is not None and not self._path.parent.is_dir():
            raise StoreError(f"{self._name} cannot be created: create the directory {self._path.parent} first")
        self._engine = _make_engine(self._path, lock_timeout)
        self._reading = self._engine.execution_options(**{_BEGIN: "BEGIN"})
        self._glancing = self._engine.execution_options(**{_BEGIN: None})
        self._writing = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._watches: weakref.WeakSet[SqliteWatch] = weakref.WeakSet()
        self._close = weakref.finalize(self, _dispose, self._engine)
        try:
            with work(sqlite=True), self._explained():
                self.revision_before = self._set_up(lock_timeout)
        except BaseException:
            self.close()
            raise
        join_forks(self, stage=0)

    def read(self) -> AbstractContextManager[SqliteTransaction]:
        """A transaction that sees one committed state of the store and changes nothing.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._reading)

    def glance(self) -> AbstractContextManager[SqliteTransaction]:
        """What one statement sees, without those that begin and end a transaction.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._glancing)

    def write(self) -> AbstractContextManager[SqliteTransaction]:
        """A transaction that no other writer runs beside; committed at the end of the block.

        An exception inside the block, or a commit that fails, leaves the store as it was.

        Raises:
            StoreError: If the store is closed, locked for too long, or cannot be written.
        """
        return self._transaction(self._writing)

    def watch(self) -> SqliteWatch:
        """What waits for the commits of others, to be closed by the caller.

        Raises:
            StoreError: If the file cannot be opened.
        """
        if self._path is None:
            return SqliteWatch(None)
        with work(sqlite=True), self._explained():
            watch = SqliteWatch(partial(OwnConnection, self._path, check_same_thread=False, isolation_level=None))
        self._watches.add(watch)
        return watch

    def close(self) -> None:
        """Close every connection; a store in memory is gone. May be called twice."""
        with self._turn:
            self._closed = True
            self._close()

    def tidy(self) -> None:
        """Cut the write-ahead log to nothing where it has grown and nobody needs it; not if somebody is writing.

        Raises:
            StoreError: If the file cannot be read or written.
        """
        if self._path is None or not _is_larger(Path(f"{self._path}-wal"), _WAL_LIMIT):
            return
        with work(sqlite=True), self._explained(), closing(self._engine.raw_connection()) as borrowed:
            cursor = borrowed.cursor()
            [[patience]] = cursor.execute("PRAGMA busy_timeout").fetchall()
            cursor.execute(f"PRAGMA busy_timeout = {_TIDY_PATIENCE}")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {patience}")

    def before_fork(self) -> None:
        """Close the connections that are in nobody's hands: a child that inherited one could not use the file."""
        if self._path is not None:
            for watch in list(self._watches):
                watch.pause()
            self._engine.dispose()

    def after_fork(self, *, certain: bool) -> None:
        """Go on in a forked child, with connections of its own; a store in memory was copied with the process."""
        if self._path is not None:
            self._engine.dispose(close=False)
        elif certain:
            self._turn = threading.RLock()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[SqliteTransaction]:
        with work(sqlite=True), self._turn, self._explained():
            if self._closed:
                raise StoreError(f"{self._name} is closed; open it again")
            with engine.begin() as connection:
                yield SqliteTransaction(connection, writes=engine is self._writing)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the database's errors into a `StoreError` that says what to do."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreError(f"{self._name} {advice(error)}") from error
        except UnicodeEncodeError as error:
            raise StoreError(f"{self._name} holds Unicode text only: {error}") from error

    def _set_up(self, lock_timeout: float) -> str | None:
        """Bring the tables up to date; refuse a database that is not ours or too new. The revision it had before."""
        if self._path is None:
            _fill_new_database(self._engine)
            return None
        with self._reading.begin() as connection:
            before = self._revision(connection)
        _use_write_ahead_log(self._engine, lock_timeout)
        if before == migrations.HEAD:
            return before
        with self._writing.begin() as connection:
            before = self._revision(connection)  # another process may have migrated it since
            if before != migrations.HEAD:
                unstamped = before is None and connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                before = f"{unstamped:04}" if unstamped else before
                migrations.upgrade(connection, since=before if unstamped else None)
                connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
        return before

    def _revision(self, connection: Connection) -> str | None:
        """The revision of the database; None when it is new, or of a time before revisions were noted in it."""
        if connection.exec_driver_sql("PRAGMA application_id").scalar_one() != _APPLICATION_ID:
            if (
                connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                or connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one()
            ):
                raise StoreError(f"{self._name} is the database of another program; choose another path")
            return None
        revision = migrations.revision_of(connection)
        if revision is not None:
            migrations.refuse_newer(revision, self._name)
        return revision


def migrate(path: str | Path) -> str | None:
    """Bring the tables of a file up to date, as opening it does; create it where there is none.

    Returns:
        The revision it had before; None where it was created.

    Raises:
        StoreError: As for `SqliteStore`.
    """
    store = SqliteStore(path)
    store.close()
    return store.revision_before


@cache
def _new_database() -> bytes:
    """The pages of a database that has every table and no row: to copy them is faster than to migrate each store."""
    engine = _make_engine(None, 0)
    with engine.execution_options(**{_BEGIN: "BEGIN"}).begin() as connection:
        migrations.upgrade(connection)
    with closing(engine.raw_connection()) as borrowed:
        pages: bytes = _driver_of(borrowed).serialize()
    engine.dispose()
    return pages


def _fill_new_database(engine: Engine) -> None:
    with closing(sqlite3.connect(":memory:")) as source, closing(engine.raw_connection()) as borrowed:
        source.deserialize(_new_database())
        source.backup(_driver_of(borrowed))
    with engine.execution_options(**{_BEGIN: "BEGIN"}).begin() as connection:
        connection.execute(update(facts).values(store_id=uuid.uuid4().hex))


def _is_larger(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size > size
    except OSError:
        return False


def _dispose(engine: Engine) -> None:
    """Close the connections; where a call of SQLite may wait for ever, they stay as they are."""
    if not sqlite_is_lost():
        with work(sqlite=True):
            engine.dispose()


def _driver_of(borrowed: PoolProxiedConnection) -> Any:
    return borrowed.driver_connection


def _make_engine(path: Path | None, lock_timeout: float) -> Engine:
    pool: dict[str, Any] = {"poolclass": StaticPool}
    if path is not None:
        pool = {"poolclass": QueuePool, "pool_size": _CONNECTIONS, "max_overflow": 0}
    engine = create_engine(
        URL.create("sqlite", database=None if path is None else str(path)),
        **pool,
        connect_args={
            "check_same_thread": False,
            "timeout": lock_timeout,
            "factory": sqlite3.Connection if path is None else OwnConnection,
        },
        json_serializer=compact_json,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transaction handling would begin late and never immediately.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        statement = connection.get_execution_options()[_BEGIN]
        if statement is not None:
            connection.exec_driver_sql(statement)

    return engine


def _use_write_ahead_log(engine: Engine, lock_timeout: float) -> None:
    """Switch the file to write-ahead logging, which it then keeps.

    SQLite does not wait for a lock here, whatever the busy timeout: two processes that open a new file at the
    same time need the loop.
    """
    connection = engine.raw_connection()
    try:
        give_up = time.monotonic() + lock_timeout
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(_WAL_RETRY)
            else:
                return
    finally:
        connection.close()
