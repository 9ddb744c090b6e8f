"""`Sums`: what was seen in one interval, within bounds for each account and for all of them.

Of most accounts every network is counted exactly. Of an account with more networks of allowed requests than it may
keep, a frequent-items sketch (Apache DataSketches) keeps those with the most requests. Its stated error: a network may
lack at most `epsilon` times the requests of the account in this interval, and none gets a request of another. If many
networks have nearly the same number of requests, the sketch loses nearly all of them. So those that had the most
requests while they were counted exactly are kept beside it.

What is lost of an account is marked with its day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, log2
from typing import TYPE_CHECKING, Any

import numpy as np

from cidrgate.errors import needs_extra
from cidrgate.traffic.notes import ALLOWED, NO_SUMS, SUM, exactly_merged, merged

with needs_extra("traffic", "a record of traffic"):
    from datasketches import frequent_items_error_type, frequent_strings_sketch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cidrgate.traffic.settings import Traffic

__all__ = ["MOST_SUMS", "Sums", "Taken"]

MOST_SUMS = 200_000
"""How many sums are in memory at most, of all accounts together."""

_MOST_SKETCHES = 100
"""How many accounts have a sketch at a time. A sketch of 1,000 networks takes about 200 kB."""

_LATER = 32_768
"""How many new sums wait until they are merged with the others."""

_LOAD = 0.75
"""How much of its map a sketch uses."""

_NETWORK = np.dtype([("hi", ">u8"), ("lo", ">u8"), ("flags", ">u4")])

_A_DAY = 86_400_000_000
"""The microseconds of a day."""

_ROW = 2**32
"""By how much the numbers of the same day of two rows that follow each other differ."""

_NO_DAYS: NDArray[np.int64] = np.empty(0, "i8")


@dataclass(slots=True)
class _Frequent:
    """The frequent networks of one account.

    Attributes:
        sketch: The networks with their requests.
        kept: The networks that had the most requests while they were counted exactly.
        first: The time of the first request.
        last: The time of the last request.
    """

    sketch: frequent_strings_sketch
    kept: NDArray[Any]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What was seen in an interval.

    Attributes:
        sums: Sums, each of another account, network and verdict.
        lost: How many requests were seen and are in no sum.
        incomplete: The days in UTC of which requests of accounts were lost: pairs of a row and a number of days since
            1970.
    """

    sums: NDArray[Any]
    lost: int
    incomplete: list[tuple[int, int]]


