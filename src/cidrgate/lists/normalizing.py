"""Turns networks in any notation into the entries of a valid list, and says what was done.

`normalized` is for callers with texts; `normalized_entries` is for entries with details. Both steps keep the addresses:
what is allowed afterwards is exactly what was written. Text without a meaning stays as it is, for the rules to refuse.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from socket import AF_INET6, inet_aton, inet_ntop, inet_pton
from typing import TYPE_CHECKING, NamedTuple

from cidrgate._engine import PlainLists
from cidrgate.errors import RuleError
from cidrgate.rules import Policy, split_submission, validate_replacement
from cidrgate.rules.limits import LONGEST_LABEL
from cidrgate.rules.notations import Notation, meaning_of
from cidrgate.values import DETAILS, NewEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from cidrgate.rules.submission import Submission

__all__ = ["Kind", "Normalized", "Note", "Rewritten", "normalized", "normalized_entries"]

_ANY_LIST = PlainLists(())
_ANY_NUMBER = 2**31 - 1

_WIDEST = {4: 8, 6: 16}
"""The shortest lengths to which neighbours are joined: a wider network needs somebody who asks for it."""

_OTHER_DETAILS = tuple(one.name for one in DETAILS if one.name not in {"label", "expires_at"})


class Kind(StrEnum):
    """What was done to a network. The first six are notations that became CIDRs."""

    SPELLING = Notation.SPELLING
    ADDRESS = Notation.ADDRESS
    HOST_BITS = Notation.HOST_BITS
    NETMASK = Notation.NETMASK
    WILDCARD = Notation.WILDCARD
    RANGE = Notation.RANGE
    DUPLICATE = "duplicate"
    COVERED = "covered"
    ADJACENT = "adjacent"

    @property
    def told(self) -> str:
        """The kind for people, after a number of networks."""
        return _TOLD[self]


_TOLD = {
    Kind.SPELLING: "in another spelling",
    Kind.ADDRESS: "without a length",
    Kind.HOST_BITS: "with bits beyond the length",
    Kind.NETMASK: "with a netmask",
    Kind.WILDCARD: "with wildcards",
    Kind.RANGE: "as ranges",
    Kind.DUPLICATE: "repeated",
    Kind.COVERED: "covered by others",
    Kind.ADJACENT: "joined with their neighbours",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that was done.

    Attributes:
        kind: What was done.
        before: The texts as they were written; CIDRs for those that were left out or joined.
        after: The CIDRs that allow the same addresses now.
        positions: The positions of the texts in the submission, from 0.
    """

    kind: Kind
    before: tuple[str, ...]
    after: tuple[str, ...]
    positions: tuple[int, ...]

    def __str__(self) -> str:
        """Return one line for a person."""
        before, after = ", ".join(self.before), ", ".join(self.after)
        match self.kind:
            case Kind.DUPLICATE:
                return f"{before} is repeated"
            case Kind.COVERED:
                return f"{before} is covered by {after}"
            case Kind.ADJACENT:
                return f"{before} are {after} together"
            case _:
                return f"{before!r} is {after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalized:
    """The result of `normalized`.

    Attributes:
        networks: Canonical CIDRs that are a valid list, and allow exactly the addresses of the texts.
        notes: What was done, in the order of the texts.
    """

    networks: tuple[str, ...]
    notes: tuple[Note, ...]


def normalized(texts: Submission, policy: Policy | None = None, *, collapse: bool = True) -> Normalized:
    """Return the list that texts in any notation mean.

    An address is its /32 or /128. Bits beyond the length are dropped. Netmasks, wildcard masks, `10.0.0.*` and ranges
    become CIDRs. What is ambiguous, such as leading zeros, is a problem.

    Args:
        texts: What `RuleManager.add` takes: text with commas or newlines, or several texts.
        policy: What the list may contain; the default policy if None.
        collapse: Whether to leave out what is repeated or covered, and to join neighbours.

    Returns:
        The networks, in the order of the texts, and what was done.

    Raises:
        RuleError: With every problem of the list. A position counts the submitted texts.

    Example:
        >>> made = normalized("9.9.9.9, 8.8.8.0 255.255.255.128, 8.8.8.128-8.8.8.255")
        >>> made.networks
        ('9.9.9.9/32', '8.8.8.0/24')
        >>> print(*made.notes, sep="; ")
        '9.9.9.9' is 9.9.9.9/32; '8.8.8.0 255.255.255.128' is 8.8.8.0/25; '8.8.8.128-8.8.8.255' is 8.8.8.128/25; ...
    """
    policy = Policy() if policy is None else policy
    rewritten = normalized_entries(split_submission(texts, most=policy.most_pieces), collapse=collapse)
    try:
        networks = validate_replacement(rewritten.entries, policy)
    except RuleError as error:
        problems = [replace(one, position=rewritten.sources[one.position]) for one in error.problems]
        raise RuleError(sorted(problems, key=lambda one: one.position), more=error.more) from None
    return Normalized(networks=tuple(networks), notes=tuple(rewritten.notes))


