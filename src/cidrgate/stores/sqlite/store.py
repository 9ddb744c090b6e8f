"""`SqliteStore`: opens a store in SQLite, begins its transactions, and migrates its tables."""

from __future__ import annotations

import logging
import sqlite3
import stat
import threading
import time
import uuid
import weakref
from contextlib import closing, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError, TimeoutError as PoolTimeoutError
from sqlalchemy.pool import StaticPool

from cidrgate.errors import OutcomeUnknownError, StoreBusyError, StoreError, StoreNotFoundError
from cidrgate.event_log import log_event
from cidrgate.process.database_files import DatabaseFileError, refuse_name
from cidrgate.process.forking import join_forks, sqlite_is_busy, sqlite_is_lost, work
from cidrgate.process.locks import held
from cidrgate.process.private_files import create_empty
from cidrgate.process.weak_sets import SharedWeakSet
from cidrgate.stores import migrations
from cidrgate.stores.bulk import compact
from cidrgate.stores.connection_pool import ConnectionPool, connected
from cidrgate.stores.foreign_errors import unwrapped
from cidrgate.stores.schema import facts
from cidrgate.stores.sqlite.connections import OwnConnection
from cidrgate.stores.sqlite.failures import CANNOT_OPEN, advice, locked, refused_commit
from cidrgate.stores.sqlite.identity import FileIdentity
from cidrgate.stores.sqlite.search import NAMES, NETWORKS
from cidrgate.stores.sqlite.transaction import SqliteTransaction
from cidrgate.stores.sqlite.unused_files import delete_unused
from cidrgate.stores.sqlite.watch import SqliteWatch
from cidrgate.stores.unknown_outcomes import check_of
from cidrgate.stores.urls import redacted
from cidrgate.stores.waits import CONNECTIONS, LOCK_TIMEOUT, check_lock_timeout, check_pool_size, time_left
from cidrgate.stores.writes import MIGRATE_AGAIN, Write, Writes, confirmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

    from cidrgate.stores.listener import ChangeListener
    from cidrgate.values import Duration

__all__ = ["SqliteStore", "migrate"]


_BEGIN = "cidrgate_begin"
"""The execution option with the statement that begins a transaction; None if a single statement needs none."""

_APPLICATION_ID = int.from_bytes(b"CIDR")
"""Marks a file as a cidrgate store (`PRAGMA application_id`): a database of another program is never changed."""

_HOW_TO_FIND_IT = (
    "check the path and the working directory; `cidrgate migrate`, or create=True in Python, creates a store"
)

_warned_of: set[Path] = set()
"""The files for which the log already says that other users may read them."""

_RETRIES = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025)
"""Seconds between attempts to take the write lock; the last value is repeated."""

_WAL_LIMIT = 16 << 20
"""The largest size in bytes that the write-ahead log keeps on the disk after many changes, when it is not needed."""

_TIDY_PATIENCE = 100
"""The largest number of milliseconds for which truncating the log may block other writers."""

_FEWEST_TO_INDEX = 1_000
"""How many new rows are worth a transaction that indexes them. A search reads fewer rows as fast."""

_INDEXED_AT_ONCE = 5_000
"""How many rows one transaction indexes: few enough that other writers wait for some hundredths of a second."""

_INDEXED_BATCHES = 40
"""How many transactions index rows in a row: the thread that does it also follows the store, which must not wait."""

_WAL_RETRY = 0.01
"""Seconds between two attempts to switch a file to write-ahead logging."""


