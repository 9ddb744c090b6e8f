"""`PostgresStore`: opens a store in PostgreSQL, begins its transactions, and migrates its tables."""

from __future__ import annotations

import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, inspect, select, text
from sqlalchemy.schema import CreateSchema

from cidrgate.errors import AccountsLockedError, StoreBusyError, StoreError, StoreNotFoundError
from cidrgate.process.forking import join_forks, work
from cidrgate.process.weak_sets import SharedWeakSet
from cidrgate.stores import migrations
from cidrgate.stores.connection_pool import connected
from cidrgate.stores.postgres.commits import altering, commit
from cidrgate.stores.postgres.database import BEGIN, Database
from cidrgate.stores.postgres.failures import explained, refused_commit
from cidrgate.stores.postgres.holders import lock_holder
from cidrgate.stores.postgres.inherited import leave_to_parent
from cidrgate.stores.postgres.listening import check_notifications
from cidrgate.stores.postgres.settings import UNSAFE, refuse_unsafe
from cidrgate.stores.postgres.tables import refuse_replaced
from cidrgate.stores.postgres.transaction import PostgresTransaction
from cidrgate.stores.postgres.watch import PostgresWatch
from cidrgate.stores.schema import facts
from cidrgate.stores.unknown_outcomes import check_of
from cidrgate.stores.waits import CONNECTIONS, SILENCE, check_pool_size, time_left
from cidrgate.stores.writes import MIGRATE_AGAIN, Writes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine, Pool

    from cidrgate.stores.listener import ChangeListener
    from cidrgate.values import Duration

__all__ = ["PostgresStore", "migrate"]

_LEAST_WAIT = 0.05
"""The smallest number of seconds that a transaction may wait for a lock, even if it got its connection late."""

_ALMOST = 0.99
"""The part of the lock timeout that counts as all of it: a tenth of a second less is not worth another statement."""


_CANCEL_SECONDS = 1.0

_IN_ERROR = 3
"""libpq's PQTRANS_INERROR."""

_SELECT_UNSAFE = text(f"SELECT {UNSAFE}")


