"""The one history of the schema, for SQLite and PostgreSQL, run by Alembic: a file in `versions` for each revision.

To add a revision: describe the tables as they shall be in `cidrgate.stores.schema`; write a file
`versions/NNNN_name.py` that brings a database of either kind there from the revision before, in one transaction; name
it in `HEAD`. A revision that was released is never changed, and there is no way back: who wants one restores a backup.

Processes of the version before run on while the tables are migrated, and go on after that. Where a revision changes
what lists match, they must not: its name gets a number behind a dot, one more than the revision before has (1 where it
has none), which all later ones keep: `0006`, `0007.2`, `0008.2`. A process that knows a smaller number than it finds
stops trusting its lists; see `refuse_other_lists`.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from cidrgate.errors import StoreError, StoreOutgrownError

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["HEAD", "VERSION_TABLE", "refuse_newer", "refuse_other_lists", "revision_of", "upgrade"]

HEAD = "0005"
"""The last revision: what this cidrgate reads and writes. They are numbered, so their texts sort as they follow."""

VERSION_TABLE = "alembic_version"

_one_at_a_time = threading.Lock()
"""Alembic keeps the migration it runs in a global variable."""


def _after_fork() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def revision_of(connection: Connection, schema: str | None = None) -> str | None:
    """The revision a database says it has; None where no migration has run. Does not import Alembic, which takes time.

    Args:
        connection: To the database.
        schema: The schema of the tables, where the database has more than one.
    """
    if not inspect(connection).has_table(VERSION_TABLE, schema=schema):
        return None
    table = VERSION_TABLE if schema is None else f'"{schema}".{VERSION_TABLE}'
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {table}"))  # noqa: S608
    return revision


def refuse_newer(revision: str, name: str) -> None:
    """Refuse a store that a newer cidrgate has migrated.

    Args:
        revision: Its revision.
        name: What it is called.

    Raises:
        StoreError: If the revision follows `HEAD`.
    """
    if revision > HEAD:
        raise StoreError(
            f"{name} has schema version {revision}, made by a newer cidrgate; "
            f"this one knows versions up to {HEAD}: upgrade cidrgate"
        )


def refuse_other_lists(revision: str) -> None:
    """Refuse tables that a newer cidrgate has migrated meanwhile, where lists may match otherwise than this one knows.

    Args:
        revision: What the tables have now.

    Raises:
        StoreOutgrownError: If the number behind the dot is greater than that of `HEAD`.

    Example:
        >>> refuse_other_lists("9999")
        >>> refuse_other_lists("9999.9")
        Traceback (most recent call last):
        ...
        cidrgate.errors.StoreOutgrownError: the store was migrated to schema version 9999.9 by a newer cidrgate, ...
    """
    if _lists_form(revision) > _lists_form(HEAD):
        raise StoreOutgrownError(
            f"the store was migrated to schema version {revision} by a newer cidrgate, and this process, which knows "
            f"{HEAD}, cannot tell what its lists match: start the newer cidrgate in its place"
        )


def _lists_form(revision: str) -> int:
    return int(revision.partition(".")[2] or 1)


def upgrade(connection: Connection, schema: str | None = None, *, since: str | None = None) -> None:
    """Bring a database to `HEAD`, in the transaction of the connection.

    Args:
        connection: To the database; nobody else migrates it meanwhile.
        schema: The schema of the tables, where the database has more than one; it exists.
        since: The revision of a database that does not say which it has, as it is older than the first migration.
    """
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "schema": schema})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    with _one_at_a_time:
        if since is not None:
            command.stamp(config, since)
        command.upgrade(config, "head")
