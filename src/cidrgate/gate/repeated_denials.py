"""Which denials are worth a line of the log: a flood of them must not fill a disk.

The first denial of one account and address is written at once, and those that repeat it are counted: one line a window
says how many there were. New pairs are bounded too, as whoever has a /64 has as many addresses as they like.
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
"""Pairs of account and address that are told apart at once."""

MOST_LINES = 1_000
"""Lines a window for pairs that were not seen in it; what is beyond is counted together."""

_Record = TypeVar("_Record")


@dataclass(slots=True)
class _Pair(Generic[_Record]):
    """What is known of one account and address in this window."""

    ends: float
    last: _Record
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Summary(Generic[_Record]):
    """What is to be written.

    Attributes:
        record: The denial itself; None where it stands for many of different accounts and addresses.
        count: How many denials were not written since the line before; 0 for one that is written at once.
    """

    record: _Record | None
    count: int


class RepeatedDenials(Generic[_Record]):
    """Sorts denials into those to be written now and those to be counted. Safe to share between threads.

    Memory is bounded by `MOST_PAIRS`, lines by `MOST_LINES` and as many summaries a window.

    Args:
        window: Seconds between two lines about the same account and address; 0 writes every denial.
        clock: Seconds from any start.

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

    def __init__(self, window: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not 0 <= window < float("inf"):
            raise ValueError(f"a window is a number of seconds, 0 or more, not {window}")
        self._window = window
        self._clock = clock
        self._lock = threading.Lock()
        # In the order in which their windows end, as all are equally long.
        self._pairs: OrderedDict[Hashable, _Pair[_Record]] = OrderedDict()
        self._lines_end = 0.0
        self._lines = 0
        self._dropped = 0
        self._repeating = 0  # pairs with something to be written

    def add(self, key: Hashable, record: _Record) -> list[Summary[_Record]]:
        """Take note of a denial.

        Args:
            key: The account and the address.
            record: What a line would say.

        Returns:
            What is to be written now, in its order.
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
            if self._lines >= MOST_LINES:
                self._dropped += 1
                return ended
            if len(self._pairs) >= MOST_PAIRS:
                ended += self._summaries(self._pairs.popitem(last=False)[1])
            self._lines += 1
            self._pairs[key] = _Pair(now + self._window, record)
            return [*ended, Summary(record, 0)]

    def due(self) -> list[Summary[_Record]]:
        """What is to be written now, though nothing was added."""
        with self._lock:
            return self._ended(self._clock())

    def seconds_left(self) -> float | None:
        """Seconds until `due` may have something; None where nothing is counted that was not written."""
        with self._lock:
            if not self._repeating and not self._dropped:
                return None
            ends = [pair.ends for pair in itertools.islice(self._pairs.values(), 1)]
            if self._dropped:
                ends.append(self._lines_end)
            return max(0.0, min(ends) - self._clock())

    def flush(self) -> list[Summary[_Record]]:
        """What was counted and not written yet; afterwards nothing is remembered."""
        with self._lock:
            return self._ended(float("inf"))

    def _ended(self, now: float) -> list[Summary[_Record]]:
        """The summaries of the windows that have ended; a pair that went on gets another window."""
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
        """The line about what repeated a denial; none where nothing did."""
        if not pair.repeated:
            return []
        self._repeating -= 1
        return [Summary(pair.last, pair.repeated)]
