"""The notations in which people write networks, and the CIDRs that they mean.

Only what has one meaning is read. Numbers with leading zeros, three numbers (`1.2.3`), netmasks with holes, ranges that
end before they begin, and zone ids mean different things to different programs; they have no meaning here. Nor have
networks around an IPv4-mapped address, and ranges with one IPv4-mapped end that are no network: networks of IPv6
contain no IPv4 address.
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import IPv4Network, ip_address
from socket import AF_INET6, inet_aton, inet_ntoa, inet_ntop
from typing import TYPE_CHECKING, NamedTuple

from cidrgate._engine import canonical_prefix
from cidrgate.rules.limits import LONGEST_PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address, IPv6Address

__all__ = [
    "Meaning",
    "Notation",
    "address_of",
    "cidr_of",
    "has_leading_zeros",
    "has_one_mapped_end",
    "ipv4_in_ipv6",
    "meaning_of",
]

_EDGES = "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\x00"
_UNSEEN_AT_THE_ENDS = re.compile(rf"\A[\s{_EDGES}]+|[\s{_EDGES}]+\Z")
"""Spaces and characters without width, which are copied from pages and documents together with a network."""

# Possessive quantifiers, and no match starts inside text that another attempt has read: linear time for every input.
_LEADING_ZERO_OCTET = re.compile(r"\.0\d|(?<![\da-fA-Fx])0\d++\.")
_WILDCARD = re.compile(r"(\d++(?:\.\d++){0,2})((?:\.\*)++)")
_ADDRESS = re.compile(r"[0-9a-fA-F.:]++")
_WITH_LENGTH = re.compile(r"([0-9a-fA-F.:]++)\s*+/\s*+([0-9]{1,4})")
_WITH_MASK = re.compile(r"([0-9.]++)(?:\s*+/\s*+|\s++(?:(?:net)?mask\s++)?)([0-9.]++)", re.IGNORECASE)
_RANGE = re.compile(r"([0-9a-fA-F.:]++)(?:\s*+[-\u2010-\u2015\u2212]\s*+|\s++to\s++)([0-9a-fA-F.:]++)", re.IGNORECASE)
_LAST_OCTET = re.compile(r"0|[1-9][0-9]{0,2}")


# As a netmask 0.0.0.0 is every address, and as a wildcard mask it is a single one.
_LENGTH_OF_MASK = {str(IPv4Network((0, length)).netmask): length for length in range(1, 33)} | {
    str(IPv4Network((0, length)).hostmask): length for length in range(1, 32)
}
"""The length that each netmask and wildcard mask means."""

_MAPPED = range(0xFFFF << 32, (0xFFFF + 1) << 32)
"""The IPv4-mapped addresses, as numbers."""
_MAPPED_LENGTH = 96
"""The length of their network."""


class Notation(StrEnum):
    """How a network was written."""

    CANONICAL = "canonical"
    SPELLING = "spelling"
    ADDRESS = "address"
    HOST_BITS = "host_bits"
    NETMASK = "netmask"
    WILDCARD = "wildcard"
    RANGE = "range"


class Meaning(NamedTuple):
    """What a text means.

    Attributes:
        notation: How it is written.
        networks: The canonical CIDRs: one, or for a range those that make it up, in address order.
    """

    notation: Notation
    networks: tuple[str, ...]


def meaning_of(text: str) -> Meaning | None:
    """Return the CIDRs that a text means, or None if it has no meaning or more than one.

    Spaces and invisible characters at the ends are ignored.

    Example:
        >>> meaning_of("9.9.9.0 255.255.255.0").networks, meaning_of("10.0.0.*").networks
        (('9.9.9.0/24',), ('10.0.0.0/24',))
        >>> meaning_of("8.8.8.1-8.8.8.3").networks
        ('8.8.8.1/32', '8.8.8.2/31')
        >>> meaning_of("1.2.3"), meaning_of("8.8.8.0/255.0.255.0"), meaning_of("010.0.0.1")
        (None, None, None)
    """
    if len(text) > LONGEST_PIECE:
        return None
    if "/" in text:
        cidr = _canonical(text)
        if cidr is not None:
            return Meaning(Notation.CANONICAL if cidr == text else Notation.SPELLING, (cidr,))
    elif _ADDRESS.fullmatch(text):
        single = _canonical(f"{text}/{128 if ':' in text else 32}")
        return None if single is None else Meaning(Notation.ADDRESS, (single,))
    written = _UNSEEN_AT_THE_ENDS.sub("", text)
    return None if has_leading_zeros(written) else _read(written)


def has_leading_zeros(text: str) -> bool:
    """Return whether a number of an IPv4 address has a leading zero: some programs read it as octal."""
    return _LEADING_ZERO_OCTET.search(text.partition("/")[0]) is not None


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return a text as an address without a zone id, or None if it is not one."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def ipv4_in_ipv6(address: str, length: int) -> IPv4Address | None:
    """Return the address that is written as IPv4-mapped with the length of a larger network, which does not contain it.

    Example:
        >>> ipv4_in_ipv6("::ffff:8.8.8.8", 24)
        IPv4Address('8.8.8.8')
        >>> ipv4_in_ipv6("::ffff:8.8.8.8", 96), ipv4_in_ipv6("8.8.8.8", 24)
        (None, None)
    """
    found = address_of(address)
    return found.ipv4_mapped if found is not None and found.version == 6 and length < _MAPPED_LENGTH else None


def cidr_of(version: int, first: int, length: int) -> str:
    """Return the canonical CIDR of a network in numbers.

    Example:
        >>> cidr_of(4, 8 << 24, 8), cidr_of(6, 0x26064700 << 96, 32)
        ('8.0.0.0/8', '2606:4700::/32')
    """
    if version == 4:
        return f"{inet_ntoa(first.to_bytes(4))}/{length}"
    return canonical_prefix(f"{inet_ntop(AF_INET6, first.to_bytes(16))}/{length}")


def _canonical(text: str) -> str | None:
    try:
        return canonical_prefix(text)
    except ValueError:
        return None


def _numbers(address: str) -> tuple[int, int] | None:
    """Return the version and the number of an address. An IPv4-mapped one is IPv6: its length counts 128 bits."""
    if ":" in address:
        found = address_of(address)
        return None if found is None else (found.version, int(found))
    single = _canonical(f"{address}/32")
    return None if single is None else (4, int.from_bytes(inet_aton(single[:-3])))


def _read(text: str) -> Meaning | None:
    if found := _ADDRESS.fullmatch(text):
        single = _canonical(f"{text}/{128 if ':' in text else 32}")
        return None if single is None else Meaning(Notation.ADDRESS, (single,))
    if found := _WITH_LENGTH.fullmatch(text):
        return _with_length(found[1], found[2])
    if found := _WITH_MASK.fullmatch(text):
        length = _LENGTH_OF_MASK.get(found[2])
        network = None if length is None else _around(found[1], length)
        return None if network is None else Meaning(Notation.NETMASK, (network,))
    if found := _WILDCARD.fullmatch(text):
        return _with_wildcards(found[1].split("."), found[2].count("*"))
    if found := _RANGE.fullmatch(text):
        return _range(found[1], found[2])
    return None


def _around(address: str, length: int) -> str | None:
    """Return the network of a length around an address, or None if they do not fit."""
    found = _numbers(address)
    bits = 32 if found is not None and found[0] == 4 else 128
    if found is None or length > bits:
        return None
    host_bits = bits - length
    return cidr_of(found[0], found[1] >> host_bits << host_bits, length)


def _with_length(address: str, digits: str) -> Meaning | None:
    if digits != "0" and digits.startswith("0"):  # /010 is 8 in octal
        return None
    exact = _canonical(f"{address}/{digits}")  # without the spaces
    if exact is not None:
        return Meaning(Notation.SPELLING, (exact,))
    around = None if ipv4_in_ipv6(address, int(digits)) is not None else _around(address, int(digits))
    return None if around is None else Meaning(Notation.HOST_BITS, (around,))


def _with_wildcards(known: list[str], stars: int) -> Meaning | None:
    if len(known) + stars > 4:
        return None
    # `10.*` leaves out the other stars, as firewalls print it.
    cidr = _canonical(".".join(known + ["0"] * (4 - len(known))) + f"/{8 * len(known)}")
    return None if cidr is None else Meaning(Notation.WILDCARD, (cidr,))


def _range(first: str, last: str) -> Meaning | None:
    if "." in first and _LAST_OCTET.fullmatch(last):
        last = f"{first.rpartition('.')[0]}.{last}"
    low, high = _numbers(first), _numbers(last)
    if low is None or high is None or low[0] != high[0] or low > high:
        return None
    if low[0] == 6 and has_one_mapped_end(low[1], high[1]):
        return None
    return Meaning(Notation.RANGE, tuple(_summary(low[0], low[1], high[1])))


def has_one_mapped_end(low: int, high: int) -> bool:
    """Return whether one end of a range of IPv6 is IPv4-mapped, and the range is no network, such as `::/80`."""
    size = high - low + 1
    is_network = size & (size - 1) == 0 and low % size == 0
    return (low in _MAPPED) is not (high in _MAPPED) and not is_network


def _summary(version: int, low: int, high: int) -> Iterator[str]:
    """Yield the fewest networks that make up a range: at each step the largest that begins there and fits.

    A range of IPv6 around the IPv4-mapped addresses contains no IPv4 address, as a network around them does not.
    """
    bits = 32 if version == 4 else 128
    around = version == 6 and low not in _MAPPED
    while low <= high:
        fits = (high - low + 1).bit_length() - 1
        host_bits = min(fits, (low & -low).bit_length() - 1) if low else fits
        if not (around and low in _MAPPED):
            yield cidr_of(version, low, bits - host_bits)
        low += 1 << host_bits
