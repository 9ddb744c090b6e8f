"""Waiting for commits on SQLite: a connection that asks for the data version again and again."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError
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
        check()
        self._connection = None if connect is None else connect()
        self._version = self._ask()
        self._woken = threading.Event()

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
            if self._woken.wait(left if self._connection is None else min(left, _POLL)):
                self._woken.clear()
                return False

    def wake(self) -> None:
        """End the wait of another thread."""
        self._woken.set()

    def close(self) -> None:
        """Close the watch's connection."""
        if self._connection is not None:
            self._connection.close()

    def _ask(self) -> int:
        if self._connection is None:
            return 0
        self._check()
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise StoreError(f"the store {advice(error)}") from error
