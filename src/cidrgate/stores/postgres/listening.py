"""Whether a server can be followed: a notification sent on one connection must reach another that listens."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from cidrgate.stores.postgres.database import Database

__all__ = ["check_notifications"]

_BOUND = 5.0
"""Seconds that a notification may take; on any server that delivers them it takes milliseconds."""


def check_notifications(database: Database) -> None:
    """Refuse a server, or what stands before it, that delivers no notifications.

    Raises:
        StoreError: If the server is a standby, or a pooler keeps no session for a client.
        psycopg.Error: If the database is not reached.
    """
    channel = f"cidrgate_check_{uuid.uuid4().hex}"
    with database.connect() as listener, database.connect() as sender:
        row = listener.execute("SELECT pg_is_in_recovery()").fetchone()
        if row is not None and row[0]:
            raise StoreError(
                f"{database.name} is a standby, which takes no changes and sends no notifications: name the primary, "
                "or name all servers as //a,b/database"
            )
        listener.execute(f"LISTEN {channel}")
        sender.execute("SELECT pg_notify(%s, '')", [channel])
        end = time.monotonic() + _BOUND
        while (left := end - time.monotonic()) > 0:
            if any(notice.channel == channel for notice in listener.notifies(timeout=left, stop_after=1)):
                listener.execute(f"UNLISTEN {channel}")
                return
    raise StoreError(
        f"{database.name} delivers no notifications (LISTEN and NOTIFY): a pooler such as PgBouncer in transaction "
        "mode stands before it. Name the server itself, or a pooler in session mode, and this one as ?pooled_url=..."
    )
