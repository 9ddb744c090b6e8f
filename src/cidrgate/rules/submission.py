"""From what a person or a machine submits to its pieces, in their order."""

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
    r"""The pieces of a submission.

    Args:
        cidrs: Text with CIDRs separated by commas or newlines, or an iterable of such texts, of `ipaddress` networks
            and of `NewEntry` values. Spaces around a piece do not count, blank pieces are left out.
        most: How many pieces there may be, such as `Policy.most_pieces`; None for any number.
        details: Of every piece that brings none of its own, such as a `label`.

    Returns:
        One `NewEntry` a piece; its ordinal is the position that problems refer to.

    Raises:
        TypeError: An element is none of these.
        RuleError: With one problem, `limit_reached`, if there are more pieces than `most`. The rest is not read.

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
    """The error for a submission with more pieces than are read.

    Args:
        text: The first piece that is one too many.
        most: How many there may be.
    """
    hint = f"one submission may have {most:,} networks, and this one has more: none of them was looked at"
    return RuleError([Problem("limit_reached", beginning_of(text), most, hint=hint)])


def _elements(cidrs: str | Iterable[str | NewEntry]) -> Iterator[NewEntry]:
    """Every element as a `NewEntry`, not split yet."""
    for element in (cidrs,) if isinstance(cidrs, str | NewEntry) else cidrs:
        if isinstance(element, NewEntry):
            yield element
        elif isinstance(element, str | IPv4Network | IPv6Network):
            yield NewEntry(str(element))
        else:
            raise TypeError(f"an entry is str, NewEntry or an ipaddress network, not {type(element).__name__}")
