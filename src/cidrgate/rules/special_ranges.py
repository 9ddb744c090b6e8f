"""The special-purpose address blocks. No other module knows them.

The table contains the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190) as of October 2025
(the IPv6 registry has the date 2025-10-09). It also contains the multicast blocks, which have separate registries
(RFC 5771, RFC 4291). The pages are https://www.iana.org/assignments/iana-ipv4-special-registry/ and
https://www.iana.org/assignments/iana-ipv6-special-registry/.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from cidrgate._engine import PrefixTrie

__all__ = ["IPV4_MAPPED", "SPECIAL_RANGES", "SpecialRange", "special_block", "special_blocks", "special_networks"]


@dataclass(frozen=True, slots=True)
class SpecialRange:
    """One block of the registries.

    Attributes:
        cidr: The block.
        name: Its name in the registry.
        rfc: The document that defines it.
        globally_reachable: The registered value; None if the registry says that it does not apply.
    """

    cidr: str
    name: str
    rfc: str
    globally_reachable: bool | None


IPV4_MAPPED = SpecialRange("::ffff:0:0/96", "IPv4-mapped Address", "RFC 4291", globally_reachable=False)

# (block, name, RFC, globally reachable)
_REGISTRY: tuple[tuple[str, str, str, bool | None], ...] = (
    ("0.0.0.0/8", "This network", "RFC 791", False),
    ("0.0.0.0/32", "This host on this network", "RFC 1122", False),
    ("10.0.0.0/8", "Private-Use", "RFC 1918", False),
    ("100.64.0.0/10", "Shared Address Space", "RFC 6598", False),
    ("127.0.0.0/8", "Loopback", "RFC 1122", False),
    ("169.254.0.0/16", "Link Local", "RFC 3927", False),
    ("172.16.0.0/12", "Private-Use", "RFC 1918", False),
    ("192.0.0.0/24", "IETF Protocol Assignments", "RFC 6890", False),
    ("192.0.0.0/29", "IPv4 Service Continuity Prefix", "RFC 7335", False),
    ("192.0.0.8/32", "IPv4 dummy address", "RFC 7600", False),
    ("192.0.0.9/32", "Port Control Protocol Anycast", "RFC 7723", True),
    ("192.0.0.10/32", "Traversal Using Relays around NAT Anycast", "RFC 8155", True),
    ("192.0.0.170/32", "NAT64/DNS64 Discovery", "RFC 8880", False),
    ("192.0.0.171/32", "NAT64/DNS64 Discovery", "RFC 8880", False),
    ("192.0.2.0/24", "Documentation (TEST-NET-1)", "RFC 5737", False),
    ("192.31.196.0/24", "AS112-v4", "RFC 7535", True),
    ("192.52.193.0/24", "AMT", "RFC 7450", True),
    ("192.88.99.0/24", "Deprecated (6to4 Relay Anycast)", "RFC 7526", None),
    ("192.88.99.2/32", "6a44-relay anycast address", "RFC 6751", False),
    ("192.168.0.0/16", "Private-Use", "RFC 1918", False),
    ("192.175.48.0/24", "Direct Delegation AS112 Service", "RFC 7534", True),
    ("198.18.0.0/15", "Benchmarking", "RFC 2544", False),
    ("198.51.100.0/24", "Documentation (TEST-NET-2)", "RFC 5737", False),
    ("203.0.113.0/24", "Documentation (TEST-NET-3)", "RFC 5737", False),
    ("224.0.0.0/4", "Multicast", "RFC 5771", False),
    ("240.0.0.0/4", "Reserved", "RFC 1112", False),
    ("255.255.255.255/32", "Limited Broadcast", "RFC 8190", False),
    ("::/128", "Unspecified Address", "RFC 4291", False),
    ("::1/128", "Loopback Address", "RFC 4291", False),
    ("64:ff9b::/96", "IPv4-IPv6 Translation", "RFC 6052", True),
    ("64:ff9b:1::/48", "IPv4-IPv6 Translation", "RFC 8215", False),
    ("100::/64", "Discard-Only Address Block", "RFC 6666", False),
    ("100:0:0:1::/64", "Dummy IPv6 Prefix", "RFC 9780", False),
    ("2001::/23", "IETF Protocol Assignments", "RFC 2928", False),
    ("2001::/32", "TEREDO", "RFC 4380", None),
    ("2001:1::1/128", "Port Control Protocol Anycast", "RFC 7723", True),
    ("2001:1::2/128", "Traversal Using Relays around NAT Anycast", "RFC 8155", True),
    ("2001:1::3/128", "DNS-SD Service Registration Protocol Anycast", "RFC 9665", True),
    ("2001:2::/48", "Benchmarking", "RFC 5180", False),
    ("2001:3::/32", "AMT", "RFC 7450", True),
    ("2001:4:112::/48", "AS112-v6", "RFC 7535", True),
    ("2001:10::/28", "Deprecated (previously ORCHID)", "RFC 4843", None),
    ("2001:20::/28", "ORCHIDv2", "RFC 7343", True),
    ("2001:30::/28", "Drone Remote ID Protocol Entity Tags (DETs) Prefix", "RFC 9374", True),
    ("2001:db8::/32", "Documentation", "RFC 3849", False),
    ("2002::/16", "6to4", "RFC 3056", None),
    ("2620:4f:8000::/48", "Direct Delegation AS112 Service", "RFC 7534", True),
    ("3fff::/20", "Documentation", "RFC 9637", False),
    ("5f00::/16", "Segment Routing (SRv6) SIDs", "RFC 9602", False),
    ("fc00::/7", "Unique-Local", "RFC 4193", False),
    ("fe80::/10", "Link-Local Unicast", "RFC 4291", False),
    ("ff00::/8", "Multicast", "RFC 4291", False),
)

SPECIAL_RANGES: tuple[SpecialRange, ...] = (*(SpecialRange(*row) for row in _REGISTRY), IPV4_MAPPED)

# The engine reads an IPv4-mapped prefix as IPv4, so this block is compared separately.
_BY_CIDR = {block.cidr: block for block in SPECIAL_RANGES if block is not IPV4_MAPPED}
_BLOCKS = PrefixTrie(_BY_CIDR)
_MAPPED_NETWORK = IPv6Network(IPV4_MAPPED.cidr)


def special_blocks(cidr: str) -> tuple[SpecialRange, ...]:
    """Return the blocks that make a network special.

    An address is special if the most specific block that contains it is not globally reachable. A network is special if
    it contains a special address.

    Args:
        cidr: Canonical text of a network.

    Returns:
        The most specific block around the network, if this block is not globally reachable and if it is the most
        specific block of some address of the network. Otherwise every block inside the network that is not globally
        reachable. Empty for a network that may be listed.

    Raises:
        InvalidAddressError: If the text is not a network.

    Example:
        >>> [block.name for block in special_blocks("10.1.0.0/16")]
        ['Private-Use']
        >>> special_blocks("192.0.0.9/32"), special_blocks("8.8.8.0/24")
        ((), ())
        >>> [block.cidr for block in special_blocks("192.0.0.0/14")]
        ['192.0.0.0/24', '192.0.0.0/29', '192.0.0.8/32', '192.0.0.170/32', '192.0.0.171/32', '192.0.2.0/24']
    """
    around = _BLOCKS.covering(cidr)
    inside = _BLOCKS.covered(cidr)
    if around:
        innermost = _BY_CIDR[around[-1]]
        if not innermost.globally_reachable and not _tiled(cidr, around[-1], inside):
            return (innermost,)
    found = [block for text in inside if not (block := _BY_CIDR[text]).globally_reachable]
    if ":" in cidr and _MAPPED_NETWORK.overlaps(IPv6Network(cidr)):
        found.append(IPV4_MAPPED)
    return tuple(found)


def special_block(cidr: str) -> SpecialRange | None:
    """Return the block that a message names for a special network: the first of `special_blocks`.

    Args:
        cidr: Canonical text of a network.

    Returns:
        The block, or None for a network that may be listed.

    Raises:
        InvalidAddressError: If the text is not a network.

    Example:
        >>> special_block("10.1.0.0/16").rfc
        'RFC 1918'
        >>> special_block("2001:20::/27") is None
        True
    """
    return next(iter(special_blocks(cidr)), None)


@cache
def special_networks() -> tuple[str, ...]:
    """Return the special addresses as networks that do not overlap: a network is special if it overlaps one of them.

    `IPV4_MAPPED` is not among them, because the engine reads it as IPv4.

    Example:
        >>> [cidr for cidr in special_networks() if cidr.startswith("192.0.0.")][:3]
        ['192.0.0.0/29', '192.0.0.8/32', '192.0.0.11/32']
    """
    parts: list[IPv4Network | IPv6Network] = []
    for cidr, block in _BY_CIDR.items():
        if not block.globally_reachable:
            rest = [ip_network(cidr)]
            for text in _BLOCKS.covered(cidr):
                if _BY_CIDR[text].globally_reachable:
                    rest = _without(rest, ip_network(text))
            parts += rest
    ipv4 = collapse_addresses(part for part in parts if isinstance(part, IPv4Network))
    ipv6 = collapse_addresses(part for part in parts if isinstance(part, IPv6Network))
    return tuple(str(network) for network in (*ipv4, *ipv6))


def _without(
    networks: list[IPv4Network | IPv6Network], hole: IPv4Network | IPv6Network
) -> list[IPv4Network | IPv6Network]:
    """Return disjoint networks without the addresses of one network inside of one of them."""
    left: list[IPv4Network | IPv6Network] = []
    for network in networks:
        if not hole.subnet_of(network):  # type: ignore[arg-type]
            left.append(network)
        elif hole != network:
            left += network.address_exclude(hole)  # type: ignore[arg-type]
    return left


def _tiled(cidr: str, outer: str, inside: list[str]) -> bool:
    """Return whether the blocks right below `outer` cover a whole network, as two blocks cover 2001:20::/27."""
    tiles = [text for text in inside if _BLOCKS.covering(text)[:-1][-1:] == [outer]]
    return sum(ip_network(text).num_addresses for text in tiles) == ip_network(cidr).num_addresses
