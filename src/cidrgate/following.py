"""The thread that keeps a matcher equal to a store that others write too, and lets entries end in time.

It waits for the store's signal, and asks now and then without one, in case a signal was lost. While the store cannot be
reached the last known lists are served; the thread tries again with growing pauses, and catches up.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError

if TYPE_CHECKING:
    from cidrgate.publication import PublishedStore
    from cidrgate.stores import Store, Watch

__all__ = ["Follower"]

_log = logging.getLogger("cidrgate")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
"""Seconds before another attempt to reach the store, at first and at most; each pause is about twice the one before."""

_CHORES = 60.0
"""Seconds between two sweeps of expired entries, and what else can wait, more or less."""

_FAREWELL = 5.0
"""Seconds `stop` waits for the thread, which may itself be waiting for a network that is gone."""


class Follower:
    """Follows a store in a thread of its own, until it is stopped or what it follows is gone.

    Args:
        store: The store.
        published: What catches up with it; kept by others, and not kept alive from here.
        poll: Seconds between two looks at the log without a signal.
    """

    def __init__(self, store: Store, published: PublishedStore, *, poll: float) -> None:
        self._store = store
        self._published = weakref.ref(published, self._orphaned)
        self._poll = poll
        self._chores_at = time.monotonic() + _about(_CHORES)
        self._watch: Watch | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cidrgate-follower", daemon=True)
        published.on_other_end = published.on_behind = self.wake
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        published = self._published()
        if published is not None:
            published.on_behind = None
        self.wake()
        if self._thread is not threading.current_thread():
            self._thread.join(_FAREWELL)

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
            except Exception:  # noqa: BLE001
                # A thread that ended would leave the matcher old for ever and tell nobody.
                _log.exception("following the store failed; it is tried again")
                self._ended.wait(_LONGEST_PAUSE)

    def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ended.is_set():
            try:
                self._watch = self._store.watch()
                try:
                    self._look()  # at what was committed before the watch began
                    pause = _FIRST_PAUSE
                    while not self._ended.is_set():
                        self._watch.wait(self._until_next_task())
                        self._look()
                finally:
                    self._watch.close()
                    self._watch = None
            except StoreError as error:
                if not self._ended.is_set():
                    # As text: the error leads to what is followed, and a record that is kept would keep that too.
                    _log.warning("the store is not reached, the last known lists are served: %s", str(error))
            self._pause(_about(pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _look(self) -> None:
        published = self._published()
        if published is None or self._ended.is_set():
            return
        published.catch_up()
        published.expire()
        published.share()
        if time.monotonic() >= self._chores_at:
            self._chores_at = time.monotonic() + _about(_CHORES)
            published.chores()

    def _until_next_task(self) -> float:
        published = self._published()
        end = None if published is None else published.expire()
        return self._poll if end is None else max(0.0, min(self._poll, end))

    def _pause(self, seconds: float) -> None:
        """Wait, but let entries end in time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._ended.wait(min(left, self._until_next_task())):
                return


def _about(seconds: float) -> float:
    """A time near this, so that many nodes do not do the same thing at the same moment."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311
