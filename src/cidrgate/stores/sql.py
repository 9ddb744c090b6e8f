"""One transaction on a SQL store: every statement on accounts, entries and the change log.

Written in SQLAlchemy Core for any database. A store subclasses `Transaction` for what differs (how ids are handed
out to new entries, and what a position in the log is), and itself decides how a transaction begins, locks and fails.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Text, bindparam, cast, delete, exists, func, insert, or_, select, update

from cidrgate.stores.entry_rows import (
    alteration,
    entry_from_json,
    entry_from_row,
    entry_to_json,
    insert_entries,
    insertion,
    select_entries,
    update_entry,
)
from cidrgate.stores.key_lists import in_keys
from cidrgate.stores.schema import accounts, changes, entries, facts, matches, utc_text
from cidrgate.stores.values import StoredAccount, StoredList
from cidrgate.values import Account, Change, ListState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, FromClause, Select

    from cidrgate.stores.values import ListChange, NewList
    from cidrgate.values import Entry

__all__ = ["Transaction", "select_accounts_named"]

_ROWS_A_FETCH = 20_000


_parents = accounts.alias("parents")
_account_columns = (
    accounts.c.id,
    accounts.c.name,
    _parents.c.name.label("parent"),
    accounts.c.created_at,
    accounts.c.version,
)
_accounts_and_parents = accounts.outerjoin(_parents, accounts.c.parent_id == _parents.c.id)
_select_accounts = select(*_account_columns).select_from(_accounts_and_parents)
select_accounts_named = _select_accounts.where(in_keys(accounts.c.name, "names"))
_select_lists = (
    select(
        accounts.c.name,
        _parents.c.name,
        func.aggregate_strings(cast(entries.c.cidr, Text), ","),
        (func.count(entries.c.id) > 0).label("enforced"),
    )
    .select_from(_accounts_and_parents.outerjoin(entries, entries.c.account_id == accounts.c.id))
    .group_by(accounts.c.id, accounts.c.name, _parents.c.name)
    .order_by(accounts.c.id)
)
_select_lists_named = (
    select(
        accounts.c.name,
        _parents.c.name,
        cast(entries.c.cidr, Text),
        entries.c.expires_at,
        entries.c.id.is_not(None).label("enforced"),
    )
    .select_from(_accounts_and_parents.outerjoin(entries, entries.c.account_id == accounts.c.id))
    .where(in_keys(accounts.c.name, "names"))
    .order_by(accounts.c.id)
)
_select_expiring = (
    select(accounts.c.name, entries.c.cidr, entries.c.expires_at)
    .join(accounts, entries.c.account_id == accounts.c.id)
    .where(entries.c.expires_at.is_not(None))
)
_select_entries = select_entries.where(in_keys(entries.c.account_id, "ids"))


def _counts(table: FromClause, at: ColumnElement[datetime] | datetime) -> ColumnElement[bool]:
    """What `Entry.counts` says, of the entries of a table or an alias of it."""
    return or_(table.c.expires_at.is_(None), table.c.expires_at > at)


_list_owner = func.coalesce(accounts.c.parent_id, accounts.c.id)
_at = bindparam("at", type_=entries.c.expires_at.type)
_select_list_states = select(
    accounts.c.name,
    select(func.count())
    .where(entries.c.account_id == _list_owner, _counts(entries, _at))
    .scalar_subquery()
    .label("held"),
    # Not EXISTS: for few accounts PostgreSQL would make a hash of all entries of it.
    select(1).where(entries.c.account_id == _list_owner).limit(1).scalar_subquery().is_not(None).label("enforced"),
)
_select_matches = (
    select(matches.c.entry_id, matches.c.at).join(entries).where(entries.c.account_id == bindparam("owner"))
)
_raise_versions = update(accounts).where(in_keys(accounts.c.id, "ids")).values(version=accounts.c.version + 1)
_insert_changes = insert(changes)
_delete_entry = delete(entries).where(entries.c.id == bindparam("entry_id"))


_MANY = 1_000
"""Lists that are a large question to a database."""


class Transaction(ABC):
    """What can be read, and in a write transaction changed, in one transaction of a store."""

    _select_to_change: ClassVar[Select[Any]] = select_accounts_named
    """Selects accounts, and locks them where the database does not lock as a whole."""

    waited = 0.0
    """Seconds that it waited for locks on accounts, since it began."""

    def __init__(self, connection: Connection, *, writes: bool) -> None:
        self._connection = connection
        self._writes = writes
        self._position: str | None = None

    @abstractmethod
    def new_entry_ids(self, expected: int = 1) -> Iterator[int]:
        """Ids no entry ever had, in growing order; the next one is taken with `next`.

        Args:
            expected: How many will be needed, if that is known.
        """

    @property
    def connection(self) -> Connection:
        """The connection, for the other tables of this layer."""
        return self._connection

    def account(self, name: str) -> StoredAccount | None:
        """The account of that name, or None."""
        return self.accounts_named([name]).get(name)

    def clock(self) -> datetime | None:
        """What the database's own clock says; None where it has none but this machine's."""
        return None

    def position(self) -> str:
        """Where the log ends for this transaction, as text that only a store of this kind can read."""
        # What a transaction that only reads sees never changes.
        if self._writes or self._position is None:
            self._position = self._read_position()
        return self._position

    def _expect_much(self) -> None:  # noqa: B027 - most stores need not be told
        """Give the database its time: the next question is a large one."""

    @abstractmethod
    def _read_position(self) -> str:
        """The position, asked of the database."""

    @abstractmethod
    def changed_since(self, position: str, limit: int) -> set[str] | None:
        """The names of accounts changed by what was committed after a position and is seen here.

        Args:
            position: What `position` returned in an earlier transaction.
            limit: How many names are worth having.

        Returns:
            The names; None when there are more than `limit`, or nobody can tell: the position is one of another
            store, or of rows that are deleted, or of a later time than this.
        """

    def accounts_named(self, names: Collection[str]) -> dict[str, StoredAccount]:
        """The accounts that exist of those named, by name. A write transaction keeps other writers off them."""
        statement = self._select_to_change if self._writes else select_accounts_named
        rows = self._connection.execute(statement, {"names": list(names)})
        return {row.name: StoredAccount(*row) for row in rows}

    def accounts(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        parent: str | None = None,
        containing: str | None = None,
    ) -> list[Account]:
        """Accounts, by name.

        Args:
            after: Only those whose names come after this one.
            limit: The first so many; None for all.
            parent: Only the subaccounts of this account.
            containing: Only those whose names contain this text, in capital letters or not.
        """
        statement = _select_accounts.order_by(accounts.c.name).limit(limit)
        if after is not None:
            statement = statement.where(accounts.c.name > after)
        if parent is not None:
            statement = statement.where(_parents.c.name == parent)
        if containing is not None:
            statement = statement.where(accounts.c.name.icontains(containing, autoescape=True))
        if limit is None:
            self._expect_much()
        rows = self._connection.execute(statement)
        return [Account(row.name, row.parent, row.created_at, row.version) for row in rows]

    def entry_counts(self, at: datetime, names: Collection[str] | None = None) -> dict[str, int]:
        """How many entries each account holds that has any, by name; without those expired at a time.

        Args:
            at: The time; aware.
            names: Only these accounts; None for all.
        """
        statement = (
            select(accounts.c.name, func.count().label("held"))
            .join(entries, entries.c.account_id == accounts.c.id)
            .where(_counts(entries, at))
            .group_by(accounts.c.id, accounts.c.name)
            .order_by(accounts.c.name)
        )
        keys: dict[str, list[str]] = {}
        if names is not None:
            statement = statement.where(in_keys(accounts.c.name, "names"))
            keys["names"] = list(names)
        else:
            self._expect_much()
        return {row.name: row.held for row in self._connection.execute(statement, keys)}

    def list_states(self, at: datetime, names: Collection[str] | None = None) -> dict[str, ListState]:
        """What the list that counts for each account comes to, by name: for a subaccount its parent's.

        Says the same as `cidrgate.rules.decisions.enforced`, and reads no list for it.

        Args:
            at: The time at which entries have expired or not; aware.
            names: Only these accounts; None for all.
        """
        keys: dict[str, list[str]] = {}
        statement = _select_list_states
        if names is not None:
            statement = statement.where(in_keys(accounts.c.name, "names"))
            keys["names"] = list(names)
        else:
            self._expect_much()
        rows = self._connection.execute(statement, {"at": at, **keys})
        return {row.name: ListState(row.held, bool(row.enforced)) for row in rows}

    def entries(self, account: StoredAccount) -> list[Entry]:
        """The account's own entries, in no particular order."""
        return self.entries_of([account])[account.name]

    def entries_of(self, owners: Collection[StoredAccount]) -> dict[str, list[Entry]]:
        """The own entries of several accounts, by account name; a list for each, if an empty one."""
        names = {account.id: account.name for account in owners}
        if len(names) > _MANY:
            self._expect_much()
        lists: dict[str, list[Entry]] = {account.name: [] for account in owners}
        for account_id, *values in self._connection.execute(_select_entries, {"ids": list(names)}):
            name = names[account_id]
            lists[name].append(entry_from_row(name, values))
        return lists

    def lists(self) -> Iterator[StoredList]:
        """Every account with the CIDRs of its own list, parents before their subaccounts; streamed."""
        ends: dict[str, dict[str, datetime]] = {}
        for name, cidr, expires_at in self._connection.execute(_select_expiring):
            ends.setdefault(name, {})[cidr] = expires_at
        with self._connection.execute(_select_lists, execution_options={"yield_per": _ROWS_A_FETCH}) as rows:
            for name, parent, cidrs, enforced in rows:
                yield StoredList(name, parent, cidrs.split(",") if cidrs else [], ends.get(name, {}), bool(enforced))

    def lists_named(self, names: Collection[str]) -> list[StoredList]:
        """Some accounts with the CIDRs of their own lists, parents before their subaccounts."""
        found: dict[str, StoredList] = {}
        for row in self._connection.execute(_select_lists_named, {"names": list(names)}):
            name, parent, cidr, expires_at, enforced = row
            one = found.get(name) or found.setdefault(name, StoredList(name, parent, [], {}, bool(enforced)))
            if cidr is not None:
                one.cidrs.append(cidr)
            if expires_at is not None:
                one.expiring[cidr] = expires_at
        return list(found.values())

    def last_matches(self, account: StoredAccount) -> dict[int, datetime]:
        """When entries of the account's own list last let an address in, by id, as far as that was noted."""
        return {row.entry_id: row.at for row in self._connection.execute(_select_matches, {"owner": account.id})}

    @abstractmethod
    def note_matches(self, seen: Sequence[tuple[str, str]], at: datetime) -> None:
        """Note that entries let an address in; nothing older than what was noted before counts.

        Args:
            seen: Accounts, or subaccounts, and the CIDRs of the entries in their lists, some thousands at most. Those
                that are not there any more are left out.
            at: When; aware.
        """

    def accounts_to_sweep(self, at: datetime, limit: int) -> list[str]:
        """Names of accounts that hold entries expired at a time, and others; some, if there are many.

        Args:
            at: The time; aware.
            limit: How many names at most.
        """
        others = entries.alias("others")
        has_others = exists().where(others.c.account_id == accounts.c.id, _counts(others, at))
        statement = _select_expiring.with_only_columns(accounts.c.name, maintain_column_froms=True)
        rows = self._connection.scalars(statement.where(entries.c.expires_at <= at, has_others).distinct().limit(limit))
        return list(rows)

    def changes(
        self, account: str | None, limit: int | None, *, after: int = 0, before: int | None = None
    ) -> list[Change]:
        """The last rows of the change log, newest last.

        Args:
            account: Only this account's rows; None for everybody's.
            limit: How many rows at most; None for all.
            after: Only rows with a greater sequence.
            before: Only rows with a smaller sequence; None for all.
        """
        statement = select(changes).where(changes.c.sequence > after).order_by(changes.c.sequence.desc())
        if before is not None:
            statement = statement.where(changes.c.sequence < before)
        if account is not None:
            statement = statement.where(changes.c.account == account)
        if limit is not None:
            statement = statement.limit(limit)
        else:
            self._expect_much()
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

    def log_start(self) -> int:
        """The sequence from which on the log is whole."""
        return int(self._connection.scalars(select(facts.c.log_start)).one())

    def log_end(self) -> int:
        """The sequence of the last row of the log there is, or was before it was deleted."""
        last = self._connection.scalars(select(func.max(changes.c.sequence))).one()
        return max(last or 0, self.log_start() - 1)

    def prune(self, before: datetime) -> int:
        """Delete the rows of the log that are older than a time; those of an old age stand at its beginning.

        Args:
            before: The time; aware.

        Returns:
            How many rows are gone.
        """
        first_kept = select(func.min(changes.c.sequence)).where(changes.c.at >= before)
        end = select(func.max(changes.c.sequence) + 1)
        start = self._connection.scalar(select(func.coalesce(first_kept.scalar_subquery(), end.scalar_subquery())))
        if start is None or start <= self.log_start():
            return 0
        self._connection.execute(update(facts).values(log_start=start))
        return self._connection.execute(delete(changes).where(changes.c.sequence < start)).rowcount

    def insert_accounts(
        self, names: Sequence[str], *, parent: StoredAccount | None, at: datetime, actor: str | None, version: int = 0
    ) -> dict[str, StoredAccount]:
        """Create accounts and log it.

        Args:
            names: Names no account has.
            parent: The account whose subaccounts they become, or None.
            at: The time of the change; aware.
            actor: Who makes it, for the log.
            version: How often their lists were changed, when the change that fills them is made along with it.

        Returns:
            The new accounts by name.
        """
        if not names:
            return {}
        moment = utc_text(at)
        parent_name, parent_id = (None, None) if parent is None else (parent.name, parent.id)
        rows = list(zip(self._new_account_ids(len(names)), names, strict=True))
        self._insert_accounts(rows, parent_id, version, moment, actor)
        created_at = at.astimezone(UTC)
        return {name: StoredAccount(key, name, parent_name, created_at, version) for key, name in rows}

    @abstractmethod
    def _new_account_ids(self, count: int) -> Sequence[int]:
        """Ids no account ever had, in growing order."""

    @abstractmethod
    def _insert_accounts(
        self, rows: Sequence[tuple[int, str]], parent_id: int | None, version: int, moment: str, actor: str | None
    ) -> None:
        """Store and log accounts, each an id and a name, faster than one by one."""

    def apply(self, made: Sequence[ListChange], *, at: datetime) -> None:
        """Change lists, and log each change.

        Args:
            made: The changes, in the order they are logged; no entry is in two of them.
            at: The time of the changes; aware.
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
                    altered.append(alteration(entry))
                else:
                    added.append(insertion(change.account.id, entry))
        if removed:
            # In one order, so that nobody who notes matches of the same entries waits for this in a circle.
            self._connection.execute(_delete_entry, [{"entry_id": entry_id} for entry_id in sorted(removed)])
        if altered:
            self._connection.execute(update_entry, altered)
        if added:
            self._connection.execute(insert_entries, added)
        self._raise_versions(change.account.id for change in made)
        self._log(made, at)

    @abstractmethod
    def insert_lists(self, lists: Sequence[NewList], *, at: datetime, actor: str | None) -> None:
        """Store the first entries of many accounts, and log them: what `apply` does, faster.

        Args:
            lists: Lists of accounts without entries. The version of those that were created with one stays.
            at: The time of the change; aware.
            actor: Who makes it, for the entries and the log.
        """

    def _raise_versions(self, account_ids: Iterable[int]) -> None:
        ids = sorted(set(account_ids))
        if ids:
            self._connection.execute(_raise_versions, {"ids": ids})

    def _log(self, made: Iterable[ListChange], at: datetime) -> None:
        rows = [
            {
                "at": at,
                "actor": change.actor,
                "account": change.account.name,
                "action": change.action,
                "before": [entry_to_json(entry) for entry in change.before],
                "after": [entry_to_json(entry) for entry in change.after],
            }
            for change in made
        ]
        if rows:
            self._connection.execute(_insert_changes, rows)
