"""The PostgreSQL store itself: opening it, its transactions, and bringing its tables up to date."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, inspect, text
from sqlalchemy.schema import CreateSchema

from cidrgate.errors import StoreError
from cidrgate.forking import join_forks, work
from cidrgate.stores import migrations
from cidrgate.stores.postgres.connections import leave_to_parent
from cidrgate.stores.postgres.database import Database
from cidrgate.stores.postgres.failures import explained
from cidrgate.stores.postgres.transaction import PostgresTransaction
from cidrgate.stores.postgres.watch import PostgresWatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

__all__ = ["PostgresStore", "migrate"]

_TAKE_TURNS = text("SELECT pg_advisory_xact_lock(hashtext('cidrgate migrate'))")


class PostgresStore:
    """A store in a PostgreSQL database.

    Usable from several threads. Every failure of the database is a `StoreError` that says what to do.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's parameters after a question mark; `schema`
            there names another schema than `cidrgate`.

        create: Whether the tables are created in a database that has none of ours. Tables of an older version are
            left to `migrate`: it is for a person to say when, as nodes of that version may still run.

    Raises:
        StoreError: If the database cannot be reached, or its tables are missing, too old or too new.
    """

    writers = 4

    def __init__(self, url: str, *, create: bool = True) -> None:
        self._database = Database.parse(url)
        self._closed = False
        self._engine = self._database.engine()
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._glancing = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._watches: weakref.WeakSet[PostgresWatch] = weakref.WeakSet()
        event.listen(self._engine, "connect", lambda connection, _record: self._connections.add(connection))
        self._close = weakref.finalize(self, _dispose, self._engine)
        try:
            with work(), explained(self._database.name):
                self._check_tables(create=create)
        except BaseException:
            self.close()
            raise
        join_forks(self, stage=0)

    def read(self) -> AbstractContextManager[PostgresTransaction]:
        """A transaction that sees one committed state of the store and changes nothing.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._reading, writes=False)

    def glance(self) -> AbstractContextManager[PostgresTransaction]:
        """What one statement sees, without the messages that begin and end a transaction.

        Raises:
            StoreError: If the store is closed or cannot be read.
        """
        return self._transaction(self._glancing, writes=False)

    def write(self) -> AbstractContextManager[PostgresTransaction]:
        """A transaction that keeps other writers off the accounts it reads; committed at the end of the block.

        An exception inside the block, or a commit that fails, leaves the store as it was.

        Raises:
            StoreConflictError: If another writer was first, in a way only the database found out.
            StoreError: If the store is closed, or cannot be written.
        """
        return self._transaction(self._engine, writes=True)

    def watch(self) -> PostgresWatch:
        """What waits for the commits of others, to be closed by the caller.

        Raises:
            StoreError: If the database cannot be reached.
        """
        with work(), explained(self._database.name):
            watch = PostgresWatch(self._database.url, self._database.schema)
        self._watches.add(watch)
        return watch

    def close(self) -> None:
        """Close every connection. May be called twice."""
        self._closed = True
        self._close()

    def tidy(self) -> None:
        """Nothing: the server does so itself."""

    def before_fork(self) -> None:
        """Nothing: a child leaves connections to a server alone."""

    def after_fork(self, *, certain: bool) -> None:
        """Go on in a forked child, with connections of its own."""
        self._inherited = self._engine.pool, [leave_to_parent(connection) for connection in list(self._connections)]
        self._engine.dispose(close=False)
        for watch in list(self._watches):
            watch.leave_to_parent()
        self._connections, self._watches = weakref.WeakSet(), weakref.WeakSet()

    @contextmanager
    def _transaction(self, engine: Engine, *, writes: bool) -> Iterator[PostgresTransaction]:
        with work(), explained(self._database.name):
            if self._closed:
                raise StoreError(f"{self._database.name} is closed; open it again")
            with engine.begin() as connection:
                yield PostgresTransaction(connection, writes=writes)

    def _check_tables(self, *, create: bool) -> None:
        with self._reading.begin() as connection:
            revision = migrations.revision_of(connection, self._database.schema)
        if revision is None and create:
            _migrate(self._engine, self._database)
        elif revision is None:
            raise StoreError(f"{self._database.name} has no tables of cidrgate: create them with `cidrgate migrate`")
        elif revision != migrations.HEAD:
            migrations.refuse_newer(revision, self._database.name)
            raise StoreError(
                f"{self._database.name} has schema version {revision}, this cidrgate needs {migrations.HEAD}: "
                "run `cidrgate migrate`"
            )


def migrate(url: str) -> str | None:
    """Bring the tables of a database up to date; create them where there are none.

    Several may do so at once: they take turns, and the first one does it.

    Args:
        url: As for `PostgresStore`.

    Returns:
        The revision it had before; None where it had no tables.

    Raises:
        StoreError: If the database cannot be reached, refuses it, or was migrated by a newer cidrgate.
    """
    database = Database.parse(url)
    engine = database.engine()
    try:
        with work(), explained(database.name):
            return _migrate(engine, database)
    finally:
        _dispose(engine)


def _dispose(engine: Engine) -> None:
    with work():
        engine.dispose()


def _migrate(engine: Engine, database: Database) -> str | None:
    with engine.begin() as connection:
        connection.execute(_TAKE_TURNS)
        before = migrations.revision_of(connection, database.schema)
        if before is not None:
            migrations.refuse_newer(before, database.name)
        elif not inspect(connection).has_schema(database.schema):
            connection.execute(CreateSchema(database.schema))
        if before != migrations.HEAD:
            migrations.upgrade(connection, database.schema)
    return before
