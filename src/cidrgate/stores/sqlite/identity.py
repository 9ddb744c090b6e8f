"""Whether the path of a store still leads to the file that was opened."""

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

    Args:
        path: The file; None for a store in memory.
        name: What the store is called.
    """

    def __init__(self, path: Path | None, name: str) -> None:
        self._path = path
        self._name = name
        self._taken = False
        self._opened: tuple[int, int] | None = None

    def take(self) -> None:
        """Hold the file that is there now for the store's own.

        Raises:
            StoreError: If there is none any more.
        """
        if self._path is not None:
            self._taken = True
            self._opened = self._now()
            self.check()

    def check(self) -> None:
        """Refuse to go on with another file; before `take` there is none to compare with.

        Raises:
            StoreError: If the path leads to another file than the one that was opened, or to none.
        """
        if self._taken and (self._opened is None or self._now() != self._opened):
            raise StoreError(
                f"{self._name} was replaced or deleted while it was open: restart the processes that use it; "
                "to replace a store, stop them first"
            )

    def _now(self) -> tuple[int, int] | None:
        assert self._path is not None  # noqa: S101 - `take` was called
        try:
            found = os.stat(self._path)  # noqa: PTH116 - on each look and each commit
        except OSError:
            return None
        return found.st_dev, found.st_ino
