"""Connections to a server that a forked child inherits, and must neither use nor close.

Both processes have the same socket. The server treats every message from the child as a message from the parent, even
the message that closes the connection.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

__all__ = ["leave_to_parent"]


def leave_to_parent(connection: Any) -> Any:
    """Disconnect a psycopg connection from its socket in a child: using it then fails, and the server gets no message.

    If the socket stayed open, the server would not notice the death of the parent.

    Args:
        connection: A connection that the parent opened.

    Returns:
        The connection. The caller must hold a reference to it.
    """
    with suppress(Exception):  # it is closed, or is not open yet
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.dup2(nowhere, connection.fileno(), inheritable=False)
        finally:
            os.close(nowhere)
    return connection
