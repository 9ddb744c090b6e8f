"""Erasing personal data: what people wrote and who they are, in old rows of the log and of entries; and old traffic.

The log still describes the lists: a text that an old row loses is also erased from the later copies of the same entry
or account. Texts that a list or an account still shows stay everywhere.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, or_, select, update

from cidrgate.stores.change_rows import STORE
from cidrgate.stores.key_lists import in_keys
from cidrgate.stores.observations import delete_observations
from cidrgate.stores.schema import accounts, changes, entries, facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Row

    from cidrgate.stores.account_rows import Lineage
    from cidrgate.stores.sql import Transaction

__all__ = ["Erased", "erase_personal_data"]

_OF_ACCOUNTS = ("display_name", "mode_reason")
"""The members of `details` that are personal in rows about accounts. `rename_account` has names of accounts."""
_OF_STORE = ("name",)
"""The members of `details` that are personal in rows about the store: names of tokens and of people who sign in."""

_ROWS_A_PAGE = 1_000

_select_page = (
    select(changes).where(changes.c.sequence > bindparam("last")).order_by(changes.c.sequence).limit(_ROWS_A_PAGE)
)
_REWRITTEN = ("actor", "origin", "before", "after", "details")
_update_row = (
    update(changes)
    .where(changes.c.sequence == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in _REWRITTEN})
)
_clear_authors = update(entries).where(in_keys(entries.c.id, "ids")).values(created_by=None)


class Erased(NamedTuple):
    """How many rows of the change log, and how many entries, lost something; and how many observations were deleted."""

    rows: int
    entries: int
    observations: int


def erase_personal_data(
    transaction: Transaction, before: datetime, *, names: Lineage | None = None, dry_run: bool = False
) -> Erased:
    """Erase personal data that is older than a time.

    Args:
        transaction: A write transaction, or a read transaction for a dry run.
        before: The time, with a time zone.
        names: The names of an account, the present one first, each with the sequences between which its rows are; only
            these rows, and entries of this account, are erased. None for all accounts and for events of the store.
        dry_run: Whether to change nothing.
    """
    transaction.expect_all()
    name = None if names is None else names[0][0]
    if not dry_run:
        transaction.prepare_erasing()
    erasure = _Erasure(transaction, before, names)
    ids = erasure.find()
    connection = transaction.connection
    if not dry_run:
        connection.execute(update(facts).values(erasing_before=before))
    rows = 0
    for page in _pages(transaction):
        rewritten = [new for row in page if (new := erasure.rewritten(row)) is not None]
        rows += len(rewritten)
        if rewritten and not dry_run:
            connection.execute(_update_row, rewritten)
    if not dry_run:
        connection.execute(update(facts).values(erasing_before=None))
        for start in range(0, len(ids), _ROWS_A_PAGE):
            connection.execute(_clear_authors, {"ids": ids[start : start + _ROWS_A_PAGE]})
    day = before.astimezone(UTC).date()
    seen = delete_observations(transaction, day, seen_before=before, account=name, dry_run=dry_run)
    return Erased(rows, len(ids), seen)


def _pages(transaction: Transaction) -> Iterator[list[Row[Any]]]:
    """Read the log in parts. Each is read completely, because its rows are then updated."""
    last = 0
    while page := list(transaction.connection.execute(_select_page, {"last": last})):
        yield page
        last = page[-1].sequence


class _Erasure:
    """What is erased: authors of entries by id, labels by id and text, and texts of accounts by account and text."""

    def __init__(self, transaction: Transaction, before: datetime, of: Lineage | None) -> None:
        self._transaction = transaction
        self._before = before
        self._of = of
        self._ids: set[int] = set()
        self._labels: set[tuple[int, str]] = set()
        self._texts: set[tuple[str, str, str]] = set()
        self._names = _Names()

    def find(self) -> list[int]:
        """Read what is erased, and return the ids of the entries in lists that lose their author."""
        for page in _pages(self._transaction):
            for row in page:
                self._learn(row)
        connection = self._transaction.connection
        self._texts = {(self._names.first(name), member, text) for name, member, text in self._texts}
        shown = select(accounts.c.name, accounts.c.display_name, accounts.c.mode_reason).where(
            or_(accounts.c.display_name.is_not(None), accounts.c.mode_reason.is_not(None))
        )
        for name, *texts in connection.execute(shown):
            self._texts -= {(self._names.first(name), *text) for text in zip(_OF_ACCOUNTS, texts, strict=True)}
        for key, label in connection.execute(select(entries.c.id, entries.c.label).where(entries.c.label.is_not(None))):
            self._labels.discard((key, label))
        found = []
        authored = select(entries.c.id, entries.c.created_at, accounts.c.name).join(accounts)
        for key, created_at, name in connection.execute(authored.where(entries.c.created_by.is_not(None))):
            if key in self._ids or (created_at < self._before and (self._of is None or self._of[0][0] == name)):
                self._ids.add(key)
                found.append(key)
        return sorted(found)

    def _learn(self, row: Row[Any]) -> None:
        details = row.details or {}
        if row.action == "rename_account":
            self._names.join(*(details[when].get("name") for when in ("before", "after")))
        if not self._is_old(row):
            return
        for record in (*row.before, *row.after):
            self._ids.add(record["id"])
            if (label := record.get("label")) is not None:
                self._labels.add((record["id"], label))
        if row.account != STORE:
            for part in (details.get("before"), details.get("after")):
                self._texts.update(
                    (row.account, member, text) for member in _OF_ACCOUNTS if (text := (part or {}).get(member))
                )

    def _is_old(self, row: Row[Any]) -> bool:
        """Return whether a row is older than the time, and is about an account of which data is erased."""
        if row.at >= self._before or self._of is None:
            return bool(row.at < self._before)
        # The row at the end of a name is the rename itself.
        return any(
            row.account == name and above < row.sequence and (below is None or row.sequence <= below)
            for name, above, below in self._of
        )

    def rewritten(self, row: Row[Any]) -> dict[str, Any] | None:
        """Return the parameters that rewrite a row, or None if it loses nothing."""
        new = {
            "actor": row.actor,
            "origin": row.origin,
            "before": list(map(self._entry, row.before)),
            "after": list(map(self._entry, row.after)),
            "details": self._details(row),
        }
        if self._is_old(row):
            new["actor"] = None
            new["origin"] = None if row.origin is None else {"kind": row.origin["kind"]}
        if all(new[name] == getattr(row, name) for name in _REWRITTEN):
            return None
        return {"of": row.sequence, **{f"new_{name}": value for name, value in new.items()}}

    def _entry(self, record: Mapping[str, Any]) -> dict[str, Any]:
        gone = set()
        if record["id"] in self._ids:
            gone.add("created_by")
        if (record["id"], record.get("label")) in self._labels:
            gone.add("label")
        return {name: value for name, value in record.items() if name not in gone}

    def _details(self, row: Row[Any]) -> dict[str, Any] | None:
        if row.details is None:
            return None
        details = dict(row.details)
        for when in ("before", "after"):
            if isinstance(part := details.get(when), dict):
                details[when] = {name: None if self._goes(row, name, value) else value for name, value in part.items()}
        return details

    def _goes(self, row: Row[Any], member: str, value: object) -> bool:
        """Return whether a member of the details of a row is erased."""
        if row.account == STORE:
            return member in _OF_STORE and self._is_old(row)
        if member not in _OF_ACCOUNTS:
            return False
        return (self._names.first(row.account), member, value) in self._texts


class _Names:
    """The names that one account has had, as renames in the log tell."""

    def __init__(self) -> None:
        self._next: dict[str, str] = {}

    def first(self, name: str) -> str:
        """Return one name for all names of an account."""
        while name in self._next:
            name = self._next[name]
        return name

    def join(self, one: str | None, other: str | None) -> None:
        """Learn that an account had both names. A row about a subaccount of a renamed account has none."""
        if one is not None and other is not None and (first := self.first(one)) != (last := self.first(other)):
            self._next[first] = last
