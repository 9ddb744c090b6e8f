"""`check_notifications`: a server can be followed only if notifications reach a connection that listens."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from cidrgate.stores.postgres.database import Database

__all__ = ["check_notifications"]

_BOUND = 5.0
"""Seconds that a notification may take. On a server that delivers notifications, it takes milliseconds."""


def check_notifications(database: Database) -> None:
    """Refuse a server or a pooler that delivers no notifications.

    Raises:
        StoreError: If a pooler does not give each client its own session.
        psycopg.Error: If the database cannot be reached.
    """
    channel = f"cidrgate_check_{uuid.uuid4().hex}"
    with database.connect() as listener, database.connect() as sender:
        listener.execute(f"LISTEN {channel}")
        sender.execute("SELECT pg_notify(%s, '')", [channel])
        end = time.monotonic() + _BOUND
        while (left := end - time.monotonic()) > 0:
            if any(notice.channel == channel for notice in listener.notifies(timeout=left, stop_after=1)):
                listener.execute(f"UNLISTEN {channel}")
                return
    raise StoreError(
        f"{database.name} delivers no notifications (LISTEN and NOTIFY): the URL leads to a pooler such as PgBouncer "
        "in transaction mode. Name the server itself, or a pooler in session mode, and this pooler as ?pooled_url=..."
    )
