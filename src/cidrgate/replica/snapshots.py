"""Snapshots: a matcher in a file with its position in the change log, for a fast start and for sharing memory pages.

The engine writes and checks the file (`Matcher.save`, `Matcher.open`), and `cidrgate.expiry.snapshot_notes` the note
in it. This module decides which of several processes on a host writes a new one.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cidrgate._engine import Matcher
from cidrgate.errors import SnapshotError
from cidrgate.expiry.snapshot_notes import UNREADABLE, OtherContentError, read_note, written_note
from cidrgate.process.database_files import DatabaseFileError, refuse_database
from cidrgate.process.private_files import open_lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cidrgate.expiry.schedule import ExpirySchedule

__all__ = ["SharedSnapshot", "check_snapshot_path", "read_snapshot", "write_snapshot"]


def check_snapshot_path(path: Path) -> None:
    """Refuse a path for a shared snapshot that, or whose lock file, is a database or belongs to one.

    Raises:
        SnapshotError: If it is such a path.
    """
    for file in (path, _lock_of(path)):
        try:
            refuse_database(file)
        except DatabaseFileError as error:
            raise SnapshotError(f"{file} cannot be used for a snapshot: {error.strerror}") from None


def _lock_of(path: Path) -> Path:
    """Return the file whose lock decides which process writes a snapshot."""
    return Path(f"{path}.lock")


def write_snapshot(path: Path, matcher: Matcher, expiries: Mapping[str, Mapping[str, datetime]], position: str) -> None:
    """Write a matcher with a position in the log since which every change is either in it or not.

    Args:
        path: The file. It is replaced atomically.
        matcher: The matcher.
        expiries: The expiry times of its entries at that position, from `ExpirySchedule.expiries`.
        position: The position that `Transaction.position` returned.

    Raises:
        SnapshotError: If there are more expiry times than a snapshot can have.
        OSError: If the file cannot be written.
    """
    matcher.save(path, note=written_note(position, expiries))


def read_snapshot(path: Path) -> tuple[Matcher, ExpirySchedule, str]:
    """Read the matcher, the schedule and the position that `write_snapshot` wrote.

    Raises:
        SnapshotError: If the file is not such a snapshot, is damaged, or may lack accounts.
        OSError: If the file cannot be read.
    """
    matcher = Matcher._open_as_saved(path)
    try:
        note = read_note(matcher.note)
    except OtherContentError:
        raise SnapshotError(
            f"{path} was written by another version of cidrgate, and may lack accounts without entries: "
            "write it again with `cidrgate compile`"
        ) from None
    except UNREADABLE as error:
        raise SnapshotError(
            f"{path} does not contain a position in a change log: write it with `cidrgate compile`"
        ) from error
    return matcher, note.schedule, note.position


class SharedSnapshot:
    """A snapshot that the processes of one host share: one of them writes new versions, and the others use these.

    A lock on a file beside the snapshot decides which process writes. When that process ends, another one gets the
    lock.

    Args:
        path: The file.
        every: Seconds between two writes; None if this process never writes.
    """

    def __init__(self, path: Path, every: float | None) -> None:
        self.path = path
        self._every = every
        self._lock: int | None = None
        self._leads = False
        self._seen = self._state()
        self._written_position = ""
        self._write_at = time.monotonic() if self._seen is None else time.monotonic() + (every or 0.0)

    @property
    def leads(self) -> bool:
        """Whether this process writes the file."""
        return self._leads

    @property
    def age(self) -> float:
        """Seconds since the file was written; infinite if it is missing."""
        try:
            return max(0.0, time.time() - self.path.stat().st_mtime)
        except OSError:
            return float("inf")

    def should_write(self, position: str) -> bool:
        """Return whether this process must write now: it has the lock, the time has come, and something has changed.

        A file that was deleted is written again.

        Raises:
            SnapshotError: If the lock file cannot be locked.
        """
        if self._every is None or time.monotonic() < self._write_at:
            return False
        if position == self._written_position and self._state() is not None:
            return False
        return self._lead()

    def written(self, position: str) -> None:
        """Record that this process has written the file."""
        self._seen = self._state()
        self._written_position = position
        self._write_at = time.monotonic() + (self._every or 0.0)

    def news(self) -> tuple[int, int] | None:
        """Return the state of the file if it differs from the file that was last written or taken over, else None."""
        state = self._state()
        if state is None:
            self._seen = None
        return None if state == self._seen else state

    def taken_over(self, state: tuple[int, int]) -> None:
        """Record that the file with the state that `news` returned is now used."""
        self._seen = state

    def close(self) -> None:
        """Let another process write. In a forked child, the parent keeps the lock."""
        lock, self._lock, self._leads = self._lock, None, False
        if lock is not None:
            os.close(lock)

    def _lead(self) -> bool:
        if self._leads:
            return True
        import fcntl  # only POSIX has it

        name = _lock_of(self.path)
        try:
            self._lock = open_lock(name)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        except OSError as error:
            self.close()
            raise SnapshotError(
                f"this process cannot write the snapshot {self.path}, because {name} cannot be locked "
                f"({error.strerror or error}): let this user write in that directory, on a file system with locks"
            ) from error
        self._leads = True
        return True

    def _state(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:  # it is missing, or its directory cannot be read
            return None
        return found.st_ino, found.st_mtime_ns
