"""The SQLite store: one file shared by any number of processes, or a database in memory.

Writers take the file's write lock when their transaction begins (`BEGIN IMMEDIATE`), so what they read is
what they change: two of them never make an invalid list together. Readers see the last committed state and
block nobody (write-ahead log). A commit returns once the disk has it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
import weakref
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, create_engine, event, insert, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from cidrgate.errors import StoreError
from cidrgate.stores.bulk import rows_of
from cidrgate.stores.schema import SCHEMA_VERSION, changes, facts, metadata, utc_text
from cidrgate.stores.sql import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy import Engine

    from cidrgate.stores.bulk import NewList

__all__ = ["SqliteStore", "SqliteTransaction", "SqliteWatch"]

_BEGIN = "cidrgate_begin"
"""Execution option that holds the statement a transaction begins with."""

_APPLICATION_ID = int.from_bytes(b"CIDR")
"""Marks the file as ours (`PRAGMA application_id`): another program's database is never touched."""

_WAL_RETRY = 0.01
"""Seconds between two attempts to switch a file to write-ahead logging."""

_POLL = 0.02
"""Seconds between two questions for the data version, each of some microseconds."""

_LOG_TRIGGERS = (
    "CREATE TRIGGER changes_refuse_update BEFORE UPDATE ON changes "
    "BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END",
    "CREATE TRIGGER changes_refuse_delete BEFORE DELETE ON changes "
    "WHEN OLD.sequence >= (SELECT log_start FROM facts) "
    "BEGIN SELECT RAISE(ABORT, 'the change log is append-only'); END",
)

_INSERT_ENTRY = """
    INSERT INTO entries (id, account_id, cidr, label, expires_at, created_at, created_by) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_ENTRIES = """
    INSERT INTO entries (id, account_id, cidr, label, expires_at, created_at, created_by)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]'), json_extract(value, '$[4]'), ?, ?
    FROM json_each(?)
"""
_INSERT_CHANGES = """
    INSERT INTO changes (at, actor, action, before, account, after)
    SELECT ?, ?, 'add', '[]', json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
"""

_NUL = r"\u0000"

_compact_json = partial(json.dumps, separators=(",", ":"), ensure_ascii=False)

_ADVICE = {
    "SQLITE_BUSY": "is locked by another process that is writing; try again when it is done",
    "SQLITE_LOCKED": "is locked by another connection; try again when it is done",
    "SQLITE_CANTOPEN": "cannot be opened; check that the path is a file in a directory you may write to",
    "SQLITE_NOTADB": "is not a SQLite database; choose another path or move the file away",
    "SQLITE_READONLY": "cannot be written; give this user write permission on the file and its directory",
    "SQLITE_PERM": "cannot be accessed; give this user permission on the file and its directory",
    "SQLITE_FULL": "cannot grow: the disk is full; free some space and try again",
    "SQLITE_CORRUPT": "is damaged; restore it from a backup, or rescue it with the sqlite3 tool's .recover",
    "SQLITE_IOERR": "cannot be read or written: the disk reports an error; check the disk and its mount",
}


class SqliteTransaction(Transaction):
    """A transaction on SQLite; ids of entries follow the greatest one ever used.

    Writers take turns, so rows of the log are committed in the order of their sequence: a position is the last one.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._ids: Iterator[int] | None = None

    def new_entry_ids(self) -> Iterator[int]:
        """Ids no entry ever had: the write lock keeps every other writer from taking the same."""
        if self._ids is None:
            self._ids = count(self._last("entries") + 1)
        return self._ids

    def insert_lists(self, lists: Sequence[NewList], *, at: datetime, actor: str | None) -> None:
        """Store the first entries of many accounts, and log them.

        Rows go in as one JSON text a table, taken apart by SQLite itself: half the time of binding a row at once.
        """
        if not lists:
            return
        rows = rows_of(lists, self.new_entry_ids(), at, actor)
        moment = utc_text(at)
        entries = _compact_json(rows.entries)
        if _NUL in entries:  # which SQLite's JSON would take for the end of a label
            self._connection.exec_driver_sql(_INSERT_ENTRY, [(*row, moment, actor) for row in rows.entries])
        else:
            self._connection.exec_driver_sql(_INSERT_ENTRIES, (moment, actor, entries))
        self._connection.exec_driver_sql(_INSERT_CHANGES, (moment, actor, _compact_json(rows.changes)))
        self._raise_versions(new.account_id for new in lists)

    def position(self) -> str:
        """The store's own id, and the sequence of the last row of the log."""
        return f"{self._store_id()}:{self._last('changes')}"

    def changed_since(self, position: str, limit: int) -> set[str] | None:
        """The accounts of the rows that follow; None when nobody can tell, see `Transaction.changed_since`."""
        store_id, _, sequence = position.partition(":")
        if store_id != self._store_id() or not sequence.isdecimal():
            return None
        last = int(sequence)
        if last > self._last("changes") or last + 1 < self.log_start():
            return None
        names = select(changes.c.account).where(changes.c.sequence > last).distinct().limit(limit + 1)
        found = set(self._connection.scalars(names))
        return found if len(found) <= limit else None

    def _store_id(self) -> str:
        return str(self._connection.scalars(select(facts.c.store_id)).one())

    def _last(self, table: str) -> int:
        """The greatest key a table ever had."""
        used = self._connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table})
        return used.scalar() or 0


