"""Where lists are kept: accounts, their entries, and the append-only log of every change.

A store knows SQL and transactions; it knows no rule and no matcher. `open_store` turns a URL into one, and loads
SQLAlchemy only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cidrgate.errors import StoreError
from cidrgate.stores.urls import store_of
from cidrgate.stores.values import ListChange, NewList, StoredAccount, StoredList

if TYPE_CHECKING:
    import os
    from contextlib import AbstractContextManager

    from cidrgate.stores.sql import Transaction

__all__ = [
    "ListChange",
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


def __getattr__(name: str) -> object:
    """`Transaction`, loaded when it is asked for: it is written in SQLAlchemy."""
    if name == "Transaction":
        from cidrgate.stores.sql import Transaction

        return Transaction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Watch(Protocol):
    """What waits for the commits of others on a connection of its own. `wake` may be called from any thread."""

    def wait(self, timeout: float) -> bool:
        """Whether something may have been committed, after so many seconds or earlier.

        Raises `StoreError` when the connection is lost: close the watch and take a new one.
        """

    def wake(self) -> None:
        """End the wait of another thread, or the next one."""

    def close(self) -> None:
        """Release the connection."""


class Store(Protocol):
    """What a manager needs of a store; every failure of the database is a `StoreError`.

    Attributes:
        writers: How many write transactions at once make a bulk of changes faster.
        lock_timeout: Seconds that a transaction waits for others at most, unless told otherwise.
    """

    writers: int
    lock_timeout: float

    def read(self) -> AbstractContextManager[Transaction]:
        """A transaction that sees one committed state and changes nothing."""

    def glance(self) -> AbstractContextManager[Transaction]:
        """Like `read`, for one statement: what begins and ends a transaction is spared, and two may see two states."""

    def write(self, *, wait: float | None = None, patient: bool = True) -> AbstractContextManager[Transaction]:
        """A transaction that no other writer gets between: what it read of an account stays so until it commits.

        Committed at the end of the block. An exception inside the block, or a commit that is refused, leaves the store
        as it was; only after an `OutcomeUnknownError` the change may be stored for all that.

        Args:
            wait: Seconds to wait for others; `lock_timeout` if None.
            patient: Whether it waits for accounts that others have locked; where it does not, an `AccountsLockedError`
                says which they are.
        """

    def withdraw(self) -> None:
        """Take back every change of this process that was not told to commit: its thread gets an error instead."""

    def watch(self) -> Watch:
        """What waits for the commits of others."""

    def tidy(self) -> None:
        """Give back space that is not needed; called now and then."""

    def before_fork(self) -> None:
        """Close what a forked child must not inherit, while nobody uses the store."""

    def after_fork(self, *, certain: bool) -> None:
        """Go on in a forked child, without a touch to the connections of its parent.

        Args:
            certain: Whether nobody used the store at the time.
        """

    def close(self) -> None:
        """Release every connection. May be called twice."""


def open_store(
    url: str | os.PathLike[str],
    *,
    create: bool = False,
    lock_timeout: float | None = None,
    pool_size: int | None = None,
) -> Store:
    """Open the store a URL names. One that is not there is an error, unless it shall be created.

    An SQLite file of an older cidrgate is migrated on the way. A PostgreSQL database is not: other nodes may use it,
    and when they change their version is for a person to say, with `migrate_store`.

    Args:
        url: The path of an SQLite file (`~/` is the user's home), `sqlite:///path` (the path after three slashes; a
            fourth makes it absolute), `postgresql://…` or `postgres://…`, or `memory://` for a new store that ends with
            the process.
        create: Whether a file that does not exist, and tables in a database without ours, are created. A new file is
            for its owner alone to read and write (mode 0600).
        lock_timeout: Seconds to wait for locks of others before a `StoreBusyError`; 10 if None.
        pool_size: How many connections are kept for transactions, from 2 on; 15 if None.

    Raises:
        StoreNotFoundError: If there is no store of cidrgate.
        StoreError: If the URL names no supported store, or the store cannot be opened.

    Example:
        >>> store = open_store("memory://")
        >>> with store.read() as transaction:
        ...     transaction.accounts()
        []
        >>> store.close()
    """
    kind, where = store_of(url)
    if kind == "postgresql":
        from cidrgate.stores.postgres import PostgresStore

        return PostgresStore(where, create=create, lock_timeout=lock_timeout, pool_size=pool_size)
    from cidrgate.stores.sqlite import SqliteStore

    path = where if kind == "sqlite" else None
    return SqliteStore(path, create=create, lock_timeout=lock_timeout, pool_size=pool_size)


def migrate_store(url: str | os.PathLike[str]) -> str | None:
    """Bring the tables of a store up to date; create them where there are none.

    Args:
        url: As for `open_store`.

    Returns:
        The version of its tables before; None where it had none.

    Raises:
        StoreError: If the URL names no store that is kept, it cannot be reached, or a newer cidrgate migrated it.
    """
    kind, where = store_of(url)
    if kind == "postgresql":
        from cidrgate.stores.postgres import migrate as migrate_postgres

        return migrate_postgres(where)
    if kind == "memory":
        raise StoreError("a store in memory is always new: there is nothing to migrate")
    from cidrgate.stores.sqlite import migrate as migrate_sqlite

    return migrate_sqlite(where)


def grant_store(url: str | os.PathLike[str], user: str) -> None:
    """Give a user of a PostgreSQL database the rights that a service needs: on rows, and on no table itself.

    Args:
        url: As for `open_store`, of the owner of the tables, which `migrate_store` has brought up to date.
        user: The database's user.

    Raises:
        StoreError: If the store knows no users, there is no such user, or the rights are not there to be given.
    """
    kind, where = store_of(url)
    if kind != "postgresql":
        raise StoreError(
            "only PostgreSQL has users whom rights can be granted: a SQLite file belongs to whoever may read and write "
            "it, so give it to the user of the service with `chown`"
        )
    from cidrgate.stores.postgres import grant

    grant(where, user)
