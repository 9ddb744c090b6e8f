"""The SQLite store itself: opening it, its transactions, and bringing its tables up to date."""

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
from sqlalchemy.pool import QueuePool, StaticPool

from cidrgate.errors import OutcomeUnknownError, StoreBusyError, StoreError, StoreNotFoundError
from cidrgate.event_log import log_event
from cidrgate.process.forking import join_forks, sqlite_is_lost, work
from cidrgate.process.private_files import create_empty
from cidrgate.stores import migrations
from cidrgate.stores.bulk import compact
from cidrgate.stores.schema import facts
from cidrgate.stores.sqlite.connections import OwnConnection
from cidrgate.stores.sqlite.failures import CANNOT_OPEN, advice, locked, refused_commit
from cidrgate.stores.sqlite.identity import FileIdentity
from cidrgate.stores.sqlite.transaction import SqliteTransaction
from cidrgate.stores.sqlite.watch import SqliteWatch
from cidrgate.stores.urls import redacted
from cidrgate.stores.waits import CONNECTIONS, LOCK_TIMEOUT, check_lock_timeout, time_left
from cidrgate.stores.writes import Write, Writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine
    from sqlalchemy.pool import PoolProxiedConnection

__all__ = ["SqliteStore", "migrate"]


_BEGIN = "cidrgate_begin"
"""Execution option that holds the statement a transaction begins with; None where a single statement needs none."""

_APPLICATION_ID = int.from_bytes(b"CIDR")
"""Marks the file as ours (`PRAGMA application_id`): another program's database is never touched."""

_HOW_TO_FIND_IT = (
    "check the path and the working directory; `cidrgate migrate`, or create=True in Python, creates a store"
)

_warned_of: set[Path] = set()
"""Files of which was said that others may read them."""

_RETRIES = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025)
"""Seconds between attempts to take the write lock; the last one again and again."""

_WAL_LIMIT = 16 << 20
"""Bytes that the write-ahead log keeps on the disk once it is not needed any more, after a bulk of changes."""

_TIDY_PATIENCE = 100
"""Milliseconds that others may be kept from writing while it is cut."""

_WAL_RETRY = 0.01
"""Seconds between two attempts to switch a file to write-ahead logging."""


