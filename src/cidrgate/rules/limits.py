"""Limits on the size of one submission and of its error report. They apply at every edge.

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
"""The longest submitted entry in characters. The longest CIDR has 49. A range, which gets a hint, has about 100."""

LONGEST_LABEL = 255
"""The longest label, and the longest name of an actor, in characters."""

MOST_PROBLEMS = 1_000
"""The most problems that one `RuleError` lists. `RuleError.more` counts the rest."""

MOST_CONFLICTS = 100
"""The most conflicts that one problem lists. `Problem.more_conflicts` counts the rest."""

_PIECES_AN_ENTRY = 10
_FEWEST_PIECES = 100


def most_pieces(max_entries: int) -> int:
    """Return the most entries of one submission: ten times the limit of a list, so honest mistakes are all reported.

    Example:
        >>> most_pieces(50), most_pieces(1), most_pieces(20_000)
        (500, 100, 200000)
    """
    return max(_FEWEST_PIECES, _PIECES_AN_ENTRY * max_entries)


def beginning_of(text: str) -> str:
    """Return a text as an error quotes it: whole, or only its beginning if it is longer than `LONGEST_PIECE`.

    Example:
        >>> beginning_of("8.8.8.8"), len(beginning_of("8" * 1_000_000))
        ('8.8.8.8', 201)
    """
    return text if len(text) <= LONGEST_PIECE else text[:LONGEST_PIECE] + "…"


def some_of(texts: list[str] | tuple[str, ...], most: int, more: int = 0) -> str:
    """Return the first few texts as a list for people, with the number of the others.

    Args:
        texts: The texts.
        most: The most texts to name.
        more: How many further texts exist that are not in `texts`.

    Example:
        >>> some_of(["a", "b", "c"], 2), some_of(["a"], 2), some_of(["a"], 2, 63_990)
        ('a, b and 1 more', 'a', 'a and 63,990 more')
    """
    left = len(texts) - most if len(texts) > most else 0
    named = ", ".join(texts[:most])
    return f"{named} and {left + more:,} more" if left + more else named
