"""Waiting for commits on SQLite: a connection that asks for the data version again and again."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError
from cidrgate.process.forking import work
from cidrgate.stores.sqlite.failures import advice

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SqliteWatch"]

_POLL = 0.02
"""Seconds between two questions for the data version, each of some microseconds."""


class SqliteWatch:
    """Tells when another connection has committed, by asking SQLite for its data version again and again.

    Args:
        connect: Makes the watch's own connection; None for a store in memory, where there is nobody else.
        check: Raises a `StoreError` once the file is not the one that was opened.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection] | None, check: Callable[[], object] = lambda: None
    ) -> None:
        self._check = check
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._opened = 0
        self._closed = False
        self._woken = threading.Event()
        self._version = self._ask()

    def wait(self, timeout: float) -> bool:
        """Wait until something may have been committed, `wake` is called, or the time is over.

        Args:
            timeout: Seconds.

        Returns:
            Whether something may have been committed.

        Raises:
            StoreError: If the file cannot be read, or was replaced or deleted.
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
            if self._woken.wait(left if self._connect is None else min(left, _POLL)):
                self._woken.clear()
                return False

    def wake(self) -> None:
        """End the wait of another thread."""
        self._woken.set()

    def pause(self) -> None:
        """Close the connection until it is needed again: the process forks."""
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
        """Which connection it is, and what that says: the versions of two are no measure of each other."""
        if self._connect is None:
            return 0, 0
        with work(sqlite=True):
            if self._closed:
                raise StoreError("the store is not watched any more")
            self._check()
            try:
                if self._connection is None:
                    self._connection = self._connect()
                    self._opened += 1
                return self._opened, int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error as error:
                self.pause()
                raise StoreError(f"the store {advice(error)}") from error