class SqliteStore:
    """A store in a SQLite file, or in memory.

    Threads can share it. Every failure of the database is a `StoreError` that says what to do.

    Args:
        path: The file; None for a database in memory that ends with the store.
        create: Whether to create the store if the file does not exist or is empty. Only the owner can read and write a
            new file.
        lock_timeout: How many seconds to wait for another writer, and for a connection of the pool; 10 if None.
        pool_size: How many connections stay open, at least 2; writers and readers use different ones; 15 if None.

    Attributes:
        revision_before: The revision of the tables before opening; None if they were created.

    Raises:
        StoreNotFoundError: If there is no such file and `create` is false, or if the file is not a cidrgate store.
        StoreError: If the file cannot be used, or belongs to a newer cidrgate.

    Example:
        >>> store = SqliteStore(None)
        >>> with store.read() as transaction:
        ...     transaction.accounts()
        []
        >>> store.close()
    """

    writers = 1

    def __init__(
        self,
        path: str | Path | None,
        *,
        create: bool = False,
        lock_timeout: Duration | None = None,
        pool_size: int | None = None,
    ) -> None:
        self._path = None if path is None else Path(path).absolute()
        self._name = "the store in memory" if self._path is None else f"the store {redacted(str(self._path))}"
        self.name = self._name
        self.lock_timeout = check_lock_timeout(LOCK_TIMEOUT if lock_timeout is None else lock_timeout)
        size = check_pool_size(CONNECTIONS if pool_size is None else pool_size)
        self._closed = False
        self._identity = FileIdentity(self._path, self._name)
        # A database in memory lives in one connection, so its transactions take turns.
        self.takes_turns = self._path is None
        self._turn = threading.RLock()
        self._created = False
        if self._path is not None:
            self._created = _find_file(self._path, self._name, create=create)
            self._identity.take()
        writing = 1 if self._path is None else size // 2
        self._readers = self._writers = self._engine(size - writing)
        if self._path is not None:
            # A wait for the write lock inside SQLite cannot be cancelled, so `_begin` waits itself.
            self._writers = self._engine(writing, waits=False)
        self._reading = self._readers.execution_options(**{_BEGIN: "BEGIN"})
        self._glancing = self._readers.execution_options(**{_BEGIN: None})
        self._writing = self._writers.execution_options(**{_BEGIN: None})
        self._writes = Writes(self._name, sqlite3.Connection.interrupt, refused_commit)
        self._watches: SharedWeakSet[SqliteWatch] = SharedWeakSet()
        self._own_watches: SharedWeakSet[SqliteWatch] = SharedWeakSet()
        self.listener: ChangeListener | None = None
        self._left: list[Pool] = []
        self._close = weakref.finalize(self, _dispose, self._turn, self._readers, self._writers)
        join_forks(self, stage=0)  # before there are connections
        try:
            with work(sqlite=True), self._explained():
                self.revision_before = self._set_up(create=create)
                self._identity.take_log()
        except BaseException as error:
            self.discard()
            if getattr(getattr(error.__cause__, "orig", None), "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise StoreNotFoundError(str(error)) from error.__cause__
            raise

    def read(self) -> AbstractContextManager[SqliteTransaction]:
        """Begin a transaction that sees one committed state of the store and changes nothing.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._reading)

    def read_autocommit(self) -> AbstractContextManager[SqliteTransaction]:
        """Begin a transaction for one statement, without BEGIN and COMMIT.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._glancing)

    @contextmanager
    def write(self, *, wait: float | None = None, patient: bool = True) -> Iterator[SqliteTransaction]:
        """Begin a write transaction, the only one at a time, which commits at the end of the block.

        An exception inside the block, or a commit that the database refuses, leaves the store unchanged.

        Args:
            wait: How many seconds to wait for other writers; `lock_timeout` if None.
            patient: Ignored, because SQLite does not lock single accounts.

        Raises:
            StoreBusyError: If other writers hold the lock for too long.
            ChangeWithdrawnError: If `withdraw` was called before the commit began.
            OutcomeUnknownError: If the commit failed, and the change may be stored or not.
            StoreError: If the store is closed, its file was replaced or deleted, or it cannot be written.
        """
        with (
            self._at_work(wait) as end,
            self._writes.one() as write,
            self._turned(end),
            self._leaving(),
            self._explained(),
        ):
            self._refuse_closed()
            with connected(self._writing, end) as connection:
                begun = connection.begin()
                try:
                    self._writes.began(write, connection)
                    self._begin(connection, write, end)
                    self._identity.take_log()
                    self._identity.check()
                    transaction = SqliteTransaction(connection, writes=True)
                    listener = self.listener if self.listener is not None and self.listener.wants() else None
                    if listener is not None:
                        transaction.keep_own_changes()
                    yield transaction
                    changes = () if listener is None else transaction.own_changes()
                    self._identity.check()
                    self._writes.commit(write, connection, check_of(transaction.event))
                except BaseException:
                    with suppress(SQLAlchemyError):
                        begun.rollback()
                    raise
                try:  # while the connection is open, because the last one to be closed deletes the log
                    self._identity.check()
                except StoreError as error:
                    raise OutcomeUnknownError(
                        f"{error}. A change was committed in the meantime, possibly to the file that is gone"
                    ) from error
            if listener is not None:
                listener.committed(changes)
            for watch in self._own_watches:
                watch.committed()

    def withdraw(self) -> None:
        """Cancel every change in progress whose commit has not begun."""
        self._writes.withdraw()

    def watch(self, *, own_commits: bool = False) -> SqliteWatch:
        """Return a watch, which waits for the commits of other connections. The caller closes it.

        Args:
            own_commits: Whether the commits of this process must wake it too, at once and for a store in memory.

        Raises:
            StoreError: If the store is closed, or the file cannot be opened.
        """
        self._refuse_closed()
        watch = self._other_commits()
        if own_commits:
            self._own_watches.add(watch)
        return watch

    def _other_commits(self) -> SqliteWatch:
        if self._path is None:
            return SqliteWatch(None)
        self._warn_of_readers(self._path)
        with work(sqlite=True), self._explained():
            watch = SqliteWatch(partial(_connect_watch, self._path, self._identity), self._identity.check)
        self._watches.add(watch)
        return watch

    def _warn_of_readers(self, path: Path) -> None:
        """Log once that other users may read the lists. Only services do this, not every command."""
        mode = 0
        with suppress(OSError):  # whoever opens the watch says so
            mode = path.stat().st_mode
        if path not in _warned_of and mode & 0o007:
            _warned_of.add(path)
            log_event(
                logging.WARNING,
                "store_exposed",
                f"{self._name} is open to every user of this machine, with all lists and the hashes of tokens: "
                "chmod o= it, and the -wal and -shm files beside it",
            )

    def close(self) -> None:
        """Close every connection, which deletes a store in memory. A second call does nothing."""
        self._closed = True
        with work(), self._turned(time.monotonic() + self.lock_timeout):
            # Connections that threads still use return to these pools, which must then be closed again.
            self._left += [self._readers.pool, self._writers.pool]
            self._close()

    def discard(self) -> None:
        """Close every connection, and delete the file if this object created it and nobody has used it."""
        self.close()
        if self._path is not None and self._created:
            with suppress(sqlite3.Error, OSError, StoreError), work(sqlite=True):
                delete_unused(self._path, self._identity.check)

    def tidy(self) -> None:
        """Truncate the write-ahead log if it has grown and no transaction needs it.

        Raises:
            StoreError: If the store is closed, or the file cannot be read or written.
        """
        if self._path is None or not _is_larger(Path(f"{self._path.resolve()}-wal"), _WAL_LIMIT):
            return
        with work(sqlite=True), self._leaving(), self._explained():
            self._refuse_closed()
            with closing(self._readers.raw_connection()) as borrowed:
                cursor = borrowed.cursor()
                [[patience]] = cursor.execute("PRAGMA busy_timeout").fetchall()
                cursor.execute(f"PRAGMA busy_timeout = {_TIDY_PATIENCE}")
                try:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    cursor.execute(f"PRAGMA busy_timeout = {patience}")

    def index_new_rows(self) -> bool:
        """Add rows to the indexes for searches, if many have been added to the tables since, for about a second.

        Returns:
            Whether the next call will continue.

        Raises:
            StoreError: If the file cannot be written.
        """
        for index in (NAMES, NETWORKS):
            for _ in range(_INDEXED_BATCHES):
                with self.read() as transaction:
                    waiting = index.waiting(transaction.connection, _INDEXED_AT_ONCE)
                if waiting < _FEWEST_TO_INDEX:
                    break
                with self.write() as transaction:
                    index.index_new_rows(transaction.connection, _INDEXED_AT_ONCE)
            else:
                return True
        return False

    def before_fork(self) -> None:
        """Close the connections that no thread uses: a child that inherited one could not use the file."""
        if self._path is not None and not sqlite_is_busy():
            for watch in self._watches:
                watch.pause()
            self._readers.dispose()
            self._writers.dispose()

    def after_fork(self, *, certain: bool) -> None:
        """Prepare the store for a forked child, with new connections. A store in memory was copied with the process."""
        self._writes.after_fork()
        if self._path is not None:
            self._readers.dispose(close=False)
            self._writers.dispose(close=False)
            self._identity.forget_log()
        elif certain:
            self._turn = threading.RLock()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[SqliteTransaction]:
        with self._at_work() as end, self._turned(end), self._leaving(), self._explained():
            self._refuse_closed()
            self._identity.check()
            with connected(engine, end) as connection, connection.begin():
                yield SqliteTransaction(connection, writes=False)
                self._identity.take_log()  # the transaction has read from this log

    @contextmanager
    def _at_work(self, wait: float | None = None) -> Iterator[float]:
        """Protect a transaction from forks, and yield until when it waits for others: a fork takes none of this time.

        Args:
            wait: How many seconds to wait for other writers; `lock_timeout` if None.
        """
        with work(sqlite=True):
            yield time.monotonic() + time_left(self.lock_timeout if wait is None else wait)

    @contextmanager
    def _turned(self, end: float) -> Iterator[None]:
        """Wait for the turn of a transaction in memory."""
        if self._path is not None:
            yield
            return
        with held(self._turn, max(0.0, end - time.monotonic())) as has_turn:
            if not has_turn:
                raise StoreBusyError(f"{self._name} is in use by another thread; nothing was changed: try again")
            yield

    @contextmanager
    def _leaving(self) -> Iterator[None]:
        """Close the connection of a transaction if the store was closed in the meantime."""
        try:
            yield
        finally:
            if self._closed and not sqlite_is_lost():
                for pool in (*self._left, self._readers.pool, self._writers.pool):  # it may be in any of them
                    pool.dispose()

    def _begin(self, connection: Connection, write: Write, end: float) -> None:
        """Take the write lock, or give up at the deadline."""
        retries = iter(_RETRIES)
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except OperationalError as error:
                left = end - time.monotonic()
                if not locked(error) or left <= 0:
                    raise
                write.withdrawn.wait(min(left, next(retries, _RETRIES[-1])))
                self._writes.check(write)
            else:
                return

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError(f"{self._name} is closed; open it again")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the database's errors into a `StoreError` that says what to do."""
        try:
            yield
        except PoolTimeoutError as error:
            raise StoreBusyError(
                f"all connections of this process to {self._name} are in use; nothing was changed: try again later, or "
                "raise pool_size"
            ) from error
        except (SQLAlchemyError, sqlite3.Error) as error:
            foreign = unwrapped(error)
            if foreign is not None:
                raise foreign from foreign.__cause__
            kind = StoreBusyError if locked(error) else StoreError
            raise kind(f"{self._name} {advice(error)}") from error
        except UnicodeEncodeError as error:
            raise StoreError(f"{self._name} can only store Unicode text: {error}") from error

    def _engine(self, connections: int, *, waits: bool = True) -> Engine:
        lock_timeout = self.lock_timeout if waits else 0.0
        return _make_engine(self._path, lock_timeout, connections, self.lock_timeout, self._identity)

    def _set_up(self, *, create: bool) -> str | None:
        """Migrate the tables, or refuse a database that is too new or not ours; return the revision before that."""
        if self._path is None:
            _fill_new_database(self._readers)
            return None
        with self._reading.begin() as connection:
            before = self._revision(connection, create=create)
            self._identity.check()  # who created the file may have deleted it, unused
        _use_write_ahead_log(self._readers, self.lock_timeout)
        self._identity.check()
        if before == migrations.HEAD:
            return before
        with self._readers.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin() as connection:
            before = self._revision(connection, create=create)  # another process may have migrated it since
            if before != migrations.HEAD:
                unstamped = before is None and connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                before = f"{unstamped:04}" if unstamped else before
                migrations.upgrade(connection, since=before if unstamped else None)
                connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
                with confirmed(self._name, refused_commit, MIGRATE_AGAIN):
                    connection.commit()
        return before

    def _revision(self, connection: Connection, *, create: bool) -> str | None:
        """Return the revision of the database; None if it is new, or older than the first recorded revision."""
        if connection.exec_driver_sql("PRAGMA application_id").scalar_one() != _APPLICATION_ID:
            if (
                connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                or connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one()
            ):
                raise StoreNotFoundError(f"{self._name} is the database of another program; choose another path")
            if not create:
                raise StoreNotFoundError(f"{self._name} has no tables of cidrgate: {_HOW_TO_FIND_IT}")
            return None
        revision = migrations.revision_of(connection)
        if revision is not None:
            migrations.refuse_newer(revision, self._name)
        elif not create and not connection.exec_driver_sql("PRAGMA user_version").scalar_one():
            raise StoreNotFoundError(f"{self._name} has no tables of cidrgate: {_HOW_TO_FIND_IT}")
        return revision


