"""The time of day, and how much of it is beyond doubt: what is deleted because it is over stays deleted.

A clock may jump ahead and come back. What is only hidden meanwhile is there again afterwards; what was deleted is not.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

__all__ = ["certain_time", "earlier_by_far"]

_TOLERANCE = timedelta(seconds=5)
"""Clocks that differ by less than this agree."""


def _since_boot() -> float:
    """Seconds on a clock that nobody sets, which runs on while the machine sleeps where there is one that does."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class _Offset:
    """The least that the time of day was ever ahead of the clock that nobody sets, as a time."""

    def __init__(self) -> None:
        self.least = datetime.now(UTC) - timedelta(seconds=_since_boot())

    def time_for(self, now: datetime) -> datetime:
        since_boot = timedelta(seconds=_since_boot())
        self.least = min(self.least, now - since_boot)
        return self.least + since_boot


_offset = _Offset()


def certain_time(now: datetime) -> datetime:
    """A time that is over even if the clock of this machine has jumped ahead since the process was started.

    Args:
        now: What the clock says; aware.

    Returns:
        `now`, or an earlier time where the clock has jumped ahead.

    Example:
        >>> now = datetime.now(UTC)
        >>> certain_time(now) == now
        True
        >>> certain_time(now + timedelta(days=1)) < now + timedelta(minutes=1)
        True
    """
    return earlier_by_far(now, _offset.time_for(now))


def earlier_by_far(now: datetime, other: datetime | None) -> datetime:
    """What one clock says, unless another one is far behind.

    Args:
        now: What the one says; aware.
        other: What the other one says; None if it is not known.

    Example:
        >>> noon = datetime(2025, 6, 1, 12, tzinfo=UTC)
        >>> earlier_by_far(noon, noon - timedelta(seconds=1)) == noon
        True
        >>> earlier_by_far(noon, noon - timedelta(hours=1)).hour
        11
    """
    return now if other is None or now - other < _TOLERANCE else other
