"""`SqliteWatch`: waits for commits on SQLite with a connection that polls the data version."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError
from cidrgate.process.forking import work
from cidrgate.process.wakeups import WakeUp
from cidrgate.stores.sqlite.failures import advice

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SqliteWatch"]

_POLL = 0.02
"""Seconds between two queries of the data version, each of which takes some microseconds."""


class SqliteWatch:
    """Detects commits of other connections by polling the data version of SQLite.

    Args:
        connect: Creates the watch's connection; None for a store in memory, which has no other processes.
        check: Raises a `StoreError` if the path no longer leads to the opened file.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection] | None, check: Callable[[], object] = lambda: None
    ) -> None:
        self._check = check
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._opened = 0
        self._closed = False
        self._committed = False
        self._woken = WakeUp()
        self._version = self._ask()

    def wait(self, timeout: float) -> bool:
        """Wait until something may have been committed, `wake` is called, or the timeout ends.

        Args:
            timeout: The timeout in seconds.

        Returns:
            Whether something may have been committed.

        Raises:
            StoreError: If the file cannot be read, or was replaced or deleted.
        """
        end = time.monotonic() + timeout
        while True:
            version = self._ask()
            if version != self._version or self._committed:
                self._version = version
                self._committed = False
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            if self._woken.wait(left if self._connect is None else min(left, _POLL)):
                self._woken.clear()
                if not self._committed:
                    return False

    def wake(self) -> None:
        """End the wait of another thread."""
        self._woken.set()

    def committed(self) -> None:
        """Tell the watch that this process has committed something."""
        self._committed = True
        self._woken.set()

    def pause(self) -> None:
        """Close the connection until it is needed again, because the process forks."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close the watch's connection."""
        self._closed = True
        if self._connect is not None:
            with work(sqlite=True):
                self.pause()

    def _ask(self) -> tuple[int, int]:
        """Return the number of the connection and its data version. Versions of two connections are not comparable."""
        if self._connect is None:
            return 0, 0
        with work(sqlite=True):
            if self._closed:
                raise StoreError("the watch of the store is closed")
            self._check()
            try:
                if self._connection is None:
                    self._connection = self._connect()
                    self._opened += 1
                return self._opened, int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error as error:
                self.pause()
                raise StoreError(f"the store {advice(error)}") from error