@dataclass(slots=True)
class Rewritten:
    """Entries after both steps.

    Attributes:
        entries: The entries.
        sources: The position of the first submitted entry behind each of them.
        notes: What was done.
    """

    entries: list[NewEntry]
    sources: Sequence[int]
    notes: list[Note] = field(default_factory=list)


def normalized_entries(entries: list[NewEntry], *, normalize: bool = True, collapse: bool = True) -> Rewritten:
    """Return the entries that submitted entries mean.

    Args:
        entries: The submitted entries.
        normalize: Whether other notations become CIDRs.
        collapse: Whether to leave out repeated and covered entries, and to join neighbours. An entry gives way only to
            one that lasts as long, and neighbours are joined only if nothing but their labels differs.
    """
    made = Rewritten(entries, range(len(entries)))
    texts = [entry.cidr for entry in entries]
    plain = _ANY_LIST.canonical(texts, _ANY_NUMBER)
    if normalize and plain != texts:
        made = _in_cidrs(entries)
        if collapse:
            plain = _ANY_LIST.canonical([entry.cidr for entry in made.entries], _ANY_NUMBER)
    if collapse and (plain is None or _has_neighbours(plain)):
        made = _collapsed(made)
    return made


def _in_cidrs(entries: Sequence[NewEntry]) -> Rewritten:
    made = Rewritten([], [])
    found, sources = made.entries, []
    for position, entry in enumerate(entries):
        meant = meaning_of(entry.cidr)
        if meant is None or meant.notation is Notation.CANONICAL:
            found.append(entry)
            sources.append(position)
            continue
        for cidr in meant.networks:
            found.append(NewEntry(cidr, **entry.said()))
            sources.append(position)
        made.notes.append(
            Note(kind=Kind(meant.notation), before=(entry.cidr,), after=meant.networks, positions=(position,))
        )
    made.sources = sources
    return made


class _Block(NamedTuple):
    """A network as numbers, so that a network sorts before those inside of it."""

    version: int
    first: int
    length: int

    @property
    def bits(self) -> int:
        return 32 if self.version == 4 else 128

    def covers(self, other: _Block) -> bool:
        host_bits = self.bits - self.length
        return (
            self.version == other.version
            and self.length <= other.length
            and (self.first >> host_bits == other.first >> host_bits)
        )

    def joins(self, other: _Block) -> bool:
        """Return whether two networks are the halves of one."""
        return (
            self.version == other.version
            and self.length == other.length > _WIDEST[self.version]
            and self.first ^ other.first == 1 << (self.bits - self.length)
        )

    def parent(self) -> _Block:
        host_bits = self.bits - self.length + 1
        return _Block(self.version, self.first >> host_bits << host_bits, self.length - 1)

    def cidr(self) -> str:
        if self.version == 4:
            return f"{'.'.join(map(str, self.first.to_bytes(4)))}/{self.length}"
        return f"{inet_ntop(AF_INET6, self.first.to_bytes(16))}/{self.length}"


def _block(cidr: str) -> _Block:
    address, _, length = cidr.partition("/")
    if ":" in address:
        return _Block(6, int.from_bytes(inet_pton(AF_INET6, address)), int(length))
    return _Block(4, int.from_bytes(inet_aton(address)), int(length))


def _has_neighbours(cidrs: Iterable[str]) -> bool:
    """Return whether two of the networks, which do not overlap, are the halves of one."""
    seen = set()
    for cidr in cidrs:
        address, _, length = cidr.partition("/")
        if length == "0":
            continue
        if ":" in address:
            parent = (int.from_bytes(inet_pton(AF_INET6, address)) >> (129 - int(length)), length, 6)
        else:
            parent = (int.from_bytes(inet_aton(address)) >> (33 - int(length)), length, 4)
        if parent in seen:
            return True
        seen.add(parent)
    return False


@dataclass(slots=True)
class _Kept:
    """An entry that is kept, while others may still join it."""

    block: _Block
    entry: NewEntry
    source: int
    members: list[tuple[int, str]]
    """The position and the network of each entry that was joined into it."""


