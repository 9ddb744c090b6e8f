"""What the errors of SQLite mean, and what a person can do about them."""

from __future__ import annotations

__all__ = ["CANNOT_OPEN", "advice"]

CANNOT_OPEN = "check that the path is a file in a directory you may write to"

_ADVICE = {
    "SQLITE_BUSY": "is locked by another process that is writing; try again when it is done",
    "SQLITE_LOCKED": "is locked by another connection; try again when it is done",
    "SQLITE_CANTOPEN": f"cannot be opened; {CANNOT_OPEN}",
    "SQLITE_NOTADB": "is not a SQLite database; choose another path or move the file away",
    "SQLITE_READONLY": "cannot be written; give this user write permission on the file and its directory",
    "SQLITE_PERM": "cannot be accessed; give this user permission on the file and its directory",
    "SQLITE_FULL": "cannot grow: the disk is full; free some space and try again",
    "SQLITE_CORRUPT": "is damaged; restore it from a backup, or rescue it with the sqlite3 tool's .recover",
    "SQLITE_IOERR": "cannot be read or written: the disk reports an error; check the disk and its mount",
}


def advice(error: Exception) -> str:
    """What a failure of the database means, and what a person can do about it."""
    cause = getattr(error, "orig", None) or error
    name = getattr(cause, "sqlite_errorname", "")
    for code, advice in _ADVICE.items():
        if name.startswith(code):
            return advice
    return f"failed: {cause}"
