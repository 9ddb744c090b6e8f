"""A connection on which no wait is endless, not even for a server that is reachable but does nothing."""

from __future__ import annotations

from typing import Any

import psycopg

from cidrgate.stores.waits import LOCK_TIMEOUT, SILENCE

__all__ = ["BoundedConnection"]


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed if the server takes too long to answer a message.

    The timeouts of the network do not help if the server's machine runs but its processes are stopped.

    Attributes:
        silence: The seconds that an answer may take. Raise it before a large query.
    """

    silence: float = LOCK_TIMEOUT + SILENCE

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
