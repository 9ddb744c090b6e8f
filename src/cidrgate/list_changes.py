"""What a change does to one list, worked out from values: no SQL, no lock, no matcher.

The rules have already said that the CIDRs may be listed; here they become entries, and the difference to the
list as it is becomes a `ListChange`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cidrgate._engine import canonical_prefix
from cidrgate.decisions import in_address_order
from cidrgate.errors import EntryNotFoundError, InvalidAddressError
from cidrgate.stores import ListChange, StoredAccount
from cidrgate.values import Entry, NewEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

__all__ = ["addition", "named_entries", "replacement"]


def addition(
    account: StoredAccount,
    pieces: Sequence[NewEntry],
    cidrs: Sequence[str],
    *,
    ids: Iterator[int],
    at: datetime,
    actor: str | None,
) -> ListChange:
    """The change that lists new entries.

    Args:
        account: Whose list.
        pieces: What was asked for; the labels are taken from here.
        cidrs: The canonical CIDR of each piece, as validated.
        ids: Where the new entries get their ids from.
        at: When they are added; aware.
        actor: Who adds them.
    """
    after = tuple(
        Entry(next(ids), account.name, cidr, piece.label, at, actor) for piece, cidr in zip(pieces, cidrs, strict=True)
    )
    return ListChange(account, "add", after=after)


def replacement(
    account: StoredAccount,
    listed: Iterable[Entry],
    pieces: Sequence[NewEntry],
    cidrs: Sequence[str],
    *,
    ids: Iterator[int],
    at: datetime,
    actor: str | None,
) -> ListChange:
    """The difference between a list and the whole list that shall stand in its place.

    An entry whose network stays is kept with its id, who added it and when; a piece with a label gives it
    that label. Nothing in `before` or `after` means nothing changes.

    Args:
        account: Whose list.
        listed: Its entries now.
        pieces: What was asked for.
        cidrs: The canonical CIDR of each piece, as validated.
        ids: Where new entries get their ids from.
        at: When it changes; aware.
        actor: Who changes it.
    """
    leaving = {entry.cidr: entry for entry in listed}
    before: list[Entry] = []
    after: list[Entry] = []
    for piece, cidr in zip(pieces, cidrs, strict=True):
        kept = leaving.pop(cidr, None)
        if kept is None:
            after.append(Entry(next(ids), account.name, cidr, piece.label, at, actor))
        elif piece.label is not None and piece.label != kept.label:
            before.append(kept)
            after.append(replace(kept, label=piece.label))
    before.extend(leaving.values())
    return ListChange(account, "replace", tuple(before), tuple(after))


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
    there = ", ".join(f"{entry.cidr} (id {entry.id})" for entry in in_address_order(listed))
    holds = f"it holds {there}" if there else "its list is empty"
    if not missing:
        return f"no entry of account {account!r} was named; {holds}"
    names = ", ".join(f"id {key}" if isinstance(key, int) else repr(key) for key in missing)
    return f"account {account!r} does not list {names}; {holds}"
