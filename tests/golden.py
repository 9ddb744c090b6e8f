"""What the engine answers, worked out as plainly as it is said: by linear searches over `ipaddress` networks."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import combinations
from typing import TYPE_CHECKING

from cidrgate._engine import canonical_prefix
from cidrgate.errors import InvalidAddressError

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAPPED = IPv6Network("::ffff:0:0/96")


def read_address(text: str) -> Address:
    """An address; an IPv4-mapped one is the IPv4 address it stands for."""
    address = ip_address(text)
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def read_network(text: str) -> Network:
    """A network; an IPv4-mapped one is the IPv4 network it stands for."""
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def order(network: Network) -> tuple[int, int, int]:
    """IPv4 before IPv6, then by network, shorter prefixes first."""
    return network.version, int(network.network_address), network.prefixlen


def inside(inner: Network, outer: Network) -> bool:
    """Whether a network covers another, or equals it."""
    return (
        inner.version == outer.version
        and inner.prefixlen >= outer.prefixlen
        and int(inner.network_address) >> (inner.max_prefixlen - outer.prefixlen)
        == int(outer.network_address) >> (outer.max_prefixlen - outer.prefixlen)
    )


class GoldenTrie:
    """What `PrefixTrie` promises."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        self.networks = sorted({read_network(text) for text in prefixes}, key=order)

    def match(self, text: str) -> str | None:
        """The longest matching prefix."""
        address = read_address(text)
        found = [network for network in self.networks if network.version == address.version and address in network]
        return str(max(found, key=lambda network: network.prefixlen)) if found else None

    def index(self, text: str) -> int:
        """The index of the longest match in iteration order, or -1."""
        match = self.match(text)
        return -1 if match is None else [str(network) for network in self.networks].index(match)

    def covering(self, text: str) -> list[str]:
        """Every prefix that covers one, shortest first."""
        return [str(network) for network in self.networks if inside(read_network(text), network)]

    def covered(self, text: str) -> list[str]:
        """Every prefix inside one."""
        return [str(network) for network in self.networks if inside(network, read_network(text))]


def plain_list(texts: list[str], most: int, barred: list[str]) -> list[str] | None:
    """The canonical forms of a list that breaks no rule in any way; None where somebody has to look closer.

    Args:
        texts: CIDRs as written.
        most: How many there may be.
        barred: Networks that may not be listed, nor overlap with one that is.
    """
    canonical = []
    for text in texts:
        try:
            cidr = canonical_prefix(text)
        except InvalidAddressError:
            return None
        if barred and ":" in text and ":" not in cidr:
            return None
        canonical.append(cidr)
    made = [ip_network(cidr) for cidr in canonical]
    pairs = [*combinations(made, 2), *((one, ip_network(other)) for one in made for other in barred)]
    if len(texts) > most or any(one.version == other.version and one.overlaps(other) for one, other in pairs):
        return None
    return canonical
