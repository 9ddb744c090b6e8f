"""The time of day, and the part of it that is certain. Code that deletes expired data must use `certain_time`.

A clock may jump ahead and come back. Data that was only hidden in between reappears; deleted data does not.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

__all__ = ["certain_time", "earlier_by_far"]

_TOLERANCE = timedelta(seconds=5)
"""Clocks that differ by less than this are treated as equal."""


def _since_boot() -> float:
    """Return the seconds of a clock that cannot be set. It also counts while the machine sleeps, if the system can."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class _Offset:
    """The smallest difference ever seen between the time of day and the clock that cannot be set."""

    def __init__(self) -> None:
        self.least = datetime.now(UTC) - timedelta(seconds=_since_boot())

    def time_for(self, now: datetime) -> datetime:
        since_boot = timedelta(seconds=_since_boot())
        self.least = min(self.least, now - since_boot)
        return self.least + since_boot


_offset = _Offset()


def certain_time(now: datetime) -> datetime:
    """Return a time that has certainly passed, even if this machine's clock jumped ahead after the process started.

    Args:
        now: The time of the clock, with a time zone.

    Returns:
        `now`, or an earlier time if the clock has jumped ahead.

    Example:
        >>> now = datetime.now(UTC)
        >>> certain_time(now) == now
        True
        >>> certain_time(now + timedelta(days=1)) < now + timedelta(minutes=1)
        True
    """
    return earlier_by_far(now, _offset.time_for(now))


def earlier_by_far(now: datetime, other: datetime | None) -> datetime:
    """Return the time of one clock, or the time of another clock if that one is far behind.

    Args:
        now: The time of the first clock, with a time zone.
        other: The time of the other clock, or None if it is not known.

    Example:
        >>> noon = datetime(2025, 6, 1, 12, tzinfo=UTC)
        >>> earlier_by_far(noon, noon - timedelta(seconds=1)) == noon
        True
        >>> earlier_by_far(noon, noon - timedelta(hours=1)).hour
        11
    """
    return now if other is None or now - other < _TOLERANCE else other
