"""How much one submission may ask for, and how much one answer about it says. Every edge meets these limits.

The limits of HTTP are in `cidrgate.service.http.limits`.
"""

from __future__ import annotations

__all__ = [
    "LONGEST_LABEL",
    "LONGEST_PIECE",
    "MOST_CONFLICTS",
    "MOST_PROBLEMS",
    "beginning_of",
    "most_pieces",
    "some_of",
]

LONGEST_PIECE = 200
"""Characters of one piece. The longest network has 49; a range of addresses, which gets a hint, about 100."""

LONGEST_LABEL = 255
"""Characters of a label."""

MOST_PROBLEMS = 1_000
"""Problems that one `RuleError` lists. The rest is counted in `RuleError.more`."""

MOST_CONFLICTS = 100
"""Conflicts that one problem lists. The rest is counted in `Problem.more_conflicts`."""

_PIECES_AN_ENTRY = 10
_FEWEST_PIECES = 100


def most_pieces(max_entries: int) -> int:
    """How many pieces one submission may have: ten times what a list holds, so that every honest slip is told.

    Example:
        >>> most_pieces(50), most_pieces(1), most_pieces(20_000)
        (500, 100, 200000)
    """
    return max(_FEWEST_PIECES, _PIECES_AN_ENTRY * max_entries)


def beginning_of(text: str) -> str:
    """A text as an answer repeats it: whole, or its beginning where it is longer than any piece.

    Example:
        >>> beginning_of("8.8.8.8"), len(beginning_of("8" * 1_000_000))
        ('8.8.8.8', 201)
    """
    return text if len(text) <= LONGEST_PIECE else text[:LONGEST_PIECE] + "…"


def some_of(texts: list[str] | tuple[str, ...], most: int, more: int = 0) -> str:
    """The first few texts as a list for people, with the number of the others.

    Args:
        texts: What is listed.
        most: How many are named.
        more: How many there are besides.

    Example:
        >>> some_of(["a", "b", "c"], 2), some_of(["a"], 2), some_of(["a"], 2, 63_990)
        ('a, b and 1 more', 'a', 'a and 63,990 more')
    """
    left = len(texts) - most if len(texts) > most else 0
    named = ", ".join(texts[:most])
    return f"{named} and {left + more:,} more" if left + more else named
