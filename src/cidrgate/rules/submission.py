"""Splits a submission into its entries, in order."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from cidrgate.errors import Problem, RuleError
from cidrgate.rules.limits import beginning_of
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Unpack

    from cidrgate.values import EntryDetails

__all__ = ["split_submission", "too_many_pieces"]


def split_submission(
    cidrs: str | Iterable[str | NewEntry], *, most: int | None = None, **details: Unpack[EntryDetails]
) -> list[NewEntry]:
    r"""Split a submission into its entries.

    Args:
        cidrs: Text with CIDRs separated by commas or newlines, or an iterable of such texts, `ipaddress` networks and
            `NewEntry` values. Spaces around an entry are ignored, and empty entries are left out.
        most: The most entries that are accepted, such as `Policy.most_pieces`; None for any number.
        details: The details of every entry that has none of its own, such as a `label`.

    Returns:
        One `NewEntry` for each entry. Problems refer to its index in this list as the position.

    Raises:
        TypeError: If an element has another type.
        RuleError: With one problem, `limit_reached`, if there are more than `most` entries. The rest is not read.

    Example:
        >>> [piece.cidr for piece in split_submission("8.8.8.0/24, 1.1.1.1/32\n\n9.9.9.0/24")]
        ['8.8.8.0/24', '1.1.1.1/32', '9.9.9.0/24']
    """
    pieces: list[NewEntry] = []
    for element in _elements(cidrs):
        for text in element.cidr.replace(",", "\n").split("\n"):
            stripped = text.strip()
            if not stripped:
                continue
            if len(pieces) == most:
                raise too_many_pieces(stripped, most)
            pieces.append(replace(element, cidr=stripped, **(details | element.said())))
    return pieces


def too_many_pieces(text: str, most: int) -> RuleError:
    """Return the error for a submission with too many entries.

    Args:
        text: The first entry beyond the limit.
        most: The most entries that are accepted.
    """
    hint = f"one submission may have at most {most:,} networks, and this one has more: none of them was checked"
    return RuleError([Problem("limit_reached", beginning_of(text), most, hint=hint)])


def _elements(cidrs: str | Iterable[str | NewEntry]) -> Iterator[NewEntry]:
    """Return every element as a `NewEntry`, not yet split."""
    for element in (cidrs,) if isinstance(cidrs, str | NewEntry) else cidrs:
        if isinstance(element, NewEntry):
            yield element
        elif isinstance(element, str | IPv4Network | IPv6Network):
            yield NewEntry(str(element))
        else:
            raise TypeError(f"an entry must be a str, a NewEntry or an ipaddress network, not {type(element).__name__}")
