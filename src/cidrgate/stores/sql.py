"""`Transaction`: one transaction on a SQL store, with every statement on accounts, entries and the change log.

The statements use SQLAlchemy Core and work on any database. Each store has a subclass of `Transaction` for the
differences, such as the ids of new entries and the position in the log. The store decides how a transaction begins,
locks and fails.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import (
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
    true,
    update,
)

from cidrgate.process.clock import certain_time, earlier_by_far
from cidrgate.stores.aggregates import expiries_by_cidr, joined
from cidrgate.stores.change_rows import STORE, change_of_row, log_row, origin_to_json
from cidrgate.stores.entry_rows import (
    entry_from_row,
    insert_entries,
    insert_values,
    select_entries,
    stored_cidr,
    update_entry,
    update_values,
)
from cidrgate.stores.key_lists import in_keys, in_names
from cidrgate.stores.schema import accounts, changes, entries, facts, matches, utc_text
from cidrgate.stores.search import MOST_FOUND, SHORTEST_INDEXED, FoundRow
from cidrgate.stores.values import StoredAccount, StoredList
from cidrgate.values import list_state_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, Table
    from sqlalchemy.sql.selectable import TextualSelect

    from cidrgate.stores.search import WantedNetwork
    from cidrgate.stores.values import LogHolder, NewList, StoredChange
    from cidrgate.values import Account, Action, Change, Entry, ListState, Origin

__all__ = ["Transaction", "escaped", "select_accounts_named", "select_found", "select_lists_after"]

_ROWS_A_FETCH = 20_000


_parents = accounts.alias("parents")
_account_columns = (
    accounts.c.id,
    accounts.c.name,
    _parents.c.name.label("parent"),
    accounts.c.created_at,
    accounts.c.version,
    accounts.c.display_name,
    accounts.c.mode,
    accounts.c.mode_until,
    accounts.c.mode_reason,
    accounts.c.closed,
)
"""The columns in the order of the fields of `StoredAccount`."""

_accounts_and_parents = accounts.outerjoin(_parents, accounts.c.parent_id == _parents.c.id)
_select_accounts = select(*_account_columns).select_from(_accounts_and_parents)
# The policy is read together with the account, so that a change needs no further statement.
select_accounts_named = (
    select(*_account_columns, accounts.c.policy, select(facts.c.policy).scalar_subquery().label("store_policy"))
    .select_from(_accounts_and_parents)
    .where(in_keys(accounts.c.name, "names"))
)


def _counts(table: FromClause, at: ColumnElement[datetime] | datetime) -> ColumnElement[bool]:
    """Return `Entry.counts` as a SQL condition on a table of entries or an alias of it."""
    return not_(_expired(table, at))


def _expired(table: FromClause, at: ColumnElement[datetime] | datetime) -> ColumnElement[bool]:
    """Return `Entry.expired` as a SQL condition, which is never NULL."""
    return and_(table.c.expires_at.is_not(None), table.c.expires_at <= at)


def _matches(table: FromClause) -> ColumnElement[bool]:
    """Return `Entry.matches` as a SQL condition, except for the expiry.

    The condition is part of every statement that fills a matcher. A matcher also needs the entries that will expire:
    `ExpirySchedule` removes them in time.
    """
    return table.c.enabled.is_(true())


# An entry that does not match is NULL here, which no list of CIDRs contains, but it still counts for `enforced`.
_matching_cidr = case((_matches(entries), cast(entries.c.cidr, Text)))
_expiry_of_matching = case((_matches(entries), entries.c.expires_at))
_has_list = or_(func.count(entries.c.id) > literal_column("0"), accounts.c.closed.is_(true())).label("enforced")
_of_account = (accounts.c.mode, accounts.c.mode_until)
_grouped_by_account = (accounts.c.id, accounts.c.name, _parents.c.name, accounts.c.closed, *_of_account)
_select_lists = (
    select(
        accounts.c.name,
        _parents.c.name,
        joined(_matching_cidr),
        _has_list,
        *_of_account,
    )
    .select_from(_accounts_and_parents.outerjoin(entries, entries.c.account_id == accounts.c.id))
    .group_by(*_grouped_by_account)
    .order_by(accounts.c.id)
)
_select_whole_lists = (
    select(
        accounts.c.id,
        accounts.c.name,
        _parents.c.name.label("parent"),
        joined(_matching_cidr).label("cidrs"),
        expiries_by_cidr(_matching_cidr, _expiry_of_matching).label("expiries"),
        _has_list,
        *_of_account,
    )
    .select_from(_accounts_and_parents.outerjoin(entries, entries.c.account_id == accounts.c.id))
    .group_by(*_grouped_by_account)
)
"""All that a matcher needs of a few lists, with a row for each. For all lists, `_select_lists` is faster."""
_select_lists_named = _select_whole_lists.where(in_keys(accounts.c.name, "names")).order_by(accounts.c.id)
_entries_and_accounts = entries.join(accounts, entries.c.account_id == accounts.c.id)
_select_expiring = (
    select(accounts.c.name, entries.c.cidr, entries.c.expires_at)
    .select_from(_entries_and_accounts)
    .where(entries.c.expires_at.is_not(None), _matches(entries))
)
_select_entries = select_entries.where(in_keys(entries.c.account_id, "ids"))
_owners = accounts.alias("owners")
_list_owner = func.coalesce(accounts.c.parent_id, accounts.c.id)
_at = bindparam("at", type_=entries.c.expires_at.type)
_select_list_states = select(
    accounts.c.name,
    select(func.count())
    .where(entries.c.account_id == _list_owner, _counts(entries, _at))
    .scalar_subquery()
    .label("held"),
    # Not EXISTS: PostgreSQL would then build a hash table of all entries, even for few accounts.
    select(1).where(entries.c.account_id == _list_owner).limit(1).scalar_subquery().is_not(None).label("listed"),
    _owners.c.mode,
    _owners.c.mode_until,
    _owners.c.mode_reason,
    _owners.c.closed,
).select_from(accounts.join(_owners, _owners.c.id == _list_owner))
_select_matches = (
    select(matches.c.entry_id, matches.c.at).join(entries).where(entries.c.account_id == bindparam("owner"))
)
select_found = select_entries.with_only_columns(accounts.c.name, *select_entries.selected_columns).select_from(
    _entries_and_accounts
)
"""Entries with the names of their accounts: what `find_entries` needs of each."""
_count_subaccounts = (
    select(accounts.c.parent_id, func.count().label("held"))
    .where(in_keys(accounts.c.parent_id, "ids"))
    .group_by(accounts.c.parent_id)
)
_select_subaccounts = (
    select(_parents.c.name, accounts.c.name)
    .join_from(_parents, accounts, accounts.c.parent_id == _parents.c.id)
    .where(in_keys(_parents.c.name, "names"))
    .order_by(accounts.c.name)
)
_raise_versions = update(accounts).where(in_keys(accounts.c.id, "ids")).values(version=accounts.c.version + 1)
_insert_changes = insert(changes)
_delete_entry = delete(entries).where(entries.c.id == bindparam("entry_id"))


def select_lists_after(changed: TextualSelect) -> Select[Any]:
    """Return a statement that selects the columns of another, and the lists of the accounts in its column `names`.

    It has a row for each list, in the order of accounts, and one row if there are no lists. All is read from
    one committed state, without a transaction.

    Args:
        changed: A statement that selects one row.
    """
    found = changed.cte("found_changes")
    names = select(found.c.names).scalar_subquery()
    lists = _select_whole_lists.where(in_names(accounts.c.name, names)).subquery("lists")
    return select(*found.c, *lists.c).select_from(found.outerjoin(lists, true())).order_by(lists.c.id)


_OF_ACCOUNT = len(select_accounts_named.selected_columns)
_OF_LIST = len(_select_whole_lists.selected_columns)

_GREATEST = 2**63 - 1

_MANY = 1_000
"""The number of lists above which a query is large."""


def _networks(joined: str | None) -> list[str]:
    """Return the networks that a statement has joined."""
    if not joined:
        return []
    found = joined.split(",")
    return list(map(stored_cidr, found)) if "::" in joined and "." in joined else found


def _stored_list(row: Sequence[Any]) -> StoredList:
    """Return the list of a row of `_select_whole_lists`."""
    _, name, parent, cidrs, expiries, enforced, mode, mode_until = row
    expiring = {} if expiries is None else json.loads(expiries)
    return StoredList(
        name,
        parent,
        _networks(cidrs),
        {stored_cidr(cidr): datetime.fromisoformat(at).astimezone(UTC) for cidr, at in expiring.items()},
        bool(enforced),
        mode,
        mode_until,
    )


def _names_of(row: Row[Any]) -> set[str]:
    """Return the accounts of a row about changes. A change of the whole store has none."""
    return set(json.loads(row.names) if isinstance(row.names, str) else row.names) - {""}


class Transaction(ABC):
    """One transaction of a store, which can read, and change if it is a write transaction."""

    server_clock: ClassVar[ColumnElement[datetime] | None] = None
    """The time of the database's clock, for statements; None if that is this machine's clock."""

    _select_to_change: ClassVar[Select[Any]] = select_accounts_named
    """The statement that selects accounts, and locks them if the database does not lock as a whole."""

    waited = 0.0
    """The seconds for which it has waited for locks on accounts since it began."""

    def __init__(self, connection: Connection, *, writes: bool) -> None:
        self._connection = connection
        self._writes = writes
        self._position: str | None = None
        self._log_end_before: int | None = None
        self.tokens_relied_on: dict[int, Any] = {}
        """The rows of the tokens that this write transaction has read and locked, by id: no other can change them."""
        self.event: Action | None = None
        """What it does besides changes of accounts and lists, for an unknown outcome: an event of the log, even if it
        changes nothing and logs none."""

    @abstractmethod
    def new_entry_ids(self, expected: int = 1) -> Iterator[int]:
        """Return an iterator of ids that no entry ever had, in ascending order.

        Args:
            expected: How many ids will be needed, if that is known.
        """

    @property
    def connection(self) -> Connection:
        """The connection, for the other tables of this layer."""
        return self._connection

    def account(self, name: str) -> StoredAccount | None:
        """Return the account with this name, or None."""
        return self.accounts_named([name]).get(name)

    def clock(self) -> datetime | None:
        """Return the time of the database's clock, or None if that is this machine's clock."""
        return None

    def certain_time(self, now: datetime) -> datetime:
        """Return a time that has passed by all clocks: what has expired by then may be deleted.

        Args:
            now: The time of this machine's clock, with a time zone.
        """
        return earlier_by_far(certain_time(now), self.clock())

    def position(self) -> str:
        """Return the end of the log for this transaction, as text that only a store of this kind can read."""
        # A read transaction always sees the same state.
        if self._writes or self._position is None:
            self._position = self._read_position()
        return self._position

    def _expect_much(self) -> None:  # noqa: B027 - most stores do not need it
        """Allow the database more time, because the next query is a large one."""

    def expect_all(self) -> None:  # noqa: B027 - most stores do not need it
        """Allow the database as much time as it needs, because the next statements read or write whole tables."""

    @abstractmethod
    def _read_position(self) -> str:
        """Read the position from the database."""

    def changed_since(self, position: str, limit: int) -> set[str] | None:
        """Return the names of the accounts with changes that were committed after a position and are visible here.

        Args:
            position: The result of `position` in an earlier transaction.
            limit: The largest number of names to return.

        Returns:
            The names, or None if there are more than `limit` or they are unknown. They are unknown if the position
            belongs to another store, to deleted rows of the log, or to a later time than this transaction.
        """
        rows = self._read_changes(position, limit, lists=False)
        if not rows or not self._knows_changes(position, limit, rows[0]):
            return None
        return _names_of(rows[0])

    def lists_changed_since(self, position: str, limit: int) -> tuple[list[StoredList], set[str]] | None:
        """Return the current lists of the accounts that `changed_since` returns, and the names that no account has now.

        It is one statement, so the lists and `position` are of the same committed state even with `read_autocommit`.

        Args:
            position: As for `changed_since`.
            limit: As for `changed_since`.

        Returns:
            The lists and the names, or None if the accounts are unknown or more than `limit`.
        """
        rows = self._read_changes(position, limit, lists=True)
        if not rows or not self._knows_changes(position, limit, rows[0]):
            return None
        lists = [_stored_list(row[-_OF_LIST:]) for row in rows if row[-_OF_LIST] is not None]
        return lists, _names_of(rows[0]) - {one.account for one in lists}

    @abstractmethod
    def _read_changes(self, position: str, limit: int, *, lists: bool) -> Sequence[Row[Any]]:
        """Read the current position and the accounts that changed since another, in one statement.

        Args:
            position: The other position.
            limit: The largest number of accounts that the caller wants.
            lists: Whether to read their lists too, with `select_lists_after`.

        Returns:
            The rows of the statement; none if the position is not one of this kind of store.
        """

    @abstractmethod
    def _knows_changes(self, position: str, limit: int, row: Row[Any]) -> bool:
        """Take over the current position, and return whether the row tells which accounts changed since another."""

    def accounts_named(self, names: Collection[str]) -> dict[str, StoredAccount]:
        """Return the existing accounts with these names, by name. A write transaction locks them for other writers."""
        statement = self._select_to_change if self._writes else select_accounts_named
        rows = self._connection.execute(statement, {"names": list(names)}).all()
        return {row.name: self._stored_account(row) for row in rows}

    def _stored_account(self, row: Row[Any]) -> StoredAccount:
        """Return the account of a row of `select_accounts_named`, which may have further columns."""
        return StoredAccount(*row[:_OF_ACCOUNT])

    def accounts(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        parent: str | None = None,
        containing: str | None = None,
        starting_with: str | None = None,
    ) -> list[Account]:
        """Return accounts, sorted by name.

        Args:
            after: Only accounts whose names come after this name.
            limit: The largest number of accounts to return; None for all.
            parent: Only the subaccounts of this account.
            containing: Only accounts whose names contain this text, in upper or lower case of A to Z.
            starting_with: Only accounts whose names start with this text, in upper or lower case of A to Z.
        """
        statement = _select_accounts.order_by(accounts.c.name).limit(limit)
        keys: dict[str, list[int]] = {}
        if after is not None:
            statement = statement.where(accounts.c.name > after)
        if limit is None:
            self._expect_much()
        named = []
        if containing is not None:
            named.append(self._names_like("%", containing, "%", indexed=len(containing) >= SHORTEST_INDEXED))
        if starting_with is not None:
            named.append(self._names_like("", starting_with, "%"))
        if parent is not None:
            statement = statement.where(_parents.c.name == parent)
        elif starting_with or len(containing or "") >= SHORTEST_INDEXED:
            found = self._accounts_found(containing or "", starting_with or "", named)
            if found is not None:
                statement = statement.where(in_keys(accounts.c.id, "found"))
                keys["found"] = found
        return [StoredAccount(*row).value() for row in self._connection.execute(statement.where(*named), keys)]

    def subaccounts_of(self, names: Collection[str]) -> dict[str, list[str]]:
        """Return the names of the subaccounts of some accounts, sorted, by the account; others are left out."""
        found: dict[str, list[str]] = {}
        for parent, name in self._connection.execute(_select_subaccounts, {"names": list(names)}):
            found.setdefault(parent, []).append(name)
        return found

    def _names_like(self, before: str, text: str, after: str, *, indexed: bool = True) -> ColumnElement[bool]:
        """Return the condition that names have a text, in upper or lower case of A to Z, between parts of a pattern.

        Args:
            before: The part before the text.
            text: The text.
            after: The part after it.
            indexed: Whether an index may find the names.
        """
        return _names_like(before, text, after, indexed=indexed)

    def _accounts_found(
        self, containing: str, starting_with: str, named: Sequence[ColumnElement[bool]]
    ) -> list[int] | None:
        """Return the ids of all accounts with certain names, by an index.

        Args:
            containing: A text in the names; may be empty.
            starting_with: A text with which the names start; may be empty.
            named: The same as conditions.

        Returns:
            The ids. None if there are more than `MOST_FOUND`, or no index can find them.
        """
        found = self._connection.scalars(select(accounts.c.id).where(*named).limit(MOST_FOUND + 1)).all()
        return None if len(found) > MOST_FOUND else list(found)

    def find_entries(self, wanted: WantedNetwork, *, after: int = 0, limit: int | None = None) -> list[FoundRow]:
        """Return the entries of all accounts that cover or overlap a network, by id, which grows with each new entry.

        Args:
            wanted: What is searched for.
            after: Only entries with a greater id.
            limit: The largest number of entries to return; None for all.
        """
        if limit is None:
            self._expect_much()
        rows = self._entries_found(wanted, after, limit)
        owners = list({row.account_id for row in rows})
        counted = self._connection.execute(_count_subaccounts, {"ids": owners})
        subaccounts = {row.parent_id: row.held for row in counted}
        return [FoundRow(entry_from_row(row[0], row[2:]), subaccounts.get(row.account_id, 0)) for row in rows]

    @abstractmethod
    def _entries_found(self, wanted: WantedNetwork, after: int, limit: int | None) -> Sequence[Row[Any]]:
        """Return the rows of `select_found` for `find_entries`, in its order."""

    def entry_counts(self, at: datetime, names: Collection[str] | None = None) -> dict[str, int]:
        """Return the number of entries of each account that has any, by name, without entries expired at a time.

        Args:
            at: The time, with a time zone.
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
        """Return the state of each account's effective list, by name. A subaccount has its parent's list.

        The result agrees with `cidrgate.rules.decisions.list_state`, without reading the lists.

        Args:
            at: The time at which entries have expired or not, with a time zone.
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
        return {row.name: list_state_of(row.held, row.listed or row.closed, row, at) for row in rows}

    def entries(self, account: StoredAccount) -> list[Entry]:
        """Return the account's own entries, in no particular order."""
        return self.entries_of([account])[account.name]

    def entries_of(self, owners: Collection[StoredAccount]) -> dict[str, list[Entry]]:
        """Return the own entries of several accounts, by account name. Each account has a list, which may be empty."""
        names = {account.id: account.name for account in owners}
        if len(names) > _MANY:
            self._expect_much()
        lists: dict[str, list[Entry]] = {account.name: [] for account in owners}
        for account_id, *values in self._connection.execute(_select_entries, {"ids": list(names)}).all():
            name = names[account_id]
            lists[name].append(entry_from_row(name, values))
        return lists

    def lists(self) -> Iterator[StoredList]:
        """Stream every account with the CIDRs of its own list, in the order in which they were created."""
        expiries: dict[str, dict[str, datetime]] = {}
        for name, cidr, expires_at in self._connection.execute(_select_expiring):
            expiries.setdefault(name, {})[stored_cidr(cidr)] = expires_at
        with self._connection.execute(_select_lists, execution_options={"yield_per": _ROWS_A_FETCH}) as rows:
            for name, parent, cidrs, enforced, *mode in rows:
                yield StoredList(name, parent, _networks(cidrs), expiries.get(name, {}), bool(enforced), *mode)

    def lists_named(self, names: Collection[str]) -> list[StoredList]:
        """Return some accounts with the CIDRs of their own lists, in the order in which they were created."""
        return [_stored_list(row) for row in self._connection.execute(_select_lists_named, {"names": list(names)})]

    def last_matches(self, account: StoredAccount) -> dict[int, datetime]:
        """Return when entries of the account's own list last matched a request, by id, if that was recorded."""
        return {row.entry_id: row.at for row in self._connection.execute(_select_matches, {"owner": account.id})}

    @abstractmethod
    def note_matches(self, seen: Sequence[tuple[str, str]], at: datetime) -> None:
        """Record when entries matched requests. A later time that is already recorded stays.

        Args:
            seen: Pairs of an account or subaccount and the CIDR of an entry in its list; some thousands at most.
                Entries that do not exist any more are left out.
            at: The time of the matches, with a time zone.
        """

    def accounts_to_sweep(self, at: datetime, limit: int) -> list[str]:
        """Return the names of accounts that have both entries that have expired at a time and other entries.

        Args:
            at: The time, with a time zone.
            limit: The largest number of names to return.
        """
        others = entries.alias("others")
        has_others = exists().where(others.c.account_id == accounts.c.id, _counts(others, at))
        statement = select(accounts.c.name).select_from(_entries_and_accounts).where(_expired(entries, at), has_others)
        return list(self._connection.scalars(statement.distinct().limit(limit)))

    def accounts_to_enforce(self, at: datetime, limit: int) -> list[str]:
        """Return the names of accounts whose mode has expired at a time.

        Args:
            at: The time, with a time zone.
            limit: The largest number of names to return.
        """
        statement = select(accounts.c.name).where(accounts.c.mode_until.is_not(None), accounts.c.mode_until <= at)
        return list(self._connection.scalars(statement.limit(limit)))

    def changes(
        self,
        account: str | None,
        limit: int | None,
        *,
        after: int = 0,
        before: int | None = None,
        names: Sequence[tuple[str, int, int | None]] | None = None,
        since: datetime | None = None,
    ) -> list[Change]:
        """Return the newest rows of the change log, the newest last.

        Args:
            account: Only the rows of this account; None for all accounts.
            limit: The largest number of rows to return; None for all.
            after: Only rows with a greater sequence.
            before: Only rows with a smaller sequence; None for all.
            names: Only the rows of these accounts, each with the sequences between which its rows are; None for all.
            since: Only rows of this time or later, with a time zone; None for all.
        """
        statement = select(changes).where(changes.c.sequence > after).order_by(changes.c.sequence.desc())
        if before is not None:
            statement = statement.where(changes.c.sequence < before)
        if account is not None:
            statement = statement.where(changes.c.account == account)
        if names is not None:
            statement = statement.where(or_(*(_between(*one) for one in names)))
        if since is not None:
            statement = statement.where(changes.c.at >= since)
        if limit is not None:
            statement = statement.limit(limit)
        else:
            self._expect_much()
        found = [change_of_row(row) for row in self._connection.execute(statement)]
        found.reverse()
        return found

    def changes_after(self, after: int, limit: int) -> list[Change]:
        """Return the rows of the change log after a sequence, the oldest first.

        Args:
            after: Only rows with a greater sequence.
            limit: The largest number of rows to return.
        """
        statement = select(changes).where(changes.c.sequence > after).order_by(changes.c.sequence).limit(limit)
        return [change_of_row(row) for row in self._connection.execute(statement)]

    def sequence_before(self, at: datetime) -> int:
        """Return the sequence before the first row of the log since a time; that of the last row if there is none."""
        first = self._connection.scalar(select(func.min(changes.c.sequence)).where(changes.c.at >= at))
        return self.log_end() if first is None else int(first) - 1

    def log_writers(self) -> frozenset[str]:
        """Return the transactions that may still commit a row with a smaller sequence than rows that are visible."""
        return frozenset()

    def log_holder(self, writers: frozenset[str]) -> LogHolder | None:
        """Return the session with the oldest of some transactions that `log_writers` returned; None if all have ended.

        Args:
            writers: The transactions.
        """
        return None

    def own_changes(self) -> list[Change]:
        """Return the rows that this write transaction has logged, the oldest first."""
        return self.changes_after(self._log_end_before, _GREATEST) if self._log_end_before is not None else []

    def keep_own_changes(self) -> None:
        """Let `own_changes` return the rows that are logged from now on."""
        self._log_end_before = self.log_end()

    def record_event(
        self,
        action: Action,
        *,
        at: datetime,
        actor: str | None,
        origin: Origin | None,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Log an event of the store as a whole, such as a sign-in.

        Args:
            action: What happened.
            at: When it happened, with a time zone.
            actor: Who did it; None if nobody is known.
            origin: How the actor is known, and from where the request came.
            details: More about it, as JSON. It must contain no secret.
        """
        self.event = action
        row: dict[str, Any] = {"at": at, "actor": actor, "account": STORE, "action": action, "before": [], "after": []}
        self._connection.execute(_insert_changes, [{**row, "details": details, "origin": origin_to_json(origin)}])

    def log_start(self) -> int:
        """Return the sequence from which on the log is complete."""
        return int(self._connection.scalars(select(facts.c.log_start)).one())

    def log_end(self) -> int:
        """Return the sequence of the last row of the log, even if the row has been deleted."""
        last = self._connection.scalars(select(func.max(changes.c.sequence))).one()
        return max(last or 0, self.log_start() - 1)

    def prune(self, before: datetime, *, dry_run: bool = False) -> int:
        """Delete the rows at the beginning of the log that are older than a time.

        Args:
            before: The time, with a time zone.
            dry_run: Whether to count the rows and delete none; a read transaction is enough for that.

        Returns:
            The number of deleted rows.
        """
        first_kept = select(func.min(changes.c.sequence)).where(changes.c.at >= before)
        end = select(func.max(changes.c.sequence) + 1)
        start = self._connection.scalar(select(func.coalesce(first_kept.scalar_subquery(), end.scalar_subquery())))
        if start is None or start <= self.log_start():
            return 0
        if dry_run:
            rows = select(func.count()).select_from(changes).where(changes.c.sequence < start)
            return self._connection.scalar(rows) or 0
        self._connection.execute(update(facts).values(log_start=start))
        # By the time too: a row with a smaller sequence may have been committed since `start` was read.
        old = delete(changes).where(changes.c.sequence < start, changes.c.at < before)
        return self._connection.execute(old).rowcount

    def prepare_erasing(self) -> None:  # noqa: B027 - most stores have one writer at a time
        """Keep other writers out until the end of this write transaction, which rewrites rows of the log."""

    def insert_accounts(
        self,
        names: Sequence[str],
        *,
        parent: StoredAccount | None,
        at: datetime,
        actor: str | None,
        version: int = 0,
        origin: Origin | None = None,
    ) -> dict[str, StoredAccount]:
        """Create accounts, and log that.

        Args:
            names: Names that no account has.
            parent: The account whose subaccounts they become, or None.
            at: The time of the change, with a time zone.
            actor: Who makes the change, for the change log.
            version: The first version of the accounts; 1 if the same transaction also adds their first entries.
            origin: How the actor is known, and from where the change came.

        Returns:
            The new accounts by name.
        """
        if not names:
            return {}
        moment = utc_text(at)
        parent_name, parent_id = (None, None) if parent is None else (parent.name, parent.id)
        rows = list(zip(self._new_account_ids(len(names)), names, strict=True))
        self._insert_accounts(rows, parent_id, version, moment, actor, origin)
        created_at = at.astimezone(UTC)
        return {name: StoredAccount(key, name, parent_name, created_at, version) for key, name in rows}

    @abstractmethod
    def _new_account_ids(self, count: int) -> Sequence[int]:
        """Return ids that no account ever had, in ascending order."""

    @abstractmethod
    def _insert_accounts(
        self,
        rows: Sequence[tuple[int, str]],
        parent_id: int | None,
        version: int,
        moment: str,
        actor: str | None,
        origin: Origin | None,
    ) -> None:
        """Store and log many accounts at once. Each row is an id and a name."""

    def apply(self, made: Sequence[StoredChange], *, at: datetime) -> None:
        """Change lists, and log each change.

        Args:
            made: The changes, in the order of the log. No two of them contain the same entry.
            at: The time of the changes, with a time zone.
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
                    altered.append(update_values(entry))
                else:
                    added.append(insert_values(change.account.id, entry))
            if change.settings:
                of_account = accounts.c.id == change.account.id
                self._connection.execute(update(accounts).where(of_account).values(**change.settings))
        if removed:
            # In a fixed order, to avoid a deadlock with a transaction that records matches of the same entries.
            self._connection.execute(_delete_entry, [{"entry_id": entry_id} for entry_id in sorted(removed)])
        if altered:
            self._connection.execute(update_entry, altered)
        if made:
            self._insert(added, made, at)

    @abstractmethod
    def insert_lists(
        self, lists: Sequence[NewList], *, at: datetime, actor: str | None, origin: Origin | None = None
    ) -> None:
        """Store the first entries of many accounts, and log them. This does the work of `apply` faster.

        Args:
            lists: Lists of accounts without entries. The version of an account does not change if it is `counted`.
            at: The time of the change, with a time zone.
            actor: Who makes the change, for the entries and the change log.
            origin: How the actor is known, and from where the change came.
        """

    def _insert(self, added: Sequence[dict[str, object]], made: Sequence[StoredChange], at: datetime) -> None:
        """Store new entries, raise the versions of the changed accounts, and log the changes.

        Args:
            added: The rows of the entries, from `insert_values`.
            made: The changes, in the order of the log.
            at: The time of the changes, with a time zone.
        """
        if added:
            self._connection.execute(insert_entries, added)
        self._raise_versions(change.account.id for change in made)
        self._connection.execute(_insert_changes, [log_row(change, at) for change in made])

    @abstractmethod
    def insert_rows(self, table: Table, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Insert many rows that have all of their keys.

        Args:
            table: The table.
            names: The names of the columns that each row has.
            rows: The values of the columns. They are read once, and never all at once.

        Returns:
            The number of rows.
        """

    def lock_all(self, tables: Iterable[Table]) -> None:  # noqa: B027 - most stores have one writer at a time
        """Keep other writers out of some tables until the end of this write transaction."""

    def note_store_id(self, store_id: str) -> None:  # noqa: B027 - most stores compare no ids
        """Record the id that this write transaction gives to the store."""

    @abstractmethod
    def last_ids(self) -> dict[str, int]:
        """Return the greatest id that each table with ids ever had, by the name of the table; 0 if it had none."""

    @abstractmethod
    def raise_ids(self, ids: Mapping[str, int]) -> None:
        """Let new rows have greater ids than these, by the name of the table."""

    def log(self, made: Sequence[StoredChange], *, at: datetime) -> None:
        """Log changes that are stored already."""
        if made:
            self._connection.execute(_insert_changes, [log_row(change, at) for change in made])

    def _raise_versions(self, account_ids: Iterable[int]) -> None:
        ids = sorted(set(account_ids))
        if ids:
            self._connection.execute(_raise_versions, {"ids": ids})


def _names_like(before: str, text: str, after: str, *, indexed: bool) -> ColumnElement[bool]:
    """Return the condition that names of accounts have a text in upper or lower case, between two parts of a pattern.

    PostgreSQL has its index on `lower(name)`, so this is not ILIKE. It would read its whole index for a text without
    trigrams, which takes longer than to read the names in their order, so the condition then has another form.
    """
    name = func.lower(accounts.c.name)
    return (name if indexed else name + "").like(before + func.lower(escaped(text)) + after, escape="/")


def escaped(text: str) -> str:
    """Return a text as a part of a pattern that is used with `escape="/"`."""
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def _between(account: str, above: int, below: int | None) -> ColumnElement[bool]:
    """Return the condition that a row of the log is about an account and lies between two sequences."""
    parts = [changes.c.account == account]
    if above:
        parts.append(changes.c.sequence > above)
    if below is not None:
        parts.append(changes.c.sequence < below)
    return and_(*parts)
