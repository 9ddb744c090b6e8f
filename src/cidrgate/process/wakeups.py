"""Events for threads that a signal handler may interrupt: such an exception never leaves an event locked.

`threading.Event` takes its lock in Python code. If a signal handler raises an exception there, as Celery's soft time
limit does, the lock stays taken, and every other thread that sets the event or waits for it waits for ever. The queue
without such a lock, `queue.SimpleQueue`, may wait for ever if a signal comes as its timeout ends (CPython 3.11).
"""

from __future__ import annotations

import time
from _thread import LockType, allocate_lock
from contextlib import suppress

__all__ = ["WakeUp", "Waiter"]

_LOOK = 1.0
"""Seconds between two looks of a waiting thread, in case that `set` was interrupted before it woke this thread."""


class Waiter:
    """A wait of one thread, which another thread ends."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock: LockType = allocate_lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> bool:
        """Wait for at most some seconds, and return whether the wait was ended."""
        return self._lock.acquire(timeout=max(0.0, seconds))

    def end(self) -> None:
        """End the wait, or the next one. This can be repeated."""
        with suppress(RuntimeError):  # it was ended already
            self._lock.release()


class WakeUp:
    """An event with the methods of `threading.Event`.

    Example:
        >>> event = WakeUp()
        >>> event.wait(0.001)
        False
        >>> event.set()
        >>> event.wait()
        True
    """

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: set[Waiter] = set()

    def is_set(self) -> bool:
        """Return whether the event is set."""
        return self._is_set

    def set(self) -> None:
        """Set the event, and wake the threads that wait for it."""
        self._is_set = True
        for waiter in self._waiting.copy():
            waiter.end()

    def clear(self) -> None:
        """Let later calls of `wait` wait again."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set.

        Args:
            timeout: The largest number of seconds to wait; None waits without a limit.

        Returns:
            Whether the event was set.
        """
        if self._is_set:
            return True
        end = None if timeout is None else time.monotonic() + timeout
        waiter = Waiter()
        try:
            self._waiting.add(waiter)
            while not self._is_set:
                left = _LOOK if end is None else min(_LOOK, end - time.monotonic())
                if left <= 0:
                    return False
                if waiter.wait(left):
                    return True
        finally:
            self._waiting.discard(waiter)
        return True
