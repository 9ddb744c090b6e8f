"""Limits how much of the internet can be trusted: networks of proxies are small or not public."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from cidrgate._engine import PrefixTrie
from cidrgate.rules.special_ranges import SPECIAL_RANGES

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["refuse_everybody"]

_SHORTEST = {4: 8, 6: 16}
"""The shortest prefix length of a trusted network of public addresses, by IP version."""

_PUBLIC = {4: IPv4Network("0.0.0.0/0").num_addresses, 6: IPv6Network("2000::/3").num_addresses}
"""The size of the public address space, by IP version."""

_MOST = 4
"""All trusted networks of a family together must cover less than the public space divided by this number."""

_ADVICE = (
    "anyone with a trusted address can claim any client address; name the addresses of the proxies, "
    "or use trust_everybody=True (--trust-everybody) if no one but the proxies can reach the server"
)


def refuse_everybody(networks: Iterable[str]) -> None:
    """Raise an error if trusted networks cover too much of the public address space, alone or together.

    Args:
        networks: Canonical texts.

    Raises:
        ValueError: If a network is wider than /8 (IPv4) or /16 (IPv6) and is not inside a block that is not public, or
            if all networks together cover a quarter of the public space of a family.

    Example:
        >>> refuse_everybody(["10.0.0.0/8", "fc00::/7", "203.0.113.0/24"])
        >>> refuse_everybody(["128.0.0.0/1"])
        Traceback (most recent call last):
        ...
        ValueError: the trusted network 128.0.0.0/1 covers too much public address space: anyone with ...
    """
    held = {4: 0, 6: 0}
    last: IPv4Network | IPv6Network = ip_network("0.0.0.0/32")
    for text in PrefixTrie(networks):
        network = ip_network(text)
        if any(_inside(network, block) for block in _NOT_PUBLIC[network.version]):
            continue
        if network.prefixlen < _SHORTEST[network.version]:
            raise ValueError(f"the trusted network {network} covers too much public address space: {_ADVICE}")
        # In address order, a network comes before the networks inside it.
        if network.version == last.version and network.subnet_of(last):  # type: ignore[arg-type]
            continue
        last = network
        held[network.version] += network.num_addresses
    for version, addresses in held.items():
        if addresses * _MOST >= _PUBLIC[version]:
            raise ValueError(f"the trusted networks together cover too much public address space: {_ADVICE}")


def _inside(network: IPv4Network | IPv6Network, block: IPv4Network | IPv6Network) -> bool:
    return network.prefixlen >= block.prefixlen and network.network_address in block


_NOT_PUBLIC: dict[int, list[IPv4Network | IPv6Network]] = {4: [], 6: []}
for _block in SPECIAL_RANGES:
    # The engine reads an IPv4-mapped network as IPv4, so this spelling does not make its addresses special.
    if _block.globally_reachable is False and not _block.cidr.startswith("::ffff:"):
        _network = ip_network(_block.cidr)
        _NOT_PUBLIC[_network.version].append(_network)
