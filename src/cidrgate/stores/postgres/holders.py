"""`lock_holder`: which session holds the lock for which a change waited until its timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["lock_holder"]

# Of the sessions that hold locks on our tables and do not wait for a lock, the one with the oldest transaction.
_HOLDER = """
    SELECT activity.pid, activity.application_name, activity.state, activity.xact_start
    FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
    WHERE held.granted AND held.locktype = 'relation' AND held.mode <> 'AccessShareLock'
        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND held.relation IN (
            SELECT pg_class.oid FROM pg_class JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
            WHERE pg_namespace.nspname = :schema
        )
        AND activity.pid <> pg_backend_pid() AND coalesce(activity.wait_event_type, '') <> 'Lock'
    ORDER BY activity.xact_start NULLS LAST
    LIMIT 1
"""


def lock_holder(connection: Connection, schema: str) -> str | None:
    """Describe the session that most likely holds the lock; None if there is no such session any more.

    Args:
        connection: A connection to the database, not the one that waited.
        schema: The schema of the tables.
    """
    row = connection.execute(text(_HOLDER), {"schema": schema}).one_or_none()
    if row is None:
        return None
    words = [f"process {row.pid} of the server"]
    if row.application_name:
        words.append(f"application {row.application_name!r}")
    if row.state:
        words.append(row.state)
    if row.xact_start is not None:
        words.append(f"in a transaction since {row.xact_start.isoformat(timespec='seconds')}")
    return ", ".join(words)
