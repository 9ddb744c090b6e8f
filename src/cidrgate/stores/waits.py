"""How long work on a store may wait for others: the lock timeout, or less where somebody waits for an answer already.

A request that has waited for a thread has less time left to wait for a lock: `answer_by` notes the moment, in the
context of the thread, and what waits later asks how much of it is left.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CONNECTIONS", "LOCK_TIMEOUT", "SILENCE", "answer_by", "check_lock_timeout", "time_left"]

LOCK_TIMEOUT = 10.0
"""Seconds that a change or a question waits for locks of others, unless another bound is chosen."""

SILENCE = 5.0
"""Seconds that a server may take for a small question or change, besides the wait for locks."""

CONNECTIONS = 15
"""How many connections to its store a process keeps at most, unless another bound is chosen; and one that listens."""

_LEAST = 0.001

_deadline: ContextVar[float | None] = ContextVar("cidrgate_deadline", default=None)


@contextmanager
def answer_by(deadline: float) -> Iterator[None]:
    """Let nothing in the block wait for locks past a moment.

    Args:
        deadline: The moment, on the clock of `time.monotonic`.
    """
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def time_left(longest: float) -> float:
    """Seconds that may be waited now; always more than 0.

    Args:
        longest: Seconds, where nobody noted an earlier moment.

    Example:
        >>> time_left(10.0)
        10.0
        >>> with answer_by(time.monotonic() + 5):
        ...     time_left(10.0) <= 5
        True
    """
    deadline = _deadline.get()
    return longest if deadline is None else max(_LEAST, min(longest, deadline - time.monotonic()))


def check_lock_timeout(seconds: float) -> float:
    """A lock timeout as a person may choose it.

    Raises:
        ValueError: If it is not a number of seconds above 0.

    Example:
        >>> check_lock_timeout(0)
        Traceback (most recent call last):
        ...
        ValueError: lock_timeout is a number of seconds from 0.001 to 86400, not 0
    """
    if not _LEAST <= seconds <= 86_400:  # also false for what is no number
        raise ValueError(f"lock_timeout is a number of seconds from {_LEAST} to 86400, not {seconds}")
    return float(seconds)
