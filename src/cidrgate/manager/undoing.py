"""Undoing one change of a list, as a new change: what it added goes, what it removed comes back, the rest stays.

Pure functions, as in `changes`. `restore` sets a whole list back; `undo` leaves alone what other changes did since.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cidrgate.errors import HistoryError, UndoConflictError
from cidrgate.manager.modes import DEFAULT_SETTINGS, settings_change, settings_of
from cidrgate.rules import validate_addition
from cidrgate.rules.limits import some_of
from cidrgate.values import DETAILS, NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cidrgate.manager.changes import Listing
    from cidrgate.rules import Policy
    from cidrgate.stores import StoredChange, Transaction
    from cidrgate.stores.account_rows import Lineage
    from cidrgate.values import Change, Entry

__all__ = ["UNDOABLE", "logged_change", "undoing"]

UNDOABLE = frozenset({"add", "edit", "remove", "replace", "restore", "undo", "set_mode"})
"""The actions that can be undone. Others are not about the entries alone, or time has made them."""

_MOST_NAMED = 20
"""How many networks a message names."""


def logged_change(transaction: Transaction, account: str, names: Lineage, sequence: int) -> Change:
    """Return one change of an account from the change log, under the name that the account has now.

    Args:
        transaction: The transaction that reads the log.
        account: The name of the account.
        names: The names that the account has had, as `AccountRows.lineage` returns them.
        sequence: The sequence of the change.

    Raises:
        HistoryError: If the log has no such change of this account.
    """
    with_sequence = partial(transaction.changes, limit=1, after=sequence - 1, before=sequence + 1)
    held = 0 < sequence < _GREATEST
    found = with_sequence(None, names=names) if held else []
    if found:
        return replace(found[0], account=account)
    start, end = transaction.log_start(), transaction.log_end()
    if sequence < 1:
        why = f"the first change of a log has the sequence 1: there is no change {sequence}"
    elif sequence < start:
        why = f"the change log begins with change {start}: older changes were deleted"
    elif sequence > end:
        why = f"the change log ends with change {end}: there is no change {sequence} yet"
    elif held and with_sequence(account):
        _, above, _ = names[0]
        why = f"change {sequence} is from before account {account!r} got this name, after change {above}"
    else:
        why = f"change {sequence} is not a change of account {account!r}"
    raise HistoryError(why, sequence=sequence)


_GREATEST = 2**63 - 1
"""The greatest sequence that a database can hold."""


def undoing(listing: Listing, change: Change, later: Callable[[], Sequence[Change]], policy: Policy) -> StoredChange:
    """Return the change that undoes another change of the list.

    Each entry that the change added or edited must be in the list as the change left it: with the same network and the
    same details. It may have another id, because an entry that was removed and came back has a new one. The rules of
    today apply to every network that comes back. Entries that have expired since are left out.

    Args:
        listing: The list before the undo.
        change: The change to undo.
        later: Returns the account's changes after it, the newest last. It is asked only for the message of an error.
        policy: What the list may contain today.

    Raises:
        UndoConflictError: If later changes altered what the change did, or if nothing is left to undo.
        RuleError: If an entry that comes back breaks a rule, such as one that overlaps with an entry added since.
    """
    if change.action not in UNDOABLE:
        raise _refusal(change, _CANNOT.get(change.action, "it is not a change of the list"))
    former = _former_settings(listing, change) if change.action == "set_mode" or change.details else None
    if former is not None and not (change.before or change.after):
        return former
    at = listing.at
    now = {entry.id: entry for entry in listing.entries}
    by_cidr = {entry.cidr: entry for entry in listing.entries}
    before = {entry.id: entry for entry in change.before}
    altered: list[Entry] = []
    over: list[Entry] = []
    leaving: list[Entry] = []
    put_back: list[tuple[Entry, Entry]] = []
    for left in change.after:
        found = now.get(left.id) or by_cidr.get(left.cidr)
        if found is None or not _same(found, left):
            # An added entry that has expired is gone already, which is what undoing it would do.
            if found is None and left.id not in before and left.is_expired(at):
                continue
            altered.append(left)
        elif left.id not in before:
            leaving.append(found)
        else:
            old = before[left.id]
            put_back.append((found, old))
            if old.is_expired(at):
                over.append(old)
    if altered:
        raise _altered(change, altered, later())
    if over:
        raise _refusal(change, f"{_some(over)} would have expired already", over)
    kept = {left.id for left in change.after}
    returning = [entry for entry in change.before if entry.id not in kept and entry.counts(at)]
    if not (leaving or put_back or returning or former):
        raise _refusal(change, "its entries have expired since", change.before or change.after)
    _check_rules(listing, leaving, put_back, returning, policy)
    made = listing.change(
        "undo",
        [*leaving, *(found for found, _ in put_back)],
        [
            *(replace(found, cidr=old.cidr, **NewEntry.of(old).said()) for found, old in put_back),
            *(listing.new_entry(entry.cidr, NewEntry.of(entry)) for entry in returning),
        ],
    )
    return made if former is None else replace(made, details=former.details, settings=former.settings)


def _former_settings(listing: Listing, change: Change) -> StoredChange:
    """Return the change that sets the settings from before a change of them, unless they were set again since."""
    details = change.details or {}
    now, then = settings_of(details.get("after") or {}), settings_of(details.get("before") or {})
    differing = [name for name, value in now.items() if getattr(listing.owner, name) != value]
    if differing and differing[0] not in DEFAULT_SETTINGS:
        raise _refusal(change, f"the {differing[0].replace('_', ' ')} was set again since: set what is wanted")
    if differing:
        raise _refusal(change, "the mode was set again, or has expired since: set the mode that is wanted")
    if then.get("mode_until") is not None and then["mode_until"] <= listing.at:
        ended = f"the mode {then['mode']} that it replaced would have ended at {then['mode_until'].isoformat()}"
        then |= {"mode": "enforce", "mode_until": None, "mode_reason": None}
        if all(now.get(name) == value for name, value in then.items()):
            raise _refusal(change, f"{ended}: set the mode that is wanted")
    return settings_change(listing, "undo", then)


_CANNOT = {
    "create_account": "it created the account",
    "expire": "the entries that it removed have expired",
    "rename_account": "it renamed the account: rename it back",
    "move_account": "it changed the parent of the account: change it back",
    "edit_account": "it changed the account and not the list: edit the account",
}


def _check_rules(
    listing: Listing,
    leaving: Iterable[Entry],
    put_back: Sequence[tuple[Entry, Entry]],
    returning: Iterable[Entry],
    policy: Policy,
) -> None:
    """Check the networks that come back against the entries that stay."""
    # An expired entry was not checked against the others: one that counts again is checked like a new entry.
    moving = [(found, old) for found, old in put_back if found.cidr != old.cidr or listing.has_expired(found)]
    pieces = [NewEntry.of(entry) for entry in (*(old for _, old in moving), *returning)]
    if not pieces:
        return
    gone = {entry.id for entry in (*leaving, *(found for found, _ in moving))}
    active = listing.active()
    staying = [entry.cidr for entry in active if entry.id not in gone]
    # Like an edit, an undo is not refused because the limit was lowered since, as long as the list does not grow.
    validate_addition(pieces, staying, replace(policy, max_entries=max(policy.max_entries, len(active))))


def _same(entry: Entry, left: Entry) -> bool:
    """Return whether an entry has the network and the details that a change left it with."""
    return entry.cidr == left.cidr and all(
        getattr(entry, detail.name) == getattr(left, detail.name) for detail in DETAILS
    )


def _altered(change: Change, altered: Sequence[Entry], later: Sequence[Change]) -> UndoConflictError:
    ids, cidrs = {entry.id for entry in altered}, {entry.cidr for entry in altered}
    by = None
    for one in later:
        if any(entry.id in ids or entry.cidr in cidrs for entry in (*one.before, *one.after)):
            by = one.sequence
    since = "" if by is None else f" by change {by}"
    advice = "" if by is None else f"; undo change {by} first, or edit the list"
    verb = "has" if len(altered) == 1 else "have"
    return _refusal(change, f"{_some(altered)} {verb} been changed or removed since{since}{advice}", altered, by)


def _refusal(change: Change, why: str, entries: Iterable[Entry] = (), later: int | None = None) -> UndoConflictError:
    return UndoConflictError(
        f"change {change.sequence} of account {change.account!r} cannot be undone: {why}",
        account=change.account,
        sequence=change.sequence,
        entries=[entry.cidr for entry in entries],
        later=later,
    )


def _some(entries: Sequence[Entry]) -> str:
    named = [entry.cidr for entry in entries[:_MOST_NAMED]]
    return some_of(named, _MOST_NAMED, len(entries) - len(named))
