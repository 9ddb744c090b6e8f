"""`ExpirySchedule`: which accounts must be published again because entries or modes expire, and when."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

__all__ = ["ExpirySchedule"]


_MODE = ""
"""What the expiry of a mode is filed under, among the CIDRs of an account."""


class ExpirySchedule:
    """The expiry times of entries and of modes, by account. Threads must not share it without a lock.

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
        self._expiries: dict[str, dict[str, datetime]] = {}
        # A heap of times at which to check an account. Only the time in `_scheduled` is valid.
        self._agenda: list[tuple[datetime, str]] = []
        self._scheduled: dict[str, datetime] = {}

    def put(self, account: str, expiries: Mapping[str, datetime], mode_until: datetime | None = None) -> None:
        """Replace the expiry times of an account's entries, and of its mode; without any the account is removed."""
        if mode_until is not None:
            expiries = {**expiries, _MODE: mode_until}
        if expiries:
            self._expiries[account] = dict(expiries)
            self._schedule(account, min(expiries.values()))
        elif self._expiries:
            self._expiries.pop(account, None)
            self._scheduled.pop(account, None)

    def active(self, account: str, cidrs: Iterable[str], at: datetime) -> list[str]:
        """Return those of an account's CIDRs that have not expired at a time."""
        expiries = self._expiries.get(account, {})
        return [cidr for cidr in cidrs if cidr not in expiries or expiries[cidr] > at]

    def mode_has_expired(self, account: str, at: datetime) -> bool:
        """Return whether an account has a mode that has expired at a time, so that its list is enforced again."""
        expires_at = self._expiries.get(account, {}).get(_MODE)
        return expires_at is not None and expires_at <= at

    def expiries(self) -> Mapping[str, Mapping[str, datetime]]:
        """Return the expiry times that were put, by account, each by CIDR; that of the mode has the CIDR ""."""
        return self._expiries

    def next(self) -> datetime | None:
        """Return the time at which the next entry or mode expires, or an earlier time; None if nothing expires."""
        while self._agenda and self._scheduled.get(self._agenda[0][1]) != self._agenda[0][0]:
            heapq.heappop(self._agenda)
        return self._agenda[0][0] if self._agenda else None

    def due(self, at: datetime) -> Iterator[str]:
        """Yield the accounts of which something has expired at a time, since the accounts were last put or due."""
        while (end := self.next()) is not None and end <= at:
            account = heapq.heappop(self._agenda)[1]
            del self._scheduled[account]
            to_come = [one for one in self._expiries[account].values() if one > at]
            if to_come:
                self._schedule(account, min(to_come))
            yield account

    def expired_between(self, start: datetime, end: datetime) -> Iterator[str]:
        """Yield the accounts of which something expires after `start` and not after `end`."""
        for account, expiries in self._expiries.items():
            if any(start < one <= end for one in expiries.values()):
                yield account

    def _schedule(self, account: str, end: datetime) -> None:
        if self._scheduled.get(account) != end:
            self._scheduled[account] = end
            heapq.heappush(self._agenda, (end, account))