class SqliteWatch:
    """Tells when another connection has committed, by asking SQLite for its data version again and again.

    Args:
        connect: Makes the watch's own connection; None for a store in memory, where there is nobody else.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection] | None) -> None:
        self._connection = None if connect is None else connect()
        self._version = self._ask()
        self._woken = threading.Event()

    def wait(self, timeout: float) -> bool:
        """Wait until something may have been committed, `wake` is called, or the time is over.

        Args:
            timeout: Seconds.

        Returns:
            Whether something may have been committed.

        Raises:
            StoreError: If the file cannot be read.
        """
        end = time.monotonic() + timeout
        while True:
            version = self._ask()
            if version != self._version:
                self._version = version
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            if self._woken.wait(left if self._connection is None else min(left, _POLL)):
                self._woken.clear()
                return False

    def wake(self) -> None:
        """End the wait of another thread."""
        self._woken.set()

    def close(self) -> None:
        """Close the watch's connection."""
        if self._connection is not None:
            self._connection.close()

    def _ask(self) -> int:
        if self._connection is None:
            return 0
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise StoreError(f"the store {_advice(error)}") from error


class SqliteStore:
    """A store in a SQLite file, or in memory.

    Usable from several threads. Every failure of the database is a `StoreError` that says what to do.

    Args:
        path: The file, created when it does not exist; None for a database in memory that ends with the
            store.
        lock_timeout: How long to wait for another writer, in seconds.

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
        self._writing = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._close = weakref.finalize(self, self._engine.dispose)
        try:
            with self._explained():
                self._set_up(lock_timeout)
        except BaseException:
            self.close()
            raise

    def read(self) -> AbstractContextManager[SqliteTransaction]:
        """A transaction that sees one committed state of the store and changes nothing.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._reading)

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
        with self._explained():
            return SqliteWatch(partial(sqlite3.connect, self._path, check_same_thread=False, isolation_level=None))

    def close(self) -> None:
        """Close every connection; a store in memory is gone. May be called twice."""
        with self._turn:
            self._closed = True
            self._close()

    def after_fork(self) -> None:
        """Go on in a forked child, with connections of its own; a store in memory was copied with the process."""
        if self._path is not None:
            self._inherited = self._engine.pool  # kept, as what nobody refers to would be closed
            self._engine.dispose(close=False)

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[SqliteTransaction]:
        with self._turn, self._explained():
            if self._closed:
                raise StoreError(f"{self._name} is closed; open it again")
            with engine.begin() as connection:
                yield SqliteTransaction(connection)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the database's errors into a `StoreError` that says what to do."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreError(f"{self._name} {_advice(error)}") from error
        except UnicodeEncodeError as error:
            raise StoreError(f"{self._name} holds Unicode text only: {error}") from error

    def _set_up(self, lock_timeout: float) -> None:
        """Create the tables in a new database; refuse one that is not ours or too new."""
        with self._reading.begin() as connection:
            version = self._version(connection)
        if self._path is not None:
            _use_write_ahead_log(self._engine, lock_timeout)
        if version == SCHEMA_VERSION:
            return
        with self._writing.begin() as connection:
            # Another process may have created the tables since.
            if self._version(connection) == SCHEMA_VERSION:
                return
            metadata.create_all(connection)
            for trigger in _LOG_TRIGGERS:
                connection.exec_driver_sql(trigger)
            connection.execute(insert(facts).values(store_id=uuid.uuid4().hex))
            connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _version(self, connection: Connection) -> int:
        """The schema version of the database, 0 when it is new."""
        application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
        version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        if application != _APPLICATION_ID:
            if version or connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one():
                raise StoreError(f"{self._name} is the database of another program; choose another path")
            return 0
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._name} has schema version {version}, made by a newer cidrgate; "
                f"this one knows versions up to {SCHEMA_VERSION}: upgrade cidrgate"
            )
        return version


def _make_engine(path: Path | None, lock_timeout: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=None if path is None else str(path)),
        poolclass=StaticPool if path is None else QueuePool,
        connect_args={"check_same_thread": False, "timeout": lock_timeout},
        json_serializer=_compact_json,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transaction handling would begin late and never immediately.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options()[_BEGIN])

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


def _advice(error: Exception) -> str:
    """What a failure of the database means, and what a person can do about it."""
    cause = getattr(error, "orig", None) or error
    name = getattr(cause, "sqlite_errorname", "")
    for code, advice in _ADVICE.items():
        if name.startswith(code):
            return advice
    return f"failed: {cause}"
