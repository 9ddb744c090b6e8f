"""What a change of a list means for those who call: who loses access, who gains it. Pure functions on entries."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from cidrgate.rules.decisions import decide, enforced

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime
    from ipaddress import IPv4Network, IPv6Network

    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.rules.decisions import Address
    from cidrgate.values import Decision, Entry

__all__ = ["MOST_NETWORKS", "AccessChange", "access_change", "networks_without", "locks_out"]

MOST_NETWORKS = 1_000
"""How many networks that lose or gain access are named. One wide network without a few addresses is thousands."""


@dataclass(frozen=True, slots=True)
class AccessChange:
    """Whose addresses are treated otherwise after a change.

    Attributes:
        begins: Whether enforcement begins: every address that is not listed loses access.
        ends: Whether enforcement ends: every address gains access.
        lost: The networks that lose access, in the fewest possible, the first `MOST_NETWORKS` of them; empty when
            enforcement begins or ends.
        gained: The networks that gain it, likewise.
        more_lost: How many networks lose access beyond those in `lost`.
        more_gained: How many gain it beyond those in `gained`.
    """

    begins: bool
    ends: bool
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()
    more_lost: int = 0
    more_gained: int = 0


def access_change(before: Collection[Entry], after: Collection[Entry], at: datetime) -> AccessChange:
    """Who loses access and who gains it between two states of a list.

    Args:
        before: The whole list, expired entries too.
        after: The same.
        at: The time of the question; aware.
    """
    if enforced(before) != enforced(after):
        return AccessChange(begins=enforced(after), ends=enforced(before))
    old, new = ([entry.cidr for entry in entries if entry.matches(at)] for entries in (before, after))
    (lost, more_lost), (gained, more_gained) = _some_without(old, new), _some_without(new, old)
    return AccessChange(
        begins=False, ends=False, lost=lost, gained=gained, more_lost=more_lost, more_gained=more_gained
    )


def networks_without(cidrs: Iterable[str], holes: Iterable[str]) -> list[str]:
    """The fewest networks that hold every address of some networks but for those of others, in address order.

    Args:
        cidrs: Canonical CIDRs.
        holes: Canonical CIDRs.

    Example:
        >>> networks_without(["8.8.8.0/30", "9.9.9.9/32"], ["8.8.8.1/32", "9.0.0.0/8"])
        ['8.8.8.0/32', '8.8.8.2/31']
    """
    return [str(network) for stretch in _stretches_without(cidrs, holes) for network in _networks_of(stretch)]


def _some_without(cidrs: Iterable[str], holes: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """The first `MOST_NETWORKS` of `networks_without`, and how many there are besides."""
    stretches = _stretches_without(cidrs, holes)
    first = islice((network for stretch in stretches for network in _networks_of(stretch)), MOST_NETWORKS)
    named = tuple(map(str, first))
    return named, sum(map(_network_count, stretches)) - len(named)


def locks_out(outcome: ListOutcome, address: Address | None, at: datetime) -> Decision | None:
    """The denial that a change would bring to an address that is allowed before it; None if it brings none.

    Args:
        outcome: What the change comes to.
        address: The address; None if it is not known, which then cannot be judged.
        at: The time of the question; aware.
    """
    if address is None or not decide(outcome.account.name, outcome.before, address, at).allowed:
        return None
    after = decide(outcome.account.name, outcome.after, address, at)
    return None if after.allowed else after


# A stretch is a version of IP, the first address, and the one after the last: (4, 0x08080800, 0x08080900).
_Stretch: TypeAlias = tuple[int, int, int]


def _stretches(cidrs: Iterable[str]) -> list[_Stretch]:
    """What networks hold, as few stretches in address order as there can be."""
    merged: list[_Stretch] = []
    for network in sorted(map(ip_network, cidrs), key=lambda network: (network.version, int(network.network_address))):
        first, end = int(network.network_address), int(network.broadcast_address) + 1
        if merged and merged[-1][0] == network.version and first <= merged[-1][2]:
            merged[-1] = (network.version, merged[-1][1], max(end, merged[-1][2]))
        else:
            merged.append((network.version, first, end))
    return merged


def _stretches_without(cidrs: Iterable[str], holes: Iterable[str]) -> list[_Stretch]:
    """What networks hold, but for what others hold: one pass over both, in address order."""
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


def _networks_of(stretch: _Stretch) -> Iterator[IPv4Network | IPv6Network]:
    """The fewest networks that make up a stretch."""
    version, first, end = stretch
    if version == 4:
        return summarize_address_range(IPv4Address(first), IPv4Address(end - 1))
    return summarize_address_range(IPv6Address(first), IPv6Address(end - 1))


def _network_count(stretch: _Stretch) -> int:
    """How many networks these are: up to the roundest address in between, and down from there, one for each set bit."""
    _, first, end = stretch
    bit = (first ^ end).bit_length() - 1
    middle = end >> bit << bit
    return (middle - first).bit_count() + (end - middle).bit_count()