class PostgresStore:
    """A store in a PostgreSQL database.

    Threads can share it. Every failure of the database is a `StoreError` that says what to do. A process has at most
    `pool_size` connections for transactions, and writers and readers use different ones. Each manager that follows has
    one more connection, to listen.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's parameters after a question mark; see
            `Database.parse`.
        create: Whether to create the tables in a database without tables of cidrgate. Tables of an older version are
            not migrated: call `migrate` for that, because nodes of that version may still run.
        lock_timeout: How many seconds to wait for locks, and for a connection of the pool. If None, the value in the
            URL, or 10.
        pool_size: How many connections stay open for transactions, at least 2. If None, the value in the URL, or 15.

    Raises:
        StoreNotFoundError: If the database has no tables of cidrgate and `create` is false.
        StoreError: If the database cannot be reached, its tables are too old or too new, or it delivers no
            notifications.
    """

    writers = 4
    takes_turns = False

    def __init__(
        self, url: str, *, create: bool = False, lock_timeout: Duration | None = None, pool_size: int | None = None
    ) -> None:
        self._database = database = Database.parse(url)
        self.name = database.name
        self.lock_timeout = database.chosen_lock_timeout(lock_timeout)
        named = database.pool_size if pool_size is None else pool_size
        size = check_pool_size(CONNECTIONS if named is None else named)
        self._closed = False
        writing = size // 2
        self._readers = database.engine(size - writing, self.lock_timeout)
        self._writers = database.engine(writing, self.lock_timeout)
        pooled = None if database.pooled is None else self.lock_timeout
        reading = database.begin("REPEATABLE READ", writes=False, lock_timeout=pooled)
        self._reading = self._readers.execution_options(**{BEGIN: reading})
        glancing = None
        if pooled is not None:
            glancing = database.begin("READ COMMITTED", writes=False, lock_timeout=pooled)
        self._glancing = self._readers.execution_options(**{BEGIN: glancing})
        self._writes = Writes(database.name, _cancel, refused_commit, commit)
        self._connections: SharedWeakSet[Any] = SharedWeakSet()
        self._watches: SharedWeakSet[PostgresWatch] = SharedWeakSet()
        for engine in (self._readers, self._writers):
            event.listen(engine, "connect", _noted_in(self._connections))
        self.listener: ChangeListener | None = None
        self._left: list[Pool] = []
        self._close = weakref.finalize(self, _dispose, self._readers, self._writers)
        join_forks(self, stage=0)  # before there are connections
        try:
            with work(), explained(database.name):
                check_notifications(database)
                self._check_tables(create=create)
                self._learn_store()
        except BaseException:
            self.close()
            raise

    def read(self) -> AbstractContextManager[PostgresTransaction]:
        """Begin a transaction that sees one committed state of the store and changes nothing.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._reading, self.lock_timeout + SILENCE)

    def read_autocommit(self) -> AbstractContextManager[PostgresTransaction]:
        """Begin a transaction for one statement, without the messages for BEGIN and COMMIT.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._glancing, self.lock_timeout + SILENCE)

    @contextmanager
    def write(self, *, wait: float | None = None, patient: bool = True) -> Iterator[PostgresTransaction]:
        """Begin a write transaction, which locks the accounts that it reads, and commits at the end of the block.

        An exception inside the block, or a commit that the database refuses, leaves the store unchanged.

        Args:
            wait: How many seconds a statement waits for a lock, and the transaction for a connection; `lock_timeout` if
                None.
            patient: Whether to wait for accounts that other transactions have locked.

        Raises:
            AccountsLockedError: If other transactions have locked accounts and `patient` is false.
            StoreBusyError: If other transactions hold a lock for too long.
            StoreConflictError: If the database reports a conflict with another writer.
            ChangeWithdrawnError: If `withdraw` was called before the commit began.
            OutcomeUnknownError: If the answer to the commit was lost.
            StoreError: If the store is closed, or cannot be written.
        """
        end = time.monotonic() + time_left(self.lock_timeout if wait is None else wait)
        database = self._database
        with work(), self._leaving(), self._naming_holder(), self._writes.one() as write, explained(database.name):
            self._refuse_closed()
            with connected(self._writers, end) as connection, _answering(connection, _left(end) + SILENCE):
                connection = connection.execution_options(**{BEGIN: self._begin_write(_left(end))})
                begun = connection.begin()
                try:
                    self._writes.began(write, connection)
                    transaction = PostgresTransaction(
                        connection, database.schema, database.lineage, writes=True, waits=patient
                    )
                    listener = self.listener if self.listener is not None and self.listener.wants() else None
                    if listener is not None:
                        transaction.keep_own_changes()
                    yield transaction
                    self._refuse_lost(write.driver)
                    changes = () if listener is None else transaction.own_changes()
                    self._writes.commit(write, connection, check_of(transaction.event))
                except BaseException:
                    with suppress(Exception):  # the connection, and with it the transaction, is lost
                        begun.rollback()
                    raise
            if listener is not None:
                listener.committed(changes)

    def _begin_write(self, left: float) -> str:
        """Return how a write transaction begins that may wait for locks for some seconds."""
        known = self._database.pooled is None and self.lock_timeout * _ALMOST <= left <= self.lock_timeout
        # With a higher level, a statement after a wait for a lock would not see what the holder has committed.
        return self._database.begin("READ COMMITTED", writes=True, lock_timeout=None if known else left)

    def withdraw(self) -> None:
        """Cancel every change in progress whose commit has not begun."""
        self._writes.withdraw()

    def watch(self, *, own_commits: bool = False) -> PostgresWatch:
        """Return a watch, which waits for the commits of all connections but its own. The caller closes it.

        Args:
            own_commits: Ignored, because the server reports the commits of this process too.

        Raises:
            StoreError: If the store is closed, or the database cannot be reached.
        """
        self._refuse_closed()
        with work(), explained(self._database.name):
            watch = PostgresWatch(self._database.connect, self._database.schema, self._database.lineage.is_current)
        self._watches.add(watch)
        return watch

    def close(self) -> None:
        """Close every connection. A second call does nothing."""
        self._closed = True
        # Connections that threads still use return to these pools, which must then be closed again.
        self._left += [self._readers.pool, self._writers.pool]
        self._close()

    def discard(self) -> None:
        """Close every connection. Tables stay: who created them may have granted rights on them since."""
        self.close()

    def tidy(self) -> None:
        """Do nothing: the server frees space itself."""

    def index_new_rows(self) -> bool:
        """Do nothing, and return False: the server indexes each row at once."""
        return False

    def before_fork(self) -> None:
        """Do nothing: a child does not use inherited connections to a server."""

    def after_fork(self, *, certain: bool) -> None:  # connections in use are left to the parent too
        """Prepare the store for a forked child, with new connections."""
        # The references are kept, because a connection without references would be closed.
        inherited = [leave_to_parent(connection) for connection in self._connections]
        self._inherited = self._readers.pool, self._writers.pool, inherited
        self._readers.dispose(close=False)
        self._writers.dispose(close=False)
        self._writes.after_fork()
        self._database.lineage.after_fork()
        for watch in self._watches:
            watch.leave_to_parent()
        self._connections.clear()
        self._watches.clear()

    @contextmanager
    def _transaction(self, engine: Engine, silence: float) -> Iterator[PostgresTransaction]:
        end = time.monotonic() + time_left(self.lock_timeout)
        with work(), self._leaving(), explained(self._database.name):
            self._refuse_closed()
            with connected(engine, end) as connection, _answering(connection, silence), connection.begin():
                yield PostgresTransaction(connection, self._database.schema, self._database.lineage, writes=False)

    @contextmanager
    def _leaving(self) -> Iterator[None]:
        """Close the connection of a transaction if the store was closed in the meantime."""
        try:
            yield
        finally:
            if self._closed:
                for pool in (*self._left, self._readers.pool, self._writers.pool):  # it may be in any of them
                    pool.dispose()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError(f"{self._database.name} is closed; open it again")

    def _refuse_lost(self, driver: Any) -> None:
        """Refuse to commit if the transaction is already lost, which is not the same as an unanswered commit."""
        if driver.closed:
            raise StoreError(f"the connection to {self._database.name} was lost; nothing was changed: try again")
        if driver.info.transaction_status == _IN_ERROR:
            # COMMIT would report no error, and roll back.
            raise StoreError(f"{self._database.name} refused a part of the change; nothing was changed")
        if not self._database.lineage.is_current(driver.server):
            raise StoreError(f"{self._database.name} is on another server now; nothing was changed: try again")

    @contextmanager
    def _naming_holder(self) -> Iterator[None]:
        """Name the holder of the lock in the message of a `StoreBusyError`."""
        try:
            yield
        except AccountsLockedError:
            raise
        except StoreBusyError as error:
            holder = None
            now = time.monotonic()  # whoever has waited long enough does not wait for this
            with suppress(Exception), connected(self._glancing, now) as connection, connection.begin():
                holder = lock_holder(connection, self._database.schema)
            if holder is None:
                raise
            raise StoreBusyError(f"{error} (it is held by {holder})") from error

    def _learn_store(self) -> None:
        """Read the id of the store, and refuse a pooler that leads to a different store than the direct connection."""
        with connected(self._glancing) as connection, connection.begin():
            here: str | None = connection.scalar(select(facts.c.store_id))
            if self._database.pooled is not None:
                refuse_unsafe(self._database.name, *connection.execute(_SELECT_UNSAFE).one())
                self._refuse_two_stores(connection, here)
        if here is not None:
            self._database.lineage.learn(here)

    def _refuse_two_stores(self, connection: Connection, here: str | None) -> None:
        driver: Any = connection.connection.driver_connection
        server = driver.server
        with self._database.connect() as direct:
            schema = self._database.schema
            there = direct.execute(f'SELECT store_id FROM "{schema}".facts').fetchone()  # noqa: S608
        if here is None or there != (here,) or direct.server != server:
            raise StoreError(f"{self._database.name} and its pooled_url are two stores: name the same database in both")

    def _check_tables(self, *, create: bool) -> None:
        with connected(self._reading) as connection, connection.begin():
            revision = migrations.revision_of(connection, self._database.schema)
            refuse_replaced(connection, self._database.schema, self._database.name)
        if revision is None and create:
            _migrate(self._database, self.lock_timeout)
        elif revision is None:
            raise StoreNotFoundError(
                f"{self._database.name} has no tables of cidrgate: check the name of the database and of the schema; "
                "create them with `cidrgate migrate`, or with create=True in Python"
            )
        elif revision != migrations.HEAD:
            migrations.refuse_newer(revision, self._database.name)
            raise StoreError(
                f"{self._database.name} has schema version {revision}, this cidrgate needs {migrations.HEAD}: "
                "run `cidrgate migrate`"
            )


