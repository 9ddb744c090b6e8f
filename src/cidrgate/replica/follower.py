"""`Follower`: the threads that keep a matcher equal to a store with other writers, and remove expired entries on time.

One thread waits for a signal of the store, and also polls it, in case a signal was lost. While the store cannot be
reached, the last known lists are served, and the thread tries again with growing pauses until it catches up.

Whatever may wait has another thread, so that no revocation and no expiry waits for it: one removes expired entries and
looks at the age of the lists, and never touches the store; one writes and takes over snapshots; and one does the
housekeeping, which waits for locks. A task that fails is tried again with growing pauses, and no other waits for it.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
import weakref
from random import Random
from typing import TYPE_CHECKING, TypeVar

from cidrgate.errors import CidrgateError, StoreError, StoreOutgrownError
from cidrgate.event_log import event_name, log_event
from cidrgate.process.wakeups import WakeUp
from cidrgate.process.weak_sets import SharedWeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.event_log import Event
    from cidrgate.replica.published_store import PublishedStore
    from cidrgate.stores import Store, Watch

__all__ = ["Complaint", "Follower"]

_Done = TypeVar("_Done")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
"""Seconds before another attempt to reach the store, at first and at most. Each pause is about twice the last one."""

_HOUSEKEEPING_PAUSE = 60.0
"""The approximate seconds between two runs of housekeeping, such as a sweep of expired entries."""

_FIRST_RETRY, _LONGEST_RETRY = 0.5, 60.0
"""Seconds before another attempt at a task that failed, at first and at most."""

_EXPIRY_RETRY = 0.1
"""Seconds before another attempt to remove expired entries, which is late already."""

_FAREWELL = 5.0
"""Seconds that `stop` waits for the thread, which may be waiting for a lost network."""


_A_LITTLE = 0.001

_NOT_REACHED = "the store cannot be reached, the last known lists are served"
_NOT_EXPIRED = "expired entries could not be removed from the lists in memory"


class Complaint:
    """Logs why something does not work, once for each cause, until it works again.

    Args:
        event: The event that is logged when it fails.
        what: The message.
        ended: The event that is logged when it works again.
    """

    def __init__(self, event: Event, what: str, ended: Event = "works_again") -> None:
        self._event, self._what, self._ended = event, what, ended
        self._said: str | None = None
        self._since = 0.0

    def say(self, error: Exception) -> None:
        """Log an error, unless it has the same cause as the last one."""
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if cause == self._said:
            return
        if self._said is None:
            self._since = time.monotonic()
        self._said = cause
        if isinstance(error, (CidrgateError, OSError)):
            # As text: the error refers to the store, and a stored log record would keep the store alive.
            log_event(logging.WARNING, self._event, f"{self._what}: {str(error) or cause}")
        else:
            log_event(logging.ERROR, self._event, f"{self._what}: {cause}", exc_info=error)

    def withdraw(self) -> None:
        """Log that it works again, if it did not."""
        if self._said is not None:
            self._said = None
            after = time.monotonic() - self._since
            message = f"{self._what}: it works again, after {after:.1f} seconds"
            log_event(logging.INFO, self._ended, message, after=event_name(self._event), seconds=round(after, 3))


class _Task:
    """A task of a round, which fails independently of the other tasks.

    Args:
        event: The event that is logged when the task fails.
        what: The message when it fails.
        with_jitter: Returns a random time near its argument.
        every: The approximate seconds between two runs; 0 to run in each round.
    """

    def __init__(
        self,
        event: Event,
        what: str,
        with_jitter: Callable[[float], float],
        *,
        every: float = 0.0,
    ) -> None:
        self._with_jitter, self._every = with_jitter, every
        self._complaint = Complaint(event, what)
        self._retry = _FIRST_RETRY
        self._at = time.monotonic() + with_jitter(every) if every else 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds until the task can run."""
        return max(0.0, self._at - time.monotonic())

    def run(self, do: Callable[[], object]) -> None:
        """Do the task, unless it is too early."""
        if self.seconds_left > 0.0:
            return
        try:
            do()
        except Exception as error:  # noqa: BLE001 - after any error, the thread must continue
            self._at = time.monotonic() + self._with_jitter(self._retry)
            self._retry = min(2 * self._retry, _LONGEST_RETRY)
            self._complaint.say(error)
            return
        self._complaint.withdraw()
        self._retry = _FIRST_RETRY
        if self._every:
            self._at = time.monotonic() + self._with_jitter(self._every)


