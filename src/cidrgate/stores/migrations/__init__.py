"""The revisions of the schema, for SQLite and PostgreSQL. Alembic runs them: each is a file in `versions`.

To add a revision, change the tables in `cidrgate.stores.schema`, write a file `versions/NNNN_name.py` that migrates a
database of either kind from the last revision in one transaction, and set `HEAD` to its number. Never change a revision
that was released. A migration cannot be undone, except by restoring a backup.

Processes of the old version continue during and after a migration. If a revision changes what lists match, they must
not continue: add a number after a dot to the revision's name. This number is one more than that of the last revision (1
if that has none), and all later revisions keep it: `0006`, `0007.2`, `0008.2`. A process that knows a smaller number
than it finds stops trusting its lists; see `refuse_other_lists`.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from cidrgate.errors import StoreError, StoreOutgrownError
from cidrgate.process.forking import loading

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["HEAD", "VERSION_TABLE", "lists_form", "refuse_newer", "refuse_other_lists", "revision_of", "upgrade"]

HEAD = "0008.2"
"""The last revision, which this cidrgate reads and writes. The names of revisions are numbers that sort as text."""

VERSION_TABLE = "alembic_version"

_one_at_a_time = threading.Lock()
"""A lock, because Alembic stores the running migration in a global variable."""


def _after_fork() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def revision_of(connection: Connection, schema: str | None = None) -> str | None:
    """Return the revision of a database, or None if no migration has run. It does not import Alembic, which is slow.

    Args:
        connection: A connection to the database.
        schema: The schema of the tables, if the database can have more than one.
    """
    if not inspect(connection).has_table(VERSION_TABLE, schema=schema):
        return None
    table = VERSION_TABLE if schema is None else f'"{schema}".{VERSION_TABLE}'
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {table}"))  # noqa: S608
    return revision


def refuse_newer(revision: str, name: str) -> None:
    """Refuse a store that a newer cidrgate has migrated.

    Args:
        revision: The revision of the store.
        name: The name of the store in messages.

    Raises:
        StoreError: If the revision is later than `HEAD`.
    """
    if revision > HEAD:
        raise StoreError(
            f"{name} has schema version {revision}, made by a newer cidrgate; "
            f"this one knows versions up to {HEAD}: upgrade cidrgate"
        )


def refuse_other_lists(revision: str | None) -> None:
    """Refuse tables that a newer cidrgate has migrated in the meantime, if that changed what lists match.

    Args:
        revision: The current revision of the tables; None if they have none any more.

    Raises:
        StoreError: If the tables have no revision.
        StoreOutgrownError: If the number after the dot is greater than that of `HEAD`.

    Example:
        >>> refuse_other_lists("9999")
        >>> refuse_other_lists("9999.9")
        Traceback (most recent call last):
        ...
        cidrgate.errors.StoreOutgrownError: the store was migrated to schema version 9999.9 by a newer cidrgate, ...
    """
    if revision is None:
        raise StoreError(
            f"the store has lost the row of {VERSION_TABLE} that states its schema version: restore a backup, or write "
            "the version back as the administrator of the database"
        )
    if lists_form(revision) > lists_form(HEAD):
        raise StoreOutgrownError(
            f"the store was migrated to schema version {revision} by a newer cidrgate, and this process knows only "
            f"{HEAD}, so it cannot read the lists correctly: stop it, and start the newer cidrgate"
        )


def lists_form(revision: str) -> int:
    """Return the number after the dot of a revision, or 1 if it has none. Lists match alike where it is the same.

    Example:
        >>> lists_form("0005"), lists_form("0006.2")
        (1, 2)
    """
    return int(revision.partition(".")[2] or 1)


def upgrade(connection: Connection, schema: str | None = None, *, since: str | None = None) -> None:
    """Migrate a database to `HEAD`, in the transaction of the connection.

    Args:
        connection: A connection to the database. The caller ensures that no other process migrates it at the same time.
        schema: The schema of the tables, which exists, if the database can have more than one.
        since: The revision of a database that does not store it, because it is older than the first migration.
    """
    with loading():
        from alembic import command
        from alembic.config import Config

    config = Config(attributes={"connection": connection, "schema": schema})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    with _one_at_a_time:
        if since is not None:
            command.stamp(config, since)
        command.upgrade(config, "head")
