"""The thread that keeps a matcher equal to a store that others write too, and lets entries end in time.

It waits for the store's signal, and asks now and then without one, in case a signal was lost. While the store cannot be
reached the last known lists are served; the thread tries again with growing pauses, and catches up. What else it does
in a round, such as to write a snapshot, fails for itself: it is tried again with growing pauses, and nothing waits
for it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from random import Random
from typing import TYPE_CHECKING, TypeVar

from cidrgate.errors import CidrgateError, StoreError, StoreOutgrownError
from cidrgate.event_log import log_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.event_log import Event
    from cidrgate.replica.published_store import PublishedStore
    from cidrgate.stores import Store, Watch

__all__ = ["Follower"]

_Done = TypeVar("_Done")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
"""Seconds before another attempt to reach the store, at first and at most; each pause is about twice the one before."""

_HOUSEKEEPING_PAUSE = 60.0
"""Seconds between two sweeps of expired entries, and what else can wait, more or less."""

_FIRST_RETRY, _LONGEST_RETRY = 0.5, 60.0
"""Seconds before another attempt at what failed in a round."""

_FAREWELL = 5.0
"""Seconds `stop` waits for the thread, which may itself be waiting for a network that is gone."""


_A_LITTLE = 0.001

_NOT_REACHED = "the store is not reached, the last known lists are served"
_NOT_EXPIRED = "entries that have expired could not be taken out"


class _Complaint:
    """Says why something does not work: once for each cause, until it works again.

    Args:
        event: What it is called in the log.
        what: What to say of it.
        ended: What it is called in the log that it works again.
    """

    def __init__(self, event: Event, what: str, ended: Event = "works_again") -> None:
        self._event, self._what, self._ended = event, what, ended
        self._said: str | None = None
        self._since = 0.0

    def say(self, error: Exception) -> None:
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if cause == self._said:
            return
        if self._said is None:
            self._since = time.monotonic()
        self._said = cause
        if isinstance(error, (CidrgateError, OSError)):
            # As text: the error leads to what is followed, and a record that is kept would keep that too.
            log_event(logging.WARNING, self._event, f"{self._what}: {str(error) or cause}")
        else:
            log_event(logging.ERROR, self._event, f"{self._what}: {cause}", exc_info=error)

    def withdraw(self) -> None:
        if self._said is not None:
            self._said = None
            after = time.monotonic() - self._since
            message = f"{self._what}: it works again, after {after:.1f} seconds"
            log_event(logging.INFO, self._ended, message, after=self._event, seconds=round(after, 3))


class _Task:
    """A part of a round that may fail by itself.

    Args:
        event: What it is called in the log that it failed.
        what: What to say when it fails.
        about: Gives a time near another one.
        every: About how many seconds lie between two times; 0 for each round.
        pauses: Whether it pauses after it failed; not what must be done in time.
    """

    def __init__(
        self,
        event: Event,
        what: str,
        about: Callable[[float], float],
        *,
        every: float = 0.0,
        pauses: bool = True,
    ) -> None:
        self._about, self._every, self._pauses = about, every, pauses
        self._complaint = _Complaint(event, what)
        self._retry = _FIRST_RETRY
        self._at = time.monotonic() + about(every) if every else 0.0

    def run(self, do: Callable[[], _Done]) -> _Done | None:
        if time.monotonic() < self._at:
            return None
        try:
            done = do()
        except Exception as error:  # noqa: BLE001 - whatever it is, the matcher has to be kept equal to the store
            if self._pauses:
                self._at = time.monotonic() + self._about(self._retry)
                self._retry = min(2 * self._retry, _LONGEST_RETRY)
            self._complaint.say(error)
            return None
        self._complaint.withdraw()
        self._retry = _FIRST_RETRY
        if self._every:
            self._at = time.monotonic() + self._about(self._every)
        return done


class _Age:
    """Says when lists have become too old to be trusted, and when they are current again."""

    def __init__(self) -> None:
        self._stale = False

    def look(self, published: PublishedStore) -> float:
        """Say so if it is so.

        Returns:
            Seconds until it may have to be said.
        """
        longest = published.stale_after
        if longest is None:
            return math.inf
        staleness = published.staleness
        if (staleness > longest) != self._stale:
            self._stale = not self._stale
            if self._stale:
                message = f"the store has told nothing for {staleness:.1f} seconds: the lists may be out of date"
                log_event(logging.WARNING, "lists_stale", message, seconds=_seconds(staleness), allowed=longest)
            else:
                log_event(logging.INFO, "lists_current", "the lists equal the store again")
        return math.inf if self._stale else max(0.0, longest - staleness) + _A_LITTLE


class Follower:
    """Follows a store in a thread of its own, until it is stopped or what it follows is gone.

    Args:
        store: The store.
        published: What catches up with it; kept by others, and not kept alive from here.
        poll: Seconds between two looks at the log without a signal.

    Raises:
        StoreError: If no thread can be started.
    """

    def __init__(self, store: Store, published: PublishedStore, *, poll: float) -> None:
        # Its own, as whoever seeds the generator of the module wants the same numbers each time.
        self._random = Random()  # noqa: S311
        self._store = store
        self._published = weakref.ref(published, self._orphaned)
        self._poll = poll
        self._reaching = _Complaint("store_lost", _NOT_REACHED, "store_back")
        self._outgrown = _Complaint("store_outgrown", "the lists are not trusted any more")
        self._following = _Complaint("follower_failed", "following the store failed; it is tried again")
        self._expiry = _Task("task_failed", _NOT_EXPIRED, self._about, pauses=False)
        self._writing = _Task("snapshot_failed", "the shared snapshot is not written", self._about)
        self._taking_over = _Task("snapshot_refused", "the shared snapshot is not taken over", self._about)
        self._housekeeping = {
            name: _Task(
                "task_failed", f"what is done now and then failed ({name})", self._about, every=_HOUSEKEEPING_PAUSE
            )
            for name in published.housekeeping
        }
        self._age = _Age()
        self._watch: Watch | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cidrgate-follower", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise StoreError(
                f"the store cannot be followed, as no thread can be started ({error}): raise the limit on threads or "
                "memory for this process"
            ) from error
        published.on_next_expiry_changed = published.on_behind = self.wake

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        published = self._published()
        if published is not None:
            published.on_behind = None
        self.wake()
        if self._thread is not threading.current_thread():
            self._thread.join(_FAREWELL)

    def leave_to_parent(self) -> None:
        """Do nothing any more, in a forked child: the thread did not come along, or has become the child itself."""
        self._ended = threading.Event()  # another thread may have been using the old one
        self._ended.set()
        self._watch = None

    @property
    def is_alive(self) -> bool:
        """Whether the thread does its work."""
        return self._thread.is_alive() and not self._ended.is_set()

    def wake(self) -> None:
        """Make the thread look at its tasks now."""
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
                # A thread that ended would leave the matcher old for ever and tell nobody.
                self._following.say(error)
                self._pause(_LONGEST_PAUSE)

    def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ended.is_set():
            try:
                watch = self._watch = self._store.watch()
                try:
                    self._look()  # at what was committed before the watch began
                    pause = _FIRST_PAUSE
                    self._reaching.withdraw()
                    self._outgrown.withdraw()
                    self._following.withdraw()
                    while not self._ended.is_set():
                        watch.wait(self._until_next_task())
                        self._look()
                finally:
                    self._watch = None
                    watch.close()
            except StoreOutgrownError as error:
                self._outgrown.say(error)
            except StoreError as error:
                if not self._ended.is_set():
                    self._reaching.say(error)
            self._pause(self._about(pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _look(self) -> None:
        published = self._published()
        if published is None or self._ended.is_set():
            return
        published.catch_up()
        self._age.look(published)
        self._expiry.run(published.expire)
        self._writing.run(published.write_shared_snapshot)
        self._taking_over.run(published.take_over_shared_snapshot)
        for name, task in self._housekeeping.items():
            task.run(published.housekeeping[name])

    def _until_next_task(self) -> float:
        published = self._published()
        if published is None:
            return self._poll
        end = self._expiry.run(published.expire)
        if published.incomplete:
            return 0.0
        return self._poll if end is None else max(0.0, min(self._poll, end))

    def _pause(self, seconds: float) -> None:
        """Wait, but let entries end in time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            published = self._published()
            end = None if published is None else self._expiry.run(published.expire)
            left = left if published is None else min(left, self._age.look(published))
            del published
            if self._ended.wait(left if end is None else max(0.0, min(left, end))):
                return

    def _about(self, seconds: float) -> float:
        """A time near this, so that many nodes do not do the same thing at the same moment."""
        return seconds * self._random.uniform(0.75, 1.25)


def _seconds(staleness: float) -> float | None:
    """A time for the log; JSON has no infinity."""
    return round(staleness, 3) if math.isfinite(staleness) else None
