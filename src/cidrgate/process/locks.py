"""`held`: holds a lock for a block, within a limited time, for threads that a signal handler may interrupt.

`with lock:` has no such limit. A call of `acquire` before a `try` leaves the lock taken if a signal handler raises an
exception between the two, as Celery's soft time limit does.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

__all__ = ["held"]


@contextmanager
def held(lock: threading.RLock, seconds: float | None) -> Iterator[bool]:
    """Hold a lock for a block.

    Args:
        lock: The lock. This thread may hold it already.
        seconds: How many seconds to wait for it; None for no limit.

    Returns:
        Whether the lock is held in the block.

    Example:
        >>> import threading
        >>> with held(threading.RLock(), 0.1) as is_held:
        ...     is_held
        True
    """
    try:  # acquire has to be the first call: a lock that this thread holds already must not be released for it
        yield lock.acquire(timeout=-1 if seconds is None else seconds)
    finally:
        # No other context manager here, which could be interrupted first.
        try:  # noqa: SIM105
            lock.release()
        except RuntimeError:
            pass  # it was not taken
