"""Networks as people read them: the prefix length, the mask, the number of addresses. Functions on canonical CIDRs."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network

__all__ = ["addresses_covered", "address_count", "prefix_length", "subnet_mask"]

_MOST_BITS_AS_DIGITS = 32


def prefix_length(cidr: str) -> int:
    """Return the length of a prefix.

    Example:
        >>> prefix_length("8.8.8.0/24")
        24
    """
    return int(cidr.rpartition("/")[2])


def subnet_mask(cidr: str) -> str:
    """Return the mask as people write it: dotted for IPv4, the length after a slash for IPv6.

    Example:
        >>> subnet_mask("8.8.8.0/22"), subnet_mask("2606:4700::1/128")
        ('255.255.252.0', '/128')
    """
    network = ip_network(cidr)
    return str(network.netmask) if isinstance(network, IPv4Network) else f"/{network.prefixlen}"


def address_count(cidr: str) -> int:
    """Return how many addresses a network contains.

    Example:
        >>> address_count("8.8.8.0/24")
        256
    """
    return ip_network(cidr).num_addresses


def addresses_covered(cidr: str) -> str:
    """Return the number of addresses in a network as text: grouped digits, or a power of two for large networks.

    Example:
        >>> addresses_covered("8.8.0.0/16"), addresses_covered("2606:4700::/32")
        ('65,536', '2^96')
    """
    count = address_count(cidr)
    bits = count.bit_length() - 1
    return f"{count:,}" if bits <= _MOST_BITS_AS_DIGITS else f"2^{bits}"