class _Age:
    """Logs when the lists become stale, and when they are current again."""

    def __init__(self) -> None:
        self.stale = False

    def look(self, published: PublishedStore) -> float:
        """Log a change of the state, if there is one.

        Returns:
            The seconds until the lists may become stale.
        """
        longest = published.stale_after
        if longest is None:
            return math.inf
        staleness = published.staleness
        if (staleness > longest) != self.stale:
            self.stale = not self.stale
            if self.stale:
                message = f"the store has not answered for {staleness:.1f} seconds: the lists may be out of date"
                log_event(logging.WARNING, "lists_stale", message, seconds=_seconds(staleness), allowed=longest)
            else:
                log_event(logging.INFO, "lists_current", "the lists equal the store again")
        return math.inf if self.stale else max(0.0, longest - staleness) + _A_LITTLE


class _Loop:
    """A thread that takes a step, waits until the next one or until it is woken, and so on.

    Args:
        name: The name of the thread.
        step: Does what is to do, and returns the seconds until the next step; None to end.
    """

    def __init__(self, name: str, step: Callable[[], float | None]) -> None:
        self._step = step
        self._failing = Complaint("task_failed", f"the thread {name} met a bug; it goes on")
        self._woken = WakeUp()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def wake(self) -> None:
        """Take the next step now."""
        self._woken.set()

    def leave_to_parent(self) -> None:
        """Use no event of the parent, and let the thread end if it has become the child's main thread."""
        self._woken = WakeUp()
        self._woken.set()

    def _run(self) -> None:
        while True:
            try:
                seconds = self._step()
            except Exception as error:  # noqa: BLE001 - as after an end of the thread, nothing would be done or said
                self._failing.say(error)
                seconds = _LONGEST_PAUSE
            else:
                self._failing.withdraw()
            if seconds is None:
                return
            self._woken.wait(seconds)
            self._woken.clear()


_running: SharedWeakSet[Follower] = SharedWeakSet()
"""The followers of this process, for its end."""


def _stop_all() -> None:
    """Stop every follower when the process exits: its threads must not use connections while they are closed."""
    followers = list(_running)
    for follower in followers:
        follower.end()
    last = time.monotonic() + _FAREWELL
    for follower in followers:
        follower.join(max(0.0, last - time.monotonic()))


