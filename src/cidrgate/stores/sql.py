"""One transaction on a SQL store: every statement on accounts, entries and the change log.

Written in SQLAlchemy Core for any database. A store subclasses `Transaction` for the one thing that differs,
how ids are handed out to new entries, and itself decides how a transaction begins, locks and fails.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, select, update

from cidrgate.stores.changelog import entry_from_json, entry_to_json
from cidrgate.stores.schema import accounts, changes, entries
from cidrgate.values import Account, Change, Entry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from cidrgate.values import Action

__all__ = ["ListChange", "StoredAccount", "StoredList", "Transaction"]

_ROWS_A_FETCH = 20_000


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account with its key in the store."""

    id: int
    name: str
    parent: str | None
    created_at: datetime


class StoredList(NamedTuple):
    """What a matcher needs of one account: its name, its parent if it has one, and its list."""

    account: str
    parent: str | None
    cidrs: list[str]


@dataclass(frozen=True, slots=True)
class ListChange:
    """One change of one account: exactly what is stored, and exactly what is logged.

    Entries are told apart by id. An id only in `before` is removed, one only in `after` is inserted, one in
    both is altered.
    """

    account: StoredAccount
    action: Action
    before: tuple[Entry, ...] = ()
    after: tuple[Entry, ...] = ()


_parents = accounts.alias("parents")
_account_columns = (accounts.c.id, accounts.c.name, _parents.c.name.label("parent"), accounts.c.created_at)
_accounts_and_parents = accounts.outerjoin(_parents, accounts.c.parent_id == _parents.c.id)
_select_accounts = select(*_account_columns).select_from(_accounts_and_parents)
_select_lists = (
    select(accounts.c.name, _parents.c.name, entries.c.cidr)
    .select_from(_accounts_and_parents.outerjoin(entries, entries.c.account_id == accounts.c.id))
    .order_by(accounts.c.id)
)
_entry_columns = (
    entries.c.id,
    entries.c.cidr,
    entries.c.label,
    entries.c.created_at,
    entries.c.created_by,
    entries.c.expires_at,
)
_delete_entry = delete(entries).where(entries.c.id == bindparam("entry_id"))
_update_entry = (
    update(entries)
    .where(entries.c.id == bindparam("entry_id"))
    .values(cidr=bindparam("cidr"), label=bindparam("label"), expires_at=bindparam("expires_at"))
)


