"""Splits a submission into its entries, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, TypeAlias, cast

from cidrgate.errors import Problem, RuleError
from cidrgate.rules.limits import beginning_of
from cidrgate.values import Entry, NewEntry, Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from cidrgate.values import EntryDetails

__all__ = ["Piece", "Submission", "no_entry", "split_submission", "too_many_pieces"]


Piece: TypeAlias = Prefix | IPv4Address | IPv6Address | NewEntry | Entry
"""One element of a submission. Text may contain several networks; an address object is its /32 or /128."""

Submission: TypeAlias = Piece | Iterable[Piece]
"""What a caller may submit: one element, or several."""

_NETWORK = (str, IPv4Network, IPv6Network, IPv4Address, IPv6Address)
_ONE = (*_NETWORK, NewEntry, Entry)


def split_submission(cidrs: Submission, *, most: int | None = None, **details: Unpack[EntryDetails]) -> list[NewEntry]:
    r"""Split a submission into its entries.

    Args:
        cidrs: Text with CIDRs separated by commas or newlines, an `ipaddress` object, a `NewEntry` or an `Entry`, or an
            iterable of these. Spaces around an entry are ignored, and empty entries are left out. An `Entry` is
            submitted with its details.
        most: The most entries that are accepted, such as `Policy.most_pieces`; None for any number.
        details: The details of every entry in which they are absent, such as a `label`.

    Returns:
        One `NewEntry` for each entry. Problems refer to its index in this list as the position.

    Raises:
        TypeError: If an element has another type. A mapping is refused too: what its values say would be lost.
        RuleError: With one problem, `limit_reached`, if there are more than `most` entries. The rest is not read.

    Example:
        >>> [piece.cidr for piece in split_submission("8.8.8.0/24, 1.1.1.1/32\n\n9.9.9.0/24")]
        ['8.8.8.0/24', '1.1.1.1/32', '9.9.9.0/24']
    """
    pieces: list[NewEntry] = []
    for element in _elements(cidrs):
        said: EntryDetails = {**details, **element.said()}
        for text in element.cidr.replace(",", "\n").split("\n"):
            stripped = text.strip()
            if not stripped:
                continue
            if len(pieces) == most:
                raise too_many_pieces(stripped, most)
            pieces.append(NewEntry(stripped, **said))
    return pieces


def too_many_pieces(text: str, most: int) -> RuleError:
    """Return the error for a submission with too many entries.

    Args:
        text: The first entry beyond the limit.
        most: The most entries that are accepted.
    """
    hint = f"one submission may have at most {most:,} networks, and this one has more: none of them was checked"
    return RuleError([Problem(code="limit_reached", text=beginning_of(text), position=most, hint=hint)])


def no_entry(element: object) -> TypeError:
    """Return the error for an object that is no entry. For a mapping, it says how to write the details of an entry."""
    wanted = f"an entry must be text, an ipaddress network, a NewEntry or an Entry, not {type(element).__name__}"
    if isinstance(element, Mapping):
        wanted += ": write its details as NewEntry(cidr, label=..., expires_at=..., enabled=...)"
    return TypeError(wanted)


def _elements(cidrs: Submission) -> Iterator[NewEntry]:
    """Return every element as a `NewEntry`, not yet split."""
    for element in _several(cidrs):
        if isinstance(element, NewEntry):
            yield element
        elif isinstance(element, Entry):
            yield NewEntry.of(element)
        elif isinstance(element, _NETWORK):
            yield NewEntry(element)
        else:
            raise no_entry(element)


def _several(cidrs: Submission) -> Iterator[object]:
    """Return the elements of a submission."""
    if isinstance(cidrs, _ONE):
        return iter((cidrs,))
    if isinstance(cidrs, (bytes, bytearray, memoryview, Mapping)):
        raise no_entry(cidrs)
    try:
        return iter(cast("Iterable[object]", cidrs))
    except TypeError:
        raise no_entry(cidrs) from None
