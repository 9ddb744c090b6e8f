"""Deletes the file of a new store that nobody has used, so that a failed command leaves no empty store behind."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from cidrgate.stores.schema import metadata
from cidrgate.stores.sqlite.connections import OwnConnection

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["delete_unused"]


def delete_unused(path: Path, check: Callable[[], object]) -> None:
    """Delete a store's file, its write-ahead log and the index of that log, if the store has never had a row.

    A file that another connection has open, of this process or of another, stays: a connection to a file with a
    write-ahead log has a lock on it. A process that opens the file while it is deleted gets a `StoreError`.

    Args:
        path: The file.
        check: Raises an error if the path leads to another file than the one that may be deleted.

    Raises:
        sqlite3.Error: If another connection has the file open, or it cannot be read. It then stays.
        OSError: If it cannot be deleted.
        StoreError: If `check` says so.
    """
    with closing(OwnConnection(path, timeout=0, isolation_level=None)) as connection:
        if _was_used(connection):
            return
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # This deletes the log, and fails if there is another connection.
        if connection.execute("PRAGMA journal_mode = DELETE").fetchone() != ("delete",):
            return
        connection.execute("BEGIN EXCLUSIVE")
        check()
        if not _was_used(connection):
            path.unlink()
        connection.execute("ROLLBACK")


def _was_used(connection: sqlite3.Connection) -> bool:
    """Return whether the store has or had rows, or the file has tables of another program."""
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not found:
        return False
    if "facts" not in found or "sqlite_sequence" not in found:
        return True
    tables = sorted(found & metadata.tables.keys() - {"facts"})
    questions = [f'SELECT 1 FROM "{name}"' for name in tables]  # noqa: S608 - names of the schema
    questions.append("SELECT 1 FROM sqlite_sequence WHERE seq > 0")
    questions.append("SELECT 1 FROM facts WHERE policy IS NOT NULL")
    return any(connection.execute(f"{question} LIMIT 1").fetchone() is not None for question in questions)
