"""What a change alters later: addresses that two lists allow now, and stop to allow at different times.

As time passes, entries and modes end, and a list only allows fewer addresses. So a change alters later what it does not
alter now if and only if an address that is allowed now, with the change and without it, loses access at another time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from cidrgate.rules.decisions import has_list
from cidrgate.rules.special_ranges import IPV4_MAPPED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from cidrgate.values import Account, Entry

__all__ = ["Listed", "alters_later"]

Listed: TypeAlias = "tuple[Collection[Entry], Account | None]"
"""A whole list, including expired entries, and its account; None for an account with the default settings."""

_NEVER = datetime.max.replace(tzinfo=UTC)

_EVERY_ADDRESS = ("0.0.0.0/0", "::/0")


def alters_later(before: Listed, after: Listed, at: datetime) -> bool:
    """Return whether a change of a list denies or allows an address at a later time for which it does not do so now.

    If the list has a mode without an end after the change, such as a pause, this is also asked for the case that
    somebody ends that mode.

    Args:
        before: The list before the change.
        after: The list after the change.
        at: The time of the change, with a time zone.

    Example:
        >>> from cidrgate.values import Account
        >>> at = datetime(2026, 1, 2, tzinfo=UTC)
        >>> off = Account(name="acct-1", parent=None, created_at=at, mode="off", closed=True)
        >>> pause = replace(off, mode_until=datetime(2026, 1, 3, tzinfo=UTC))
        >>> alters_later(([], off), ([], pause), at), alters_later(([], off), ([], off), at)
        (True, False)
    """
    was, now = _until(*before, at), _until(*after, at)
    if _ends_differ(was, now, at, all_before=False, all_after=False):
        return True
    account = after[1]
    if account is None or account.mode_until is not None or account.mode_at(at) == "enforce":
        return False
    was_resumed, now_resumed = (_until(entries, _resumed(owner), at) for entries, owner in (before, after))
    return _ends_differ(was_resumed, now_resumed, at, all_before=was.others > at, all_after=True)


def _resumed(account: Account | None) -> Account | None:
    return None if account is None else replace(account, mode="enforce", mode_until=None)


class _Until(NamedTuple):
    """Until when a list allows addresses: the time of the question for those that it denies then.

    Attributes:
        others: The time for every address.
        listed: The times for the networks that are allowed longer. Where networks overlap, the last time counts.
    """

    others: datetime
    listed: dict[str, datetime]


def _until(entries: Collection[Entry], account: Account | None, at: datetime) -> _Until:
    """Return until when a list allows addresses."""
    if not has_list(entries, account):
        return _Until(_NEVER, {})
    others = at
    if account is not None and account.mode_at(at) != "enforce":
        others = account.mode_until or _NEVER
    ends = {entry.cidr: entry.expires_at or _NEVER for entry in entries if entry.enabled}
    return _Until(others, {cidr: end for cidr, end in ends.items() if end > others})


def _ends_differ(was: _Until, now: _Until, at: datetime, *, all_before: bool, all_after: bool) -> bool:
    """Return whether an address that is allowed at a time before and after a change has two different ends.

    Args:
        was: Until when addresses are allowed before the change.
        now: The same after it.
        at: The time.
        all_before: Whether every address is allowed at that time before the change, whatever `was` says.
        all_after: The same after it, for `now`.
    """
    if was == now:
        return False
    if not (all_before or all_after or _has_end(was, at) or _has_end(now, at)):
        return False
    return any(
        one != other and (all_before or one > at) and (all_after or other > at) for one, other in _both(was, now)
    )


def _has_end(until: _Until, at: datetime) -> bool:
    """Return whether anything that is allowed at a time ends."""
    return at < until.others < _NEVER or any(end < _NEVER for end in until.listed.values())


def _both(was: _Until, now: _Until) -> Iterator[tuple[datetime, datetime]]:
    """Yield the two ends of each stretch of addresses for which both are the same everywhere.

    Networks nest or are apart. So at every address, those around it are a stack on which the innermost is the last.
    """
    edges: list[tuple[int, int, int, int, datetime]] = []
    for side, until in enumerate((was, now)):
        # Addresses of IPv6 that stand for IPv4 are matched as IPv4: what else contains them says nothing about them.
        networks = {IPV4_MAPPED.cidr: _NEVER, **dict.fromkeys(_EVERY_ADDRESS, until.others)}
        for cidr, end in (*networks.items(), *until.listed.items()):
            first, size = _stretch(cidr)
            edges += ((first, 1, -size, side, end), (first + size, 0, 0, side, end))
    edges.sort(key=itemgetter(0, 1, 2))
    around: tuple[list[datetime], list[datetime]] = ([], [])
    for _, here in groupby(edges, key=itemgetter(0)):
        for _, begins, _, side, end in here:
            stack = around[side]
            if begins:
                stack.append(max(end, stack[-1]) if stack else end)
            else:
                stack.pop()
        if around[0]:
            yield around[0][-1], around[1][-1]


_IPV6_BEGINS = 1 << 64
"""The number of the first address of IPv6, which come after all of IPv4 and apart from them."""


def _stretch(cidr: str) -> tuple[int, int]:
    """Return the number of the first address of a network, and how many addresses it has."""
    address, _, length = cidr.partition("/")
    if ":" in address:
        return _IPV6_BEGINS + int.from_bytes(inet_pton(AF_INET6, address), "big"), 1 << 128 - int(length)
    return int.from_bytes(inet_pton(AF_INET, address), "big"), 1 << 32 - int(length)
