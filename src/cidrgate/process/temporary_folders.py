"""Temporary folders that no killed process leaves behind for long: the next one deletes them.

Such a folder may contain all lists, or gigabytes that a query has written. Each process that uses a folder holds a lock
on it. A folder whose lock nobody holds was left by processes that were killed.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hold_folder", "temporary_folder"]

_LOCK = "lock"

_LEFT_AFTER = 60.0
"""Seconds after which a folder without a lock is left behind: a process locks its folder at once."""


@contextmanager
def temporary_folder(use: str) -> Iterator[Path]:
    """Create a folder that only this user can read, and delete it after the block.

    Folders for the same use that killed processes left are deleted too.

    Args:
        use: What it is for, which is part of its name.

    Raises:
        OSError: If it cannot be created.

    Example:
        >>> with temporary_folder("example") as folder:
        ...     file = folder / "lists"
        ...     file.touch()
        >>> file.exists()
        False
    """
    import fcntl  # only POSIX has it

    prefix = f"cidrgate-{use}-"
    _delete_left_folders(prefix)
    with TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
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
    """Keep a folder as long as this process runs, also if the process that created it is killed."""
    import fcntl

    with suppress(OSError):  # somebody has deleted it, or there are no locks
        held = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _delete_left_folders(prefix: str) -> None:
    import fcntl

    for folder in Path(gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # it is in use, of another user, or another process has deleted it
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            try:
                held = os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                if time.time() - found.st_mtime > _LEFT_AFTER:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                if os.fstat(held).st_uid == os.geteuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
