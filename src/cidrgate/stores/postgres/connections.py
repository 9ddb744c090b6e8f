"""A connection on which nothing waits for ever: not even for a server that is there, and does nothing."""

from __future__ import annotations

from typing import Any

import psycopg

from cidrgate.stores.waits import LOCK_TIMEOUT, SILENCE

__all__ = ["BoundedConnection"]


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is given up when the server takes too long to answer a message.

    The network's own bounds do not help against a server whose machine lives and whose processes are stopped.

    Attributes:
        silence: Seconds that an answer may take; whoever asks for more than a little raises it.
    """

    silence: float = LOCK_TIMEOUT + SILENCE

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer.

        Raises:
            psycopg.OperationalError: If it does not come in time; the connection is then closed.
        """
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.silence)
        except psycopg.OperationalError as error:
            if type(error).__name__ != "_WaitTimeout":
                raise
            self.pgconn.finish()  # its answer, if it comes, would be taken for that to another message
            raise psycopg.OperationalError(f"the server did not answer for {self.silence:g} seconds") from None