def migrate(path: str | Path, *, lock_timeout: Duration | None = None) -> str | None:
    """Migrate the tables of a file, as opening it does, or create the file if it does not exist.

    Args:
        path: The file.
        lock_timeout: As for `SqliteStore`.

    Returns:
        The revision before the migration; None if the file was created.

    Raises:
        StoreError: As for `SqliteStore`.
    """
    store = SqliteStore(path, create=True, lock_timeout=lock_timeout)
    store.close()
    return store.revision_before


@cache
def _new_database() -> bytes:
    """Return the pages of a database with all tables and no rows: copying them is faster than migrating each store."""
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


def _driver_of(borrowed: PoolProxiedConnection) -> Any:
    return borrowed.driver_connection


def _find_file(path: Path, name: str, *, create: bool) -> bool:
    """Ensure that the file exists before SQLite opens it: SQLite would create a file that every user can read.

    An existing file is not opened here, because closing it would release the locks of this process's other connections.
    The system's error message is left out, because it repeats the path, which may be a misspelt URL with a password.

    Returns:
        Whether this call created the file.

    Raises:
        StoreNotFoundError: If the file does not exist and `create` is false, or if it cannot be a store.
        StoreError: If the file cannot be read or created.
    """
    try:
        refuse_name(path)
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            _refuse_lost_place(path, name)
            if not create:
                raise StoreNotFoundError(f"{name} is not there: {_HOW_TO_FIND_IT}") from None
            try:
                create_empty(path)
            except FileExistsError:  # another process was first
                return False
            return True
    except DatabaseFileError:
        raise StoreNotFoundError(f"{name} is a file of another SQLite database: check the path") from None
    except OSError as error:
        raise StoreError(f"{name} cannot be opened: {error.strerror}; {CANNOT_OPEN}") from None
    except ValueError:
        raise StoreNotFoundError(f"{name} is not there: a path cannot contain such characters") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "not a plain file"
        raise StoreNotFoundError(f"{name} is {kind}: check that the path is a file")
    if not create and not found.st_size:
        raise StoreNotFoundError(f"{name} is an empty file: {_HOW_TO_FIND_IT}")
    return False


