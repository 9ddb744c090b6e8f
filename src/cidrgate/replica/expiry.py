"""When entries end by themselves: which accounts must be published again, and at what time."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

__all__ = ["ExpirySchedule"]


class ExpirySchedule:
    """The ends of the entries that end by themselves, by account. Not safe to share between threads.

    Example:
        >>> from datetime import UTC, datetime, timedelta
        >>> now = datetime.now(UTC)
        >>> table = ExpirySchedule()
        >>> table.put("acct-1", {"8.8.8.0/24": now + timedelta(hours=1)})
        >>> table.active("acct-1", ["8.8.8.0/24", "1.1.1.1/32"], now + timedelta(hours=2))
        ['1.1.1.1/32']
        >>> table.next() == now + timedelta(hours=1)
        True
        >>> list(table.due(now + timedelta(hours=2)))
        ['acct-1']
        >>> table.next() is None
        True
    """

    def __init__(self) -> None:
        self._ends: dict[str, dict[str, datetime]] = {}
        # A heap of times to look at an account, of which only the one in `_scheduled` counts.
        self._agenda: list[tuple[datetime, str]] = []
        self._scheduled: dict[str, datetime] = {}

    def put(self, account: str, ends: Mapping[str, datetime]) -> None:
        """Note when an account's entries end, in the place of what was noted before; nothing forgets it."""
        if ends:
            self._ends[account] = dict(ends)
            self._schedule(account, min(ends.values()))
        elif self._ends:
            self._ends.pop(account, None)
            self._scheduled.pop(account, None)

    def active(self, account: str, cidrs: Iterable[str], at: datetime) -> list[str]:
        """Those of an account's CIDRs that have not ended at a time."""
        ends = self._ends.get(account, {})
        return [cidr for cidr in cidrs if cidr not in ends or ends[cidr] > at]

    def ends(self) -> Mapping[str, Mapping[str, datetime]]:
        """What was put, by account."""
        return self._ends

    def next(self) -> datetime | None:
        """When the next entry ends, or earlier; None when none does."""
        while self._agenda and self._scheduled.get(self._agenda[0][1]) != self._agenda[0][0]:
            heapq.heappop(self._agenda)
        return self._agenda[0][0] if self._agenda else None

    def due(self, at: datetime) -> Iterator[str]:
        """The accounts of which entries have ended at a time, since they were put or due the last time."""
        while (end := self.next()) is not None and end <= at:
            account = heapq.heappop(self._agenda)[1]
            del self._scheduled[account]
            to_come = [one for one in self._ends[account].values() if one > at]
            if to_come:
                self._schedule(account, min(to_come))
            yield account

    def ended_between(self, start: datetime, end: datetime) -> Iterator[str]:
        """The accounts of which entries end after one time and not after another one."""
        for account, ends in self._ends.items():
            if any(start < one <= end for one in ends.values()):
                yield account

    def _schedule(self, account: str, end: datetime) -> None:
        if self._scheduled.get(account) != end:
            self._scheduled[account] = end
            heapq.heappush(self._agenda, (end, account))
