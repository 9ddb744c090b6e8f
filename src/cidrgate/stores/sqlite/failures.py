"""The meaning of SQLite's errors, and advice for each."""

from __future__ import annotations

import sqlite3

__all__ = ["CANNOT_OPEN", "advice", "locked", "refused_commit"]

CANNOT_OPEN = "check that the path is a file in a directory you may write to"

_REFUSALS = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_NOMEM,
    }
)
"""After these errors a COMMIT has stored nothing. After a disk error, written data may appear again."""

_ADVICE = {
    "SQLITE_BUSY": "is locked by another process that is writing; nothing was changed: try again when it is done",
    "SQLITE_LOCKED": "is locked by another connection; nothing was changed: try again when it is done",
    "SQLITE_CANTOPEN": f"cannot be opened; {CANNOT_OPEN}",
    "SQLITE_NOTADB": "is not a SQLite database; choose another path or move the file away; if it was the store, "
    "restore a backup",
    "SQLITE_READONLY": "cannot be written; give this user write permission on the file and its directory",
    "SQLITE_PERM": "cannot be accessed; give this user permission on the file and its directory",
    "SQLITE_FULL": "cannot grow: the disk is full; free some space and try again",
    "SQLITE_CORRUPT": "is damaged; restore it from a backup, or rescue it with the sqlite3 tool's .recover",
    "SQLITE_IOERR": "cannot be read or written: the disk reports an error; check the disk and its mount",
}


def advice(error: Exception) -> str:
    """Return what an error of the database means, with advice."""
    cause = getattr(error, "orig", None) or error
    name = getattr(cause, "sqlite_errorname", "")
    for code, advice in _ADVICE.items():
        if name.startswith(code):
            return advice
    return f"failed: {str(cause) or type(cause).__name__}"


def locked(error: Exception) -> bool:
    """Return whether an error says that another connection has locked the file."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def refused_commit(error: Exception) -> bool:
    """Return whether an error of a COMMIT proves that nothing was committed.

    Example:
        >>> refused_commit(OSError("the disk is gone"))
        False
    """
    return _code(error) in _REFUSALS


def _code(error: Exception) -> int | None:
    """Return the primary result code; extended codes contain more in their higher bytes."""
    code = getattr(getattr(error, "orig", None) or error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
