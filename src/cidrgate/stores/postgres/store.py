"""The PostgreSQL store itself: opening it, its transactions, and bringing its tables up to date."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.schema import CreateSchema

from cidrgate.errors import StoreError, StoreNotFoundError
from cidrgate.stores import migrations
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
        StoreNotFoundError: If the database has no tables of cidrgate, and none shall be created.
        StoreError: If the database cannot be reached, or its tables are too old or too new.
    """

    writers = 4

    def __init__(self, url: str, *, create: bool = False) -> None:
        self._database = Database.parse(url)
        self._closed = False
        self._engine = self._database.engine()
        self._reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._glancing = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._close = weakref.finalize(self, self._engine.dispose)
        try:
            with explained(self._database.name):
                self._check_tables(create=create)
        except BaseException:
            self.close()
            raise

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
        with explained(self._database.name):
            return PostgresWatch(self._database.url, self._database.schema)

    def close(self) -> None:
        """Close every connection. May be called twice."""
        self._closed = True
        self._close()

    def after_fork(self) -> None:
        """Go on in a forked child, with connections of its own."""
        self._inherited = self._engine.pool  # kept, as what nobody refers to would be closed
        self._engine.dispose(close=False)

    @contextmanager
    def _transaction(self, engine: Engine, *, writes: bool) -> Iterator[PostgresTransaction]:
        with explained(self._database.name):
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
        with explained(database.name):
            return _migrate(engine, database)
    finally:
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
