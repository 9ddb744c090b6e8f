"""Turns networks in any notation into the entries of a valid list, and says what was done.

`normalized` is for callers with texts; `normalized_entries` is for entries with details. Both steps keep the addresses:
what is allowed afterwards is exactly what was written. Text without a meaning stays as it is, for the rules to refuse.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import attrgetter, itemgetter
from socket import AF_INET6, inet_aton, inet_pton
from typing import TYPE_CHECKING, NamedTuple

from cidrgate._engine import PlainLists, canonical_prefix
from cidrgate.errors import RuleError
from cidrgate.rules import Policy, split_submission, validate_replacement
from cidrgate.rules.limits import LONGEST_LABEL
from cidrgate.rules.notations import Notation, cidr_of, meaning_of
from cidrgate.values import DETAILS, NewEntry, check_switches, check_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cidrgate.rules.submission import Submission

__all__ = ["Kind", "Normalized", "Note", "Rewritten", "normalized", "normalized_entries"]

_ANY_LIST = PlainLists(())
_HOST_BITS_OF_PARENT = {str(length): 33 - length for length in range(1, 33)}
_ANY_NUMBER = 2**31 - 1

_WIDEST = {4: 8, 6: 16}
"""The shortest lengths to which neighbours are joined: a wider network needs somebody who asks for it."""

_SET_CIDR = vars(NewEntry)["cidr"].__set__
_COPIED = tuple((vars(NewEntry)[one.name].__get__, vars(NewEntry)[one.name].__set__) for one in DETAILS)
_OTHER_DETAILS = tuple(one.name for one in DETAILS if one.name not in {"label", "expires_at"})


_DEFAULTS = tuple(one.default for one in DETAILS if one.name in _OTHER_DETAILS)


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


_KIND_OF: dict[Notation, Kind] = {one: Kind(one.value) for one in Notation if one is not Notation.CANONICAL}


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
        TypeError: If an argument is of another type.
        RuleError: With every problem of the list. A position counts the submitted texts.

    Example:
        >>> made = normalized("9.9.9.9, 8.8.8.0 255.255.255.128, 8.8.8.128-8.8.8.255")
        >>> made.networks
        ('9.9.9.9/32', '8.8.8.0/24')
        >>> print(*made.notes, sep="; ")
        '9.9.9.9' is 9.9.9.9/32; '8.8.8.0 255.255.255.128' is 8.8.8.0/25; '8.8.8.128-8.8.8.255' is 8.8.8.128/25; ...
    """
    check_type(policy, Policy, "policy", or_none=True)
    check_switches(collapse=collapse)
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
    if not collapse:
        return made
    return _without_overlaps(made) if plain is None else _joined(made, plain)


def _in_cidrs(entries: Sequence[NewEntry]) -> Rewritten:
    found: list[NewEntry] = []
    sources: list[int] = []
    notes: list[Note] = []
    for position, entry in enumerate(entries):
        text = entry.cidr
        try:
            if "/" in text and canonical_prefix(text) == text:  # what `meaning_of` would find, but most texts are this
                found.append(entry)
                sources.append(position)
                continue
        except ValueError:
            pass
        meant = meaning_of(text)
        if meant is None:
            found.append(entry)
            sources.append(position)
            continue
        notation, networks = meant
        for cidr in networks:
            found.append(_with_cidr(entry, cidr))
            sources.append(position)
        notes.append(Note(kind=_KIND_OF[notation], before=(text,), after=networks, positions=(position,)))
    return Rewritten(found, sources, notes)


def _with_cidr(entry: NewEntry, cidr: str) -> NewEntry:
    """Return an entry for another network. It is not checked again, as `replace` would."""
    made = object.__new__(NewEntry)
    _SET_CIDR(made, cidr)
    for get, set_ in _COPIED:
        set_(made, get(entry))
    return made


class _Block(NamedTuple):
    """An entry with its network as numbers: a network sorts before those inside of it.

    Attributes:
        version: The version of its addresses.
        first: Its first address.
        length: Its length.
        source: The position of the first submitted entry behind it.
        cidr: Its network as text.
        entry: The entry.
        members: What was joined into it: the position and the network of each.
    """

    version: int
    first: int
    length: int
    source: int
    cidr: str
    entry: NewEntry
    members: tuple[tuple[int, str], ...] = ()

    def covers(self, other: _Block) -> bool:
        host_bits = (32 if self.version == 4 else 128) - self.length
        return (
            self.version == other.version
            and self.length <= other.length
            and self.first >> host_bits == other.first >> host_bits
        )

    def joins(self, right: _Block) -> bool:
        """Return whether this and the network after it are halves of one, and differ in nothing but their labels."""
        if self.length != right.length or self.version != right.version or self.length <= _WIDEST[self.version]:
            return False
        half = 1 << ((32 if self.version == 4 else 128) - self.length)
        return not self.first & half and self.first + half == right.first and _alike(self.entry, right.entry)

    def joined_with(self, right: _Block) -> _Block:
        """Return the network of which this and another one are the halves."""
        cidr = cidr_of(self.version, self.first, self.length - 1)
        entry = _with_cidr(_with_labels(self.entry, right.entry), cidr)
        members = [*(self.members or ((self.source, self.cidr),)), *(right.members or ((right.source, right.cidr),))]
        source = min(self.source, right.source)
        return _Block(self.version, self.first, self.length - 1, source, cidr, entry, tuple(sorted(members)))


