"""Pure functions that compute the effect of a change on one list, without SQL, locks or a matcher.

The rules say which CIDRs a list may contain. The functions here turn these CIDRs into entries, and return the
difference from the current list as a `StoredChange`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from types import EllipsisType
from typing import TYPE_CHECKING, Any, cast

from cidrgate._engine import PrefixTrie, canonical_prefix
from cidrgate.errors import EntryNotFoundError, HistoryError, InvalidAddressError, InvalidExpiryError, RuleError
from cidrgate.rules import Policy, validate_addition, validate_edit, validate_replacement
from cidrgate.rules.characters import checked_text
from cidrgate.rules.decisions import in_address_order
from cidrgate.rules.limits import LONGEST_LABEL, beginning_of, some_of
from cidrgate.rules.policy import DEFAULT_POLICY
from cidrgate.serialization import utc_text
from cidrgate.stores import StoredAccount, StoredChange
from cidrgate.values import Entry, NewEntry, prefix_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from cidrgate.errors import Problem
    from cidrgate.values import Action, Change, EntryEdit, EntryRef, Origin, Prefix

__all__ = [
    "Listing",
    "canonical_or_itself",
    "addition",
    "changed",
    "check_expiry",
    "check_labels",
    "entry_edit",
    "entry_key",
    "list_at",
    "missing_addition",
    "named_entries",
    "replaced_list",
    "replacement",
    "restoration",
    "stands_for",
    "sweep",
]

_MOST_NAMED = 50
"""How many entries a message names."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One account's list at the moment of a change, and the data that new entries need.

    Attributes:
        owner: The account.
        entries: All entries of the account, including expired ones.
        at: The time of the change, with a time zone.
        ids: The ids for new entries.
        actor: Who makes the change.
        certain: If the clocks disagree about `at`, a time that is in the past by all of them; None if they agree.
        origin: How the actor is known, and from where the change comes.
        policy: What the list may contain.
    """

    owner: StoredAccount
    entries: Sequence[Entry]
    at: datetime
    ids: Iterator[int]
    actor: str | None
    certain: datetime | None = None
    origin: Origin | None = None
    policy: Policy = DEFAULT_POLICY

    def has_expired(self, entry: Entry) -> bool:
        """Return whether an entry has expired by all clocks, so that a sweep may remove it."""
        return entry.is_expired(self._certain_time)

    @property
    def _certain_time(self) -> datetime:
        return self.at if self.certain is None else self.certain

    def change(self, action: Action, before: Iterable[Entry] = (), after: Iterable[Entry] = ()) -> StoredChange:
        """Return a change of this list; a change without entries changes nothing."""
        return StoredChange(self.owner, action, tuple(before), tuple(after), self.actor, origin=self.origin)

    def active(self) -> list[Entry]:
        """Return the entries that count toward the limit, in address order."""
        return in_address_order([entry for entry in self.entries if entry.counts(self._certain_time)])

    def new_entry(self, cidr: str, piece: NewEntry) -> Entry:
        """Return the new entry for a submitted entry.

        Raises:
            InvalidExpiryError: If its expiry is in the past or has no time zone.
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


def check_expiry(expires_at: datetime | EllipsisType | None, at: datetime, *, name: str = "expires_at") -> None:
    """Refuse a time that cannot be the expiry of an entry or of a mode.

    Args:
        expires_at: The time; None or `...` for none.
        at: The time of the change, with a time zone.
        name: The name of the argument, for the message.

    Raises:
        InvalidExpiryError: If it has no time zone, or is not later than `at`.
    """
    if expires_at is None or isinstance(expires_at, EllipsisType):
        return
    if expires_at.utcoffset() is None:
        raise InvalidExpiryError(
            f"{name} {expires_at.isoformat()} has no time zone; add one, such as +00:00", expires_at=expires_at
        )
    if expires_at <= at:
        raise InvalidExpiryError(
            f"{name} {expires_at.isoformat()} is in the past; choose a time in the future", expires_at=expires_at
        )


def check_labels(pieces: Iterable[NewEntry | EntryEdit]) -> None:
    """Refuse labels that are too long or have invisible characters.

    The labels of a list that `restore` restores are not checked: an earlier version may have stored them.

    Raises:
        InvalidTextError: If a label is not valid.
    """
    for piece in pieces:
        label = piece.label
        if isinstance(label, str) and not (label.isascii() and label.isprintable() and len(label) <= LONGEST_LABEL):
            checked_text(label, "label")