class SqliteStore:
    """A store in a SQLite file, or in memory.

    Usable from several threads. Every failure of the database is a `StoreError` that says what to do.

    Args:
        path: The file; None for a database in memory that ends with the store.
        create: Whether a file that does not exist, or is empty, is created; for its owner alone to read and write.
        lock_timeout: How many seconds to wait for another writer, and for a connection of the pool; 10 if None.
        pool_size: How many connections are kept, from 2 on, those that write apart from those that read; 15 if None.

    Attributes:
        revision_before: The revision of the tables before it was opened; None where they were created.

    Raises:
        StoreNotFoundError: If there is no such file and none shall be created, or it is no store of cidrgate.
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
        lock_timeout: float | None = None,
        pool_size: int | None = None,
    ) -> None:
        self._path = None if path is None else Path(path).absolute()
        self._name = "the store in memory" if self._path is None else f"the store {redacted(str(self._path))}"
        self.lock_timeout = check_lock_timeout(LOCK_TIMEOUT if lock_timeout is None else lock_timeout)
        size = CONNECTIONS if pool_size is None else pool_size
        if size < 2:
            raise StoreError(f"pool_size is 2 or more connections, one to read and one to write, not {size}")
        self._closed = False
        self._identity = FileIdentity(self._path, self._name)
        # A database in memory lives in one connection, so its transactions take turns.
        self._turn = threading.RLock()
        if self._path is not None:
            _find_file(self._path, self._name, create=create)
            self._identity.take()
        writing = 1 if self._path is None else size // 2
        self._readers = self._writers = self._engine(size - writing)
        if self._path is not None:
            # SQLite would wait for the write lock where nobody can end the wait: `_begin` waits itself.
            self._writers = self._engine(writing, waits=False)
        self._reading = self._readers.execution_options(**{_BEGIN: "BEGIN"})
        self._glancing = self._readers.execution_options(**{_BEGIN: None})
        self._writing = self._writers.execution_options(**{_BEGIN: None})
        self._writes = Writes(self._name, sqlite3.Connection.interrupt, refused_commit)
        self._watches: weakref.WeakSet[SqliteWatch] = weakref.WeakSet()
        self._close = weakref.finalize(self, _dispose, self._readers, self._writers)
        join_forks(self, stage=0)  # before there are connections
        try:
            with work(sqlite=True), self._explained():
                self.revision_before = self._set_up(create=create)
                self._identity.take_log()
        except BaseException as error:
            self.close()
            if getattr(getattr(error.__cause__, "orig", None), "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                raise StoreNotFoundError(str(error)) from error.__cause__
            raise

    def read(self) -> AbstractContextManager[SqliteTransaction]:
        """A transaction that sees one committed state of the store and changes nothing.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._reading)

    def read_autocommit(self) -> AbstractContextManager[SqliteTransaction]:
        """What one statement sees, without those that begin and end a transaction.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._glancing)

    @contextmanager
    def write(self, *, wait: float | None = None, patient: bool = True) -> Iterator[SqliteTransaction]:
        """A transaction that no other writer runs beside; committed at the end of the block.

        An exception inside the block, or a commit that is refused, leaves the store as it was.

        Args:
            wait: Seconds to wait for other writers; `lock_timeout` if None.
            patient: Says nothing here, where no account is locked alone.

        Raises:
            StoreBusyError: If others are writing for too long.
            ChangeWithdrawnError: If `withdraw` was called before it was told to commit.
            OutcomeUnknownError: If its commit failed so that it may be stored or not.
            StoreError: If the store is closed, its file was replaced or deleted, or it cannot be written.
        """
        end = time.monotonic() + time_left(self.lock_timeout if wait is None else wait)
        with work(sqlite=True), self._writes.one() as write, self._turned(end), self._explained():
            self._refuse_closed()
            with self._writing.connect() as connection:
                begun = connection.begin()
                try:
                    self._writes.began(write, connection)
                    self._begin(connection, write, end)
                    self._identity.take_log()
                    self._identity.check()
                    yield SqliteTransaction(connection, writes=True)
                    self._identity.check()
                    self._writes.commit(write, connection)
                except BaseException:
                    with suppress(SQLAlchemyError):
                        begun.rollback()
                    raise
            try:
                self._identity.check()
            except StoreError as error:
                raise OutcomeUnknownError(
                    f"{error}. A change was committed meanwhile, maybe to the file that is gone"
                ) from error

    def withdraw(self) -> None:
        """Take back every change that is under way and was not told to commit."""
        self._writes.withdraw()

    def watch(self) -> SqliteWatch:
        """What waits for the commits of others, to be closed by the caller.

        Raises:
            StoreError: If the file cannot be opened.
        """
        if self._path is None:
            return SqliteWatch(None)
        self._warn_of_readers(self._path)
        with work(sqlite=True), self._explained():
            watch = SqliteWatch(partial(OwnConnection, self._path, isolation_level=None), self._identity.check)
        self._watches.add(watch)
        return watch

    def _warn_of_readers(self, path: Path) -> None:
        """Say once that others may read the lists; services say so, and not every command."""
        if path not in _warned_of and path.exists() and path.stat().st_mode & 0o007:
            _warned_of.add(path)
            log_event(
                logging.WARNING,
                "store_exposed",
                f"{self._name} is open to every user of this machine, with all lists and the hashes of tokens: "
                "chmod o= it, and the -wal and -shm files beside it",
            )

    def close(self) -> None:
        """Close every connection; a store in memory is gone. May be called twice."""
        self._closed = True
        with self._turned(time.monotonic() + self.lock_timeout):
            self._close()

    def tidy(self) -> None:
        """Cut the write-ahead log to nothing where it has grown and nobody needs it; not if somebody is writing.

        Raises:
            StoreError: If the file cannot be read or written.
        """
        if self._path is None or not _is_larger(Path(f"{self._path.resolve()}-wal"), _WAL_LIMIT):
            return
        with work(sqlite=True), self._explained(), closing(self._readers.raw_connection()) as borrowed:
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
            self._readers.dispose()
            self._writers.dispose()
            self._identity.forget_log()

    def after_fork(self, *, certain: bool) -> None:
        """Go on in a forked child, with connections of its own; a store in memory was copied with the process."""
        self._writes.after_fork()
        if self._path is not None:
            self._readers.dispose(close=False)
            self._writers.dispose(close=False)
            self._identity.forget_log()
        elif certain:
            self._turn = threading.RLock()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[SqliteTransaction]:
        end = time.monotonic() + time_left(self.lock_timeout)
        with work(sqlite=True), self._turned(end), self._explained():
            self._refuse_closed()
            self._identity.check()
            with engine.begin() as connection:
                yield SqliteTransaction(connection, writes=False)
                self._identity.take_log()  # what was read was read from it

    @contextmanager
    def _turned(self, end: float) -> Iterator[None]:
        """The turn of a transaction in memory."""
        if self._path is not None:
            yield
            return
        if not self._turn.acquire(timeout=max(0.0, end - time.monotonic())):
            raise StoreBusyError(f"{self._name} is in use by another thread; nothing was changed: try again")
        try:
            yield
        finally:
            self._turn.release()

    def _begin(self, connection: Connection, write: Write, end: float) -> None:
        """Take the write lock, or give up in time."""
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
            kind = StoreBusyError if locked(error) else StoreError
            raise kind(f"{self._name} {advice(error)}") from error
        except UnicodeEncodeError as error:
            raise StoreError(f"{self._name} holds Unicode text only: {error}") from error

    def _engine(self, connections: int, *, waits: bool = True) -> Engine:
        lock_timeout = self.lock_timeout if waits else 0.0
        return _make_engine(self._path, lock_timeout, connections, self.lock_timeout, self._identity.check)

    def _set_up(self, *, create: bool) -> str | None:
        """Bring the tables up to date; refuse a database that is not ours or too new. The revision it had before."""
        if self._path is None:
            _fill_new_database(self._readers)
            return None
        with self._reading.begin() as connection:
            before = self._revision(connection, create=create)
        _use_write_ahead_log(self._readers, self.lock_timeout)
        if before == migrations.HEAD:
            return before
        with self._readers.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin() as connection:
            before = self._revision(connection, create=create)  # another process may have migrated it since
            if before != migrations.HEAD:
                unstamped = before is None and connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                before = f"{unstamped:04}" if unstamped else before
                migrations.upgrade(connection, since=before if unstamped else None)
                connection.exec_driver_sql(f"PRAGMA application_id = {_APPLICATION_ID}")
        return before

    def _revision(self, connection: Connection, *, create: bool) -> str | None:
        """The revision of the database; None when it is new, or of a time before revisions were noted in it."""
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


def migrate(path: str | Path) -> str | None:
    """Bring the tables of a file up to date, as opening it does; create it where there is none.

    Returns:
        The revision it had before; None where it was created.

    Raises:
        StoreError: As for `SqliteStore`.
    """
    store = SqliteStore(path, create=True)
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


def _driver_of(borrowed: PoolProxiedConnection) -> Any:
    return borrowed.driver_connection


def _find_file(path: Path, name: str, *, create: bool) -> None:
    """Make sure that a file is there for SQLite to open, which would create one for everybody to read.

    A file that is there is not opened here: closing it would release the locks of other connections of this process.
    What the system says of it is not handed on, as it repeats the path, which may be a misspelt URL with a password.

    Raises:
        StoreNotFoundError: If there is none and none shall be created, or what is there can be no store.
        StoreError: If it cannot be looked at or created.
    """
    try:
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            _refuse_lost_place(path, name)
            if not create:
                raise StoreNotFoundError(f"{name} is not there: {_HOW_TO_FIND_IT}") from None
            with suppress(FileExistsError):  # another process was first
                create_empty(path)
            return
    except OSError as error:
        raise StoreError(f"{name} cannot be opened: {error.strerror}; {CANNOT_OPEN}") from None
    except ValueError:
        raise StoreNotFoundError(f"{name} is not there: no path has such characters") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "not a plain file"
        raise StoreNotFoundError(f"{name} is {kind}: check that the path is a file")
    if not create and not found.st_size:
        raise StoreNotFoundError(f"{name} is an empty file: {_HOW_TO_FIND_IT}")


def _refuse_lost_place(path: Path, name: str) -> None:
    """Refuse a path where no file can be, such as one on a volume that is not mounted."""
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
    check: Callable[[], object] = lambda: None,
) -> Engine:
    if path is None:
        settings: dict[str, Any] = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    else:
        settings = {"poolclass": QueuePool, "pool_size": connections, "max_overflow": 0, "pool_timeout": pool_timeout}
        settings["creator"] = partial(OwnConnection, path, timeout=lock_timeout)
    engine = create_engine("sqlite://", **settings, json_serializer=compact)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transaction handling would begin late and never immediately.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        try:
            check()  # one to another file must not be kept
        except BaseException:
            connection.close()
            raise

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


def _dispose(*engines: Engine) -> None:
    """Close the connections; where a call of SQLite may wait for ever, they stay as they are."""
    if not sqlite_is_lost():
        with work(sqlite=True):
            for engine in engines:
                engine.dispose()


def _is_larger(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size > size
    except OSError:
        return False