class Transaction(ABC):
    """What can be read, and in a write transaction changed, in one transaction of a store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @abstractmethod
    def new_entry_ids(self) -> Iterator[int]:
        """Ids no entry ever had, in growing order; the next one is taken with `next`."""

    def account(self, name: str) -> StoredAccount | None:
        """The account of that name, or None."""
        return self.accounts_named([name]).get(name)

    def accounts_named(self, names: Collection[str]) -> dict[str, StoredAccount]:
        """The accounts that exist of those named, by name."""
        rows = self._connection.execute(_select_accounts.where(accounts.c.name.in_(names)))
        return {row.name: StoredAccount(*row) for row in rows}

    def accounts(self) -> list[Account]:
        """Every account, by name."""
        rows = self._connection.execute(_select_accounts.order_by(accounts.c.name))
        return [Account(row.name, row.parent, row.created_at) for row in rows]

    def entry_counts(self) -> dict[str, int]:
        """How many entries each account holds that has any, by name."""
        rows = self._connection.execute(
            select(accounts.c.name, func.count().label("held"))
            .join(entries, entries.c.account_id == accounts.c.id)
            .group_by(accounts.c.id, accounts.c.name)
            .order_by(accounts.c.name)
        )
        return {row.name: row.held for row in rows}

    def entries(self, account: StoredAccount) -> list[Entry]:
        """The account's own entries, in no particular order."""
        return self.entries_of([account])[account.name]

    def entries_of(self, owners: Collection[StoredAccount]) -> dict[str, list[Entry]]:
        """The own entries of several accounts, by account name; a list for each, if an empty one."""
        names = {account.id: account.name for account in owners}
        lists: dict[str, list[Entry]] = {account.name: [] for account in owners}
        if not names:
            return lists
        rows = self._connection.execute(
            select(entries.c.account_id, *_entry_columns).where(entries.c.account_id.in_(names))
        )
        for account_id, entry_id, *rest in rows:
            name = names[account_id]
            lists[name].append(Entry(entry_id, name, *rest))
        return lists

    def lists(self, names: Collection[str] | None = None) -> Iterator[StoredList]:
        """Accounts with the CIDRs of their own lists, parents before their subaccounts; streamed.

        Args:
            names: The accounts; None for every account.
        """
        statement = _select_lists
        if names is not None:
            statement = statement.where(accounts.c.name.in_(names))
        rows = self._connection.execute(statement, execution_options={"yield_per": _ROWS_A_FETCH})
        for name, members in groupby(rows, key=itemgetter(0)):
            group = list(members)
            yield StoredList(name, group[0][1], [cidr for _, _, cidr in group if cidr is not None])

    def changes(self, account: str | None, limit: int | None) -> list[Change]:
        """The last rows of the change log, newest last.

        Args:
            account: Only this account's rows; None for everybody's.
            limit: How many rows at most; None for all.
        """
        statement = select(changes).order_by(changes.c.sequence.desc())
        if account is not None:
            statement = statement.where(changes.c.account == account)
        if limit is not None:
            statement = statement.limit(limit)
        found = [
            Change(
                sequence=row.sequence,
                at=row.at,
                actor=row.actor,
                account=row.account,
                action=row.action,
                before=tuple(entry_from_json(row.account, record) for record in row.before),
                after=tuple(entry_from_json(row.account, record) for record in row.after),
            )
            for row in self._connection.execute(statement)
        ]
        found.reverse()
        return found

    def insert_accounts(
        self, names: Sequence[str], *, parent: StoredAccount | None, at: datetime, actor: str | None
    ) -> dict[str, StoredAccount]:
        """Create accounts and log it.

        Args:
            names: Names no account has.
            parent: The account whose subaccounts they become, or None.
            at: The time of the change; aware.
            actor: Who makes it, for the log.

        Returns:
            The new accounts by name.
        """
        if not names:
            return {}
        parent_id = None if parent is None else parent.id
        self._connection.execute(
            insert(accounts), [{"name": name, "parent_id": parent_id, "created_at": at} for name in names]
        )
        created = self.accounts_named(names)
        self._log([ListChange(created[name], "create_account") for name in names], at, actor)
        return created

    def apply(self, made: Sequence[ListChange], *, at: datetime, actor: str | None) -> None:
        """Change lists, and log each change.

        Args:
            made: The changes, in the order they are logged; no entry is in two of them.
            at: The time of the change; aware.
            actor: Who makes it, for the log.
        """
        removed: list[int] = []
        altered: list[dict[str, object]] = []
        added: list[dict[str, object]] = []
        for change in made:
            ids_before = {entry.id for entry in change.before}
            ids_after = {entry.id for entry in change.after}
            removed.extend(ids_before - ids_after)
            for entry in change.after:
                if entry.id in ids_before:
                    altered.append(_alteration(entry))
                else:
                    added.append(_insertion(change.account.id, entry))
        if removed:
            self._connection.execute(_delete_entry, [{"entry_id": entry_id} for entry_id in removed])
        if altered:
            self._connection.execute(_update_entry, altered)
        if added:
            self._connection.execute(insert(entries), added)
        self._log(made, at, actor)

    def _log(self, made: Iterable[ListChange], at: datetime, actor: str | None) -> None:
        rows = [
            {
                "at": at,
                "actor": actor,
                "account": change.account.name,
                "action": change.action,
                "before": [entry_to_json(entry) for entry in change.before],
                "after": [entry_to_json(entry) for entry in change.after],
            }
            for change in made
        ]
        if rows:
            self._connection.execute(insert(changes), rows)


def _insertion(account_id: int, entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "account_id": account_id,
        "cidr": entry.cidr,
        "label": entry.label,
        "created_at": entry.created_at,
        "created_by": entry.created_by,
        "expires_at": entry.expires_at,
    }


def _alteration(entry: Entry) -> dict[str, object]:
    return {
        "entry_id": entry.id,
        "cidr": entry.cidr,
        "label": entry.label,
        "expires_at": entry.expires_at,
    }