def addition(listing: Listing, pieces: Sequence[NewEntry], cidrs: Sequence[str]) -> StoredChange:
    """Return the change that adds new entries.

    Args:
        listing: The list before the change.
        pieces: The submitted entries, with their details.
        cidrs: The validated, canonical CIDR of each submitted entry.

    Raises:
        InvalidExpiryError: If the expiry of a submitted entry is in the past or has no time zone.
    """
    new = [listing.new_entry(cidr, piece) for piece, cidr in zip(pieces, cidrs, strict=True)]
    return listing.change("add", after=new)


def missing_addition(listing: Listing, pieces: Sequence[NewEntry], policy: Policy) -> tuple[StoredChange, list[Entry]]:
    """Return the change that adds the networks whose addresses the list does not allow yet.

    The whole submission is checked, so it is refused or not whatever the list contains already. An entry that matches
    nothing, because it is disabled or has expired, covers no network; nor does one that ends before the submitted one.

    Args:
        listing: The list before the change.
        pieces: The submitted entries.
        policy: What the list may contain.

    Returns:
        The change, and the entries that cover the other networks, each once.

    Raises:
        RuleError: If the submission breaks a rule.
        InvalidExpiryError: If the expiry of a submitted entry is in the past or has no time zone.
    """
    cidrs = validate_addition(pieces, [], policy)
    for piece in pieces:
        check_expiry(piece.expires_at, listing.at)
    trie = PrefixTrie({entry.cidr: entry for entry in listing.active() if entry.matches(listing.at)})
    covering = [
        [around for around in trie.covering(cidr) if stands_for(trie[around], piece)]
        for cidr, piece in zip(cidrs, pieces, strict=True)
    ]
    places = [place for place, found in enumerate(covering) if not found]
    existing = {entry.id: entry for found in covering if found for entry in [trie[found[-1]]]}
    missing = [pieces[place] for place in places]
    if not missing:
        return listing.change("add"), list(existing.values())
    try:
        new = validate_addition(missing, [entry.cidr for entry in listing.active()], policy)
    except RuleError as error:
        listed = {entry.cidr: entry for entry in listing.active()}
        problems = [
            replace(
                _told_why(one, listed), position=places[one.position] if one.position < len(places) else len(pieces)
            )
            for one in error.problems
        ]
        raise RuleError(problems, more=error.more) from error
    return addition(listing, missing, new), list(existing.values())


def stands_for(entry: Entry, piece: NewEntry) -> bool:
    """Return whether an entry is like a submitted one, apart from its label, and lasts at least as long."""
    asked: Mapping[str, Any] = piece.details()
    end = asked["expires_at"]
    if entry.expires_at is not None and (end is None or end > entry.expires_at):
        return False
    return all(getattr(entry, name) == asked[name] for name in asked if name not in {"label", "expires_at"})


def _told_why(problem: Problem, listed: Mapping[str, Entry]) -> Problem:
    """Return the problem of a network that is listed, but not as it was asked for, with what to do instead."""
    entry = next((listed[cidr] for cidr in problem.conflicts if cidr in listed), None)
    if entry is None or problem.code not in {"duplicate_entry", "subset_exists"}:
        return problem
    if not entry.enabled:
        hint = f"{entry.cidr} is listed, but it is disabled: enable it by an edit (`enabled`)"
    elif entry.expires_at is not None:
        until = utc_text(entry.expires_at)
        hint = f"{entry.cidr} is listed, but only until {until}: change its end by an edit (`expires_at`)"
    else:
        hint = f"{entry.cidr} is listed with other details: change them by an edit"
    return replace(problem, hint=hint)


def replacement(
    listing: Listing, pieces: Sequence[NewEntry], cidrs: Sequence[str], action: Action = "replace"
) -> StoredChange:
    """Return the change that replaces a whole list with another one.

    An entry whose network stays keeps its id, its author and its creation time. It gets the details that the submitted
    entry sets, such as a label, also None, and keeps those that are absent from the submission. If `before` and `after`
    are empty, nothing changes. Without submitted entries all entries are removed, including expired ones: the list
    becomes really empty.

    Args:
        listing: The list before the change.
        pieces: The submitted entries.
        cidrs: The validated, canonical CIDR of each submitted entry.
        action: The action for the change log.

    Raises:
        InvalidExpiryError: If the expiry of a submitted entry is in the past or has no time zone.
    """
    leaving = {entry.cidr: entry for entry in listing.active()}
    before: list[Entry] = []
    after: list[Entry] = []
    for piece, cidr in zip(pieces, cidrs, strict=True):
        kept = leaving.pop(cidr, None)
        if kept is None:
            after.append(listing.new_entry(cidr, piece))
            continue
        altered = replace(kept, **piece.said())
        if altered.expires_at != kept.expires_at:  # an entry that has expired may be submitted as it is
            check_expiry(altered.expires_at, listing.at)
        if altered != kept:
            before.append(kept)
            after.append(altered)
    before.extend(leaving.values() if pieces else listing.entries)
    return listing.change(action, before, after)


