"""A matcher in a file with its place in the change log: a start without reading the store, and pages workers share.

The engine writes and checks the file (`Matcher.save`, `Matcher.open`); here is what the note in it says, and who of
several processes on a host writes it anew.
"""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from pathlib import Path

from cidrgate._engine import Matcher
from cidrgate.errors import SnapshotError
from cidrgate.process.private_files import open_lock
from cidrgate.replica.expiry import Timetable

__all__ = ["SharedSnapshot", "read_snapshot", "write_snapshot"]

_CONTENT = 2
"""What a snapshot holds, in its note: from 2 on, every account of the store. Before, the note said nothing of it, and
accounts without entries were left out, which a gate would take for unknown."""


def write_snapshot(path: Path, matcher: Matcher, timetable: Timetable, position: str) -> None:
    """Write a matcher with the position in the log at which it equals the store.

    Args:
        path: The file; it is replaced in one step.
        matcher: The matcher.
        timetable: When its entries end by themselves.
        position: What `Transaction.position` said.

    Raises:
        OSError: If the file cannot be written.
    """
    ends = {
        account: {cidr: end.isoformat() for cidr, end in ends.items()} for account, ends in timetable.ends().items()
    }
    matcher.save(path, note=json.dumps({"content": _CONTENT, "position": position, "ends": ends}).encode())


def read_snapshot(path: Path) -> tuple[Matcher, Timetable, str]:
    """The matcher, the timetable and the position that `write_snapshot` wrote.

    Raises:
        SnapshotError: If the file is no such snapshot, damaged, or holds other accounts than it should.
        OSError: If it cannot be read.
    """
    matcher = Matcher.open(path)
    timetable = Timetable()
    try:
        note = json.loads(matcher.note)
        position, content = str(note["position"]), note.get("content")
        for account, ends in note["ends"].items():
            timetable.put(account, {cidr: datetime.fromisoformat(end) for cidr, end in ends.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotError(
            f"{path} says nothing about its place in a change log: write it with `cidrgate compile`"
        ) from error
    if content != _CONTENT:
        raise SnapshotError(
            f"{path} was written by another version of cidrgate, and may lack accounts without entries: "
            "write it again with `cidrgate compile`"
        )
    return matcher, timetable, position


class SharedSnapshot:
    """A snapshot that the processes of one host share: one of them writes it anew, the others take it over.

    Which one writes is settled by a lock on a file beside it; when that process ends, another one gets it.

    Args:
        path: The file.
        every: Seconds between two writings; None never to write.
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
        """Whether it is this process that writes the file."""
        return self._leads

    @property
    def age(self) -> float:
        """Seconds since the file was written; infinite if it is not there."""
        try:
            return max(0.0, time.time() - self.path.stat().st_mtime)
        except OSError:
            return float("inf")

    def should_write(self, position: str) -> bool:
        """Whether it is this process's turn to write, and time, and something has changed.

        Raises:
            SnapshotError: If nobody can tell whose turn it is.
        """
        if self._every is None or position == self._written_position or time.monotonic() < self._write_at:
            return False
        return self._lead()

    def written(self, position: str) -> None:
        """Note that the file was written."""
        self._seen = self._state()
        self._written_position = position
        self._write_at = time.monotonic() + (self._every or 0.0)

    def news(self) -> tuple[int, int] | None:
        """Which file there is, if it is another one than was written or taken over the last time."""
        state = self._state()
        if state is None:
            self._seen = None
        return None if state == self._seen else state

    def taken_over(self, state: tuple[int, int]) -> None:
        """Note that what `news` said is known now."""
        self._seen = state

    def close(self) -> None:
        """Leave the writing to others; in a forked child, to the parent, which keeps the lock."""
        lock, self._lock, self._leads = self._lock, None, False
        if lock is not None:
            os.close(lock)

    def _lead(self) -> bool:
        if self._leads:
            return True
        import fcntl  # which only POSIX has

        name = f"{self.path}.lock"
        try:
            self._lock = open_lock(Path(name))
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        except OSError as error:
            self.close()
            raise SnapshotError(
                f"whose turn it is to write the snapshot {self.path} cannot be told, as {name} cannot be locked "
                f"({error.strerror or error}): let this user write in that directory, on a file system with locks"
            ) from error
        self._leads = True
        return True

    def _state(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:  # it is not there, or where it is cannot be looked at
            return None
        return found.st_ino, found.st_mtime_ns
