"""How long work on a store may wait for locks and be tried again: the lock timeout, or less if there is a deadline.

A request that has waited for a thread has less time left to wait for a lock. `answer_by` stores its deadline in the
context of the thread, and `time_left` returns the time until this deadline.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from cidrgate.errors import StoreConflictError, StoreError
from cidrgate.values import seconds, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate.values import Duration

__all__ = [
    "CONNECTIONS",
    "LOCK_TIMEOUT",
    "SILENCE",
    "answer_by",
    "check_lock_timeout",
    "check_pool_size",
    "time_left",
    "tried_again",
]

_Made = TypeVar("_Made")

LOCK_TIMEOUT = 10.0
"""The default of the lock timeout: how many seconds a change or a query waits for locks."""

SILENCE = 5.0
"""Seconds that a server may take for a small query or change, besides the wait for locks."""

CONNECTIONS = 15
"""The default of the largest number of connections from a process to its store, besides one that listens."""

_LEAST = 0.001

_ATTEMPTS = 5
"""How often a change is tried if the store reports conflicts with other writers."""

_deadline: ContextVar[float | None] = ContextVar("cidrgate_deadline", default=None)


@contextmanager
def answer_by(deadline: float) -> Iterator[None]:
    """Set a deadline, after which nothing in the block waits for locks.

    Args:
        deadline: The deadline, as a `time.monotonic` time.
    """
    before = _deadline.get()
    try:  # begun before the deadline is set: a signal handler may raise an exception as soon as it is
        _deadline.set(deadline)
        yield
    finally:
        _deadline.set(before)


def time_left(longest: float) -> float:
    """Return the seconds for which work may wait now; always more than 0.

    Args:
        longest: The result if there is no earlier deadline.

    Example:
        >>> time_left(10.0)
        10.0
        >>> with answer_by(time.monotonic() + 5):
        ...     time_left(10.0) <= 5
        True
    """
    deadline = _deadline.get()
    return longest if deadline is None else max(_LEAST, min(longest, deadline - time.monotonic()))


def tried_again(change: Callable[[], _Made], lock_timeout: float) -> _Made:
    """Return the result of a change of a store, and try it again after a conflict with another writer.

    After an `OutcomeUnknownError` it is not tried again: the change may be stored already.

    Args:
        change: Makes the change in a write transaction; called up to five times.
        lock_timeout: The seconds for all attempts together; less if there is a deadline.

    Raises:
        StoreConflictError: If the last attempt meets a conflict.
    """
    end = time.monotonic() + time_left(lock_timeout)
    with answer_by(end):
        for _ in range(_ATTEMPTS - 1):
            try:
                return change()
            except StoreConflictError:
                if time.monotonic() >= end:
                    raise
        return change()


def check_lock_timeout(duration: Duration) -> float:
    """Check a lock timeout, and return it in seconds.

    Raises:
        TypeError: If it is neither a number nor a `timedelta`.
        ValueError: If it is below a millisecond, above a day, or not a number.

    Example:
        >>> check_lock_timeout(1e6)
        Traceback (most recent call last):
        ...
        ValueError: lock_timeout must be a number of seconds from 0.001 to 86400, not 1000000.0
    """
    found = seconds(duration, "lock_timeout", above_zero=True)
    if not _LEAST <= found <= 86_400:
        raise ValueError(f"lock_timeout must be a number of seconds from {_LEAST} to 86400, not {duration}")
    return found


def check_pool_size(size: int) -> int:
    """Check how many connections a pool has, and return it.

    Raises:
        TypeError: If it is no whole number.
        StoreError: If it is below 2.
    """
    if whole_number(size, "pool_size") < 2:
        raise StoreError(f"pool_size must be at least 2, one connection to read and one to write, not {size}")
    return size
