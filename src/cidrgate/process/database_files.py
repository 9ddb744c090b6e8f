"""Recognizes SQLite databases, and the files beside them, among the files that a user names.

Such a file may be the store itself. To replace it would lose the store. Even to read it would do harm: closing any
descriptor of a file releases all locks that the process has on the file, so other processes would delete the log of a
store that is open. Therefore a descriptor of a database stays open once it was opened here.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["DatabaseFileError", "open_no_database", "refuse_database", "refuse_name"]

_DATABASE = b"SQLite format 3\0"
"""The first bytes of every SQLite database file."""

_BESIDE = (
    b"\x37\x7f\x06\x82",  # a write-ahead log
    b"\x37\x7f\x06\x83",
    b"\x18\xe2\x2d\x00",  # the index of one, in the byte order of the machine
    b"\x00\x2d\xe2\x18",
    b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",  # a rollback journal
)
"""The first bytes of the files that SQLite writes beside a database."""

_ENDINGS = ("wal", "shm", "journal")
"""What the names of these files add to the name of the database, after a hyphen."""

_IS_DATABASE, _IS_BESIDE = "the file is a database", "the file belongs to a database"

_kept: dict[tuple[int, int], int] = {}
"""The descriptors of the files that were refused, which are never closed."""


class DatabaseFileError(FileExistsError):
    """A file is a SQLite database or belongs to one, so it is neither read as another file nor replaced."""

    def __init__(self, what: str, path: str) -> None:
        super().__init__(errno.EEXIST, f"{what}: choose another file", path)


def refuse_database(path: str | PathLike[str]) -> None:
    """Refuse a path that leads to a database, or to a file beside one, by any name: also by a link.

    A path with the name of a file beside a database is refused even if no file exists there: SQLite would take a file
    with that name for its own.

    Args:
        path: The path. Everything else passes, also if it does not exist or cannot be read.

    Raises:
        DatabaseFileError: If it is such a file.
    """
    try:
        if stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - the path may be text
            os.close(open_no_database(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            return
    except DatabaseFileError:
        raise
    except (OSError, ValueError):
        pass
    refuse_name(path)


def open_no_database(path: str | PathLike[str], flags: int) -> int:
    """Open a file that is no database and return its descriptor; the `opener` for `open` of a file that a user names.

    Args:
        path: The path.
        flags: The flags for `os.open`.

    Raises:
        DatabaseFileError: If it is a database or a file beside one.
        OSError: If it cannot be opened.

    Example:
        >>> with open(os.devnull, "rb", opener=open_no_database) as file:
        ...     file.read()
        b''
    """
    _refuse_known(os.stat(path), os.fspath(path))  # noqa: PTH116 - the path may be text
    refuse_name(path)
    descriptor = os.open(path, flags)
    try:
        found = os.fstat(descriptor)
        what = _kind(descriptor) if stat.S_ISREG(found.st_mode) and flags & os.O_ACCMODE != os.O_WRONLY else None
    except BaseException:
        os.close(descriptor)
        raise
    if what is not None:
        _kept.setdefault((found.st_dev, found.st_ino), descriptor)
        raise DatabaseFileError(what, os.fsdecode(path))
    return descriptor


def refuse_name(path: str | PathLike[str]) -> None:
    """Refuse the name of a file beside a database, and a symbolic link to one. A file at the path is not opened.

    Args:
        path: The path.

    Raises:
        DatabaseFileError: If it is such a name, whether the file exists or not.
    """
    text = os.fsdecode(path)
    for name in {text, os.path.realpath(text)}:
        database, _, ending = name.rpartition("-")
        if ending in _ENDINGS and _is_database(database):
            raise DatabaseFileError(_IS_BESIDE, text)


def _kind(descriptor: int) -> str | None:
    """Return what an open file is by its first bytes, or None if SQLite has not written it."""
    first = os.pread(descriptor, len(_DATABASE), 0)
    if first == _DATABASE:
        return _IS_DATABASE
    return _IS_BESIDE if first.startswith(_BESIDE) else None


def _refuse_known(found: os.stat_result, path: str) -> None:
    what = _known(found)
    if what is not None:
        raise DatabaseFileError(what, os.fsdecode(path))


def _known(found: os.stat_result) -> str | None:
    """Return what a file is that was refused before, or None. It may have been overwritten by something else since."""
    descriptor = _kept.get((found.st_dev, found.st_ino))
    return None if descriptor is None else _kind(descriptor)


def _is_database(path: str) -> bool:
    """Return whether there is a database with this name."""
    with suppress(OSError, ValueError):
        found = os.stat(path)  # noqa: PTH116 - the path is text
        if not stat.S_ISREG(found.st_mode):
            return False
        known = _known(found)
        if known is not None:
            return known is _IS_DATABASE
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        what = _kind(descriptor)
        if what is None:
            os.close(descriptor)
        else:
            found = os.fstat(descriptor)
            _kept.setdefault((found.st_dev, found.st_ino), descriptor)
        return what is _IS_DATABASE
    return False