def _refuse_lost_place(path: Path, name: str) -> None:
    """Refuse a path at which no file can exist, such as a path on a volume that is not mounted."""
    if not path.parent.is_dir():
        raise StoreNotFoundError(
            f"{name} is not there: mount or create the directory {redacted(str(path.parent))} first, "
            "or check the path and the working directory"
        ) from None
    if path.is_symlink():
        raise StoreNotFoundError(
            f"{name} is not there: it is a symbolic link to {redacted(str(path.readlink()))}, which does not exist; "
            "mount or create what it should lead to, or remove the link"
        ) from None


def _make_engine(
    path: Path | None,
    lock_timeout: float,
    connections: int = 1,
    pool_timeout: float = LOCK_TIMEOUT,
    identity: FileIdentity | None = None,
) -> Engine:
    if path is None:
        settings: dict[str, Any] = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    else:
        settings = {
            "poolclass": ConnectionPool,
            "pool_size": connections,
            "max_overflow": 0,
            "pool_timeout": pool_timeout,
        }
        settings["creator"] = partial(OwnConnection, path, timeout=lock_timeout)
    engine = create_engine("sqlite://", **settings, json_serializer=compact)

    if path is not None:

        @event.listens_for(engine, "connect")
        def note_pool(_connection: object, record: ConnectionPoolEntry) -> None:
            record.info["pool"] = engine.pool

        # A store disposes its pools when it is closed and before a fork. Another thread may use a connection then, or
        # the thread that forks, inside of a transaction.
        @event.listens_for(engine, "checkin")
        def close_what_was_left(connection: object, record: ConnectionPoolEntry) -> None:
            if connection is not None and record.info.get("pool") is not engine.pool:
                record.invalidate()

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver would begin transactions late, and never with BEGIN IMMEDIATE.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        if identity is not None and isinstance(connection, OwnConnection):
            _join(connection, identity)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        statement = connection.get_execution_options()[_BEGIN]
        if statement is not None:
            connection.exec_driver_sql(statement)

    return engine


def _connect_watch(path: Path, identity: FileIdentity) -> OwnConnection:
    connection = OwnConnection(path, isolation_level=None)
    _join(connection, identity)
    return connection


def _join(connection: OwnConnection, identity: FileIdentity) -> None:
    """Keep a new connection if it leads to the file and the log in use; otherwise close it."""
    try:
        connection.execute("PRAGMA data_version").fetchone()  # it has to have read something
        identity.join(connection)
    except BaseException:
        connection.close()
        raise


def _use_write_ahead_log(engine: Engine, lock_timeout: float) -> None:
    """Switch the file permanently to write-ahead logging.

    SQLite does not wait for a lock here, whatever the busy timeout is. Two processes that open a new file at the same
    time need the loop.
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


def _dispose(turn: threading.RLock, *engines: Engine) -> None:
    """Close the connections, unless a call of SQLite could wait permanently; then they stay open.

    When the process exits, a thread may still use the connection of a store in memory. The connection is closed between
    two transactions, or not at all.
    """
    if sqlite_is_lost():
        return
    with work(sqlite=True), held(turn, LOCK_TIMEOUT) as has_turn:
        if has_turn:
            for engine in engines:
                engine.dispose()


def _is_larger(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size > size
    except OSError:
        return False
