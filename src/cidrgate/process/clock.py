"""The time of day, and the part of it that is certain. Code that deletes expired data must use `certain_time`.

A clock may jump ahead and come back. Data that was only hidden in between reappears; deleted data does not.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["certain_time", "earlier_by_far", "since_boot"]

_TOLERANCE = timedelta(seconds=5)
"""Clocks that differ by less than this are treated as equal."""


since_boot: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Returns the seconds of a clock that cannot be set. It also counts while the machine sleeps, if the system can.

Ages of lists are measured by it: `time.monotonic` stands still on Linux while a machine is suspended.
"""


class _Offset:
    """The smallest difference ever seen between the time of day and the clock that cannot be set."""

    def __init__(self) -> None:
        self.least = datetime.now(UTC) - timedelta(seconds=since_boot())

    def time_for(self, now: datetime) -> datetime:
        uptime = timedelta(seconds=since_boot())
        self.least = min(self.least, now - uptime)
        return self.least + uptime


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
