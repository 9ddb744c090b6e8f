"""The settings of a session that change what statements mean or return. No default of a role or a database is trusted.

`ALTER ROLE ... SET`, `ALTER DATABASE ... SET`, `PGOPTIONS` and the like change the defaults. Settings that only change
how fast a statement is, or when the server cancels it, stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

__all__ = ["KEEP_COMMITS", "UNSAFE", "configure_session", "last_row", "refuse_unsafe", "set_locally"]

_MEANINGS = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",  # the driver reads no other
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "array_nulls": "on",  # otherwise NULL in an array is a text
    "search_path": "pg_catalog",  # no function or operator that anybody made in another schema is called
    "client_min_messages": "warning",  # a commit that may not be on a synchronous standby says so in a warning
    "gin_fuzzy_search_limit": "0",  # otherwise a search returns a random part of what it finds
    "row_security": "off",  # a statement that would not see all rows fails; see `failures`
}

_DEFAULTS = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
}
"""For statements without a transaction, and transactions that the driver begins. Ours state what they need."""

_IDLE = "idle_session_timeout"
_FIRST_WITH_IDLE = 140_000
"""The first version of the server with this timeout, as libpq states versions."""

KEEP_COMMITS = (
    "SELECT set_config('synchronous_commit', 'local', {local}) WHERE current_setting('synchronous_commit') = 'off'"
)
"""A committed change is on the disk when it is acknowledged. Any other value says more, and stays."""

UNSAFE = "current_setting('session_replication_role'), current_setting('zero_damaged_pages')"
"""The columns that `refuse_unsafe` checks: settings that an ordinary user may read and not set."""

_FACTS = f"SELECT current_setting('server_encoding'), {UNSAFE}"


def configure_session(
    connection: psycopg.Connection[Any], name: str, lock_timeout: float | None = None, columns: str = ""
) -> Sequence[Any]:
    """Set what a connection with its own session needs, and read some columns, with one message.

    Args:
        connection: The connection, which commits each statement.
        name: The name of the store in messages.
        lock_timeout: How many seconds a statement waits for a lock; None for the default of the session.
        columns: The columns to read, as SELECT has them.

    Returns:
        The values of the columns.

    Raises:
        StoreError: If the encoding of the database, or the session, cannot keep the promises of a store.
    """
    settings = _MEANINGS | _DEFAULTS
    if connection.info.server_version >= _FIRST_WITH_IDLE:
        settings |= {_IDLE: "0"}
    if lock_timeout is not None:
        settings |= {"lock_timeout": str(round(lock_timeout * 1000))}
    statements = [_set(setting, value) for setting, value in settings.items()]
    facts = f"{_FACTS}, {columns}" if columns else _FACTS
    encoding, role, zeroes, *read = last_row(
        connection, "; ".join([*statements, KEEP_COMMITS.format(local="false"), facts])
    )
    if encoding == "SQL_ASCII":
        raise StoreError(
            f"{name} has the encoding SQL_ASCII, which stores bytes and not text: create a database with "
            "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )
    refuse_unsafe(name, role, zeroes)
    return read


def last_row(connection: psycopg.Connection[Any], statements: str) -> Sequence[Any]:
    """Execute statements with one message, and return the row of the last one."""
    cursor = connection.execute(statements)
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    assert row is not None  # noqa: S101 - it selects no rows of a table
    return cast("Sequence[Any]", row)


def refuse_unsafe(name: str, role: str, zeroes: str) -> None:
    """Refuse sessions that cannot keep the promises of a store, with the values of `UNSAFE`.

    In some, triggers and foreign keys do nothing, so no follower would learn of a change. In others, a read leaves out
    the rows of damaged pages without an error.

    Args:
        name: The name of the store in messages.
        role: The value of `session_replication_role`.
        zeroes: The value of `zero_damaged_pages`.

    Raises:
        StoreError: If the role is `replica`, or damaged pages are read as empty.
    """
    if role == "replica":
        raise StoreError(
            f"{name} has sessions with session_replication_role = replica, in which triggers and foreign keys do "
            "nothing: remove this setting from the role, the database and the URL"
        )
    if zeroes == "on":
        raise StoreError(
            f"{name} has sessions with zero_damaged_pages = on, in which reads leave out rows without an error: remove "
            "this setting from the server, the role, the database and the URL"
        )


def set_locally() -> list[str]:
    """Return the statements that set what a transaction in any session needs, until it ends."""
    return [_set(setting, value, "LOCAL ") for setting, value in _MEANINGS.items()]


def _set(setting: str, value: str, scope: str = "") -> str:
    return f"SET {scope}{setting} TO '{value}'"
