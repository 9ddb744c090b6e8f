"""Where lists are kept: accounts, their entries, and the append-only log of every change.

A store knows SQL and transactions; it knows no rule and no matcher. `open_store` turns a URL into one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cidrgate.errors import StoreError
from cidrgate.stores.bulk import NewList
from cidrgate.stores.sql import ListChange, StoredAccount, StoredList, Transaction
from cidrgate.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["ListChange", "NewList", "Store", "StoredAccount", "StoredList", "Transaction", "Watch", "open_store"]

_SUPPORTED = "memory://, sqlite:///relative/path.db, sqlite:////absolute/path.db, postgresql://user@host:port/database"


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
    """

    writers: int

    def read(self) -> AbstractContextManager[Transaction]:
        """A transaction that sees one committed state and changes nothing."""

    def write(self) -> AbstractContextManager[Transaction]:
        """A transaction that no other writer gets between: what it read of an account stays so until it commits.

        Committed at the end of the block. An exception inside the block, or a commit that fails, leaves the store as
        it was.
        """

    def watch(self) -> Watch:
        """What waits for the commits of others."""

    def after_fork(self) -> None:
        """Go on in a forked child, without a touch to the connections of its parent."""

    def close(self) -> None:
        """Release every connection. May be called twice."""


def open_store(url: str) -> Store:
    """Open the store a URL names, creating it when it does not exist.

    Args:
        url: `sqlite:///path` (the path after three slashes; a fourth makes it absolute), or `memory://` for a
            store that ends with the process.

    Raises:
        StoreError: If the URL names no supported store, or the store cannot be opened.

    Example:
        >>> store = open_store("memory://")
        >>> with store.read() as transaction:
        ...     transaction.accounts()
        []
        >>> store.close()
    """
    scheme, separator, rest = url.partition("://")
    if scheme == "memory" and separator and not rest:
        return SqliteStore(None)
    path = rest.removeprefix("/")
    if scheme == "sqlite" and rest.startswith("/") and path and path != ":memory:":
        return SqliteStore(path)
    shown = f"{scheme}://…" if "@" in url else url  # what stands before an @ may be a password
    if scheme in ("postgresql", "postgresql+psycopg") and rest:
        from cidrgate.stores.postgres import PostgresStore

        return PostgresStore(url)
    raise StoreError(f"{shown!r} names no store cidrgate can open; write one of: {_SUPPORTED}")
