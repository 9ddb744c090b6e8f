"""Decides which denials get a line in the log, so that a flood of denials cannot fill a disk.

The first denial of an account and an address is written at once. Its repetitions are counted, and one line per window
gives their number. The number of new pairs is limited too, because anyone with a /64 has an unlimited number of
addresses.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["MOST_LINES", "MOST_PAIRS", "RepeatedDenials", "Summary"]

MOST_PAIRS = 1_000
"""The most pairs of account and address that are counted separately at a time."""

MOST_LINES = 1_000
"""The most lines per window for new pairs; all further new pairs are counted together."""

_Record = TypeVar("_Record")


@dataclass(slots=True)
class _Pair(Generic[_Record]):
    """The state of one account and address in the current window."""

    ends: float
    last: _Record
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Summary(Generic[_Record]):
    """A line to be written.

    Attributes:
        record: The denial itself; None if the line stands for denials of many accounts and addresses.
        count: How many denials were counted since the previous line; 0 for a denial that is written at once.
    """

    record: _Record | None
    count: int


class RepeatedDenials(Generic[_Record]):
    """Decides for each denial whether to write it now or to count it. Threads may share an instance.

    `MOST_PAIRS` limits the memory. In each window, `MOST_LINES` limits the lines and the summaries.

    Args:
        window: Seconds between two lines about the same account and address; 0 writes every denial.
        most_lines: The most lines per window for new pairs.
        clock: A function that returns seconds since any fixed time.

    Example:
        >>> now = 0.0
        >>> denials = RepeatedDenials(60.0, clock=lambda: now)
        >>> [(one.record, one.count) for one in denials.add(("acct-1", "9.9.9.9"), "first")]
        [('first', 0)]
        >>> denials.add(("acct-1", "9.9.9.9"), "second")
        []
        >>> now = 60.0
        >>> [(one.record, one.count) for one in denials.add(("acct-1", "8.8.8.8"), "another")]
        [('second', 1), ('another', 0)]
    """

    def __init__(
        self, window: float, *, most_lines: int = MOST_LINES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not 0 <= window < float("inf"):
            raise ValueError(f"a window must be a number of seconds, 0 or more, not {window}")
        self._window = window
        self._most_lines = most_lines
        self._clock = clock
        self._lock = threading.Lock()
        # Ordered by the end of their windows, because all windows have the same length.
        self._pairs: OrderedDict[Hashable, _Pair[_Record]] = OrderedDict()
        self._lines_end = 0.0
        self._lines = 0
        self._dropped = 0
        self._repeating = 0  # pairs with a count that is not yet written

    def add(self, key: Hashable, record: _Record) -> list[Summary[_Record]]:
        """Add a denial.

        Args:
            key: The account and the address.
            record: The content of a line about the denial.

        Returns:
            The lines to be written now, in order.
        """
        if not self._window:
            return [Summary(record, 0)]
        with self._lock:
            now = self._clock()
            ended = self._ended(now)
            known = self._pairs.get(key)
            if known is not None:
                self._repeating += not known.repeated
                known.repeated += 1
                known.last = record
                return ended
            if self._lines >= self._most_lines:
                self._dropped += 1
                return ended
            if len(self._pairs) >= MOST_PAIRS:
                ended += self._summaries(self._pairs.popitem(last=False)[1])
            self._lines += 1
            self._pairs[key] = _Pair(now + self._window, record)
            return [*ended, Summary(record, 0)]

    def due(self) -> list[Summary[_Record]]:
        """Return the lines to be written now, without a new denial."""
        with self._lock:
            return self._ended(self._clock())

    def seconds_left(self) -> float | None:
        """Return the seconds until `due` may return a line; None if every count is written."""
        with self._lock:
            if not self._repeating and not self._dropped:
                return None
            ends = [pair.ends for pair in itertools.islice(self._pairs.values(), 1)]
            if self._dropped:
                ends.append(self._lines_end)
            return max(0.0, min(ends) - self._clock())

    def flush(self) -> list[Summary[_Record]]:
        """Return the lines for all counts that are not yet written, and forget all denials."""
        with self._lock:
            return self._ended(float("inf"))

    def _ended(self, now: float) -> list[Summary[_Record]]:
        """Return the summaries of the windows that have ended. A pair with repetitions gets a new window."""
        found: list[Summary[_Record]] = []
        while self._pairs:
            key, pair = next(iter(self._pairs.items()))
            if pair.ends > now:
                break
            del self._pairs[key]
            if pair.repeated:
                found += self._summaries(pair)
                if now < float("inf"):
                    self._pairs[key] = _Pair(now + self._window, pair.last)
        if now >= self._lines_end:
            if self._dropped:
                found.append(Summary(None, self._dropped))
            self._lines_end = now + self._window if now < float("inf") else 0.0
            self._lines = self._dropped = 0
        return found

    def _summaries(self, pair: _Pair[_Record]) -> list[Summary[_Record]]:
        """Return the line about the repetitions of a denial; an empty list if there were none."""
        if not pair.repeated:
            return []
        self._repeating -= 1
        return [Summary(pair.last, pair.repeated)]
