"""Which session holds the lock for which a change waited until its timeout, or holds back rows of the change log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from cidrgate.stores.values import LogHolder

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, Row

__all__ = ["lock_holder", "log_holder"]

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

# PostgreSQL shows nothing but the process of a session of another user.
_LOG_HOLDER = """
    SELECT activity.pid, activity.application_name, activity.state, activity.xact_start,
        extract(epoch FROM clock_timestamp() - activity.xact_start)::float AS seconds
    FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
    WHERE held.virtualtransaction = ANY(:transactions)
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
    return None if row is None else _described(row)


def log_holder(connection: Connection, transactions: Collection[str]) -> LogHolder | None:
    """Describe the session with the oldest of some transactions; None if they have all ended.

    Args:
        connection: A connection to the database.
        transactions: The virtual transaction ids.
    """
    row = connection.execute(text(_LOG_HOLDER), {"transactions": list(transactions)}).one_or_none()
    return None if row is None else LogHolder(_described(row), row.seconds)


def _described(row: Row[Any]) -> str:
    words = [f"process {row.pid} of the server"]
    if row.application_name:
        words.append(f"application {row.application_name!r}")
    if row.state:
        words.append(row.state)
    if row.xact_start is not None:
        words.append(f"in a transaction since {row.xact_start.isoformat(timespec='seconds')}")
    return ", ".join(words)
