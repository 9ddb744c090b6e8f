"""`FileIdentity`: checks that a store's path still leads to the opened file and to the write-ahead log in use."""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.stores.sqlite.connections import OwnConnection

__all__ = ["FileIdentity"]


_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""The errors that say that nothing is at a path, or a link in place of what was there."""


_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = {ord(character): f"\\{ord(character):03o}" for character in " \t\n\\"}
"""The characters that Linux writes in another way in the list of mounts."""


def _is_mounted(path: str) -> bool:
    """Return whether something is mounted exactly at a path, as far as the system tells."""
    try:
        mounts = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return False
    return os.fsencode(path.translate(_ESCAPED)) in {mount.split(b" ")[4] for mount in mounts}


class _Log:
    """The log in use, which lives as long as an open connection refers to it.

    Attributes:
        files: The identities of the log and its index; None before they are recorded.
    """

    __slots__ = ("__weakref__", "files")

    def __init__(self) -> None:
        self.files: tuple[tuple[int, int], ...] | None = None


def _no_log() -> _Log | None:
    return None


class FileIdentity:
    """Identifies the file of a store by its device and its inode number.

    Data that is written to a replaced or deleted file is lost, and data that is read from it is old. No other file gets
    the same inode number while a connection has the file open.

    The same is true of the write-ahead log and its index. SQLite deletes them only when no connection has the file
    open. If another program deletes them, later connections write to a different log than the open connections. The
    names of these files are derived from the name of the file, so all symbolic links to the file are resolved.

    The log in use is known as long as one of the store's connections is open, however it is closed: by the store, by
    SQLAlchemy after a failure, or by the interpreter. After that SQLite may have deleted the log, and the next
    connection may have created a new one.

    Args:
        path: The file; None for a store in memory.
        name: The name of the store in messages.
    """

    def __init__(self, path: Path | None, name: str) -> None:
        self._path = path
        self._name = name
        self._taken = False
        self._opened: tuple[int, int] | None = None
        self._real = "" if path is None else os.path.realpath(path)
        self._linked = path is not None and self._real != os.path.abspath(path)  # noqa: PTH100 - resolves nothing
        self._logs = (f"{self._real}-wal", f"{self._real}-shm")
        self._log: Callable[[], _Log | None] = _no_log

    def take(self) -> None:
        """Record the current file as the file of the store.

        Raises:
            StoreError: If the file does not exist any more, has several names by hard links, or is itself mounted.
        """
        if self._path is not None:
            self._taken = True
            self._opened = self._identity(self._path)
            self.check()
            found = self._found(self._path)
            if found is not None and found.st_nlink > 1:
                raise StoreError(
                    f"{self._name} has more than one name, by hard links, and SQLite would keep a log for each: "
                    "remove the others (`find -samefile`), or copy the store with `sqlite3 … .backup`"
                )
            if _is_mounted(self._real):
                raise StoreError(
                    f"{self._name} is mounted as a single file, and SQLite would keep its log outside of the mount, "
                    "where no other process finds it: mount the directory of the file instead"
                )

    def join(self, connection: OwnConnection) -> None:
        """Check the file and the log for a new connection that has read from them, and keep the log known for it.

        A connection that has read keeps SQLite from deleting the log that it reads.

        Raises:
            StoreError: As for `check`.
        """
        self.check()
        log = self._log()
        if log is None:
            log = _Log()
            self._log = weakref.ref(log)
        connection.log = log

    def take_log(self) -> None:
        """Record the current write-ahead log as the log in use, if none is recorded; a connection has it open."""
        log = self._log()
        if log is not None and log.files is None:
            log.files = self._logs_now()

    def forget_log(self) -> None:
        """Forget the log and the connections, which belong to the parent of this process."""
        self._log = _no_log

    def check(self) -> None:
        """Refuse to continue with another file or another log. Before `take`, this does nothing.

        Raises:
            StoreError: If the path no longer leads to the opened file, the log no longer is the log in use, or the
                directory does not let this process look.
        """
        if not self._taken or self._path is None:
            return
        if (
            self._opened is None
            or self._identity(self._real, follow=False) != self._opened
            or (self._linked and self._identity(self._path) != self._opened)
        ):
            raise StoreError(
                f"{self._name} was replaced or deleted while it was open: restart the processes that use it; "
                "to replace a store, stop them first"
            )
        if self._lost_log():
            raise StoreError(
                f"the write-ahead log of {self._name} was deleted or replaced while it was open: stop all processes "
                "that use the store with SIGTERM, so that the last one writes its data to the store; then start them "
                "again"
            )

    def _lost_log(self) -> bool:
        known = self._known_log()
        # Another thread may close the last connection at this moment, and forgets the log before SQLite deletes it.
        return known is not None and self._logs_now() != known and self._known_log() == known

    def _known_log(self) -> tuple[tuple[int, int], ...] | None:
        log = self._log()
        return None if log is None else log.files

    def _logs_now(self) -> tuple[tuple[int, int], ...] | None:
        """Return the identities of the log and its index, or None if one of them is missing."""
        found = [identity for log in self._logs if (identity := self._identity(log, follow=False)) is not None]
        return tuple(found) if len(found) == len(self._logs) else None

    def _identity(self, path: Path | str, *, follow: bool = True) -> tuple[int, int] | None:
        found = self._found(path, follow=follow)
        return None if found is None else (found.st_dev, found.st_ino)

    def _found(self, path: Path | str, *, follow: bool = True) -> os.stat_result | None:
        """Return the status of a file, or None if nothing is there.

        Raises:
            StoreError: If it is not known what is there.
        """
        try:
            return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - it runs on each poll and each commit
        except OSError as error:
            if error.errno in _MISSING:
                return None
            raise StoreError(
                f"{self._name} cannot be found, because its directory cannot be searched ({error.strerror}): give this "
                "user permission on the directory again, or check its disk and its mount; then the store is used again"
            ) from error
