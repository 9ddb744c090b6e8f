"""Wrong credentials in the change log, so that a flood of them cannot fill it.

The first failure of a source is logged at once. Further ones are counted, and one row a minute has their number. A
source is an IPv4 address or the network of an IPv6 client. The rows for new sources are limited too; failures of
further sources are counted together. A thread writes the rows, so that no failed request waits for the store. The
thread exists only while there is something to write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cidrgate.errors import OutcomeUnknownError
from cidrgate.event_log import log_event
from cidrgate.gate.repeated_denials import RepeatedDenials
from cidrgate.process.forking import join_forks
from cidrgate.process.wakeups import WakeUp
from cidrgate.replica.follower import Complaint
from cidrgate.service.auth.rate_limit import client_of
from cidrgate.stores.waits import answer_by
from cidrgate.values import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cidrgate.gate.repeated_denials import Summary

__all__ = ["FailedSignInLog", "FailedSignIns"]

_MINUTE = 60.0

_MOST_SOURCES = 60
"""The most sources a minute that get rows of their own."""

_MOST_WAITING = 1_000
"""The most rows that wait for a store that does not answer; the oldest are dropped."""

_RETRY = 5.0
"""Seconds before another attempt to store rows."""

_FAREWELL = 2.0
"""Seconds that `close` waits for the last rows."""


@dataclass(frozen=True, slots=True)
class FailedSignIns:
    """A row about wrong credentials.

    Attributes:
        origin: From where they came; of several, that of the last. Without an address, they came from many sources.
        count: How many they were.
    """

    origin: Origin
    count: int

    def details(self) -> dict[str, Any]:
        """Return what the change log says of them besides their origin."""
        return {"count": self.count}


class FailedSignInLog:
    """Counts wrong credentials, and writes their numbers. Threads may share an instance.

    Args:
        write: Stores rows.

    Example:
        >>> rows: list[FailedSignIns] = []
        >>> log = FailedSignInLog(rows.extend)
        >>> for _ in range(1000):
        ...     log.add(Origin(kind="token", address="198.51.100.7"))
        >>> log.close()
        >>> [row.count for row in rows]
        [1, 999]
    """

    def __init__(self, write: Callable[[Sequence[FailedSignIns]], object]) -> None:
        self._write = write
        self.after_fork(certain=True)
        join_forks(self, stage=2)

    def before_fork(self) -> None:
        """Do nothing: the parent writes what it has counted."""

    def after_fork(self, *, certain: bool) -> None:
        """Begin anew in a forked child, which has no thread."""
        self._failures: RepeatedDenials[Origin] = RepeatedDenials(_MINUTE, most_lines=_MOST_SOURCES)
        self._waiting: deque[FailedSignIns] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()
        self._awake = WakeUp()
        self._closed = WakeUp()
        self._dropped = 0  # failures in rows that were dropped since the last line of the log about them
        self._writer: threading.Thread | None = None
        self._complaint = Complaint("task_failed", "failed sign-ins cannot be logged in the store, and are tried again")

    def add(self, origin: Origin) -> None:
        """Count a failure.

        Args:
            origin: The kind of the credential, and from where it came.
        """
        self._put(self._failures.add((origin.kind, client_of(origin.address)), origin))
        with self._lock:
            if not self._closed.is_set() and (self._writer is None or not self._writer.is_alive()):
                writer = threading.Thread(target=self._run, name="cidrgate-sign-ins", daemon=True)
                with suppress(RuntimeError):  # no thread is left: the next failure tries again
                    writer.start()
                    self._writer = writer
        if self._waiting:
            self._awake.set()

    def close(self) -> None:
        """Write what was counted, which takes some seconds at most; the log has the number of what is not written.

        Failures that come later are not logged. A second call does nothing.
        """
        end = time.monotonic() + _FAREWELL
        self._put(self._failures.flush())
        with self._lock:
            self._closed.set()
            writer = self._writer
        self._awake.set()
        if writer is not None and writer.is_alive():
            writer.join(_FAREWELL)
            if writer.is_alive():  # it continues, and the process may end before
                self._report(list(self._waiting), "the store has not answered yet")
                return
        if self._waiting:
            with answer_by(end):
                self._store()
        self._dropped += _failures_in(self._waiting)
        self._waiting.clear()
        self._report_dropped("the store did not take them before the process stopped")

    def _put(self, summaries: Iterable[Summary[Origin]]) -> None:
        for one in summaries:
            # Of failures of many sources, only the number is known.
            origin = Origin(kind="token") if one.record is None else one.record
            with self._lock:
                if len(self._waiting) == _MOST_WAITING:
                    self._dropped += self._waiting.popleft().count
                self._waiting.append(FailedSignIns(origin, max(one.count, 1)))

    def _run(self) -> None:
        while True:
            self._awake.clear()
            self._put(self._failures.due())
            stored = self._store()
            with self._lock:
                left = self._failures.seconds_left()
                ends = left is None or self._closed.is_set()
                if (ends and not self._waiting) or (self._closed.is_set() and not stored):
                    self._writer = None
                    return
            if not stored:
                self._closed.wait(_RETRY)  # no new failure ends this pause: a flood would not let the store recover
            elif not self._waiting:
                self._awake.wait(left)

    def _store(self) -> bool:
        """Store the rows that wait, and return whether none has to be tried again."""
        rows = list(self._waiting)
        if not rows:
            return True
        try:
            self._write(rows)
        except OutcomeUnknownError as error:
            # They are not stored again, because they may be stored already.
            self._report(rows, f"{error}")
        except Exception as error:  # noqa: BLE001 - without the thread, no later row would be stored
            self._complaint.say(error)
            return False
        else:
            self._complaint.withdraw()
            self._report_dropped("the store did not take them in time, and too many were waiting")
        for row in rows:
            if self._waiting and self._waiting[0] is row:  # it may have been dropped, to make room for a newer one
                self._waiting.popleft()
        return True

    def _report(self, rows: Sequence[FailedSignIns], why: str) -> None:
        """Log that some rows may be stored or not."""
        message = f"{_failures_in(rows)} failed sign-ins may be missing from the change log: {why}"
        log_event(logging.WARNING, "outcome_unknown", message)

    def _report_dropped(self, why: str) -> None:
        """Log how many failures are in no row, if there are any."""
        with self._lock:
            count, self._dropped = self._dropped, 0
        if count:
            log_event(logging.WARNING, "task_failed", f"{count} failed sign-ins are missing from the change log: {why}")


def _failures_in(rows: Iterable[FailedSignIns]) -> int:
    return sum(row.count for row in rows)
