"""How much of the internet may be trusted: networks of proxies are small, or not public."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from cidrgate._engine import PrefixTrie
from cidrgate.rules.special_ranges import SPECIAL_RANGES

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["refuse_everybody"]

_SHORTEST = {4: 8, 6: 16}
"""Prefix length that a trusted network of public addresses has at least."""

_PUBLIC = {4: IPv4Network("0.0.0.0/0").num_addresses, 6: IPv6Network("2000::/3").num_addresses}
"""How many addresses there are that may be public."""

_MOST = 4
"""Trusted networks together hold less than one part in so many of the public space of their family."""

_ADVICE = (
    "whoever has a trusted address can pretend to be anybody; name the addresses of the proxies, "
    "or say trust_everybody=True (--trust-everybody) where nobody but the proxies can reach the server"
)


def refuse_everybody(networks: Iterable[str]) -> None:
    """Refuse trusted networks that cover public space as a whole, one by one or together.

    Args:
        networks: Canonical texts.

    Raises:
        ValueError: If one is wider than /8 (IPv4) or /16 (IPv6) and is not inside of a block that is not public, or if
            they hold a quarter of the public space of a family.

    Example:
        >>> refuse_everybody(["10.0.0.0/8", "fc00::/7", "203.0.113.0/24"])
        >>> refuse_everybody(["128.0.0.0/1"])
        Traceback (most recent call last):
        ...
        ValueError: the trusted network 128.0.0.0/1 covers public space as a whole: whoever has ...
    """
    held = {4: 0, 6: 0}
    last: IPv4Network | IPv6Network = ip_network("0.0.0.0/32")
    for text in PrefixTrie(networks):
        network = ip_network(text)
        if any(_inside(network, block) for block in _NOT_PUBLIC[network.version]):
            continue
        if network.prefixlen < _SHORTEST[network.version]:
            raise ValueError(f"the trusted network {network} covers public space as a whole: {_ADVICE}")
        # In address order a network comes before those inside of it.
        if network.version == last.version and network.subnet_of(last):  # type: ignore[arg-type]
            continue
        last = network
        held[network.version] += network.num_addresses
    for version, addresses in held.items():
        if addresses * _MOST >= _PUBLIC[version]:
            raise ValueError(f"the trusted networks cover public space as a whole: {_ADVICE}")


def _inside(network: IPv4Network | IPv6Network, block: IPv4Network | IPv6Network) -> bool:
    return network.prefixlen >= block.prefixlen and network.network_address in block


_NOT_PUBLIC: dict[int, list[IPv4Network | IPv6Network]] = {4: [], 6: []}
for _block in SPECIAL_RANGES:
    # The engine reads an IPv4-mapped network as IPv4: what it covers is not special for being written so.
    if _block.globally_reachable is False and not _block.cidr.startswith("::ffff:"):
        _network = ip_network(_block.cidr)
        _NOT_PUBLIC[_network.version].append(_network)
