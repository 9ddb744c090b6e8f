"""Connections to SQLite files that belong to the process that opened them.

What SQLite knows of a file's locks is copied by a fork, while the locks themselves are not: a child that used the file
then would read and write without them, and lose what it commits when its parent closes the file. So the connections of
a process are closed before it forks, and one that could not be is left alone by the child, as is its file.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

with suppress(ImportError):  # an interpreter may be built without it
    import ctypes

from cidrgate.errors import StoreError
from cidrgate.process.forking import is_in_sqlite, join_forks

__all__ = ["OwnConnection"]


def _own(method: Callable[..., Any]) -> Any:
    """A method that refuses to work in a forked child, and says that memory is out as the database would."""

    @wraps(method)
    def checked(self: Any, *arguments: Any, **settings: Any) -> Any:
        (self if isinstance(self, OwnConnection) else self.connection).check()
        try:
            return method(self, *arguments, **settings)
        except MemoryError as error:
            raise sqlite3.OperationalError("this process has no memory left for it") from error

    return checked


class _OwnCursor(sqlite3.Cursor):
    """A cursor that does nothing in a forked child."""

    execute = _own(sqlite3.Cursor.execute)
    executemany = _own(sqlite3.Cursor.executemany)
    fetchone = _own(sqlite3.Cursor.fetchone)
    fetchmany = _own(sqlite3.Cursor.fetchmany)
    fetchall = _own(sqlite3.Cursor.fetchall)
    __next__ = _own(sqlite3.Cursor.__next__)


class OwnConnection(sqlite3.Connection):
    """A connection to a file that is there; in a forked child of the process that opened it, it does nothing.

    Args:
        path: The file; it is not created, as one that was removed meanwhile would be.
        settings: Of `sqlite3.Connection`.

    Raises:
        StoreError: If the process inherited an open connection to the file.
    """

    def __init__(self, path: Path, **settings: Any) -> None:
        _open_files.refuse_inherited(path)
        self._process = os.getpid()
        super().__init__(f"{path.as_uri()}?mode=rw", uri=True, check_same_thread=False, **settings)
        self.file = _identity(path)
        _open_files.connections.add(self)

    def check(self) -> None:
        """Refuse to be used in a forked child.

        Raises:
            sqlite3.ProgrammingError: If this is one.
        """
        if self._process != os.getpid():
            raise sqlite3.ProgrammingError("this connection is one of the process this one was forked from")

    commit = _own(sqlite3.Connection.commit)
    rollback = _own(sqlite3.Connection.rollback)

    def cursor(self, factory: Any = _OwnCursor) -> Any:
        """A cursor."""
        self.check()
        return super().cursor(factory)

    def execute(self, *arguments: Any) -> Any:
        """Execute a statement with a cursor of its own."""
        return self.cursor().execute(*arguments)

    def close(self) -> None:
        """Close it; a child leaves it open, as closing would roll back what its parent is about to commit."""
        if self._process == os.getpid():
            super().close()
            _open_files.connections.discard(self)


class _OpenFiles:
    """The open connections of this process, and the files that it inherited open ones to."""

    def __init__(self) -> None:
        self.connections: weakref.WeakSet[OwnConnection] = weakref.WeakSet()
        self._inherited: set[tuple[int, int]] = set()
        self._kept: list[OwnConnection] = []

    def refuse_inherited(self, path: Path) -> None:
        if self._inherited and _identity(path) in self._inherited:
            raise StoreError(
                f"the store {path} cannot be used in this process: it was forked while a connection to it was in "
                "use; start the process anew, or fork outside of changes and before stores are opened"
            )

    def before_fork(self) -> None:
        """Close what stores left open that are just going away; they close the others themselves."""
        if not is_in_sqlite():
            for connection in list(self.connections):
                connection.close()

    def after_fork(self, *, certain: bool) -> None:
        """Leave what is still open to the parent."""
        for connection in list(self.connections):
            file = getattr(connection, "file", None)  # there is none yet while it is being opened
            if file is not None:
                self._inherited.add(file)
            self._kept.append(connection)
            _never_free(connection)
        self.connections = weakref.WeakSet()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _never_free(connection: OwnConnection) -> None:
    """Keep a connection beyond the end of the interpreter, which would close what nobody refers to."""
    with suppress(NameError, AttributeError):  # then it is closed at the end of the process
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_open_files = _OpenFiles()
join_forks(_open_files, stage=-1)  # first, as what is freed would be closed in a child
