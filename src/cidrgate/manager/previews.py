"""Previews: pure functions that compute which addresses lose and gain access by a change of a list."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network, summarize_address_range
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from cidrgate.rules.decisions import decide, enforced
from cidrgate.rules.special_ranges import IPV4_MAPPED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime
    from ipaddress import IPv4Network

    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.values import Account, Address, Decision, Entry

__all__ = ["MOST_NETWORKS", "AccessChange", "access_change", "networks_without", "locks_out"]

MOST_NETWORKS = 1_000
"""How many networks that lose or gain access are named. A wide network without a few addresses is thousands of them."""


@dataclass(frozen=True, slots=True)
class AccessChange:
    """The addresses that lose or gain access by a change.

    Attributes:
        begins: Whether enforcement begins: every address that is not listed loses access.
        ends: Whether enforcement ends: every address gains access.
        lost: The networks that lose access: the first `MOST_NETWORKS` of the smallest possible number of networks.
            Empty if enforcement begins or ends.
        gained: The networks that gain access, in the same way.
        more_lost: How many networks lose access beyond those in `lost`.
        more_gained: How many networks gain access beyond those in `gained`.
    """

    begins: bool
    ends: bool
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    more_lost: int = 0
    more_gained: int = 0

    def record(self) -> dict[str, bool | int | list[str]]:
        """Return the JSON members that the API and the command line say it with."""
        return {
            "enforcement_begins": self.begins,
            "enforcement_ends": self.ends,
            "loses_access": list(self.lost),
            "gains_access": list(self.gained),
            "more_lose_access": self.more_lost,
            "more_gain_access": self.more_gained,
        }


def access_change(
    before: Collection[Entry],
    after: Collection[Entry],
    at: datetime,
    *,
    was: Account | None = None,
    now: Account | None = None,
) -> AccessChange:
    """Return which addresses lose and gain access between two states of a list.

    For a list that is enforced neither before nor after, nothing changes now.

    Args:
        before: The whole list before the change, including expired entries.
        after: The whole list after the change, including expired entries.
        at: The time at which entries match or not, with a time zone.
        was: The account before the change; None for an account with the default settings.
        now: The account after the change.
    """
    begins, ends = enforced(after, now, at), enforced(before, was, at)
    if begins != ends:
        return AccessChange(begins=begins, ends=ends)
    if not begins:
        return AccessChange(begins=False, ends=False)
    old, new = ([entry.cidr for entry in entries if entry.matches(at)] for entries in (before, after))
    (lost, more_lost), (gained, more_gained) = _some_without(old, new), _some_without(new, old)
    return AccessChange(
        begins=False, ends=False, lost=lost, gained=gained, more_lost=more_lost, more_gained=more_gained
    )


def networks_without(cidrs: Iterable[str], holes: Iterable[str]) -> list[str]:
    """Return the fewest networks with all addresses of `cidrs` that are not in `holes`, in address order.

    Args:
        cidrs: Canonical CIDRs.
        holes: Canonical CIDRs.

    Example:
        >>> networks_without(["8.8.8.0/30", "9.9.9.9/32"], ["8.8.8.1/32", "9.0.0.0/8"])
        ['8.8.8.0/32', '8.8.8.2/31']
    """
    return [str(network) for stretch in _stretches_without(cidrs, holes) for network in _networks_of(stretch)]


def _some_without(cidrs: Iterable[str], holes: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """Return the first `MOST_NETWORKS` of `networks_without`, and the number of the others."""
    stretches = _stretches_without(cidrs, holes)
    first = islice((network for stretch in stretches for network in _networks_of(stretch)), MOST_NETWORKS)
    named = tuple(map(str, first))
    return named, sum(map(_network_count, stretches)) - len(named)


def locks_out(outcome: ListOutcome, address: Address | None, at: datetime) -> Decision | None:
    """Return the denial of an address that is allowed before a change and denied after it, or None.

    Args:
        outcome: The outcome of the change.
        address: The address; None if it is unknown, and then the result is None.
        at: The time at which entries match or not, with a time zone.
    """
    if address is None or not decide(outcome.account_before, outcome.before, address, at).allowed:
        return None
    after = decide(outcome.decider, outcome.after, address, at)
    return None if after.allowed else after


# A stretch is an IP version, the first address, and the address after the last one: (4, 0x08080800, 0x08080900).
_Stretch: TypeAlias = tuple[int, int, int]


def _stretches(cidrs: Iterable[str]) -> list[_Stretch]:
    """Return the addresses of networks as the fewest possible stretches, in address order."""
    merged: list[_Stretch] = []
    for network in sorted(map(ip_network, cidrs), key=lambda network: (network.version, int(network.network_address))):
        first, end = int(network.network_address), int(network.broadcast_address) + 1
        if merged and merged[-1][0] == network.version and first <= merged[-1][2]:
            merged[-1] = (network.version, merged[-1][1], max(end, merged[-1][2]))
        else:
            merged.append((network.version, first, end))
    return merged


def _stretches_without(cidrs: Iterable[str], holes: Iterable[str]) -> list[_Stretch]:
    """Return the addresses of some networks without those of others, in address order, by one pass over both."""
    left: list[_Stretch] = []
    taken = _stretches(holes)
    at = 0
    for version, first, end in _stretches(cidrs):
        while at < len(taken) and (taken[at][0], taken[at][2]) <= (version, first):
            at += 1
        begin, hole = first, at
        while hole < len(taken) and (taken[hole][0], taken[hole][1]) < (version, end):
            if taken[hole][1] > begin:
                left.append((version, begin, taken[hole][1]))
            begin = taken[hole][2]
            hole += 1
        if begin < end:
            left.append((version, begin, end))
        # The last of these holes may reach into the next stretch.
        at = max(at, hole - 1)
    return left


_MAPPED = IPv6Network(IPV4_MAPPED.cidr)
"""The IPv4-mapped addresses. Among networks of IPv6 they mean nothing: they are matched as IPv4."""


def _networks_of(stretch: _Stretch) -> Iterator[IPv4Network | IPv6Network]:
    """Yield the fewest networks that together are a stretch."""
    version, first, end = stretch
    if version == 4:
        yield from summarize_address_range(IPv4Address(first), IPv4Address(end - 1))
    else:
        networks = summarize_address_range(IPv6Address(first), IPv6Address(end - 1))
        yield from (network for network in networks if network != _MAPPED)


def _network_count(stretch: _Stretch) -> int:
    """Return the number of networks of a stretch.

    The address in the stretch with the most trailing zero bits divides it. Each part has one network for each set bit.
    """
    version, first, end = stretch
    bit = (first ^ end).bit_length() - 1
    middle = end >> bit << bit
    mapped, size = int(_MAPPED.network_address), _MAPPED.num_addresses
    # It is left out where it would be a network, and not a part of a larger one, which begins before it.
    alone = version == 6 and mapped - size < first <= mapped <= end - size
    return (middle - first).bit_count() + (end - middle).bit_count() - alone
