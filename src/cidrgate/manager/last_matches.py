"""Last matches: which entries matched requests. A request only records its match in memory, and it is stored later.

A match is stored within about a minute of an entry's first match, and at the earliest an hour later again. So the
stored time is never later than the last match, and up to an hour earlier.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LastMatches"]

_AGAIN = 3600.0
"""Seconds after which the match of an entry that continues to match is stored again."""

_PAIRS_A_TRANSACTION = 5_000
"""How many matches one transaction stores: few enough that other writers can commit in between."""


class LastMatches:
    """Records the entries whose matches are not stored yet. Threads can share it.

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
        """Record that an entry of an account's effective list matched a request."""
        pair = (account, cidr)
        if pair not in self._told:
            self._new.add(pair)

    @property
    def is_pending(self) -> bool:
        """Whether a match is not stored yet."""
        return bool(self._new)

    def pending(self) -> Iterator[list[tuple[str, str]]]:
        """Yield the matches to store, in parts. A part counts as stored when the caller requests the next one."""
        if time.monotonic() >= self._tell_again:
            self._tell_again = time.monotonic() + _AGAIN
            self._told.clear()
        new = list(self._new)
        for start in range(0, len(new), _PAIRS_A_TRANSACTION):
            some = new[start : start + _PAIRS_A_TRANSACTION]
            yield some
            self._told.update(some)
            self._new.difference_update(some)
