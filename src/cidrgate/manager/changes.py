"""What a change does to one list, worked out from values: no SQL, no lock, no matcher.

The rules say which CIDRs may be listed; here they become entries, and the difference to the list as it is becomes a
`ListChange`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import EllipsisType
from typing import TYPE_CHECKING

from cidrgate._engine import canonical_prefix
from cidrgate.errors import EntryNotFoundError, HistoryError, InvalidAddressError, InvalidExpiryError
from cidrgate.rules import validate_addition, validate_edit, validate_replacement
from cidrgate.rules.characters import check_text
from cidrgate.rules.decisions import in_address_order
from cidrgate.rules.limits import beginning_of, some_of
from cidrgate.stores import ListChange, StoredAccount
from cidrgate.values import Entry, NewEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from cidrgate.rules import Policy
    from cidrgate.values import Action, Change, EntryEdit

__all__ = [
    "Listing",
    "addition",
    "changed",
    "check_expiry",
    "check_labels",
    "edition",
    "list_at",
    "named_entries",
    "replacement",
    "restoration",
    "sweep",
]

_MOST_NAMED = 50
"""How many entries a message names."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One account's list at the moment of a change, and what new entries of it need.

    Attributes:
        owner: The account.
        entries: All its entries, expired ones too.
        at: The moment; aware.
        ids: Where new entries get their ids from.
        actor: Who makes the change.
        certain: A time that is over for certain, where clocks are not of one mind about `at`; None where they are.
    """

    owner: StoredAccount
    entries: Sequence[Entry]
    at: datetime
    ids: Iterator[int]
    actor: str | None
    certain: datetime | None = None

    def ended(self, entry: Entry) -> bool:
        """Whether an entry has expired for certain, so that it may be taken off the list for good."""
        return entry.expired(self._certain_time)

    @property
    def _certain_time(self) -> datetime:
        return self.at if self.certain is None else self.certain

    def change(self, action: Action, before: Iterable[Entry] = (), after: Iterable[Entry] = ()) -> ListChange:
        """A change of this list; without entries, nothing changes."""
        return ListChange(self.owner, action, tuple(before), tuple(after), self.actor)

    def active(self) -> list[Entry]:
        """The entries that count, in address order."""
        return in_address_order([entry for entry in self.entries if entry.counts(self._certain_time)])

    def new_entry(self, cidr: str, piece: NewEntry) -> Entry:
        """The entry a piece becomes.

        Raises:
            InvalidExpiryError: If it would end at no time, or at a time that is over.
        """
        check_expiry(piece.expires_at, self.at)
        return Entry(
            id=next(self.ids),
            account=self.owner.name,
            cidr=cidr,
            created_at=self.at,
            created_by=self.actor,
            **piece.details(),
        )


def check_expiry(expires_at: datetime | None, at: datetime) -> None:
    """Refuse a time at which no entry can end.

    Raises:
        InvalidExpiryError: If it is naive, or over at the time `at`.
    """
    if expires_at is None:
        return
    if expires_at.tzinfo is None:
        raise InvalidExpiryError(f"expires_at {expires_at.isoformat()} names no time zone; add one, such as +00:00")
    if expires_at <= at:
        raise InvalidExpiryError(f"expires_at {expires_at.isoformat()} is over; choose a time to come")


def check_labels(pieces: Iterable[NewEntry | EntryEdit]) -> None:
    """Refuse labels that people would not read as they are. Not asked of a list of the past that is restored.

    Raises:
        InvalidTextError: If one holds a character that people cannot see.
    """
    for piece in pieces:
        if isinstance(piece.label, str):
            check_text(piece.label, "a label")


def addition(listing: Listing, pieces: Sequence[NewEntry], cidrs: Sequence[str]) -> ListChange:
    """The change that lists new entries.

    Args:
        listing: The list as it is.
        pieces: What was asked for; labels and times are taken from here.
        cidrs: The canonical CIDR of each piece, as validated.

    Raises:
        InvalidExpiryError: If a piece would end at no time, or at a time that is over.
    """
    new = [listing.new_entry(cidr, piece) for piece, cidr in zip(pieces, cidrs, strict=True)]
    return listing.change("add", after=new)


def replacement(
    listing: Listing, pieces: Sequence[NewEntry], cidrs: Sequence[str], action: Action = "replace"
) -> ListChange:
    """The difference between a list and the whole list that shall stand in its place.

    An entry whose network stays is kept with its id, who added it and when; what a piece says besides its network, such
    as a label, it is given. Nothing in `before` or `after` means nothing changes. Without pieces every entry leaves,
    those that have expired too: whoever wants an empty list wants it empty.

    Args:
        listing: The list as it is.
        pieces: What was asked for.
        cidrs: The canonical CIDR of each piece, as validated.
        action: What the log calls it. To `restore` means that these details become exactly the pieces', None too.

    Raises:
        InvalidExpiryError: If a piece would end at no time, or at a time that is over.
    """
    leaving = {entry.cidr: entry for entry in listing.active()}
    before: list[Entry] = []
    after: list[Entry] = []
    for piece, cidr in zip(pieces, cidrs, strict=True):
        kept = leaving.pop(cidr, None)
        if kept is None:
            after.append(listing.new_entry(cidr, piece))
            continue
        check_expiry(piece.expires_at, listing.at)
        altered = replace(kept, **(piece.details() if action == "restore" else piece.said()))
        if altered != kept:
            before.append(kept)
            after.append(altered)
    before.extend(leaving.values() if pieces else listing.entries)
    return listing.change(action, before, after)


def edition(listing: Listing, which: str | int, edit: EntryEdit, policy: Policy) -> ListChange:
    """The change that alters one entry.

    Args:
        listing: The list as it is.
        which: The entry: its CIDR in any spelling, or its id.
        edit: What shall be different of it.
        policy: What the list may hold.

    Raises:
        EntryNotFoundError: If the list holds no such entry.
        RuleError: If its new network breaks a rule.
        InvalidExpiryError: If it would end at no time, or at a time that is over.
    """
    [entry] = named_entries(listing.owner.name, listing.entries, [which])
    others = [other.cidr for other in listing.active() if other.id != entry.id]
    if not isinstance(edit.expires_at, EllipsisType):
        check_expiry(edit.expires_at, listing.at)
    after = edit.applied(entry)
    if listing.ended(entry) and after.counts(listing.at):
        # It did not count and overlapped with nothing: it comes back as one that is added.
        [network] = validate_addition([NewEntry.of(after)], others, policy)
        after = replace(after, cidr=network)
    elif not isinstance(edit.cidr, EllipsisType):
        after = replace(after, cidr=validate_edit(edit.cidr, others, policy))
    return listing.change("edit") if after == entry else listing.change("edit", [entry], [after])


def restoration(listing: Listing, then: Iterable[Entry], policy: Policy) -> ListChange:
    """The change that makes a list what it was, without what has expired since.

    Args:
        listing: The list as it is.
        then: The list as it was.
        policy: What the list may hold today.

    Raises:
        RuleError: If the list of then breaks a rule of today.
    """
    pieces = [NewEntry.of(entry) for entry in then if entry.counts(listing.at)]
    return replacement(listing, pieces, validate_replacement(pieces, policy), "restore")


def sweep(listing: Listing, change: ListChange) -> list[ListChange]:
    """A change with what goes along: entries that have expired leave the list before it, unless it names them.

    So what has expired never counts toward the limit and overlaps with nothing, in the database neither.

    Args:
        listing: The list as it is.
        change: What was asked for; it may be nothing, and then nothing goes along.

    Returns:
        The changes to store, in their order.
    """
    if not change.before and not change.after:
        return []
    named = {entry.id for entry in change.before}
    expired = [entry for entry in listing.entries if listing.ended(entry) and entry.id not in named]
    return [listing.change("expire", expired), change] if expired else [change]


def changed(listing: Listing, made: Sequence[ListChange]) -> list[Entry]:
    """A list once changes of it are made, in address order.

    Args:
        listing: The list as it is.
        made: The changes, by `sweep`.
    """
    entries = {entry.id: entry for entry in listing.entries}
    for change in made:
        for entry in change.before:
            entries.pop(entry.id)
        entries.update((entry.id, entry) for entry in change.after)
    return in_address_order(entries.values())


def list_at(listed: Iterable[Entry], changes: Sequence[Change], sequence: int) -> list[Entry]:
    """A list as it was, by undoing what was changed since.

    Args:
        listed: The list as it is.
        changes: The account's changes since, newest last.
        sequence: The place in the log, for the message.

    Raises:
        HistoryError: If the account was created since.

    Example:
        >>> from datetime import UTC, datetime
        >>> from cidrgate import Change
        >>> now = datetime.now(UTC)
        >>> entry = Entry(7, "acct-1", "8.8.8.0/24", None, now, "me")
        >>> [found.cidr for found in list_at([], [Change(2, now, "me", "acct-1", "remove", (entry,), ())], 1)]
        ['8.8.8.0/24']
    """
    entries = {entry.id: entry for entry in listed}
    for change in reversed(changes):
        if change.action == "create_account":
            raise HistoryError(f"account {change.account!r} was created by change {change.sequence}, after {sequence}")
        for entry in change.after:
            del entries[entry.id]
        entries.update((entry.id, entry) for entry in change.before)
    return in_address_order(entries.values())


def named_entries(account: str, listed: Collection[Entry], which: Iterable[str | int]) -> list[Entry]:
    """The entries a person names, each once, in the order they are named first.

    Args:
        account: Whose list, for the message.
        listed: Its entries.
        which: CIDRs in any spelling, or entry ids.

    Raises:
        EntryNotFoundError: If the list holds one of them not, or none is named; says what it does hold.
    """
    by_key: dict[str | int, Entry] = {}
    for entry in listed:
        by_key[entry.id] = by_key[entry.cidr] = entry
    found: dict[int, Entry] = {}
    missing: list[str | int] = []
    for key in which:
        entry_or_none = by_key.get(key if isinstance(key, int) else _canonical_or_itself(key))
        if entry_or_none is None:
            missing.append(key)
        else:
            found[entry_or_none.id] = entry_or_none
    if missing or not found:
        raise EntryNotFoundError(_not_found(account, listed, missing))
    return list(found.values())


def _canonical_or_itself(text: str) -> str:
    try:
        return canonical_prefix(text.strip())
    except InvalidAddressError:
        return text


def _not_found(account: str, listed: Collection[Entry], missing: list[str | int]) -> str:
    first = in_address_order(listed)[: _MOST_NAMED + 1]
    there = some_of([f"{entry.cidr} (id {entry.id})" for entry in first], _MOST_NAMED, max(0, len(listed) - len(first)))
    holds = f"it holds {there}" if there else "its list is empty"
    if not missing:
        return f"no entry of account {account!r} was named; {holds}"
    named = [f"id {key}" if isinstance(key, int) else repr(beginning_of(key)) for key in missing[: _MOST_NAMED + 1]]
    names = some_of(named, _MOST_NAMED, max(0, len(missing) - len(named)))
    return f"account {account!r} does not list {names}; {holds}"
