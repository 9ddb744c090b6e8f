"""Connections to a server that a forked child inherits, and must neither use nor close.

Both processes have the same socket: what the child says on it, a farewell too, the server takes for the parent's word.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

__all__ = ["leave_to_parent"]


def leave_to_parent(connection: Any) -> Any:
    """Take the socket from a connection of psycopg, in a child: whatever is done with it then fails here, unheard.

    A socket that stayed open would also keep the server from noticing that the parent has died.

    Args:
        connection: One that the parent opened.

    Returns:
        The connection, to be kept.
    """
    with suppress(Exception):  # it is closed, or was not opened yet
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.dup2(nowhere, connection.fileno(), inheritable=False)
        finally:
            os.close(nowhere)
    return connection
