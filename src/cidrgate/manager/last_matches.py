"""Which entries let addresses in, noted on the way of a request: as little as can be, to be stored later.

An entry is stored within about a minute of its first match, and again an hour later at the earliest: the time that is
known is never later than the last match, and up to an hour earlier.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LastMatches"]

_AGAIN = 3600.0
"""Seconds after which an entry that goes on matching is stored again."""

_PAIRS_A_TRANSACTION = 5_000
"""How many are stored at once: few enough that other writers get their turn."""


class LastMatches:
    """The entries that matched and are not stored yet. Safe to share between threads.

    Example:
        >>> matches = LastMatches()
        >>> matches.note("acct-1", "8.8.8.0/24")
        >>> matches.note("acct-1", "8.8.8.0/24")
        >>> for some in matches.pending():
        ...     print(some)
        [('acct-1', '8.8.8.0/24')]
        >>> list(matches.pending())
        []
    """

    def __init__(self) -> None:
        self._new: set[tuple[str, str]] = set()
        self._told: set[tuple[str, str]] = set()
        self._tell_again = time.monotonic() + _AGAIN

    def note(self, account: str, cidr: str) -> None:
        """Note that an entry of the list that counts for an account let an address in."""
        pair = (account, cidr)
        if pair not in self._told:
            self._new.add(pair)

    def pending(self) -> Iterator[list[tuple[str, str]]]:
        """What is to be stored, in parts; each counts as stored when the next one is asked for."""
        if time.monotonic() >= self._tell_again:
            self._tell_again = time.monotonic() + _AGAIN
            self._told.clear()
        new = list(self._new)
        for start in range(0, len(new), _PAIRS_A_TRANSACTION):
            some = new[start : start + _PAIRS_A_TRANSACTION]
            yield some
            self._told.update(some)
            self._new.difference_update(some)
