"""What a change of a list means for those who call: who loses access, who gains it. Pure functions on entries."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from cidrgate._engine import PrefixTrie
from cidrgate.decisions import decide, enforced

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from cidrgate.decisions import Address
    from cidrgate.list_changes import ListOutcome
    from cidrgate.values import Decision, Entry

_Network = TypeVar("_Network", IPv4Network, IPv6Network)

__all__ = ["AccessChange", "access_change", "networks_without", "shuts_out"]


@dataclass(frozen=True, slots=True)
class AccessChange:
    """Whose addresses are treated otherwise after a change.

    Attributes:
        begins: Whether enforcement begins: every address that is not listed loses access.
        ends: Whether enforcement ends: every address gains access.
        lost: The networks that lose access, in the fewest possible; empty when enforcement begins or ends.
        gained: The networks that gain it, likewise.
    """

    begins: bool
    ends: bool
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()


def access_change(before: Collection[Entry], after: Collection[Entry], at: datetime) -> AccessChange:
    """Who loses access and who gains it between two states of a list.

    Args:
        before: The whole list, expired entries too.
        after: The same.
        at: The time of the question; aware.
    """
    if enforced(before) != enforced(after):
        return AccessChange(begins=enforced(after), ends=enforced(before))
    old, new = ([entry.cidr for entry in entries if not entry.expired(at)] for entries in (before, after))
    lost, gained = networks_without(old, new), networks_without(new, old)
    return AccessChange(begins=False, ends=False, lost=tuple(lost), gained=tuple(gained))


def networks_without(cidrs: Iterable[str], holes: Iterable[str]) -> list[str]:
    """The fewest networks that hold every address of some networks but for those of others, in address order.

    Args:
        cidrs: Canonical CIDRs.
        holes: Canonical CIDRs.

    Example:
        >>> networks_without(["8.8.8.0/30", "9.9.9.9/32"], ["8.8.8.1/32", "9.0.0.0/8"])
        ['8.8.8.0/32', '8.8.8.2/31']
    """
    trie = PrefixTrie(holes)
    v4: list[IPv4Network] = []
    v6: list[IPv6Network] = []
    for cidr in cidrs:
        if trie.covering(cidr):
            continue
        network = ip_network(cidr)
        inside = map(ip_network, trie.covered(cidr))
        if isinstance(network, IPv4Network):
            v4 += _without(network, (hole for hole in inside if isinstance(hole, IPv4Network)))
        else:
            v6 += _without(network, (hole for hole in inside if isinstance(hole, IPv6Network)))
    return [str(network) for network in chain(collapse_addresses(v4), collapse_addresses(v6))]


def shuts_out(outcome: ListOutcome, address: Address | None, at: datetime) -> Decision | None:
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


def _without(network: _Network, holes: Iterable[_Network]) -> list[_Network]:
    rest = [network]
    for hole in holes:
        rest = [piece for part in rest for piece in _parts_without(part, hole)]
    return rest


def _parts_without(network: _Network, hole: _Network) -> Iterable[_Network]:
    if hole.subnet_of(network):
        return network.address_exclude(hole)
    return () if network.subnet_of(hole) else (network,)