def _block(entry: NewEntry, cidr: str, source: int) -> _Block:
    address, _, length = cidr.partition("/")
    if ":" in address:
        return _Block(6, int.from_bytes(inet_pton(AF_INET6, address)), int(length), source, cidr, entry)
    return _Block(4, int.from_bytes(inet_aton(address)), int(length), source, cidr, entry)


def _without_overlaps(made: Rewritten) -> Rewritten:
    """Leave out what is repeated or covered, and join the others."""
    unread: list[tuple[int, NewEntry]] = []
    blocks: list[_Block] = []
    for entry, source in zip(made.entries, made.sources, strict=True):
        try:
            blocks.append(_block(entry, canonical_prefix(entry.cidr), source))
        except ValueError:
            unread.append((source, entry))
    notes: list[Note] = []
    blocks = _without_covered(_without_repetitions(blocks, notes), notes)
    blocks.sort(key=attrgetter("source"))
    left = Rewritten([one.entry for one in blocks], [one.source for one in blocks], [*made.notes, *notes])
    joined = _joined(left, [one.cidr for one in blocks])
    result = sorted([*unread, *zip(joined.sources, joined.entries, strict=True)], key=itemgetter(0))
    return Rewritten([entry for _, entry in result], [source for source, _ in result], joined.notes)


def _without_repetitions(blocks: list[_Block], notes: list[Note]) -> list[_Block]:
    found: dict[str, _Block] = {}
    others: list[_Block] = []
    for one in blocks:
        first = found.setdefault(one.cidr, one)
        if first is one:
            continue
        if _lasts(first.entry, one.entry):
            entry = _with_labels(first.entry, one.entry)
        elif _lasts(one.entry, first.entry):
            entry = _with_labels(replace(one.entry, label=first.entry.label), one.entry)
        else:
            others.append(one)
            continue
        found[one.cidr] = first._replace(entry=entry)
        notes.append(Note(kind=Kind.DUPLICATE, before=(one.cidr,), after=(one.cidr,), positions=(one.source,)))
    return [*found.values(), *others]


def _without_covered(blocks: list[_Block], notes: list[Note]) -> list[_Block]:
    found: list[_Block] = []
    around: list[_Block] = []
    for one in sorted(blocks, key=itemgetter(0, 1, 2)):
        while around and not around[-1].covers(one):
            around.pop()
        cover = next((wide for wide in around if wide.cidr != one.cidr and _lasts(wide.entry, one.entry)), None)
        if cover is None:
            found.append(one)
            around.append(one)
        else:
            notes.append(Note(kind=Kind.COVERED, before=(one.cidr,), after=(cover.cidr,), positions=(one.source,)))
    return found


def _joined(made: Rewritten, cidrs: list[str]) -> Rewritten:
    """Join neighbours.

    Args:
        made: The entries.
        cidrs: Their canonical networks.
    """
    if not _has_neighbours(cidrs):
        return made
    blocks: list[_Block] = []
    # Sorted, the halves of a network follow each other.
    for one in sorted(map(_block, made.entries, cidrs, made.sources), key=itemgetter(0, 1, 2)):
        blocks.append(one)
        while len(blocks) > 1 and blocks[-2].joins(blocks[-1]):
            right, left = blocks.pop(), blocks.pop()
            blocks.append(left.joined_with(right))
    blocks.sort(key=attrgetter("source"))
    notes = [
        Note(
            kind=Kind.ADJACENT,
            before=tuple(cidr for _, cidr in one.members),
            after=(one.cidr,),
            positions=tuple(position for position, _ in one.members),
        )
        for one in blocks
        if one.members
    ]
    return Rewritten([one.entry for one in blocks], [one.source for one in blocks], [*made.notes, *notes])


def _has_neighbours(cidrs: Iterable[str]) -> bool:
    """Return whether two of the networks are the halves of one, or equal."""
    seen: set[tuple[int, str]] = set()
    from_bytes = int.from_bytes
    for cidr in cidrs:
        address, _, length = cidr.partition("/")
        if length == "0":
            continue
        if ":" in address:
            # Negative, so that it is no number of IPv4.
            parent = (~(from_bytes(inet_pton(AF_INET6, address)) >> (129 - int(length))), length)
        else:
            parent = (from_bytes(inet_aton(address)) >> _HOST_BITS_OF_PARENT[length], length)
        if parent in seen:
            return True
        seen.add(parent)
    return False


def _expiry(entry: NewEntry) -> datetime | None:
    return None if entry.expires_at is ... else entry.expires_at


def _others(entry: NewEntry) -> list[object]:
    found = [getattr(entry, name) for name in _OTHER_DETAILS]
    return [_DEFAULTS[at] if value is ... else value for at, value in enumerate(found)]


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
