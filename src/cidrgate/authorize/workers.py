"""The files that the workers of an authorize endpoint share: their snapshot, and their metrics, which each reports.

The supervisor and its workers hold a lock on their folder. If the supervisor is killed, the next one deletes the folder
when its workers have ended: it contains all lists.

Each worker has a file in a common folder and holds a lock on it while it runs. A file without a lock belongs to a
worker that has ended; the worker that finds it deletes it. The file contains two numbers and is mapped into memory: a
worker that is paused writes no new numbers, and its lists become stale.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import struct
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING

from cidrgate.manager.metrics import ListsState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cidrgate.replica.replica import Replica

__all__ = ["WorkerFile", "hold_folder", "living_workers", "shared_folder"]

_FOLDER = "cidrgate-authorize-"
"""How the names of the folders begin."""

_LOCK = "lock"

_LAYOUT = struct.Struct("=dd")
"""The time at which the lists were last known to equal the store, by `since_boot`, a clock that all processes of a
machine share; and 1 or 0 for whether the lists follow the store."""


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Create a folder for the files that workers share, and delete it after the block.

    Folders that killed supervisors left are deleted too.
    """
    _delete_left_folders()
    with TemporaryDirectory(prefix=_FOLDER) as name:
        folder = Path(name)
        lock = folder / f"{_LOCK}.new"
        held = os.open(lock, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Renamed only after it is locked: without the lock, the folder would look like a left one.
            with suppress(OSError):  # a file system without locks has nobody who could take this folder for a left one
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            lock.rename(folder / _LOCK)
            yield folder
        finally:
            os.close(held)


def hold_folder(folder: Path) -> None:
    """Keep the folder as long as this worker runs, also if its supervisor is killed."""
    with suppress(OSError):  # somebody has deleted it, or there are no locks: the worker answers all the same
        held = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _delete_left_folders() -> None:
    for folder in Path(gettempdir()).glob(f"{_FOLDER}*"):
        with suppress(OSError):  # it is in use, of another user, or another process has deleted it
            held = os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if os.fstat(held).st_uid == folder.lstat().st_uid == os.geteuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


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
        os.ftruncate(self._file, _LAYOUT.size)
        self._numbers = mmap.mmap(self._file, _LAYOUT.size)
        self.update()
        lists.on_known = self.update
        # Renamed only after it is locked: without the lock, the file would look like that of an ended worker.
        made.rename(folder / f"{os.getpid()}.worker")

    def update(self) -> None:
        """Write the current numbers."""
        # Assigned at once: `pack_into` would write zeros first, which another worker could read.
        self._numbers[:] = _LAYOUT.pack(self._lists.known_at, self._lists.follows)


def living_workers(folder: Path) -> Iterator[ListsState]:
    """Return the state of each running worker, and delete the files of ended workers.

    Args:
        folder: The folder of all workers.
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
