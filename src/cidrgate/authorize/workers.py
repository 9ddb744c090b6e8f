"""What the workers of an authorize endpoint tell each other, so that whichever is asked answers for all of them.

Each worker has a file in a folder of theirs, and holds a lock on it for as long as it lives. A file without a lock is
that of a worker that is gone, however it ended; whoever finds it deletes it. In the file stand two numbers, which are
mapped: a worker that is stopped tells nothing new, and its lists grow old.
"""

from __future__ import annotations

import fcntl
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
"""When the lists were last known to equal the store, on the clock of `time.monotonic`, which all processes of a machine
share; and 1 or 0, for whether they follow it."""


class WorkerFile:
    """The file of this worker; kept up to date from now on, and gone with the process.

    Args:
        folder: Of all workers.
        lists: What this worker answers from.
    """

    def __init__(self, folder: Path, lists: Replica) -> None:
        self._lists = lists
        made = folder / f"{os.getpid()}.new"
        self._file = os.open(made, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        os.ftruncate(self._file, _LAYOUT.size)
        self._numbers = mmap.mmap(self._file, _LAYOUT.size)
        self.update()
        lists.on_known = self.update
        # Under its name only now, as it would be taken for that of a dead worker without the lock.
        made.rename(folder / f"{os.getpid()}.worker")

    def update(self) -> None:
        """Write what is known now."""
        _LAYOUT.pack_into(self._numbers, 0, self._lists.known_at, self._lists.follows)


def living_workers(folder: Path) -> Iterator[ListsState]:
    """What each worker that lives has told; what a dead one has left is deleted.

    Args:
        folder: Of all workers.
    """
    for path in folder.glob("*.worker"):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            known_at, follows = _LAYOUT.unpack(os.pread(file, _LAYOUT.size, 0))
            yield ListsState(known_at, follows=bool(follows))
        else:
            with suppress(FileNotFoundError):
                path.unlink()
        finally:
            os.close(file)
