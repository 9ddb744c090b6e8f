"""Which entries of a list its page shows: those that a search finds, one page of them at a time."""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, Self

from cidrgate.rules.notations import meaning_of
from cidrgate.values import Entry

__all__ = ["A_PAGE", "ListPage", "found_entries"]

A_PAGE: Final = 100
"""The most entries of a page."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page of the entries that a search finds.

    Attributes:
        entries: The entries of the page, in address order.
        number: The number of the page, from 1.
        last: The number of the last page.
        found: The number of entries of all pages.
    """

    entries: Sequence[Entry]
    number: int
    last: int
    found: int

    @classmethod
    def of(cls, found: Sequence[Entry], number: int) -> Self:
        """Return a page by its number, or the last page if there are not so many.

        Args:
            found: The entries of all pages, in address order.
            number: The number of the page, from 1.

        Example:
            >>> ListPage.of([], 7)
            ListPage(entries=[], number=1, last=1, found=0)
        """
        last = max(1, -(-len(found) // A_PAGE))
        number = min(number, last)
        return cls(found[(number - 1) * A_PAGE : number * A_PAGE], number, last, len(found))

    @classmethod
    def around(cls, found: Sequence[Entry], places: Collection[Entry]) -> Self:
        """Return the page with the first of some entries, or with the place at which it was.

        Args:
            found: The entries of all pages, in address order.
            places: The entries; at least one.
        """
        first = bisect_left(found, min(map(_place, places)), key=_place)
        return cls.of(found, first // A_PAGE + 1)

    @property
    def first(self) -> int:
        """The position of the first entry of the page among all, from 1."""
        return (self.number - 1) * A_PAGE + 1


def found_entries(entries: Sequence[Entry], sought: str) -> Sequence[Entry]:
    """Return the entries that a person looks for, in the same order.

    Args:
        entries: The entries.
        sought: An address, a network or a range: the entries that contain a part of it. Other text: the entries whose
            CIDRs begin with it. Also the entries whose labels contain the text, in upper or lower case.
    """
    if not sought:
        return entries
    meaning = meaning_of(sought)
    networks = [] if meaning is None else [ip_network(cidr) for cidr in meaning.networks]
    text = sought.casefold()

    def fits(entry: Entry) -> bool:
        if text in (entry.label or "").casefold():
            return True
        if not networks:
            return entry.cidr.startswith(text)
        network = entry.network
        return any(one.version == network.version and one.overlaps(network) for one in networks)

    return [entry for entry in entries if fits(entry)]


def _place(entry: Entry) -> tuple[int, int, int]:
    """Return what entries are sorted by in address order."""
    network = entry.network
    return network.version, int(network.network_address), network.prefixlen
