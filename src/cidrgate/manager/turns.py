"""Turns for what takes seconds: a few threads at a time do it, and everybody else keeps threads and connections.

A service answers in threads, and has a bounded number of connections. Without turns, questions of one account about its
past would take all of them.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cidrgate.errors import StoreBusyError
from cidrgate.process.forking import generation

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Turns"]

_WAIT = 0.25
"""How many seconds somebody waits for a turn. Whoever waits keeps a thread from everybody else."""

_LOOK = 0.005
"""Seconds between two looks at whether a turn is free."""


class Turns:
    """Lets a few threads at a time do something.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # By generation: threads that had turns before a fork are not in the child, nor is one that had the lock.
        self._generations: dict[int, tuple[threading.Lock, set[object]]] = {}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a turn.

        Raises:
            StoreBusyError: If all are taken.
        """
        # In one step, which is repeated if it was interrupted, and which gives all threads the same lock.
        lock, taken = self._generations.setdefault(generation(), (threading.Lock(), set()))
        turn = object()
        try:  # begun before the turn is taken: a signal handler may raise at any call
            self._take(lock, taken, turn)
            yield
        finally:
            taken.discard(turn)

    def _take(self, lock: threading.Lock, taken: set[object], turn: object) -> None:
        end = time.monotonic() + _WAIT
        while True:
            with lock:
                if len(taken) < self._most:
                    taken.add(turn)
                    return
            if time.monotonic() >= end:
                raise StoreBusyError(
                    f"the traffic of the past is being read for {self._most} other questions: ask again in a few "
                    "seconds"
                )
            time.sleep(_LOOK)
