"""Connections to SQLite files that only the process that opened them can use.

A fork copies SQLite's record of a file's locks, but not the locks. A child that used the file would read and write
without locks, and lose its commits when the parent closes the file. So a process closes its connections before it
forks, except those that its threads use. If a connection was not closed, the child uses neither the connection nor its
file. It never closes such a connection, not even when it ends.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

with suppress(ImportError):  # an interpreter may be built without it
    import ctypes

from cidrgate.errors import StoreError
from cidrgate.process.forking import join_forks, sqlite_is_in_use
from cidrgate.process.weak_sets import SharedWeakSet

__all__ = ["OwnConnection"]


def _own(method: Callable[..., Any]) -> Any:
    """Wrap a method so that it refuses to work in a forked child, and reports lack of memory as a database error."""

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
    """A connection to an existing file. It does nothing in a forked child of the process that opened it.

    Args:
        path: The file. The connection does not create it, so a file that was removed is not replaced by an empty one.
        settings: The arguments of `sqlite3.Connection`.

    Attributes:
        log: What has to live as long as this connection is open.

    Raises:
        StoreError: If the process inherited an open connection to the file.
    """

    log: object = None

    def __init__(self, path: Path, **settings: Any) -> None:
        _open_files.refuse_inherited(path)
        self._process = os.getpid()
        super().__init__(f"{path.as_uri()}?mode=rw", uri=True, check_same_thread=False, **settings)
        self.file = _identity(path)
        _open_files.connections.add(self)

    def check(self) -> None:
        """Refuse to work in a forked child.

        Raises:
            sqlite3.ProgrammingError: If this process is a forked child.
        """
        if self._process != os.getpid():
            raise sqlite3.ProgrammingError("this connection belongs to the parent process: a child cannot use it")

    commit = _own(sqlite3.Connection.commit)
    _rollback = _own(sqlite3.Connection.rollback)

    def rollback(self) -> None:
        """Roll back. A child does nothing, because its parent continues the transaction."""
        if self._process == os.getpid():
            self._rollback()

    def cursor(self, factory: Any = _OwnCursor) -> Any:
        """Return a cursor."""
        self.check()
        return super().cursor(factory)

    def execute(self, *arguments: Any) -> Any:
        """Execute a statement with a new cursor."""
        return self.cursor().execute(*arguments)

    def close(self) -> None:
        """Close the connection. A child leaves it open, because closing would roll back the parent's transaction."""
        if self._process == os.getpid():
            self.log = None  # first, because closing the last connection deletes the log
            with suppress(sqlite3.Error):
                # A cursor in a traceback keeps its statement, and a statement keeps a closed connection with its locks.
                super().rollback()
            super().close()
            _open_files.connections.discard(self)


class _OpenFiles:
    """The open connections of this process, and the files to which it inherited open connections."""

    def __init__(self) -> None:
        self.connections: SharedWeakSet[OwnConnection] = SharedWeakSet()
        self._inherited: set[tuple[int, int]] = set()
        self._kept: list[OwnConnection] = []

    def refuse_inherited(self, path: Path) -> None:
        if self._inherited and _identity(path) in self._inherited:
            raise StoreError(
                f"the store {path} cannot be used in this process: it was forked while a connection to the store was "
                "in use; restart the process, or fork before stores are opened"
            )

    def before_fork(self) -> None:
        """Close the connections of stores that are being deleted. Other stores close their connections themselves.

        A connection in use belongs to a transaction of this process, which continues after the fork.
        """
        if not sqlite_is_in_use():
            for connection in self.connections:
                connection.close()

    def after_fork(self, *, certain: bool) -> None:
        """Leave the open connections to the parent."""
        for connection in self.connections:
            file = getattr(connection, "file", None)  # it has no file yet while it is being opened
            if file is not None:
                self._inherited.add(file)
            self._kept.append(connection)
            _never_free(connection)
        self.connections = SharedWeakSet()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _never_free(connection: OwnConnection) -> None:
    """Keep a connection until the process ends: the interpreter closes connections without references."""
    with suppress(NameError, AttributeError):  # without ctypes it is closed when the interpreter ends
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_open_files = _OpenFiles()
join_forks(_open_files, stage=-1)  # first, because a child would close connections that are freed
