"""`ConnectionPool`: SQLAlchemy's pool of connections, with a queue that no exception of a signal handler leaves locked.

The queue of `QueuePool` takes its lock in Python code. If a signal handler raises there, as Celery's soft time limit
does, the lock stays taken, and every other thread that needs a connection waits for ever.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.pool import QueuePool
from sqlalchemy.util import queue as queues

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["ConnectionPool"]

_Item = TypeVar("_Item", bound=Any)


class _Queue(queues.QueueCommon[_Item]):
    """A queue whose only lock is taken in C code."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        if use_lifo:
            raise ValueError("this pool gives back the connection that was unused for the longest time")
        self.maxsize, self.use_lifo = maxsize, use_lifo
        self._items: SimpleQueue[_Item] = SimpleQueue()

    def qsize(self) -> int:
        return self._items.qsize()

    def empty(self) -> bool:
        return self._items.empty()

    def full(self) -> bool:
        return 0 < self.maxsize <= self._items.qsize()

    def put(self, item: _Item, block: bool = True, timeout: float | None = None) -> None:
        # Nobody waits to give a connection back: what has no place is closed.
        if self.full():
            raise queues.Full
        self._items.put(item)

    def put_nowait(self, item: _Item) -> None:
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> _Item:
        try:
            return self._items.get(block, timeout)
        except Empty:
            raise queues.Empty from None

    def get_nowait(self) -> _Item:
        return self.get(block=False)


class ConnectionPool(QueuePool):
    """A `QueuePool` for threads that signal handlers may interrupt."""

    _queue_class: type[queues.QueueCommon[ConnectionPoolEntry]] = _Queue
