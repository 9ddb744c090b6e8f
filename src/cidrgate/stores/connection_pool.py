"""`ConnectionPool`: SQLAlchemy's pool of connections, with a queue that no exception of a signal handler leaves locked.

The queue of `QueuePool` takes its lock in Python code. If a signal handler raises there, as Celery's soft time limit
does, the lock stays taken, and every other thread that needs a connection waits for ever.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.pool import QueuePool
from sqlalchemy.util import queue as queues

from cidrgate.process.wakeups import Waiter

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["ConnectionPool"]

_Item = TypeVar("_Item", bound=Any)

_LOOK = 1.0
"""Seconds between two looks of a waiting thread, in case that an interruption ended the thread that was to wake it."""


class _Queue(queues.QueueCommon[_Item]):
    """A queue without a lock: each step is one operation on a deque."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        if use_lifo:
            raise ValueError("this pool gives back the connection that was unused for the longest time")
        self.maxsize, self.use_lifo = maxsize, use_lifo
        self._items: deque[_Item] = deque()
        self._waiting: deque[Waiter] = deque()

    def qsize(self) -> int:
        return len(self._items)

    def empty(self) -> bool:
        return not self._items

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self._items)

    def put(self, item: _Item, block: bool = True, timeout: float | None = None) -> None:
        # Nobody waits to give a connection back: what has no place is closed.
        if self.full():
            raise queues.Full
        self._items.append(item)
        self._wake_one()

    def put_nowait(self, item: _Item) -> None:
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> _Item:
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            with suppress(IndexError):
                return self._items.popleft()
            left = end - time.monotonic()
            if not block or left <= 0:
                raise queues.Empty
            self._wait(min(left, _LOOK))

    def _wait(self, seconds: float) -> None:
        waiter = Waiter()
        try:
            self._waiting.append(waiter)
            if not self._items:
                waiter.wait(seconds)
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiter)
            if self._items:  # perhaps this thread was woken, and does not take what is there
                self._wake_one()

    def _wake_one(self) -> None:
        with suppress(IndexError):
            self._waiting.popleft().end()

    def get_nowait(self) -> _Item:
        return self.get(block=False)


class ConnectionPool(QueuePool):
    """A `QueuePool` for threads that signal handlers may interrupt."""

    __module__ = QueuePool.__module__  # SQLAlchemy names its logger by it, and that of cidrgate has other levels

    _queue_class: type[queues.QueueCommon[ConnectionPoolEntry]] = _Queue