def migrate(url: str, *, lock_timeout: Duration | None = None) -> str | None:
    """Migrate the tables of a database to this version, or create them if there are none.

    Several processes may call this at once: they take turns, and the first one migrates.

    Args:
        url: As for `PostgresStore`.
        lock_timeout: As for `PostgresStore`.

    Returns:
        The revision before the migration; None if there were no tables.

    Raises:
        OutcomeUnknownError: If the answer to the commit was lost.
        StoreError: If the database cannot be reached, refuses it, or was migrated by a newer cidrgate.
    """
    database = Database.parse(url)
    with work(), explained(database.name):
        return _migrate(database, database.chosen_lock_timeout(lock_timeout))


def _noted_in(connections: SharedWeakSet[Any]) -> Callable[[Any, object], None]:
    def note(connection: Any, _record: object) -> None:
        connections.add(connection)

    return note


def _migrate(database: Database, lock_timeout: float) -> str | None:
    with altering(database, lock_timeout, MIGRATE_AGAIN) as connection:
        before = migrations.revision_of(connection, database.schema)
        if before is not None:
            migrations.refuse_newer(before, database.name)
        elif not inspect(connection).has_schema(database.schema):
            connection.execute(CreateSchema(database.schema))
        if before != migrations.HEAD:
            # Migrations name no schema, so this must be the only schema that the transaction sees.
            connection.exec_driver_sql(f'SET LOCAL search_path TO "{database.schema}"')
            migrations.upgrade(connection, database.schema)
    return before


@contextmanager
def _answering(connection: Connection, seconds: float) -> Iterator[None]:
    """Set how many seconds an answer may take before the connection is closed. Larger queries can raise that."""
    driver: Any = connection.connection.driver_connection
    usual, driver.silence = driver.silence, seconds
    try:
        yield
    finally:
        driver.silence = usual


def _left(end: float) -> float:
    """Return the seconds until a deadline, for which a transaction may wait for a lock."""
    return max(_LEAST_WAIT, end - time.monotonic())


def _cancel(driver: Any) -> None:
    driver.cancel_safe(timeout=_CANCEL_SECONDS)


def _dispose(*engines: Engine) -> None:
    with work():
        for engine in engines:
            engine.dispose()
