"""Stores contain the accounts, their entries, and the append-only log of every change.

A store knows SQL and transactions, but no rule and no matcher. `open_store` opens a store by its URL, and loads
SQLAlchemy only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cidrgate.errors import StoreError
from cidrgate.process.forking import loading
from cidrgate.process.late_names import loaded_late
from cidrgate.stores.urls import store_of
from cidrgate.stores.values import NewList, StoredAccount, StoredChange, StoredList
from cidrgate.values import check_switches

if TYPE_CHECKING:
    import os
    from contextlib import AbstractContextManager

    from cidrgate.stores.listener import ChangeListener
    from cidrgate.stores.sql import Transaction
    from cidrgate.values import Duration

__all__ = [
    "StoredChange",
    "NewList",
    "Store",
    "StoredAccount",
    "StoredList",
    "Transaction",
    "Watch",
    "grant_store",
    "migrate_store",
    "open_store",
]


if not TYPE_CHECKING:  # a type checker would take every name for one of this module
    __getattr__ = loaded_late(__name__, {"Transaction": "cidrgate.stores.sql"})  # it needs SQLAlchemy


class Watch(Protocol):
    """Waits on a separate connection for the commits of other processes. Any thread can call `wake`."""

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds, and return whether something may have been committed.

        Raises:
            StoreError: If the connection is lost. Close the watch and get a new one.
        """

    def wake(self) -> None:
        """End the current wait of another thread, or else the next wait."""

    def close(self) -> None:
        """Release the connection."""


class Store(Protocol):
    """The interface of a store. Every failure of the database is a `StoreError`.

    Attributes:
        name: What messages call the store, without a password.
        writers: The number of simultaneous write transactions up to which many changes become faster.
        lock_timeout: How many seconds a transaction waits for locks at most, if a call sets no other time.
        takes_turns: Whether a transaction keeps all others waiting, and must end in the thread in which it began.
        listener: Gets the rows of the change log that this process commits; None for nobody.
    """

    name: str
    writers: int
    lock_timeout: float
    takes_turns: bool
    listener: ChangeListener | None

    def read(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction that sees one committed state and changes nothing."""

    def read_autocommit(self) -> AbstractContextManager[Transaction]:
        """Like `read`, but faster, for one statement: without BEGIN and COMMIT, two statements may see two states."""

    def write(self, *, wait: float | None = None, patient: bool = True) -> AbstractContextManager[Transaction]:
        """Begin a write transaction. No other writer changes an account that it has read before it commits.

        It commits at the end of the block. An exception inside the block, or a commit that the database refuses, leaves
        the store unchanged. Only after an `OutcomeUnknownError` may the change be stored.

        Args:
            wait: How many seconds to wait for locks; `lock_timeout` if None.
            patient: Whether to wait for accounts that other transactions have locked. Otherwise an
                `AccountsLockedError` names these accounts.
        """

    def withdraw(self) -> None:
        """Cancel every change of this process whose commit has not begun: its thread gets an error."""

    def watch(self, *, own_commits: bool = False) -> Watch:
        """Return a watch, which waits for the commits of other processes.

        Args:
            own_commits: Whether the commits of this process must wake it too, also those of a store in memory.
        """

    def tidy(self) -> None:
        """Free space that the store does not need; called from time to time."""

    def index_new_rows(self) -> bool:
        """Add new rows to the indexes for searches, if the store does not do that at once; called from time to time.

        It returns whether rows are left for the next call.
        """

    def before_fork(self) -> None:
        """Close what a forked child must not inherit, while no thread uses the store."""

    def after_fork(self, *, certain: bool) -> None:
        """Prepare the store for a forked child, without using the connections of its parent.

        Args:
            certain: Whether no thread used the store during the fork.
        """

    def close(self) -> None:
        """Close every connection. A second call does nothing."""

    def discard(self) -> None:
        """Close every connection, and delete a SQLite file that this object created and that nobody has used.

        What should have filled a new store calls it after a failure, also after `close`.
        """


def open_store(
    url: str | os.PathLike[str],
    *,
    create: bool = False,
    lock_timeout: Duration | None = None,
    pool_size: int | None = None,
) -> Store:
    """Open the store that a URL names.

    Opening an SQLite file of an older cidrgate migrates it. A PostgreSQL database is not migrated, because other nodes
    may use it: its operator decides when to migrate it, and calls `migrate_store`.

    Args:
        url: The path of an SQLite file (`~/` is the user's home), `sqlite:///path` (the path follows three slashes; a
            fourth slash makes it absolute), `postgresql://…` or `postgres://…`, or `memory://` for a new store that
            ends with the process.
        create: Whether to create a file that does not exist, or the tables in a database without them. Only the owner
            of a new file can read and write it (mode 0600).
        lock_timeout: How many seconds to wait for locks before a `StoreBusyError`; 10 if None.
        pool_size: How many connections stay open for transactions, at least 2; 15 if None.

    Raises:
        StoreNotFoundError: If the URL names no store of cidrgate, and none is created.
        StoreError: If the URL names no supported store, or the store cannot be opened.

    Example:
        >>> store = open_store("memory://")
        >>> with store.read() as transaction:
        ...     transaction.accounts()
        []
        >>> store.close()
    """
    check_switches(create=create)
    kind, where = store_of(url)
    if kind == "postgresql":
        with loading():
            from cidrgate.stores.postgres import PostgresStore

        return PostgresStore(where, create=create, lock_timeout=lock_timeout, pool_size=pool_size)
    with loading():
        from cidrgate.stores.sqlite import SqliteStore

    path = where if kind == "sqlite" else None
    return SqliteStore(path, create=create, lock_timeout=lock_timeout, pool_size=pool_size)


def migrate_store(url: str | os.PathLike[str], *, lock_timeout: Duration | None = None) -> str | None:
    """Migrate the tables of a store to this version, or create them if there are none.

    Args:
        url: As for `open_store`.
        lock_timeout: As for `open_store`.

    Returns:
        The version of the tables before the migration; None if there were no tables.

    Raises:
        OutcomeUnknownError: If the answer to the commit was lost. A repetition does what is not done yet.
        StoreError: If the URL names no supported store or a store in memory, if the store cannot be reached, or if a
            newer cidrgate migrated it.
    """
    kind, where = store_of(url)
    if kind == "postgresql":
        with loading():
            from cidrgate.stores.postgres import migrate as migrate_postgres

        return migrate_postgres(where, lock_timeout=lock_timeout)
    if kind == "memory":
        raise StoreError("a store in memory is always new: there is nothing to migrate")
    with loading():
        from cidrgate.stores.sqlite import migrate as migrate_sqlite

    return migrate_sqlite(where, lock_timeout=lock_timeout)


def grant_store(url: str | os.PathLike[str], user: str, *, lock_timeout: Duration | None = None) -> None:
    """Give a PostgreSQL user the rights that a service needs: to read and write rows, but not to change tables.

    Args:
        url: As for `open_store`, with the owner of the tables as the user. `migrate_store` must have migrated the
            tables.
        user: The user of the database.
        lock_timeout: As for `open_store`.

    Raises:
        OutcomeUnknownError: If the answer to the commit was lost. A repetition does what is not done yet.
        StoreError: If the store has no users, if there is no such user, or if the rights cannot be granted.
    """
    kind, where = store_of(url)
    if kind != "postgresql":
        raise StoreError(
            "only PostgreSQL has users who can be granted rights: give a SQLite file to the user of the service with "
            "`chown`"
        )
    with loading():
        from cidrgate.stores.postgres import grant

    grant(where, user, lock_timeout=lock_timeout)
