"""The notations in which people write networks, and the CIDRs that they mean.

Only what has one meaning is read. Numbers with leading zeros, three numbers (`1.2.3`), netmasks with holes, ranges that
end before they begin, and zone ids mean different things to different programs; they have no meaning here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range
from typing import TYPE_CHECKING

from cidrgate._engine import canonical_prefix
from cidrgate.rules.limits import LONGEST_PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network, IPv6Network

__all__ = ["Meaning", "Notation", "address_of", "has_leading_zeros", "meaning_of"]

_EDGES = "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\x00"
_UNSEEN_AT_THE_ENDS = re.compile(rf"\A[\s{_EDGES}]+|[\s{_EDGES}]+\Z")
"""Spaces and characters without width, which are copied from pages and documents together with a network."""

# Possessive quantifiers, and no match starts inside text that another attempt has read: linear time for every input.
_LEADING_ZERO_OCTET = re.compile(r"\.0\d|(?<![\da-fA-Fx])0\d++\.")
_WILDCARD = re.compile(r"(\d++(?:\.\d++){0,2})((?:\.\*)++)")
_WITH_LENGTH = re.compile(r"([0-9a-fA-F.:]++)\s*+/\s*+([0-9]{1,4})")
_WITH_MASK = re.compile(r"([0-9.]++)(?:\s*+/\s*+|\s++(?:(?:net)?mask\s++)?)([0-9.]++)", re.IGNORECASE)
_RANGE = re.compile(r"([0-9a-fA-F.:]++)(?:\s*+[-\u2010-\u2015\u2212]\s*+|\s++to\s++)([0-9a-fA-F.:]++)", re.IGNORECASE)
_LAST_OCTET = re.compile(r"0|[1-9][0-9]{0,2}")


class Notation(StrEnum):
    """How a network was written."""

    CANONICAL = "canonical"
    SPELLING = "spelling"
    ADDRESS = "address"
    HOST_BITS = "host_bits"
    NETMASK = "netmask"
    WILDCARD = "wildcard"
    RANGE = "range"


@dataclass(frozen=True, slots=True)
class Meaning:
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
    try:
        cidr = canonical_prefix(text)
    except ValueError:
        written = _UNSEEN_AT_THE_ENDS.sub("", text)
        return None if has_leading_zeros(written) else _read(written)
    return Meaning(Notation.CANONICAL if cidr == text else Notation.SPELLING, (cidr,))


def has_leading_zeros(text: str) -> bool:
    """Return whether a number of an IPv4 address has a leading zero: some programs read it as octal."""
    return _LEADING_ZERO_OCTET.search(text.partition("/")[0]) is not None


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return a text as an address without a zone id, or None if it is not one."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def _read(text: str) -> Meaning | None:
    if address_of(text) is not None:
        return _meaning(Notation.ADDRESS, text)
    if found := _WITH_LENGTH.fullmatch(text):
        return _with_length(found[1], found[2])
    if found := _WITH_MASK.fullmatch(text):
        return _with_mask(found[1], found[2])
    if found := _WILDCARD.fullmatch(text):
        return _with_wildcards(found[1].split("."), found[2].count("*"))
    if found := _RANGE.fullmatch(text):
        return _range(found[1], found[2])
    return None


def _meaning(notation: Notation, text: str, *, strict: bool = True) -> Meaning | None:
    try:
        return Meaning(notation, (canonical_prefix(str(ip_network(text, strict=strict))),))
    except ValueError:
        return None


def _with_length(address: str, length: str) -> Meaning | None:
    written = f"{address}/{length.lstrip('0') or '0'}"
    exact = _meaning(Notation.SPELLING, written)
    return exact or _meaning(Notation.HOST_BITS, written, strict=False)


def _with_mask(address: str, mask: str) -> Meaning | None:
    bits = address_of(mask)
    # As a netmask 0.0.0.0 is every address, and as a wildcard mask it is a single one.
    if not isinstance(bits, IPv4Address) or not int(bits) or has_leading_zeros(mask):
        return None
    # `ip_network` reads a mask of either kind; holes in it are an error there.
    return _meaning(Notation.NETMASK, f"{address}/{mask}", strict=False)


def _with_wildcards(known: list[str], stars: int) -> Meaning | None:
    if len(known) + stars > 4:
        return None
    # `10.*` leaves out the other stars, as firewalls print it.
    return _meaning(Notation.WILDCARD, ".".join(known + ["0"] * (4 - len(known))) + f"/{8 * len(known)}")


def _range(first: str, last: str) -> Meaning | None:
    if "." in first and _LAST_OCTET.fullmatch(last):
        last = f"{first.rpartition('.')[0]}.{last}"
    summary: Iterator[IPv4Network] | Iterator[IPv6Network]
    match address_of(first), address_of(last):
        case IPv4Address() as low, IPv4Address() as high if low <= high:
            summary = summarize_address_range(low, high)
        case IPv6Address() as low, IPv6Address() as high if low <= high:
            summary = summarize_address_range(low, high)
        case _:
            return None
    return Meaning(Notation.RANGE, tuple(canonical_prefix(str(network)) for network in summary))
