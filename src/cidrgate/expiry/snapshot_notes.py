"""The note in a snapshot: the position in the change log, and when entries and modes expire.

A note has a line of JSON, which ends with a line feed, and then three sections without space between them:

    part        content
    the line    `content`, the version of the snapshot's content; `position`, in the change log; `accounts` and
                `expiries`, how many there are
    counts      uint32[accounts], how many expiries each account has
    ends        int64[expiries], in microseconds since 1970, account by account
    texts       the names of the accounts, then the CIDRs account by account, each with a line feed; a mode has the
                CIDR ""

Numbers have the byte order of the machine, as all numbers in a snapshot. Nothing is compressed: to read a note takes
memory in proportion to its size, whatever it contains.

Notes of content 2 are one JSON object, with `ends` in the place of the sections: by account, by CIDR, in ISO 8601.
"""

from __future__ import annotations

import json
import re
from array import array
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from cidrgate.errors import SnapshotError
from cidrgate.expiry.schedule import ExpirySchedule
from cidrgate.values import whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["UNREADABLE", "Note", "OtherContentError", "read_expired", "read_note", "written_note"]

_CONTENT = 3
"""The version of a snapshot's content. From 2 on, a snapshot contains every account of the store. Older notes had no
version, and older snapshots left out accounts without entries, which a gate would treat as unknown.
"""

_JSON_CONTENT = 2
"""The content whose whole note is JSON."""

_MOST_NOTE = 1 << 30
"""The bytes of a note that `Matcher.save` accepts; at least 8 for each expiry, and those of its CIDR."""

_MOST_JSON_NOTE = 1 << 26
"""The bytes that a note of content 2 could have."""

_LONGEST_LINE = 1 << 16
"""The bytes of the line of JSON, at most."""

_OF_A_MANAGER = re.compile(rb'\{"content": [0-9]+, "position": "')
"""How each note of content 2 or later begins, and no other bytes that somebody stores as a note."""

UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The errors of `read_note` and `read_expired` about bytes that are no note, or a damaged one."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NEVER = 1 << 63
"""More microseconds than a time can have."""


class OtherContentError(Exception):
    """A note is of a snapshot with another content."""


class Note(NamedTuple):
    """What a note says.

    Attributes:
        position: The position in the change log.
        schedule: The expiry times.
    """

    position: str
    schedule: ExpirySchedule


def written_note(position: str, expiries: Mapping[str, Mapping[str, datetime]]) -> bytes:
    """Return the note for a position and expiry times.

    Args:
        position: The position.
        expiries: The times by account and by CIDR, from `ExpirySchedule.expiries`.

    Raises:
        SnapshotError: If there are too many for a note.
    """
    counts = array("I", map(len, expiries.values()))
    ends = array("q", [(end - _EPOCH) // _MICROSECOND for ending in expiries.values() for end in ending.values()])
    line = {"content": _CONTENT, "position": position, "accounts": len(counts), "expiries": len(ends)}
    texts = "\n".join(chain(expiries, chain.from_iterable(expiries.values()), [""]))
    note = b"".join((json.dumps(line).encode(), b"\n", counts, ends, texts.encode()))
    if len(note) > _MOST_NOTE:
        raise SnapshotError(
            f"a snapshot has at most {_MOST_NOTE:,} bytes of expiry times, and the {len(ends):,} of this store take "
            f"{len(note):,}: without a snapshot, a start reads the whole store"
        )
    return note


def read_note(note: bytes) -> Note:
    """Return what a note says.

    Raises:
        OtherContentError: If the snapshot has another content.
        ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError: If it is not such a note.
    """
    said, sections = _parts(note)
    position, schedule = str(said["position"]), ExpirySchedule()
    for account, ending in _expiries(said, sections):
        schedule.put(account, ending)
    return Note(position, schedule)


def read_expired(note: bytes, at: datetime) -> ExpirySchedule:
    """Return the expiry times of those accounts of which something has expired at a time.

    If nothing has, that takes a look at each time and at nothing else. Bytes that are not the note of a manager have no
    expiry times.

    Raises:
        OtherContentError: If the snapshot has another content.
        ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError: If the note is damaged.
    """
    schedule = ExpirySchedule()
    if _OF_A_MANAGER.match(note) is None:
        return schedule
    said, sections = _parts(note)
    if sections is not None and min(sections.ends, default=_NEVER) > (at - _EPOCH) // _MICROSECOND:
        return schedule
    for account, ending in _expiries(said, sections):
        if min(ending.values(), default=at) <= at:
            schedule.put(account, ending)
    return schedule


class _Sections(NamedTuple):
    """The sections of a note, of fitting sizes: `counts`, `ends`, and the texts, of which the last one is empty."""

    counts: array[int]
    ends: array[int]
    texts: memoryview


def _parts(note: bytes) -> tuple[Any, _Sections | None]:
    """Return the JSON of a note, and its sections; None for a note of content 2."""
    end = note.find(b"\n", 0, _LONGEST_LINE)
    if end < 0 and len(note) > _MOST_JSON_NOTE:
        raise ValueError("a note begins with a line of JSON")
    said = json.loads(note[:end] if end >= 0 else note)
    content = said.get("content")
    if content == _CONTENT and end >= 0:
        accounts = whole_number(said["accounts"], "accounts", least=0)
        expiries = whole_number(said["expiries"], "expiries", least=0)
        return said, _sections(note, end + 1, accounts, expiries)
    if content == _JSON_CONTENT:
        return said, None
    raise OtherContentError


def _sections(note: bytes, start: int, accounts: int, expiries: int) -> _Sections:
    """Return the sections that begin at a byte of a note.

    Raises:
        ValueError: If the sections do not fit each other.
    """
    counts, ends = array("I"), array("q")
    after_counts = start + accounts * counts.itemsize
    after_ends = after_counts + expiries * ends.itemsize
    # First, so that nothing takes more memory than in proportion to the note.
    if after_ends > len(note) or note.count(b"\n", after_ends) != accounts + expiries:
        raise ValueError("a section of the note is too short or too long")
    view = memoryview(note)
    counts.frombytes(view[start:after_counts])
    ends.frombytes(view[after_counts:after_ends])
    if sum(counts) != expiries:
        raise ValueError("the note has more or fewer expiries than its accounts")
    return _Sections(counts, ends, view[after_ends:])


def _expiries(said: Any, sections: _Sections | None) -> Iterator[tuple[str, dict[str, datetime]]]:
    """Yield each account with its expiry times.

    Raises:
        OverflowError: If a time is out of range.
    """
    if sections is None:
        for account, ending in said["ends"].items():
            yield account, {cidr: datetime.fromisoformat(expiry) for cidr, expiry in ending.items()}
        return
    texts = iter(str(sections.texts, "utf-8").split("\n"))
    names = list(islice(texts, len(sections.counts)))
    times = (_EPOCH + timedelta(microseconds=one) for one in sections.ends)
    for name, count in zip(names, sections.counts, strict=True):
        yield name, dict(zip(islice(texts, count), times, strict=False))
