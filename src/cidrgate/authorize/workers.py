"""The files that the workers of an authorize endpoint share: their snapshot, and their metrics, which each reports.

Each worker has a file in a common folder and holds a lock on it while it runs. A file without a lock belongs to a
worker that has ended; the worker that finds it deletes it. The file contains two numbers and is mapped into memory: a
worker that is paused writes no new numbers, and its lists become stale.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from cidrgate.manager.metrics import ListsState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cidrgate.replica.replica import Replica

__all__ = ["WorkerFile", "living_workers"]

_LAYOUT = struct.Struct("=dd")
"""The time at which the lists were last known to equal the store, by `since_boot`, a clock that all processes of a
machine share; and 1 or 0 for whether the lists follow the store."""


class WorkerFile:
    """The file of this worker. It is updated from now on, and it is deleted after the process has ended.

    Args:
        folder: The folder of all workers.
        lists: The lists of this worker.
    """

    def __init__(self, folder: Path, lists: Replica) -> None:
        self._lists = lists
        made = folder / f"{os.getpid()}.new"
        self._file = os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        # Written first, because a write to the mapping of a block that the disk does not have kills the process.
        os.pwrite(self._file, self._current(), 0)
        self._numbers = mmap.mmap(self._file, _LAYOUT.size)
        lists.on_known = self.update
        # Renamed only after it is locked: without the lock, the file would look like that of an ended worker.
        made.rename(folder / f"{os.getpid()}.worker")

    def update(self) -> None:
        """Write the current numbers."""
        # Assigned at once: `pack_into` would write zeros first, which another worker could read.
        self._numbers[:] = self._current()

    def _current(self) -> bytes:
        return _LAYOUT.pack(self._lists.known_at, self._lists.follows)


def living_workers(folder: Path) -> Iterator[ListsState]:
    """Return the state of each running worker, and delete the files of ended workers.

    A worker whose file cannot be opened may be running: its lists have no known age, and count as not followed.

    Args:
        folder: The folder of all workers.
    """
    for path in folder.glob("*.worker"):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError:
            yield ListsState(known_at=-math.inf, follows=False)
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            known_at, follows = _LAYOUT.unpack(os.pread(file, _LAYOUT.size, 0))
            yield ListsState(known_at=known_at, follows=bool(follows))
        else:
            with suppress(OSError):
                path.unlink()
        finally:
            os.close(file)
