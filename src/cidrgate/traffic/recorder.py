"""`Recorder`: the thread of a manager that collects what the engine noted, sums it up and adds it to the store.

Requests never wait for it, and it never waits for them. If it cannot keep up, notes are lost and counted. A forked
child begins with nothing: what was seen before the fork is stored by its parent.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cidrgate.errors import OutcomeUnknownError, StoreError
from cidrgate.event_log import log_event
from cidrgate.process.clock import certain_time, earlier_by_far
from cidrgate.process.wakeups import WakeUp
from cidrgate.process.weak_sets import SharedWeakSet
from cidrgate.replica.follower import Complaint
from cidrgate.stores.waits import answer_by
from cidrgate.traffic.notes import ALLOWED, SUM, network_text, sums_of
from cidrgate.traffic.sums import MOST_SUMS, Sums
from cidrgate.values import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cidrgate._engine import Matcher
    from cidrgate.stores import Transaction
    from cidrgate.traffic.settings import Traffic

__all__ = ["Recorder", "TrafficCounts"]

_CAPACITY = 65_536
"""How many notes are in the engine's ring at most: 1.5 MB."""

_PAUSES = ((_CAPACITY // 4, 0.02), (_CAPACITY // 16, 0.1), (0, 1.0))
"""The seconds between two collections, if the last one found more notes than that."""

_EVERY = 60.0
"""The approximate seconds between two times at which sums are stored."""

_TIDY_EVERY = 3600.0
"""The approximate seconds between two times at which old and surplus observations are deleted."""

_A_TRANSACTION = 2_000
"""How many observations one transaction stores or deletes, so that other writers can commit in between."""

_FAREWELL = 2.0
"""How many seconds the last sums have to be stored when the process ends."""

_JOIN = 5.0
"""The most seconds that `stop` waits for the thread, which may be writing to a store that does not answer."""

_ORDER = ["row", "flags", "hi", "lo"]
"""The order of sums that are stored: few transactions are about the same account."""

_running: SharedWeakSet[Recorder] = SharedWeakSet()
"""The recorders of this process, for its end."""


class _Write(Protocol):
    def __call__(self, make: Callable[[Transaction], int], /) -> int: ...


@dataclass(slots=True)
class TrafficCounts:
    """How many requests were recorded by this process since it began.

    Attributes:
        noted: Requests that the engine noted and the recorder collected.
        lost: Requests that were decided and are in no observation: notes for which a ring was full, or which a bound
            did not keep, and requests of accounts that were deleted or renamed meanwhile; and requests whose commit has
            an unknown outcome, which may be stored.
        stored: Requests in observations that were stored.
    """

    noted: int = 0
    lost: int = 0
    stored: int = 0


@dataclass(slots=True)
class _Part:
    """Sums whose rows are numbers in a list of names.

    Attributes:
        done: How many of the sums, from the first, are settled: stored, or given up.
    """

    names: list[str]
    sums: NDArray[Any]
    done: int = 0

    @property
    def requests(self) -> int:
        """The requests in sums that are not settled."""
        return int(self.sums["requests"][self.done :].sum())


class Recorder:
    """Records the traffic of a matcher until `stop` is called, or the owner of `write` is garbage-collected.

    Args:
        matcher: The matcher that decides about requests.
        write: A method that calls a function in a write transaction, and returns its result. The recorder holds only a
            weak reference to its owner.
        settings: What is recorded.

    Raises:
        MissingExtraError: If the library for sketches is not installed.
        StoreError: If no thread can be started.
    """

    def __init__(self, matcher: Matcher, write: _Write, settings: Traffic) -> None:
        self._random = Random()  # noqa: S311 - not the module's generator, which a program may have seeded
        self._matcher = matcher
        self._settings = settings
        self._write = weakref.WeakMethod(write, self._orphaned)
        self._complaint = Complaint("task_failed", "traffic could not be stored, and is tried again")
        self.counts = TrafficCounts()
        self.on_counts: Callable[[TrafficCounts], object] | None = None
        """Called with the numbers since the last call, after they changed."""
        self._told = TrafficCounts()
        self._begin()

    def _begin(self) -> None:
        """Start the thread, with nothing collected."""
        self._forget()
        # Ends of the change log, the last one and the one before: a rename after that may have given a name to another
        # account since it was read from the matcher.
        self._log_ends: tuple[int | None, int | None] = (None, None)
        self._log_end: int | None = None
        self._lists = 0
        self._ended = WakeUp()
        self._matcher._record_traffic(_CAPACITY if _has_gil() else _CAPACITY // 4)
        self._thread = threading.Thread(target=self._run, name="cidrgate-traffic", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._matcher._end_traffic()
            raise StoreError(
                f"traffic cannot be recorded because no thread can be started ({error}): raise the limit on threads or "
                "memory for this process"
            ) from error
        _running.add(self)
        # What was registered last runs first: before the finalizers of stores, which close connections.
        atexit.unregister(_store_all)
        atexit.register(_store_all)

    def _forget(self) -> None:
        """Begin with nothing collected, in a process where no other thread uses this object."""
        self._collecting = threading.Lock()  # also for `counts`, and for which parts there are
        self._storing = threading.Lock()  # taken before the other
        self._sums = Sums(self._settings)
        self._unnamed = 0  # the requests in these sums
        self._parts: list[_Part] = []
        self._in_work: _Part | None = None  # the part that is being stored
        self._has_stored_last = False

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running and not stopped."""
        return self._thread.is_alive() and not self._ended.is_set()

    def stop(self) -> None:
        """Note nothing more, end the thread, and store what was collected, which takes some seconds at most.

        The log has the number of requests that are not stored then.
        """
        self._matcher._end_traffic()
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN)
            if self._thread.is_alive():  # it continues, and the process may end before
                self._report_left()
                _running.discard(self)
                return
        _running.discard(self)
        if not self._has_stored_last:
            self._store_last()

    def _store_last(self) -> None:
        """Store what was collected, and lose what the store does not take now."""
        self._has_stored_last = True
        with suppress(Exception), answer_by(time.monotonic() + _FAREWELL):
            self.store()
        with self._collecting:
            left = sum(part.requests for part in self._parts)
            self._parts = []
            self.counts.lost += left
        if left:
            message = f"{left} requests are missing in the record of traffic: the store did not take them at the end"
            log_event(logging.WARNING, "task_failed", message)

    def _report_left(self) -> None:
        """Log how many requests are not stored yet."""
        self.name_rows()
        with self._collecting:
            left = sum(part.requests for part in self._parts)
        if left:
            message = f"{left} requests may be missing in the record of traffic: the store has not answered yet"
            log_event(logging.WARNING, "outcome_unknown", message)

    def after_fork(self) -> None:
        """Begin again in a forked child, where the thread does not exist."""
        # Without the hooks of the engine, the parent's notes are still in the rings of the child.
        self._matcher._collect_traffic()
        self.counts, self._told = TrafficCounts(), TrafficCounts()
        if self._ended.is_set():
            self._forget()  # the parent stores it
        else:
            self._begin()

    def collect(self) -> int:
        """Collect what the engine noted, and return how many notes that were."""
        with self._collecting:
            return self._collect()

    def _collect(self) -> int:
        notes, lost, self._lists = self._matcher._collect_traffic()
        sums = sums_of(notes, time.time_ns() // 1000, self._settings)
        noted = int(sums["requests"].sum())
        self.counts.noted += noted
        self.counts.lost += lost
        self._unnamed += noted
        self._sums.add(sums)
        return noted

    def name_rows(self) -> None:
        """Name the accounts of what was collected, before the row numbers become invalid."""
        with self._collecting:
            self._collect()
            self._name_rows()

    def _name_rows(self) -> None:
        taken = self._sums.take().sums
        if len(taken):
            rows, places = np.unique(taken["row"], return_inverse=True)
            found = self._matcher._names_of_rows(rows, self._lists)
            known = np.array([name is not None for name in found], bool)
            sums = taken[known[places]]
            sums["row"] = places[known[places]]
            sums.sort(order=_ORDER)
            part = _Part([name or "" for name in found], sums)
            parts, requests = [*self._parts, part], part.requests
        else:
            parts, requests = self._parts, 0
        # No call from here on: a signal handler may raise an exception after each.
        self._parts = parts
        self.counts.lost += self._unnamed - requests  # also what an exception of a handler made the sums lose
        self._unnamed = 0
        self._bound_parts()

    def _bound_parts(self) -> None:
        """Lose the oldest sums if the store has not taken any for long."""
        while sum(len(part.sums) - part.done for part in self._parts) > MOST_SUMS:
            oldest = int(self._parts[0] is self._in_work)
            if len(self._parts) <= oldest + 1:
                return
            requests = self._parts[oldest].requests
            self._parts = self._parts[:oldest] + self._parts[oldest + 1 :]
            self.counts.lost += requests

    def store(self) -> int:
        """Store what was collected, and return how many requests that were.

        Raises:
            StoreError: If it cannot be stored. The next call tries again.
        """
        stored = 0
        with self._storing:
            try:
                self.name_rows()
                while (part := self._next_part()) is not None:
                    stored += self._store_part(part)
                self._log_ends = (self._log_ends[1], self._log_end)
            finally:
                self._in_work = None
                self._tell()
        return stored

    def _next_part(self) -> _Part | None:
        """Return the oldest part with sums that are not settled."""
        with self._collecting:
            self._parts = [part for part in self._parts if part.done < len(part.sums)]
            self._in_work = self._parts[0] if self._parts else None
            return self._in_work

    def _store_part(self, part: _Part) -> int:
        """Store sums in parts. What cannot be stored is kept for the next time, unless it may be stored already."""
        stored = 0
        while part.done < len(part.sums):
            end = part.done + _A_TRANSACTION
            some = part.sums[part.done : end]
            requests = int(some["requests"].sum())
            make = partial(self._add, observed=self._observations(part.names, some))
            write = self._write()
            added, unknown = 0, None
            try:
                if write is None:
                    raise StoreError("the manager was closed")
                added = write(make)
            except OutcomeUnknownError as error:
                unknown = error
            except BaseException as error:
                if not isinstance(error, Exception):  # an interrupt, perhaps just after the commit
                    with self._collecting:
                        part.done = end
                        self.counts.lost += requests
                raise
            finally:
                del write
            with self._collecting:  # no call between the commit and this
                part.done = end
                self.counts.stored += added
                self.counts.lost += requests - added
            stored += added
            if unknown is not None:
                message = f"{requests} requests may be missing in the record of traffic: {unknown}"
                log_event(logging.WARNING, "outcome_unknown", message)
        return stored

    def _observations(self, names: Sequence[str], sums: NDArray[Any]) -> list[Observation]:
        columns = [sums[name].tolist() for name in SUM.names or ()]
        return [
            Observation(
                account=names[row],
                network=network_text(hi, lo, flags, self._settings),
                allowed=bool(flags & ALLOWED),
                requests=requests,
                first_seen=_time(first),
                last_seen=_time(last),
            )
            for hi, lo, row, flags, requests, first, last in zip(*columns, strict=True)
        ]

    def _add(self, transaction: Transaction, *, observed: list[Observation]) -> int:
        """Add observations, except those of a name that another account may have got meanwhile."""
        from cidrgate.stores.observations import add_observations, renamed_since  # they need SQLAlchemy

        before, _ = self._log_ends
        self._log_end = transaction.log_end()
        renamed = set() if before is None else renamed_since(transaction, before)
        return add_observations(transaction, [one for one in observed if one.account not in renamed])

    def _remember_log_end(self) -> None:
        """Remember where the change log ends before anything is recorded."""
        write = self._write()
        if write is not None:
            self._log_end = write(_log_end)
            self._log_ends = (self._log_end, self._log_end)

    def tidy(self) -> int:
        """Delete the observations that are too old or that accounts have too many of, and return how many.

        Raises:
            StoreError: If they cannot be deleted.
        """
        deleted = 0
        for delete in (self._delete_old, partial(self._trim, days=0), partial(self._trim, days=1)):
            while (write := self._write()) is not None:
                some = write(delete)
                del write
                deleted += some
                if some < _A_TRANSACTION or self._ended.is_set():
                    break
        return deleted

    def _delete_old(self, transaction: Transaction) -> int:
        from cidrgate.stores.observations import delete_observations

        today = earlier_by_far(certain_time(datetime.now(UTC)), transaction.clock()).date()
        return delete_observations(transaction, today - timedelta(days=self._settings.days), _A_TRANSACTION)

    def _trim(self, transaction: Transaction, *, days: int) -> int:
        from cidrgate.stores.observations import trim_observations

        day = datetime.now(UTC).date() - timedelta(days=days)
        most = self._settings.most_allowed, self._settings.most_denied
        return trim_observations(transaction, day, *most, _A_TRANSACTION)

    def _run(self) -> None:
        ended = self._ended
        with suppress(Exception):
            self._remember_log_end()
        store_at = time.monotonic() + self._with_jitter(_EVERY)
        tidy_at = time.monotonic() + self._with_jitter(_EVERY)
        pause = 1.0
        while not ended.wait(pause):
            try:
                noted = self.collect()
                pause = next(seconds for least, seconds in _PAUSES if noted >= least)
                now = time.monotonic()
                if now >= store_at or self._sums.full:
                    store_at = now + self._with_jitter(_EVERY)
                    self.store()
                    self._complaint.withdraw()
                if now >= tidy_at:
                    tidy_at = now + self._with_jitter(_TIDY_EVERY)
                    self.tidy()
            except Exception as error:  # noqa: BLE001 - without the thread, nothing would be recorded any more
                if not ended.is_set():
                    self._complaint.say(error)
                    pause = 1.0
        self._store_last()

    def _tell(self) -> None:
        """Report what was counted since the last time."""
        if self.on_counts is None:
            return
        with self._collecting:
            now = TrafficCounts(self.counts.noted, self.counts.lost, self.counts.stored)
        before, self._told = self._told, now
        self.on_counts(TrafficCounts(now.noted - before.noted, now.lost - before.lost, now.stored - before.stored))

    def _orphaned(self, _method: object) -> None:
        self._matcher._end_traffic()
        self._ended.set()

    def _with_jitter(self, seconds: float) -> float:
        """Return a random time near this one, so that many nodes do not write at the same moment."""
        return seconds * self._random.uniform(0.75, 1.25)


def _has_gil() -> bool:
    import sys

    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _log_end(transaction: Transaction) -> int:
    return transaction.log_end()


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC) + timedelta(microseconds=microseconds % 1_000_000)


def _store_all() -> None:
    """Store what was collected when the process exits."""
    for recorder in list(_running):
        with suppress(Exception):
            recorder.stop()
