"""`ExpirySchedule`: which accounts must be published again because entries or modes expire, and when."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

__all__ = ["ExpirySchedule", "unexpired"]


_MODE = ""
"""What the expiry of a mode is filed under, among the CIDRs of an account."""

_MOST_INVALID = 1_000
"""The number of invalid times on the agenda from which on they are dropped when they are half of it."""


def unexpired(cidrs: Iterable[str], expiries: Mapping[str, datetime], at: datetime) -> list[str]:
    """Return those CIDRs that have not expired at a time; `expiries` has the expiry times of some."""
    return [cidr for cidr in cidrs if cidr not in expiries or expiries[cidr] > at]


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
        >>> table.due(now + timedelta(hours=2))
        ['acct-1']
        >>> table.settle("acct-1", now + timedelta(hours=2))
        >>> table.next() is None
        True
    """

    def __init__(self) -> None:
        self._expiries: dict[str, dict[str, datetime]] = {}
        # A heap of times at which to check an account. Only the time in `_scheduled` is valid.
        self._agenda: list[tuple[datetime, str]] = []
        self._scheduled: dict[str, datetime] = {}
        # The times that have come, by account, until they are settled. They are valid in the same way.
        self._due: dict[str, datetime] = {}

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
        return unexpired(cidrs, self._expiries.get(account, {}), at)

    def mode_has_expired(self, account: str, at: datetime) -> bool:
        """Return whether an account has a mode that has expired at a time, so that its list is enforced again."""
        expires_at = self._expiries.get(account, {}).get(_MODE)
        return expires_at is not None and expires_at <= at

    def expiries(self) -> Mapping[str, Mapping[str, datetime]]:
        """Return the expiry times that were put, by account, each by CIDR; that of the mode has the CIDR "".

        What `put` replaces is not changed: a shallow copy stays as it is.
        """
        return self._expiries

    def next(self) -> datetime | None:
        """Return the time at which the next entry or mode expires, or an earlier time; None if nothing expires."""
        self._drop_invalid_due()
        self._drop_invalid_first()
        return min([*self._due.values(), *(end for end, _ in self._agenda[:1])], default=None)

    def due(self, at: datetime) -> list[str]:
        """Return the accounts of which something has expired at a time, until `settle` or `put` is called for each.

        An account that could not be published stays due, so that no expiry is lost.
        """
        self._drop_invalid_due()
        self._drop_invalid_first()
        while self._agenda and self._agenda[0][0] <= at:
            end, account = self._agenda[0]
            self._due[account] = end  # first, so that an exception in between loses nothing
            heapq.heappop(self._agenda)
            self._drop_invalid_first()
        return [account for account, end in self._due.items() if end <= at]

    def settle(self, account: str, at: datetime) -> None:
        """Record that an account was published as of a time: it is due again when its next expiry time comes."""
        to_come = [one for one in self._expiries.get(account, {}).values() if one > at]
        if to_come:
            self._schedule(account, min(to_come))
        else:
            self._scheduled.pop(account, None)
        self._due.pop(account, None)

    def expired_between(self, start: datetime, end: datetime) -> Iterator[str]:
        """Yield the accounts of which something expires after `start` and not after `end`."""
        for account, expiries in self._expiries.items():
            if any(start < one <= end for one in expiries.values()):
                yield account

    def _drop_invalid_first(self) -> None:
        """Drop times that are not valid any more, so that the first on the agenda is."""
        while self._agenda and self._scheduled.get(self._agenda[0][1]) != self._agenda[0][0]:
            heapq.heappop(self._agenda)

    def _drop_invalid_due(self) -> None:
        """Drop times that have come and are not valid any more. It takes a step for each account that is due."""
        for account in [account for account, end in self._due.items() if self._scheduled.get(account) != end]:
            del self._due[account]

    def _schedule(self, account: str, end: datetime) -> None:
        if self._scheduled.get(account) != end:
            self._scheduled[account] = end
            heapq.heappush(self._agenda, (end, account))
            if len(self._agenda) > 2 * len(self._scheduled) + _MOST_INVALID:
                # An entry whose end is moved again and again leaves a time each time, for as long as it lies ahead.
                agenda = [(end, account) for account, end in self._scheduled.items()]
                heapq.heapify(agenda)
                self._agenda = agenda
