"""Whether the path of a store still leads to the file that was opened, and to the write-ahead log that is in use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileIdentity"]


class FileIdentity:
    """What tells the file of a store from every other: the device and the number of its inode.

    What is written to a file that was replaced or deleted is lost, and what is read from it is old. A number is given
    to no other file as long as a connection keeps the first one open.

    The same is true of its write-ahead log and of the index of that: SQLite itself deletes them only when nobody has
    the file open. Where somebody else did, connections that are made later write to another log than those that are
    open. Their names follow from the file's, so a file has one name, whatever symbolic links lead to it.

    Args:
        path: The file; None for a store in memory.
        name: What the store is called.
    """

    def __init__(self, path: Path | None, name: str) -> None:
        self._path = path
        self._name = name
        self._taken = False
        self._opened: tuple[int, int] | None = None
        self._real = "" if path is None else os.path.realpath(path)
        self._linked = path is not None and self._real != os.path.abspath(path)  # noqa: PTH100 - resolves nothing
        self._logs = (f"{self._real}-wal", f"{self._real}-shm")
        self._opened_logs: tuple[tuple[int, int], ...] | None = None

    def take(self) -> None:
        """Hold the file that is there now for the store's own.

        Raises:
            StoreError: If there is none any more.
        """
        if self._path is not None:
            self._taken = True
            self._opened = _identity(self._path)
            self.check()
            if os.stat(self._path).st_nlink > 1:  # noqa: PTH116
                raise StoreError(
                    f"{self._name} has more than one name, by hard links, and SQLite would keep a log for each: "
                    "remove the others (`find -samefile`), or copy the store with `sqlite3 … .backup`"
                )

    def take_log(self) -> None:
        """Hold the write-ahead log that is there now for the one in use, if none is; a connection has it open."""
        if self._path is not None and self._opened_logs is None:
            self._opened_logs = self._logs_now()

    def forget_log(self) -> None:
        """Hold none for the one in use: no connection is open any more, and the next one may find another log."""
        self._opened_logs = None

    def check(self) -> None:
        """Refuse to go on with another file or another log; before `take` there is none to compare with.

        Raises:
            StoreError: If the path leads to another file than the one that was opened, or to none, or if that is so of
                the log.
        """
        if not self._taken or self._path is None:
            return
        if (
            self._opened is None
            or _identity(self._real, follow=False) != self._opened
            or (self._linked and _identity(self._path) != self._opened)
        ):
            raise StoreError(
                f"{self._name} was replaced or deleted while it was open: restart the processes that use it; "
                "to replace a store, stop them first"
            )
        if self._opened_logs is not None and self._logs_now() != self._opened_logs:
            raise StoreError(
                f"the write-ahead log of {self._name} was deleted or replaced while it was open: end all processes "
                "that use the store, by SIGTERM, so that the last one writes back what it held; then start them again"
            )

    def _logs_now(self) -> tuple[tuple[int, int], ...] | None:
        """The log and its index, where both are there."""
        found = [identity for log in self._logs if (identity := _identity(log, follow=False)) is not None]
        return tuple(found) if len(found) == len(self._logs) else None


def _identity(path: Path | str, *, follow: bool = True) -> tuple[int, int] | None:
    try:
        found = os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - on each look and each commit
    except OSError:
        return None
    return found.st_dev, found.st_ino
