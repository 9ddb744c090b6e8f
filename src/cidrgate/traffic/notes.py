"""What the engine noted, as arrays: pure functions that truncate addresses, sum up equal ones and write networks.

A note is of one request. A sum is of all requests of one account, network and verdict in an interval of time.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import numpy as np

from cidrgate._engine import canonical_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cidrgate.traffic.settings import Traffic

__all__ = ["ALLOWED", "IPV6", "NO_SUMS", "SUM", "exactly_merged", "merged", "network_text", "sums_of"]

ALLOWED, IPV6 = 1, 2
"""The flags of a note and of a sum."""

_NOTE = np.dtype([("hi", "u8"), ("lo", "u8"), ("row", "i4"), ("flags", "u4")])
"""A note as the engine hands it out: see `traffic.h`."""

SUM = np.dtype(
    [
        ("hi", "u8"),
        ("lo", "u8"),
        ("row", "i4"),
        ("flags", "u4"),
        ("requests", "i8"),
        ("first", "i8"),
        ("last", "i8"),
    ]
)
"""A sum. `first` and `last` are microseconds since 1970."""

NO_SUMS: NDArray[Any] = np.empty(0, SUM)

_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9))
_HALF = np.uint64(29)
_TWO, _FLAGS = np.uint64(2), np.uint64(ALLOWED | IPV6)


def sums_of(notes: bytes, at: int, settings: Traffic) -> NDArray[Any]:
    """Return the sums of notes, with truncated addresses.

    Args:
        notes: The notes as the engine hands them out.
        at: The time at which they were collected, in microseconds since 1970.
        settings: The lengths to which addresses are truncated.
    """
    found = np.frombuffer(notes, _NOTE)
    if not len(found):
        return NO_SUMS
    # Columns of their own are faster than fields of notes, and there are fewer sums than notes.
    flags = found["flags"]
    of_hi = np.array([_mask(settings.ipv4_length), _mask(settings.ipv6_length)])
    hi = found["hi"] & of_hi[(flags & IPV6) >> 1]
    lo = found["lo"] & _mask(settings.ipv6_length - 64)
    of_account = (found["row"].astype("u8") << _TWO) | flags
    order = np.argsort(_key(hi, lo, of_account))
    hi, lo, of_account = hi[order], lo[order], of_account[order]
    starts = np.ones(len(found), bool)
    starts[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1]) | (of_account[1:] != of_account[:-1])
    places = np.flatnonzero(starts)
    sums = np.empty(len(places), SUM)
    sums["hi"], sums["lo"] = hi[places], lo[places]
    sums["row"], sums["flags"] = of_account[places] >> _TWO, of_account[places] & _FLAGS
    sums["requests"] = np.diff(places, append=len(found))
    sums["first"] = sums["last"] = at
    return sums


def _mask(length: int) -> np.uint64:
    """Return the mask of the first bits of 64."""
    kept = min(max(length, 0), 64)
    return np.uint64((1 << 64) - (1 << (64 - kept)))


def merged(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return one array of sums, with the sums of the same account, network and verdict added up.

    Two sums that stay apart because their hashes collide with a third are no error: they are added up later.
    """
    sums = np.concatenate(parts) if len(parts) != 1 else parts[0]
    # One key to sort by takes a fifth of the time that four take.
    of_account = (sums["row"].astype("u8") << _TWO) | sums["flags"]
    return _added(sums[np.argsort(_key(sums["hi"], sums["lo"], of_account))])


def _key(hi: NDArray[Any], lo: NDArray[Any], of_account: NDArray[Any]) -> NDArray[Any]:
    """Return a hash of each account, network and verdict."""
    key = (hi ^ (lo >> _HALF) ^ lo) * _ODD[0]
    key ^= of_account * _ODD[1]
    key ^= (lo + (key >> _HALF)) * _ODD[2]
    return key  # type: ignore[no-any-return]


def exactly_merged(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return what `merged` does, with no two sums of the same account, network and verdict."""
    sums = np.concatenate(parts)
    return _added(sums[np.lexsort((sums["flags"], sums["lo"], sums["hi"], sums["row"]))])


def _added(sums: NDArray[Any]) -> NDArray[Any]:
    """Return sums in which neighbours of the same account, network and verdict are added up."""
    if not len(sums):
        return NO_SUMS
    starts = np.ones(len(sums), bool)
    same = sums["hi"][1:] == sums["hi"][:-1]
    for name in ("lo", "row", "flags"):
        same &= sums[name][1:] == sums[name][:-1]
    starts[1:] = ~same
    places = np.flatnonzero(starts)
    added = sums[places]
    added["requests"] = np.add.reduceat(sums["requests"], places)
    added["first"] = np.minimum.reduceat(sums["first"], places)
    added["last"] = np.maximum.reduceat(sums["last"], places)
    return added


def network_text(hi: int, lo: int, flags: int, settings: Traffic) -> str:
    """Return a truncated address as a canonical CIDR.

    Args:
        hi: The first 64 bits; an IPv4 address is the upper half.
        lo: The last 64 bits.
        flags: The flags of the sum.
        settings: The lengths to which addresses are truncated.
    """
    if not flags & IPV6:
        return f"{hi >> 56}.{hi >> 48 & 255}.{hi >> 40 & 255}.{hi >> 32 & 255}/{settings.ipv4_length}"
    packed = hi.to_bytes(8, "big") + lo.to_bytes(8, "big")
    return canonical_prefix(f"{socket.inet_ntop(socket.AF_INET6, packed)}/{settings.ipv6_length}")