@dataclass(slots=True)
class Sums:
    """The sums of one interval. One thread at a time uses it.

    Args:
        settings: How many networks of an account are kept.
    """

    settings: Traffic
    _exact: NDArray[Any] = field(default_factory=lambda: NO_SUMS)
    _new: list[NDArray[Any]] = field(default_factory=list)
    _waiting: int = 0
    _frequent: dict[int, _Frequent] = field(default_factory=dict)
    _lost: int = 0
    _incomplete: NDArray[np.int64] = field(default_factory=lambda: _NO_DAYS)

    def add(self, sums: NDArray[Any]) -> None:
        """Add sums of notes."""
        if not len(sums):
            return
        self._new.append(sums)
        self._waiting += len(sums)
        if self._waiting >= max(_LATER, len(self._exact) // 2):
            self._merge()

    @property
    def full(self) -> bool:
        """Whether what was seen has to be stored soon."""
        return len(self._exact) + self._waiting > MOST_SUMS // 2 or len(self._frequent) >= _MOST_SKETCHES

    @property
    def nbytes(self) -> int:
        """The bytes of the arrays and about those of the sketches."""
        of_sketches = sum(one.sketch.get_serialized_size_bytes() for one in self._frequent.values())
        of_arrays = [self._exact, self._incomplete, *self._new, *(one.kept for one in self._frequent.values())]
        return int(sum(one.nbytes for one in of_arrays) + 2 * of_sketches)

    def take(self) -> Taken:
        """Return what was seen, and begin the next interval."""
        self._merge()
        parts = [self._exact]
        for row, frequent in self._frequent.items():
            parts.append(self._most_frequent(row, frequent))
        incomplete = [divmod(day, _ROW) for day in self._incomplete.tolist()]
        taken = Taken(exactly_merged(parts), self._lost, incomplete)
        self._exact, self._new, self._frequent, self._lost, self._incomplete = NO_SUMS, [], {}, 0, _NO_DAYS
        return taken

    def _merge(self) -> None:
        """Merge the new sums with the others, and keep the bounds."""
        new, self._new, self._waiting = self._new, [], 0
        self._exact = merged([self._exact, *new])
        if self._frequent:
            self._count_frequent(np.isin(self._exact["row"], list(self._frequent)))
        is_allowed = (self._exact["flags"] & ALLOWED) != 0
        for row in _rows_with_more(self._exact["row"][is_allowed], self.settings.most_allowed):
            if len(self._frequent) < _MOST_SKETCHES:
                at = int(self._exact["first"][self._exact["row"] == row].min())
                size = ceil(log2(self.settings.most_allowed / _LOAD))
                self._frequent[row] = _Frequent(frequent_strings_sketch(max(size, 3)), NO_SUMS, at, at)
                self._count_frequent(self._exact["row"] == row)
        is_denied = (self._exact["flags"] & ALLOWED) == 0
        for row in _rows_with_more(self._exact["row"][is_denied], self.settings.most_denied):
            self._keep_latest(row)
        if len(self._exact) > MOST_SUMS:
            order = np.argsort(-self._exact["requests"], kind="stable")
            self._lose(self._exact[order[MOST_SUMS:]])
            self._exact = self._exact[order[:MOST_SUMS]]

    def _count_frequent(self, which: NDArray[np.bool_]) -> None:
        """Move the allowed requests of some sums into the sketches of their accounts."""
        moved = which & ((self._exact["flags"] & ALLOWED) != 0)
        sums = self._exact[moved]
        self._exact = self._exact[~moved]
        for row in np.unique(sums["row"]).tolist():
            self._keep_exact(self._frequent[row], sums[sums["row"] == row])
        networks = np.empty(len(sums), _NETWORK)
        for name in ("hi", "lo", "flags"):
            networks[name] = sums[name]
        texts = networks.tobytes().hex()
        width = 2 * _NETWORK.itemsize
        for place, (row, requests, last) in enumerate(
            zip(sums["row"].tolist(), sums["requests"].tolist(), sums["last"].tolist(), strict=True)
        ):
            frequent = self._frequent[row]
            frequent.sketch.update(texts[width * place : width * (place + 1)], requests)
            frequent.last = max(frequent.last, last)

    def _keep_exact(self, frequent: _Frequent, sums: NDArray[Any]) -> None:
        """Keep the networks of an account with the most requests that are counted exactly, within the bound."""
        found = exactly_merged([frequent.kept, sums])
        order = np.argsort(-found["requests"], kind="stable")
        frequent.kept = found[order[: self.settings.most_allowed]]

    def _most_frequent(self, row: int, frequent: _Frequent) -> NDArray[Any]:
        """Return the sums of the networks with the most requests, as far as they are certain."""
        found = frequent.sketch.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES)
        found = [(text, lower) for text, _, lower, _ in found if lower > 0]
        sketched = np.empty(len(found), SUM)
        networks = np.frombuffer(bytes.fromhex("".join(text for text, _ in found)), _NETWORK)
        for name in ("hi", "lo", "flags"):
            sketched[name] = networks[name]
        sketched["row"], sketched["requests"] = row, [lower for _, lower in found]
        sketched["first"], sketched["last"] = frequent.first, frequent.last
        sums = _greater([frequent.kept, sketched])[: self.settings.most_allowed]
        lost = int(frequent.sketch.total_weight) - int(sums["requests"].sum())
        if lost:
            self._lost += lost
            self._mark(np.array([row, row]), np.array([frequent.first, frequent.last]))
        return sums

    def _keep_latest(self, row: int) -> None:
        """Keep the denied networks of an account that were seen last."""
        places = np.flatnonzero((self._exact["row"] == row) & ((self._exact["flags"] & ALLOWED) == 0))
        order = np.lexsort((-self._exact["requests"][places], -self._exact["last"][places]))
        gone = places[order[self.settings.most_denied :]]
        self._lose(self._exact[gone])
        self._exact = np.delete(self._exact, gone)

    def _lose(self, sums: NDArray[Any]) -> None:
        self._lost += int(sums["requests"].sum())
        self._mark(sums["row"], sums["last"])

    def _mark(self, rows: NDArray[Any], times: NDArray[Any]) -> None:
        """Mark days of accounts of which something is lost."""
        days = rows.astype("i8") * _ROW + times // _A_DAY
        self._incomplete = np.unique(np.concatenate([self._incomplete, days]))


def _greater(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the sums of one account, the most requests first; of two of one network, the one with more requests."""
    sums = np.concatenate(parts)
    sums = sums[np.lexsort((sums["flags"], sums["lo"], sums["hi"], -sums["requests"]))]
    _, first = np.unique(sums[["hi", "lo", "flags"]], return_index=True)
    return sums[np.sort(first)]


def _rows_with_more(rows: NDArray[Any], most: int) -> list[int]:
    """Return the rows that occur more than so many times."""
    if len(rows) <= most:
        return []
    found, counts = np.unique(rows, return_counts=True)
    more: list[int] = found[counts > most].tolist()
    return more
