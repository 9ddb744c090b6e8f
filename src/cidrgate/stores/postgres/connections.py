"""A connection on which no wait is endless, and which notes the warnings that come with a commit."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from cidrgate.stores.waits import LOCK_TIMEOUT, SILENCE

if TYPE_CHECKING:
    from cidrgate.stores.postgres.lineage import Server

__all__ = ["BoundedConnection"]


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed if the server takes too long to answer a message.

    The timeouts of the network do not help if the server's machine runs but its processes are stopped.

    Attributes:
        silence: The seconds that an answer may take. Raise it before a large query.
        server: The server to which the session leads; None if that was not read.
        unreplicated: The warnings that a commit did not wait for its synchronous standby to the end.
    """

    silence: float = LOCK_TIMEOUT + SILENCE
    server: Server | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._process = os.getpid()
        self.unreplicated: list[str] = []
        self.add_notice_handler(partial(_note, self.unreplicated))

    def rollback(self) -> None:
        """Roll back. A forked child does nothing, because its parent continues the transaction."""
        if self._process == os.getpid():
            super().rollback()

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer.

        Raises:
            psycopg.OperationalError: If the answer does not come in time. The connection is then closed.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.silence)
        except psycopg.OperationalError as error:
            if type(error).__name__ != "_WaitTimeout":
                raise
            self.pgconn.finish()  # a late answer would be read as the answer to another message
            raise psycopg.OperationalError(f"the server did not answer for {self.silence:g} seconds") from None


def _note(unreplicated: list[str], notice: psycopg.errors.Diagnostic) -> None:
    # The text is in the language of the server; the name of the function is not.
    if notice.source_function == "SyncRepWaitForLSN":
        unreplicated.append(f"{notice.message_primary}: {notice.message_detail}")