def _collapsed(made: Rewritten) -> Rewritten:
    unread: list[tuple[int, NewEntry]] = []
    kept: list[_Kept] = []
    for entry, source in zip(made.entries, made.sources, strict=True):
        meant = meaning_of(entry.cidr)
        if meant is None or len(meant.networks) > 1 or meant.notation not in {Notation.CANONICAL, Notation.SPELLING}:
            unread.append((source, entry))
        else:
            kept.append(_Kept(_block(meant.networks[0]), entry, source, [(source, meant.networks[0])]))
    notes: list[Note] = []
    kept = _without_repetitions(kept, notes)
    kept = _without_covered(kept, notes)
    kept = _joined(kept, notes)
    result = sorted([*unread, *((one.source, one.entry) for one in kept)], key=lambda pair: pair[0])
    return Rewritten(
        [entry for _, entry in result],
        [source for source, _ in result],
        [*made.notes, *sorted(notes, key=lambda note: note.positions)],
    )


def _without_repetitions(kept: list[_Kept], notes: list[Note]) -> list[_Kept]:
    found: dict[_Block, _Kept] = {}
    others: list[_Kept] = []
    for one in kept:
        first = found.setdefault(one.block, one)
        if first is one:
            continue
        if not _lasts(first.entry, one.entry) and not _lasts(one.entry, first.entry):
            others.append(one)
            continue
        if not _lasts(first.entry, one.entry):
            first.entry = replace(one.entry, label=first.entry.label)
        first.entry = _with_labels(first.entry, one.entry)
        cidr = one.block.cidr()
        notes.append(Note(kind=Kind.DUPLICATE, before=(cidr,), after=(cidr,), positions=(one.source,)))
    return [*found.values(), *others]


def _without_covered(kept: list[_Kept], notes: list[Note]) -> list[_Kept]:
    found: list[_Kept] = []
    around: list[_Kept] = []
    for one in sorted(kept, key=lambda kept: kept.block):
        while around and not around[-1].block.covers(one.block):
            around.pop()
        cover = next((wide for wide in around if wide.block != one.block and _lasts(wide.entry, one.entry)), None)
        if cover is None:
            found.append(one)
            around.append(one)
        else:
            before, after = (one.block.cidr(),), (cover.block.cidr(),)
            notes.append(Note(kind=Kind.COVERED, before=before, after=after, positions=(one.source,)))
    return found


def _joined(kept: list[_Kept], notes: list[Note]) -> list[_Kept]:
    """Join neighbours. The networks are sorted, so that the halves of a network follow each other."""
    found: list[_Kept] = []
    for one in kept:
        found.append(one)
        while len(found) > 1 and found[-2].block.joins(found[-1].block) and _alike(found[-2].entry, found[-1].entry):
            right, left = found.pop(), found.pop()
            block = left.block.parent()
            entry = replace(_with_labels(left.entry, right.entry), cidr=block.cidr())
            found.append(_Kept(block, entry, min(left.source, right.source), left.members + right.members))
    for one in found:
        if len(one.members) > 1:
            members = sorted(one.members)
            notes.append(
                Note(
                    kind=Kind.ADJACENT,
                    before=tuple(cidr for _, cidr in members),
                    after=(one.block.cidr(),),
                    positions=tuple(position for position, _ in members),
                )
            )
    return found


def _expiry(entry: NewEntry) -> datetime | None:
    return entry.details()["expires_at"]


def _others(entry: NewEntry) -> list[object]:
    details: Mapping[str, object] = entry.details()
    return [details[name] for name in _OTHER_DETAILS]


def _alike(one: NewEntry, other: NewEntry) -> bool:
    """Return whether nothing but the networks and the labels of two entries differs."""
    return _expiry(one) == _expiry(other) and _others(one) == _others(other)


def _lasts(wide: NewEntry, narrow: NewEntry) -> bool:
    """Return whether one entry lasts at least as long as another one, and is like it otherwise."""
    end, other_end = _expiry(wide), _expiry(narrow)
    if end is not None and (other_end is None or other_end > end):
        return False
    return _others(wide) == _others(narrow)


def _with_labels(entry: NewEntry, other: NewEntry) -> NewEntry:
    """Return an entry that stands for another one too, with the labels of both."""
    label, more = (one.label if isinstance(one.label, str) else "" for one in (entry, other))
    if not more or more in label.split(", "):
        return entry
    both = f"{label}, {more}" if label else more
    return replace(entry, label=both if len(both) <= LONGEST_LABEL else both[: LONGEST_LABEL - 1] + "…")
