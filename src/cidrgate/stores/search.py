"""Searches across all accounts: which entries cover or overlap a network, and which account names contain a text.

`WantedNetwork` says what is searched for. Each kind of store has an index for it: PostgreSQL a GiST index on the
networks of entries and trigrams of names, SQLite full-text indexes on both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, NamedTuple

from cidrgate._engine import PrefixTrie

if TYPE_CHECKING:
    from cidrgate.values import Entry

__all__ = ["MOST_FOUND", "SHORTEST_INDEXED", "FoundRow", "WantedNetwork"]

MOST_FOUND = 5_000
"""The most rows that an index returns for one search. If there are more, reading in order finds a page sooner."""

SHORTEST_INDEXED = 3
"""The least number of characters of a text that an index of trigrams can find."""

_OCTET, _GROUP, _DIGIT = 8, 16, 4
_FOUR_DIGITS = 0x1000
"""The least group of an IPv6 address that is written with four digits."""


class FoundRow(NamedTuple):
    """A found entry.

    Attributes:
        entry: The entry.
        subaccounts: The number of subaccounts of its account.
    """

    entry: Entry
    subaccounts: int


@dataclass(frozen=True)
class WantedNetwork:
    """The network for which a search finds entries.

    Attributes:
        cidr: The network, as canonical text.
        overlaps: Whether entries inside of the network are found too, and not only those that cover it.

    Example:
        >>> WantedNetwork("8.0.0.0/7", overlaps=False).covering
        ['0.0.0.0/0', '0.0.0.0/1', '0.0.0.0/2', '0.0.0.0/3', '0.0.0.0/4', '8.0.0.0/5', '8.0.0.0/6', '8.0.0.0/7']
    """

    cidr: str
    overlaps: bool

    @cached_property
    def covering(self) -> list[str]:
        """Every network that covers the wanted one, the widest first, and itself: 129 at most."""
        network = ip_network(self.cidr)
        return [str(network.supernet(new_prefix=length)) for length in range(network.prefixlen + 1)]

    @cached_property
    def _itself(self) -> PrefixTrie[str]:
        return PrefixTrie([self.cidr])

    @cached_property
    def _covering(self) -> frozenset[str]:
        return frozenset(self.covering)

    def finds(self, cidr: str) -> bool:
        """Return whether the search finds entries with a network.

        Example:
            >>> wanted = WantedNetwork("8.8.8.0/24", overlaps=True)
            >>> wanted.finds("8.8.0.0/16"), wanted.finds("8.8.8.8/32"), wanted.finds("8.8.9.0/24")
            (True, True, False)
        """
        return cidr in self._covering or (self.overlaps and bool(self._itself.covering(cidr)))

    @cached_property
    def beginnings_inside(self) -> list[str] | None:
        """Texts with one of which the text of every network inside begins; None if that is no restriction.

        Some networks outside begin like this too: `finds` tells. There are at most 128 texts.

        Example:
            >>> WantedNetwork("8.8.0.0/15", overlaps=True).beginnings_inside
            ['8.8.', '8.9.']
            >>> WantedNetwork("2606:4700::/44", overlaps=True).beginnings_inside
            ['2606:4700:']
            >>> WantedNetwork("2606:4700:120::/44", overlaps=True).beginnings_inside
            ['2606:4700:']
            >>> WantedNetwork("2606:4700:1230::/46", overlaps=True).beginnings_inside
            ['2606:4700:1230', '2606:4700:1231', '2606:4700:1232', '2606:4700:1233']
            >>> WantedNetwork("0.0.0.0/0", overlaps=True).beginnings_inside is None
            True
        """
        network = ip_network(self.cidr)
        if not network.prefixlen:
            return None
        return _of_ipv4(network) if isinstance(network, IPv4Network) else _of_ipv6(network)


def _of_ipv4(network: IPv4Network) -> list[str]:
    octets = str(network.network_address).split(".")
    whole, bits = divmod(network.prefixlen, _OCTET)
    known = "".join(f"{octet}." for octet in octets[:whole])
    if whole == len(octets):
        return [f"{network.network_address}/"]
    if not bits:
        return [known]
    first = int(octets[whole])
    end = "/" if whole == len(octets) - 1 else "."
    return [f"{known}{octet}{end}" for octet in range(first, first + (1 << _OCTET - bits))]


def _of_ipv6(network: IPv6Network) -> list[str] | None:
    groups = [int(group, 16) for group in network.network_address.exploded.split(":")]
    whole, bits = divmod(network.prefixlen, _GROUP)
    found: list[str] = []
    known = ""
    for group in groups[:whole]:
        if not group:
            found.append(known + ("::" if not known else ":"))  # "::" may replace zeros from here on
        known += f"{group:x}:"
    if whole == len(groups):
        return [*found, known[:-1]]
    first = groups[whole]
    if not bits or first < _FOUR_DIGITS:
        return [*found, known] if known else None
    digits, rest = divmod(bits, _DIGIT)
    text = f"{first:04x}"
    if not rest:
        return [*found, known + text[:digits]]
    digit = int(text[digits], 16)
    return [*found, *(f"{known}{text[:digits]}{one:x}" for one in range(digit, digit + (1 << _DIGIT - rest)))]