class Follower:
    """Follows a store in threads of its own, until `stop` is called or `published` is garbage-collected.

    Args:
        store: The store.
        published: The published store that catches up with it. The follower holds only a weak reference to it.
        poll: Seconds between two reads of the log without a signal.

    Raises:
        StoreError: If a thread cannot be started.
    """

    def __init__(self, store: Store, published: PublishedStore, *, poll: float) -> None:
        # Not the module's generator: a program that seeds it expects the same numbers each time.
        self._random = Random()  # noqa: S311
        self._store = store
        self._published = weakref.ref(published, self._orphaned)
        self._poll = poll
        self._reaching = Complaint("store_lost", _NOT_REACHED, "store_back")
        self._outgrown = Complaint("store_outgrown", "the lists are no longer trusted")
        self._following = Complaint("follower_failed", "following the store failed; the follower tries again")
        self._expiring = Complaint("task_failed", _NOT_EXPIRED)
        self._writing = _Task("snapshot_failed", "the shared snapshot cannot be written", self._with_jitter)
        self._taking_over = _Task("snapshot_refused", "the new shared snapshot cannot be used", self._with_jitter)
        self._housekeeping = {
            name: _Task(
                "task_failed", f"the housekeeping task {name} failed", self._with_jitter, every=_HOUSEKEEPING_PAUSE
            )
            for name in published.housekeeping
        }
        self._age = _Age()
        self._reached = False
        self._watch: Watch | None = None
        self._ended = WakeUp()
        self._thread = threading.Thread(target=self._run, name="cidrgate-follower", daemon=True)
        self._expiry = _Loop("cidrgate-expiry", self._expire)
        self._snapshots = _Loop("cidrgate-snapshots", self._share)
        self._house = _Loop("cidrgate-housekeeping", self._keep_house)
        self._threads = [self._thread, self._expiry.thread]
        if published.shared is not None:
            self._threads.append(self._snapshots.thread)
        if self._housekeeping:
            self._threads.append(self._house.thread)
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError as error:
            self._ended.set()
            self.wake()
            raise StoreError(
                f"the store cannot be followed because no thread can be started ({error}): raise the limit on threads "
                "or memory for this process"
            ) from error
        published.on_next_expiry_changed, published.on_behind = self._expiry.wake, self._look_again
        _running.add(self)
        # What was registered last runs first: before the finalizers of stores, which close connections.
        atexit.unregister(_stop_all)
        atexit.register(_stop_all)

    def stop(self) -> None:
        """End the threads, and wait for their end for some seconds."""
        self.end()
        self.join(_FAREWELL)

    def end(self) -> None:
        """Let the threads end as soon as they can."""
        self._ended.set()
        published = self._published()
        if published is not None:
            published.on_behind = None
        self.wake()

    def join(self, timeout: float) -> None:
        """Wait for the end of the threads, for at most so many seconds."""
        last = time.monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, last - time.monotonic()))

    def leave_to_parent(self) -> None:
        """Stop all work in a forked child: the threads do not exist there, or one is now the child's main thread."""
        self._ended = WakeUp()  # another thread may have been using the old one
        self._ended.set()
        for loop in (self._expiry, self._snapshots, self._house):
            loop.leave_to_parent()
        self._watch = None
        _running.discard(self)

    @property
    def is_alive(self) -> bool:
        """Whether the threads are running and not stopped."""
        return all(thread.is_alive() for thread in self._threads) and not self._ended.is_set()

    def wake(self) -> None:
        """Make the threads check their tasks now."""
        self._look_again()
        for loop in (self._expiry, self._snapshots, self._house):
            loop.wake()

    def _look_again(self) -> None:
        watch = self._watch
        if watch is not None:
            watch.wake()

    def _orphaned(self, _published: object) -> None:
        self._ended.set()
        self.wake()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001
                # If the thread ended, the matcher would stay old permanently, and no log line would say so.
                self._following.say(error)
                self._ended.wait(_LONGEST_PAUSE)

    def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ended.is_set():
            try:
                watch = self._watch = self._store.watch()
                try:
                    self._look()  # reads what was committed before the watch began
                    pause = _FIRST_PAUSE
                    self._reached = True
                    self._house.wake()
                    self._reaching.withdraw()
                    self._outgrown.withdraw()
                    while not self._ended.is_set():
                        watch.wait(self._until_next_look())
                        self._look()
                finally:
                    self._reached = False
                    self._watch = None
                    watch.close()
            except StoreOutgrownError as error:
                self._outgrown.say(error)
            except StoreError as error:
                if not self._ended.is_set():
                    self._reaching.say(error)
            self._ended.wait(self._with_jitter(pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _look(self) -> None:
        published = self._published()
        if published is None or self._ended.is_set():
            return
        try:
            published.catch_up()
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - other lists were published, and their next changes must not wait
            self._following.say(error)
            self._ended.wait(_FIRST_RETRY)
        else:
            self._following.withdraw()
        if self._age.stale:
            self._expiry.wake()  # says that the lists are current again
        self._snapshots.wake()

    def _until_next_look(self) -> float:
        published = self._published()
        return 0.0 if published is not None and published.incomplete else self._poll

    def _expire(self) -> float | None:
        """Remove expired entries, and look at the age of the lists. This never waits for the store."""
        published = self._published()
        if published is None or self._ended.is_set():
            return None
        try:
            end = published.expire()
        except Exception as error:  # noqa: BLE001
            end = _EXPIRY_RETRY
            self._expiring.say(error)
        else:
            self._expiring.withdraw()
        if published.incomplete:
            self._look_again()
        # Not longer than the poll, so that a step of the clock is noticed.
        soonest = min(self._poll, self._age.look(published))
        return soonest if end is None else max(0.0, min(soonest, end))

    def _share(self) -> float | None:
        """Write the shared snapshot, or take it over."""
        published = self._published()
        if published is None or self._ended.is_set():
            return None
        if self._reached:
            self._writing.run(published.write_shared_snapshot)
            self._taking_over.run(published.take_over_shared_snapshot)
        return self._poll

    def _keep_house(self) -> float | None:
        for name, task in self._housekeeping.items():
            published = self._published()
            if published is None or self._ended.is_set():
                return None
            if not self._reached:  # the follower says so
                return self._poll
            task.run(published.housekeeping[name])
        return min(task.seconds_left for task in self._housekeeping.values())

    def _with_jitter(self, seconds: float) -> float:
        """Return a random time near this one, so that many nodes do not do the same work at the same moment."""
        return seconds * self._random.uniform(0.75, 1.25)


def _seconds(staleness: float) -> float | None:
    """Return a number of seconds for the log, or None for infinity, which JSON does not have."""
    return round(staleness, 3) if math.isfinite(staleness) else None
