"""`Recorder`: two threads of a manager. One collects what the engine noted and sums it up; one adds that to the store.

Requests never wait for them, and they never wait for requests. The thread that collects never waits for the store. If
they cannot keep up, notes are lost and counted, and the days of accounts to which they belong are marked in the store,
as far as it is known. A forked child begins with nothing: what was seen before the fork is stored by its parent.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cidrgate.errors import OutcomeUnknownError, StoreError
from cidrgate.event_log import log_event
from cidrgate.process.wakeups import WakeUp
from cidrgate.process.weak_sets import SharedWeakSet
from cidrgate.replica.follower import Complaint
from cidrgate.stores.waits import answer_by
from cidrgate.traffic.notes import ALLOWED, SUM, network_text, sums_of
from cidrgate.traffic.sums import MOST_SUMS, Sums
from cidrgate.values import Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

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

_TIDY_FOR = 20.0
"""The seconds after which no further transaction deletes such observations until the next time, as sums wait."""

_A_TRANSACTION = 2_000
"""How many observations one transaction stores or deletes, so that other writers can commit in between."""

_FAREWELL = 2.0
"""How many seconds the last sums have to be stored when the process ends."""

_JOIN = 5.0
"""The most seconds that `stop` waits for the threads, of which one may wait for a store that does not answer."""

_A_DAY = 86_400_000_000
"""The microseconds of a day."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).date()

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

    def days(self, start: int, end: int | None = None) -> set[tuple[str, date]]:
        """Return the accounts of some sums, with the days in UTC to which these belong."""
        some = self.sums[start:end]
        pairs = np.unique(np.stack([some["row"].astype("i8"), some["last"] // _A_DAY], axis=1), axis=0)
        return {(self.names[row], _day(number)) for row, number in pairs.tolist()}


class Recorder:
    """Records the traffic of a matcher until `stop` is called, or the owner of `write` is garbage-collected.

    Args:
        matcher: The matcher that decides about requests.
        write: A method that calls a function in a write transaction, and returns its result. The recorder holds only a
            weak reference to its owner.
        log_end: A method of the same owner that returns the sequence of the last row of the change log.
        settings: What is recorded.

    Raises:
        MissingExtraError: If the library for sketches is not installed.
        StoreError: If no thread can be started.
    """

    def __init__(self, matcher: Matcher, write: _Write, log_end: Callable[[], int], settings: Traffic) -> None:
        self._random = Random()  # noqa: S311 - not the module's generator, which a program may have seeded
        self._matcher = matcher
        self._settings = settings
        self._write = weakref.WeakMethod(write, self._orphaned)
        self._read_log_end = weakref.WeakMethod(log_end)
        self._not_collected = Complaint("task_failed", "traffic could not be collected, and is tried again")
        self._not_stored = Complaint("task_failed", "traffic could not be stored, and is tried again")
        self.counts = TrafficCounts()
        self.on_counts: Callable[[TrafficCounts], object] | None = None
        """Called with the numbers since the last call, after they changed."""
        self._told = TrafficCounts()
        self._begin()

    def _begin(self) -> None:
        """Start the threads, with nothing collected."""
        self._forget()
        # Ends of the change log, the last one and the one before: a rename after that may have given a name to another
        # account since it was read from the matcher. Until the log was read, every rename may have done so.
        self._log_ends: tuple[int | None, int | None] = (None, None)
        self._log_end: int | None = None
        self._lists = 0
        self._ended = WakeUp()
        self._due = WakeUp()  # that something has to be stored, or that the thread that collects has ended
        self._matcher._record_traffic(_CAPACITY if _has_gil() else _CAPACITY // 4)
        self._collector = threading.Thread(target=self._run_collector, name="cidrgate-traffic", daemon=True)
        self._storer = threading.Thread(target=self._run_storer, name="cidrgate-traffic-store", daemon=True)
        try:
            self._collector.start()
            self._storer.start()
        except RuntimeError as error:
            self._ended.set()
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
        self._incomplete: set[tuple[str, date]] = set()  # days of accounts that the store has to mark
        self._stored_days: set[date] = set()  # since surplus observations were deleted
        self._tidied: float | None = None  # when that was, as a `time.monotonic` time
        self._has_stored_last = False

    @property
    def is_alive(self) -> bool:
        """Whether the threads are running and not stopped."""
        return self._collector.is_alive() and self._storer.is_alive() and not self._ended.is_set()

    def stop(self) -> None:
        """Note nothing more, end the threads, and store what was collected, which takes some seconds at most.

        The log has the number of requests that are not stored then.
        """
        self._matcher._end_traffic()
        self._ended.set()
        threads = self._collector, self._storer
        if threading.current_thread() not in threads:
            last = time.monotonic() + _JOIN
            for thread in threads:
                thread.join(max(0.0, last - time.monotonic()))
            if self._storer.is_alive():  # it continues, and the process may end before
                self.report_left()
                _running.discard(self)
                return
        _running.discard(self)
        if not self._has_stored_last:
            self._store_last()

    def _store_last(self) -> None:
        """Store what was collected, and lose what the store does not take now."""
        self._has_stored_last = True
        with suppress(Exception):
            self._store_by(time.monotonic() + _FAREWELL)
        with self._collecting:
            left = sum(part.requests for part in self._parts)
            self._parts = []
            self.counts.lost += left
        if left:
            message = f"{left} requests are missing in the record of traffic: the store did not take them at the end"
            log_event(logging.WARNING, "task_failed", message)

    def _store_by(self, end: float) -> None:
        """Store what was collected, and delete what is too old if that was not done for long."""
        with answer_by(end):
            self.store()
            if self._tidied is None or end - self._tidied > _TIDY_EVERY:
                self.tidy(end)

    def flush(self) -> None:
        """Do what `stop` does, but go on recording: the process may end soon, without a call of `stop`.

        Raises:
            StoreError: If something cannot be stored.
        """
        if not self._ended.is_set():
            self._store_by(time.monotonic() + _FAREWELL)

    def report_left(self) -> None:
        """Log how many requests are not stored yet."""
        self.name_rows()
        with self._collecting:
            left = sum(part.requests for part in self._parts)
        if left:
            message = f"{left} requests may be missing in the record of traffic: the store has not answered yet"
            log_event(logging.WARNING, "outcome_unknown", message)

    def after_fork(self) -> None:
        """Begin again in a forked child, where the threads do not exist."""
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
        taken = self._sums.take()
        parts, requests, incomplete = self._parts, 0, self._incomplete
        if len(taken.sums) or taken.incomplete:
            of_days = np.array([row for row, _ in taken.incomplete], "i4")
            rows, places = np.unique(np.concatenate([taken.sums["row"], of_days]), return_inverse=True)
            found = self._matcher._names_of_rows(rows, self._lists)
            known = np.array([name is not None for name in found], bool)
            names = [name or "" for name in found]
            places, of_days = places[: len(taken.sums)], places[len(taken.sums) :]
            sums = taken.sums[known[places]]
            sums["row"] = places[known[places]]
            sums.sort(order=_ORDER)
            part = _Part(names, sums)
            parts, requests = [*parts, part], part.requests
            days = zip(of_days.tolist(), taken.incomplete, strict=True)
            incomplete = incomplete | {(names[place], _day(number)) for place, (_, number) in days if known[place]}
        # No call from here on: a signal handler may raise an exception after each.
        self._parts, self._incomplete = parts, incomplete
        self.counts.lost += self._unnamed - requests  # also what an exception of a handler made the sums lose
        self._unnamed = 0
        self._bound_parts()

    def _bound_parts(self) -> None:
        """Lose the oldest sums if the store has not taken any for long."""
        while sum(len(part.sums) - part.done for part in self._parts) > MOST_SUMS:
            oldest = int(self._parts[0] is self._in_work)
            if len(self._parts) <= oldest + 1:
                return
            part = self._parts[oldest]
            requests = part.requests
            self._miss(part.days(part.done))
            self._parts = self._parts[:oldest] + self._parts[oldest + 1 :]
            self.counts.lost += requests

    def _miss(self, days: Collection[tuple[str, date]]) -> None:
        """Remember days of accounts of which something is lost, the latest within a bound, until the store marks them.

        The caller holds `_collecting`.
        """
        missed = self._incomplete.union(days)
        if len(missed) > MOST_SUMS:
            missed = set(sorted(missed, key=lambda one: one[1])[-MOST_SUMS:])
        self._incomplete = missed

    def store(self) -> int:
        """Store what was collected, and return how many requests that were.

        Raises:
            StoreError: If it cannot be stored. The next call tries again.
        """
        stored = 0
        with self._storing:
            try:
                self.name_rows()
                self._log_end = None
                self._mark_days()
                while (part := self._next_part()) is not None:
                    stored += self._store_part(part)
                self._mark_days()
                end = self._end_of_log() if self._log_end is None else self._log_end
                self._log_ends = (self._log_ends[1], end)
            finally:
                self._in_work = None
                self._tell()
        return stored

    def _mark_days(self) -> None:
        """Mark the days of accounts of which something is lost, in the store. To mark a day twice is harmless."""
        while True:
            with self._collecting:
                some = list(islice(self._incomplete, _A_TRANSACTION))
            if not some:
                return
            self._written(partial(_mark_days, days=some))
            with self._collecting:
                self._incomplete = self._incomplete.difference(some)

    def _written(self, make: Callable[[Transaction], int]) -> int:
        """Return the result of a function that is called in a write transaction.

        Raises:
            StoreError: If it is not written, or the manager is gone.
        """
        write = self._write()
        if write is None:
            raise StoreError("the manager was closed")
        return write(make)

    def _end_of_log(self) -> int:
        """Return where the change log ends.

        Raises:
            StoreError: If the store cannot be read, or the manager is gone.
        """
        read = self._read_log_end()
        if read is None:
            raise StoreError("the manager was closed")
        return read()

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
            start, added, unknown = part.done, 0, None
            try:
                added = self._written(make)
            except OutcomeUnknownError as error:
                unknown = error
            except BaseException as error:
                if not isinstance(error, Exception):  # an interrupt, perhaps just after the commit
                    with self._collecting:
                        part.done = end
                        self.counts.lost += requests
                        self._miss(part.days(start, end))
                raise
            with self._collecting:  # no call between the commit and this
                part.done = end
                self.counts.stored += added
                self.counts.lost += requests - added
            stored += added
            self._stored_days.update(day for _, day in part.days(start, end))
            if unknown is not None:
                with self._collecting:
                    self._miss(part.days(start, end))
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
        renamed = renamed_since(transaction, before or 0)
        if left_out := {(one.account, one.last_seen.date()) for one in observed if one.account in renamed}:
            _mark_days(transaction, days=left_out)
        return add_observations(transaction, [one for one in observed if one.account not in renamed])

    def _remember_log_end(self) -> None:
        """Remember where the change log ends before anything is recorded."""
        end = self._end_of_log()
        self._log_ends = (end, end)

    def tidy(self, end: float | None = None) -> int:
        """Delete the observations that are too old or that accounts have too many of, and old marks of days.

        Args:
            end: The `time.monotonic` time after which the rest is left for the next time; None for that of some
                seconds, or the call of `stop`.

        Returns:
            How many observations and marks were deleted.

        Raises:
            StoreError: If they cannot be deleted.
        """
        until = time.monotonic() + _TIDY_FOR if end is None else end
        today, deleted = datetime.now(UTC).date(), 0
        first = _days_before(today, self._settings.days)
        # Days of which observations were stored late, after an outage, are trimmed too.
        stored_days = self._stored_days.copy()
        days = {today, today - timedelta(days=1), *(day for day in stored_days if day > first)}
        trims = [partial(self._trim, day=day) for day in sorted(days, reverse=True)]
        deletions: list[Callable[[Transaction], int]] = [self._delete_old, self._delete_old_marks, *trims]
        for delete in deletions:
            some = _A_TRANSACTION
            while some >= _A_TRANSACTION:
                if time.monotonic() >= until or (end is None and self._ended.is_set()):
                    return deleted
                some = self._written(delete)
                deleted += some
        self._stored_days -= stored_days
        self._tidied = time.monotonic()
        return deleted

    def _first_kept(self, transaction: Transaction) -> date:
        """Return the first day in UTC that is kept."""
        today = transaction.certain_time(datetime.now(UTC)).date()
        return _days_before(today, self._settings.days)

    def _delete_old(self, transaction: Transaction) -> int:
        from cidrgate.stores.observations import delete_observations

        return delete_observations(transaction, self._first_kept(transaction), _A_TRANSACTION)

    def _delete_old_marks(self, transaction: Transaction) -> int:
        from cidrgate.stores.incomplete_days import delete_incomplete_days

        return delete_incomplete_days(transaction, self._first_kept(transaction), _A_TRANSACTION)

    def _trim(self, transaction: Transaction, *, day: date) -> int:
        from cidrgate.stores.observations import trim_observations

        most = self._settings.most_allowed, self._settings.most_denied
        return trim_observations(transaction, day, *most, _A_TRANSACTION)

    def _run_collector(self) -> None:
        """Collect what the engine noted, and say when it has to be stored."""
        ended, due = self._ended, self._due
        due_at = time.monotonic() + self._with_jitter(_EVERY)
        pause = 1.0
        try:
            while not ended.wait(pause):
                pause = 1.0
                try:
                    noted = self.collect()
                    pause = next(seconds for least, seconds in _PAUSES if noted >= least)
                    now = time.monotonic()
                    if now >= due_at or self._sums.full:
                        due_at = now + self._with_jitter(_EVERY)
                        self.name_rows()
                        due.set()
                    self._not_collected.withdraw()
                except Exception as error:  # noqa: BLE001 - without the thread, nothing would be recorded any more
                    self._not_collected.say(error)
        finally:
            due.set()

    def _run_storer(self) -> None:
        """Store what was collected whenever it has to be, and delete old and surplus observations."""
        ended, due = self._ended, self._due
        with suppress(Exception):
            self._remember_log_end()
        tidy_at = time.monotonic() + self._with_jitter(_EVERY)
        while not ended.is_set():
            due.wait()
            due.clear()
            if ended.is_set():
                break
            try:
                self.store()
                self._not_stored.withdraw()
                if time.monotonic() >= tidy_at:
                    tidy_at = time.monotonic() + self._with_jitter(_TIDY_EVERY)
                    self.tidy()
            except Exception as error:  # noqa: BLE001 - without the thread, nothing would be stored any more
                if not ended.is_set():
                    self._not_stored.say(error)
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


def _mark_days(transaction: Transaction, *, days: Collection[tuple[str, date]]) -> int:
    from cidrgate.stores.incomplete_days import mark_incomplete_days

    mark_incomplete_days(transaction, days)
    return len(days)


def _days_before(today: date, days: int) -> date:
    """Return the day that is so many days earlier, or the first one of all."""
    return date.fromordinal(max(1, today.toordinal() - days))


def _day(number: int) -> date:
    """Return the day that is so many days after 1970-01-01."""
    return _EPOCH + timedelta(days=number)


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC) + timedelta(microseconds=microseconds % 1_000_000)


def _store_all() -> None:
    """Store what was collected when the process exits."""
    for recorder in list(_running):
        with suppress(Exception):
            recorder.stop()
