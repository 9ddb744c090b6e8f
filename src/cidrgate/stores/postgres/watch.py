"""Waiting for commits on PostgreSQL: a connection that listens for what every change notifies."""

from __future__ import annotations

import os
import selectors
import time
from typing import TYPE_CHECKING, Any

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

__all__ = ["PostgresWatch"]

_CHANNEL = "cidrgate_changes"


class PostgresWatch:
    """Waits for the notification that every commit of a change sends.

    Args:
        connect: Makes a connection with a session of its own, which commits each statement.
        schema: The schema whose changes count.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], schema: str) -> None:
        import psycopg

        self._schema = schema
        self._errors = psycopg.Error
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._selector = selectors.DefaultSelector()
        self._connection: psycopg.Connection[Any] | None = None
        try:
            self._connection = connect()
            self._connection.execute(f"LISTEN {_CHANNEL}")
        except BaseException:
            self.close()
            raise
        self._selector.register(self._connection.fileno(), selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def wait(self, timeout: float) -> bool:
        """Wait until something was committed, `wake` is called, or the time is over.

        Args:
            timeout: Seconds.

        Returns:
            Whether something was committed.

        Raises:
            StoreError: If the connection is lost.
        """
        end = time.monotonic() + timeout
        while not self._notified():
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready = [key.fd for key, _ in self._selector.select(left)]
            if self._woken in ready:
                os.read(self._woken, 4096)
                return self._notified()
        return True

    def wake(self) -> None:
        """End the wait of another thread, or the next one."""
        try:
            os.write(self._waker, b"\0")
        except OSError:  # it is awake already, or closed
            return

    def close(self) -> None:
        """Close the connection."""
        self._selector.close()
        if self._connection is not None:
            self._connection.close()
        os.close(self._woken)
        os.close(self._waker)

    def _notified(self) -> bool:
        if self._connection is None:
            return False
        try:
            # Every one of them is taken, so that the next wait really waits.
            payloads = [notice.payload for notice in self._connection.notifies(timeout=0)]
        except self._errors as error:
            raise StoreError(f"the connection that listens for changes is lost: {error}") from error
        return self._schema in payloads
