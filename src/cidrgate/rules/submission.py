"""From what a person or a machine submits to its pieces, in their order."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

__all__ = ["split_submission"]


def split_submission(
    cidrs: str | Iterable[str | NewEntry], label: str | None = None, expires_at: datetime | None = None
) -> list[NewEntry]:
    r"""The pieces of a submission.

    Args:
        cidrs: Text with CIDRs separated by commas or newlines, or an iterable of such texts, of `ipaddress` networks
            and of `NewEntry` values. Spaces around a piece do not count, blank pieces are left out.
        label: The label of every piece that brings none.
        expires_at: When every piece ends that brings no such time.

    Returns:
        One `NewEntry` a piece; its ordinal is the position that problems refer to.

    Raises:
        TypeError: An element is none of these.

    Example:
        >>> [piece.cidr for piece in split_submission("8.8.8.0/24, 1.1.1.1/32\n\n9.9.9.0/24")]
        ['8.8.8.0/24', '1.1.1.1/32', '9.9.9.0/24']
    """
    return [
        replace(
            piece,
            cidr=stripped,
            label=label if piece.label is None else piece.label,
            expires_at=expires_at if piece.expires_at is None else piece.expires_at,
        )
        for piece in _elements(cidrs)
        for text in piece.cidr.replace(",", "\n").split("\n")
        if (stripped := text.strip())
    ]


def _elements(cidrs: str | Iterable[str | NewEntry]) -> Iterator[NewEntry]:
    """Every element as a `NewEntry`, not split yet."""
    for element in (cidrs,) if isinstance(cidrs, str | NewEntry) else cidrs:
        if isinstance(element, NewEntry):
            yield element
        elif isinstance(element, str | IPv4Network | IPv6Network):
            yield NewEntry(str(element))
        else:
            raise TypeError(f"an entry is str, NewEntry or an ipaddress network, not {type(element).__name__}")
