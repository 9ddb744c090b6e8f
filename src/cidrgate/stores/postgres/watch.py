"""`PostgresWatch`: waits for commits on PostgreSQL with a connection that listens for notifications."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError
from cidrgate.process.forking import work
from cidrgate.stores.postgres.inherited import leave_to_parent

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.stores.postgres.connections import BoundedConnection
    from cidrgate.stores.postgres.lineage import Server

__all__ = ["PostgresWatch"]

_CHANNEL = "cidrgate_changes"


class PostgresWatch:
    """Waits for the notification that every commit of a change sends.

    Args:
        connect: Opens a connection with its own session, which commits each statement.
        schema: The schema whose changes are reported.
        is_current: Whether the sessions of the store lead to the server of a session.

    Raises:
        StoreError: If the process may open no more files.
    """

    def __init__(
        self, connect: Callable[[], BoundedConnection], schema: str, is_current: Callable[[Server | None], bool]
    ) -> None:
        import psycopg

        self._schema = schema
        self._is_current = is_current
        self._errors = psycopg.Error
        self._connection: BoundedConnection | None = None
        with ExitStack() as opened:
            try:
                # Sockets, not a pipe: after a close, another file may get the same descriptor before `wake` writes.
                self._woken, self._waker = socket.socketpair()
                opened.callback(self._woken.close)
                opened.callback(self._waker.close)
                self._selector = selectors.DefaultSelector()
                opened.callback(self._selector.close)
            except OSError as error:
                raise StoreError(f"this process cannot open what it needs to wait for changes: {error}") from error
            self._woken.settimeout(0)
            self._waker.settimeout(0)
            self._connection = connect()
            opened.callback(self._connection.close)
            self._connection.execute(f"LISTEN {_CHANNEL}")
            self._selector.register(self._connection.fileno(), selectors.EVENT_READ)
            self._selector.register(self._woken, selectors.EVENT_READ)
            self._opened = opened.pop_all()

    def wait(self, timeout: float) -> bool:
        """Wait until something was committed, `wake` is called, or the timeout ends.

        Args:
            timeout: The timeout in seconds.

        Returns:
            Whether something was committed.

        Raises:
            StoreError: If the connection is lost, or other sessions lead to another server since.
        """
        end = time.monotonic() + timeout
        while not self._notified():
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready = [key.fileobj for key, _ in self._selector.select(left)]
            if self._woken in ready:
                self._woken.recv(4096)
                return self._notified()
        return True

    def wake(self) -> None:
        """End the current wait of another thread, or else the next wait."""
        try:
            self._waker.send(b"\0")
        except OSError:  # it is awake already, or closed
            return

    def close(self) -> None:
        """Close the connection and its resources. A second call does nothing."""
        with work():
            self._opened.close()

    def leave_to_parent(self) -> None:
        """Close the watch in a forked child, without a message to the server."""
        if self._connection is not None:
            leave_to_parent(self._connection)
        self._opened.close()

    def _notified(self) -> bool:
        if self._connection is None:
            return False
        if not self._is_current(self._connection.server):
            raise StoreError("the connection that listens for changes leads to a server that is no longer used")
        with work():
            try:
                # All notifications are read, so that the next wait really waits.
                payloads = [notice.payload for notice in self._connection.notifies(timeout=0)]
            except self._errors as error:
                raise StoreError(f"the connection that listens for changes is lost: {error}") from error
        return self._schema in payloads