def replaced_list(listing: Listing, pieces: Sequence[NewEntry], policy: Policy) -> StoredChange:
    """Return the change that replaces a whole list with a submission, which may repeat the list as it is.

    An expired entry that the submission contains with its expiry stays, as far as this change is concerned: it matches
    nothing, so the rules do not count it. So a list that was read can be submitted again, and nothing changes.

    Args:
        listing: The list before the change.
        pieces: The submitted entries.
        policy: What the list may contain.

    Raises:
        RuleError: If the submission breaks a rule.
        InvalidExpiryError: If the expiry of a submitted entry is in the past or has no time zone.
    """
    over = {(entry.cidr, entry.expires_at): entry for entry in listing.entries if listing.has_expired(entry)}
    if not over and (same := _kept_networks(listing, pieces)) is not None:
        return replacement(listing, pieces, same)
    if not over:
        return replacement(listing, pieces, validate_replacement(pieces, policy))
    counted: list[int] = []
    before: list[Entry] = []
    after: list[Entry] = []
    for position, piece in enumerate(pieces):
        kept = None
        if isinstance(piece.expires_at, datetime):
            kept = over.pop((canonical_or_itself(piece.cidr), piece.expires_at), None)
        if kept is None:
            counted.append(position)
        elif (altered := replace(kept, **piece.said())) != kept:
            before.append(kept)
            after.append(altered)
    rest = [pieces[position] for position in counted]
    try:
        change = replacement(listing, rest, validate_replacement(rest, policy))
    except RuleError as error:
        # The problems are about the submission as it was sent.
        left_out = len(pieces) - len(rest)
        places = [*counted, *range(len(pieces), len(pieces) + left_out + 1)]
        problems = [
            replace(one, position=places[one.position] if one.position < len(places) else one.position + left_out)
            for one in error.problems
        ]
        raise RuleError(problems, more=error.more) from error
    if len(rest) < len(pieces) and not rest:
        # `replacement` by nothing removes every entry, also those that stay.
        change = listing.change("replace", listing.active())
    return listing.change("replace", [*before, *change.before], [*after, *change.after])


def _kept_networks(listing: Listing, pieces: Sequence[NewEntry]) -> list[str] | None:
    """Return the networks of a submission that only leaves out entries of a list; None for any other submission.

    Such a list needs no check: it stays valid when the policy changes, and so does what is left of it.
    """
    listed = {entry.cidr for entry in listing.active()}
    if not 0 < len(pieces) <= len(listed):
        return None
    cidrs = [canonical_or_itself(piece.cidr) for piece in pieces]
    return cidrs if len(set(cidrs)) == len(cidrs) and listed.issuperset(cidrs) else None


def entry_edit(listing: Listing, which: EntryRef, edit: EntryEdit, policy: Policy) -> StoredChange:
    """Return the change that edits one entry.

    Args:
        listing: The list before the change.
        which: The entry: its id, its network in any spelling, or the entry itself.
        edit: The new values.
        policy: What the list may contain.

    Raises:
        EntryNotFoundError: If the list contains no such entry.
        RuleError: If the new network breaks a rule.
        InvalidExpiryError: If the new expiry is in the past or has no time zone.
    """
    [entry] = named_entries(listing.owner.name, listing.entries, [which])
    others = [other.cidr for other in listing.active() if other.id != entry.id]
    check_expiry(edit.expires_at, listing.at)
    after = edit.applied(entry)
    if listing.has_expired(entry) and after.counts(listing.at):
        # An expired entry was not checked against the others, so it is checked now like a new entry.
        [network] = validate_addition([NewEntry.of(after)], others, policy)
        after = replace(after, cidr=network)
    elif not isinstance(edit.cidr, EllipsisType):
        after = replace(after, cidr=validate_edit(edit.cidr, others, policy))
    return listing.change("edit") if after == entry else listing.change("edit", [entry], [after])


