"""`ConnectionPool`: SQLAlchemy's pool of connections, for threads in which signal handlers raise exceptions.

Celery's soft time limit is such an exception. It may come at any call in the main thread, and does two things to
`QueuePool`. The lock of its queue is taken in Python code and stays taken, so every other thread that needs a
connection waits for ever. And an entry of the pool that is on its way from the queue to a transaction, or back, is
dropped, but stays counted, until all places of the pool are lost. So this pool has no such lock, and counts the entries
that exist.
"""

from __future__ import annotations

import gc
import math
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy.exc import DBAPIError, TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool
from sqlalchemy.pool.base import _ConnectionRecord
from sqlalchemy.util import queue as queues

from cidrgate.process.wakeups import Waiter
from cidrgate.process.weak_sets import SharedWeakSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["ENDED", "ConnectionPool", "connected"]

ENDED = ("57P", "08")
"""The errors of a PostgreSQL server that ends a session (it stops, an administrator asked it to, or the session was
idle), and of a pooler that has lost its session with the server."""

_LOOK = 1.0
"""Seconds between two looks of a waiting thread, in case that an interruption dropped an entry, which wakes nobody, or
ended the thread that was to wake this one."""

_COLLECT = 10.0
"""Seconds between two searches for dropped entries that wait for the garbage collector."""


class _Queue(queues.QueueCommon["_Entry"]):
    """A queue of entries without a lock: each step is one operation on a deque."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        if use_lifo:
            raise ValueError("this pool gives back the connection that was unused for the longest time")
        self.maxsize, self.use_lifo = maxsize, use_lifo
        self._items: deque[_Entry] = deque()
        self._waiting: deque[Waiter] = deque()

    def __contains__(self, item: _Entry) -> bool:
        return item in self._items

    def qsize(self) -> int:
        return len(self._items)

    def empty(self) -> bool:
        return not self._items

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self._items)

    def put(self, item: _Entry, block: bool = True, timeout: float | None = None) -> None:
        # Nobody waits to give a connection back: what has no place is closed.
        if self.full():
            raise queues.Full
        # No signal handler runs between these two: an entry without a loan is in the queue.
        item.loan = None
        self._items.append(item)
        self._wake_one()

    def put_nowait(self, item: _Entry) -> None:
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> _Entry:
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

    def get_nowait(self) -> _Entry:
        try:
            return self._items.popleft()
        except IndexError:
            raise queues.Empty from None


class _Loan:
    """One use of an entry.

    Attributes:
        end: The `time.monotonic` time until which to wait for an entry; None for the timeout of the pool.
        entry: The entry; None before there is one.
    """

    __slots__ = ("end", "entry")

    def __init__(self, end: float | None) -> None:
        self.end = end
        self.entry: _Entry | None = None


class _Entry(_ConnectionRecord):
    """An entry of a `ConnectionPool`. SQLAlchemy opens its connection when it is checked out.

    Attributes:
        loan: Its use; None if it is in the queue.
        dropped: Whether it has no place in the pool any more.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool, connect=False)
        self.loan: _Loan | None = None
        self.dropped = False


class ConnectionPool(QueuePool):
    """A `QueuePool` whose places are those of the entries that exist: an entry that is dropped frees its place."""

    __module__ = QueuePool.__module__  # SQLAlchemy names its logger by it, and that of cidrgate has other levels

    _queue_class: type[queues.QueueCommon[Any]] = _Queue
    _pool: Any

    def __init__(self, creator: Callable[[], Any], **settings: Any) -> None:
        super().__init__(creator, **settings)
        self._entries: SharedWeakSet[_Entry] = SharedWeakSet()
        self._loans: dict[int, _Loan] = {}  # by thread: the one that begins
        # Reentrant: in the block, the garbage collector may run code of the application, which needs an entry too.
        self._creating = threading.RLock()
        self._collected = -math.inf

    def checkedout(self) -> int:
        """Return how many entries are in use."""
        return len(self._entries) - self.checkedin()

    def overflow(self) -> int:
        """Return how many entries exist beyond the size of the pool; a negative number if there are fewer."""
        return len(self._entries) - self.size()

    @contextmanager
    def lend(self, engine: Engine, end: float | None) -> Iterator[Connection]:
        """Connect an engine of this pool for a block, as `connected` does."""
        loan = self._loans[threading.get_ident()] = _Loan(end)
        try:
            with _opened(engine) as connection:
                yield connection
        except BaseException:
            self._end(loan)
            raise

    def _end(self, loan: _Loan) -> None:
        """Free the place of an entry that was not given back, and close its connection."""
        entry = loan.entry
        if entry is None:
            # It may have been dropped before it was noted. An entry that another thread takes now is added again.
            for one in self._entries:
                if one.loan is None and one not in self._pool:
                    self._drop(one)
        elif entry.loan is loan:
            self._drop(entry)
            entry.close()

    def _drop(self, entry: _Entry) -> None:
        entry.dropped = True
        self._entries.discard(entry)

    def _do_get(self) -> ConnectionPoolEntry:
        loan = self._loans.pop(threading.get_ident(), None) or _Loan(None)
        try:
            entry: _Entry = self._pool.get_nowait()
        except queues.Empty:
            entry = self._new_or_returned(loan.end)
        entry.loan, loan.entry = loan, entry
        if entry.dropped:
            entry.dropped = False
            self._entries.add(entry)
        return entry

    def _new_or_returned(self, end: float | None) -> _Entry:
        if end is None:
            end = time.monotonic() + self._timeout
        while True:
            with self._creating:
                if self.overflow() < self._max_overflow:
                    return self._create_connection()
            left = end - time.monotonic()
            if left <= 0 and not self._collects():
                raise PoolTimeoutError(f"all {self.size()} connections of the pool are in use")
            with suppress(queues.Empty):
                returned: _Entry = self._pool.get(timeout=min(left, _LOOK))
                return returned

    def _create_connection(self) -> _Entry:
        entry = _Entry(self)
        self._entries.add(entry)  # it has a place before it is connected
        return entry

    def _collects(self) -> bool:
        """Free dropped entries in reference cycles, such as that of an exception and a frame of its traceback.

        Returns:
            Whether this was done. It blocks all threads, so it is not done again soon.
        """
        now = time.monotonic()
        if now - self._collected < _COLLECT:
            return False
        self._collected = now
        gc.collect()
        return True

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        entry = cast("_Entry", record)
        if entry.dropped:  # it is given back when the traceback of the exception is gone
            entry.close()
            return
        try:
            self._pool.put(entry)
        except queues.Full:
            entry.close()


def connected(engine: Engine, end: float | None = None) -> AbstractContextManager[Connection]:
    """Connect an engine for a block.

    If an exception comes at a moment at which the connection would not be given back, it is closed. The connection and
    its place would otherwise stay in use as long as the traceback of the exception exists.

    Args:
        engine: The engine.
        end: The `time.monotonic` time until which to wait for a connection of the pool; None for the timeout of the
            pool.

    Raises:
        sqlalchemy.exc.TimeoutError: If all connections of the pool are in use for too long.
    """
    pool = engine.pool
    return pool.lend(engine, end) if isinstance(pool, ConnectionPool) else engine.connect()


def _opened(engine: Engine) -> Connection:
    """Connect an engine; once more if the server ends the first session: a pooler may have given it away too late."""
    try:
        return engine.connect()
    except DBAPIError as error:
        if not (getattr(error.orig, "sqlstate", None) or "").startswith(ENDED):
            raise
        return engine.connect()