def restoration(listing: Listing, then: Iterable[Entry], policy: Policy) -> StoredChange:
    """Return the change that restores an old list, without the entries that have expired since then.

    Args:
        listing: The list before the change.
        then: The old list.
        policy: What the list may contain today.

    Raises:
        RuleError: If the old list breaks a rule of today's policy.
    """
    pieces = [NewEntry.of(entry) for entry in then if entry.counts(listing.at)]
    return replacement(listing, pieces, validate_replacement(pieces, policy), "restore")


def sweep(listing: Listing, change: StoredChange) -> list[StoredChange]:
    """Return a change, preceded by the removal of expired entries that it does not name.

    So expired entries never count toward the limit and never overlap with other entries, in the database either.

    Args:
        listing: The list before the change.
        change: The requested change. If it changes nothing, no expired entries are removed.

    Returns:
        The changes to store, in their order.
    """
    if not change.before and not change.after:
        return [change] if change.settings else []
    named = {entry.id for entry in change.before}
    expired = [entry for entry in listing.entries if listing.has_expired(entry) and entry.id not in named]
    return [listing.change("expire", expired), change] if expired else [change]


def changed(listing: Listing, made: Sequence[StoredChange]) -> list[Entry]:
    """Return the entries of a list after changes, in address order.

    Args:
        listing: The list before the changes.
        made: The changes that `sweep` returned.
    """
    entries = {entry.id: entry for entry in listing.entries}
    for change in made:
        for entry in change.before:
            entries.pop(entry.id)
        entries.update((entry.id, entry) for entry in change.after)
    return in_address_order(entries.values())


def list_at(listed: Iterable[Entry], changes: Sequence[Change], sequence: int) -> list[Entry]:
    """Return an old state of a list, by undoing the changes since then.

    Args:
        listed: The current list.
        changes: The account's changes since then, the newest last.
        sequence: The sequence in the change log, for the message.

    Raises:
        HistoryError: If the account was created after that.

    Example:
        >>> from datetime import UTC, datetime
        >>> from cidrgate import Change
        >>> now = datetime.now(UTC)
        >>> entry = Entry(id=7, account="acct-1", cidr="8.8.8.0/24", label=None, created_at=now, created_by="me")
        >>> removal = Change(
        ...     sequence=2, at=now, actor="me", account="acct-1", action="remove", before=(entry,), after=()
        ... )
        >>> [found.cidr for found in list_at([], [removal], 1)]
        ['8.8.8.0/24']
    """
    entries = {entry.id: entry for entry in listed}
    for change in reversed(changes):
        if change.action == "create_account":
            raise HistoryError(
                f"account {change.account!r} was created by change {change.sequence}, after {sequence}",
                sequence=sequence,
            )
        for entry in change.after:
            del entries[entry.id]
        entries.update((entry.id, entry) for entry in change.before)
    return in_address_order(entries.values())


def named_entries(account: str, listed: Collection[Entry], which: Iterable[EntryRef]) -> list[Entry]:
    """Return the named entries of a list, each once, in the order in which they are first named.

    Args:
        account: The account of the list, for the message.
        listed: The entries of the list.
        which: Ids, networks in any spelling, or entries.

    Raises:
        EntryNotFoundError: If the list does not contain one of the entries, or `which` is empty. The message says what
            the list contains.
        TypeError: If something else is named.
    """
    by_key: dict[str | int, Entry] = {}
    for entry in listed:
        by_key[entry.id] = by_key[entry.cidr] = entry
    found: dict[int, Entry] = {}
    missing: list[str | int] = []
    for key in map(entry_key, which):
        entry_or_none = by_key.get(key if isinstance(key, int) else canonical_or_itself(key))
        if entry_or_none is None:
            missing.append(key)
        else:
            found[entry_or_none.id] = entry_or_none
    if missing or not found:
        raise EntryNotFoundError(_not_found(account, listed, missing), account=account, entries=missing)
    return list(found.values())


def entry_key(which: EntryRef) -> int | str:
    """Return what names an entry as its id or as the text of its network.

    Raises:
        TypeError: If it is neither an id, nor a network, nor an entry.
    """
    if isinstance(which, Entry):
        return which.id
    if isinstance(which, int) and not isinstance(which, bool):
        return which
    try:
        return prefix_text(cast("Prefix", which))
    except TypeError:
        raise TypeError(f"name an entry by its id, its network or the Entry, not by {which!r}") from None


def canonical_or_itself(text: str) -> str:
    """Return the canonical text of a network; a text that is none is returned as it is."""
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
