"""Copies of accounts with their lists, and of whole tables: what exports and backups read from a store and write to it.

A copy of an account has its name, its parent's name and every other column except keys, so that any store can take it.
A copy of a table has every column, also the keys, so that only an empty store can take it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import delete, or_, select, update

from cidrgate.stores.account_rows import AccountRows
from cidrgate.stores.key_lists import in_keys
from cidrgate.stores.schema import accounts, entries, matches
from cidrgate.stores.table_rows import RowField, fields_of, record_of, values_of
from cidrgate.stores.values import StoredAccount, StoredChange
from cidrgate.values import Entry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from cidrgate.stores.sql import Transaction
    from cidrgate.values import Origin

__all__ = [
    "ACCOUNT_FIELDS",
    "ENTRY_FIELDS",
    "AccountCopy",
    "EntryCopy",
    "copy_of_record",
    "insert_copies",
    "read_copies",
    "record_of_copy",
    "replace_by_copy",
]

_PARENT = RowField("parent", str, nullable=True, default=None, needed=False)
_LAST_MATCH = fields_of(matches, without={"entry_id"})[0]._replace(
    name="last_matched_at", nullable=True, default=None, needed=False
)

_ACCOUNT_COLUMNS = fields_of(accounts, without={"id", "parent_id"})
_ENTRY_COLUMNS = fields_of(entries, without={"id", "account_id"})

ACCOUNT_FIELDS = (_ACCOUNT_COLUMNS[0], _PARENT, *_ACCOUNT_COLUMNS[1:])
"""The fields of an account in an export: every column but its keys, and the name of its parent."""

ENTRY_FIELDS = (*_ENTRY_COLUMNS, _LAST_MATCH)
"""The fields of an entry in an export: every column but its keys, and when it last matched."""

_ACCOUNTS_A_FETCH = 500

_parents = accounts.alias("parents")
_select_accounts = select(
    accounts.c.id, *(accounts.c[field.name] for field in _ACCOUNT_COLUMNS), _parents.c.name.label("parent")
).select_from(accounts.outerjoin(_parents, accounts.c.parent_id == _parents.c.id))
_named = or_(in_keys(accounts.c.name, "names"), in_keys(_parents.c.name, "parents"))
_select_entries = (
    select(
        entries.c.account_id,
        *(entries.c[field.name] for field in _ENTRY_COLUMNS),
        matches.c.at.label(_LAST_MATCH.name),
    )
    .select_from(entries.outerjoin(matches, matches.c.entry_id == entries.c.id))
    .where(in_keys(entries.c.account_id, "ids"))
)


class EntryCopy(NamedTuple):
    """An entry without its keys.

    Attributes:
        values: The values of its columns, by name.
        last_matched_at: When it last matched a request, or None.
    """

    values: dict[str, Any]
    last_matched_at: datetime | None

    def entry(self, entry_id: int, account: str) -> Entry:
        """Return the entry with keys of a store."""
        return Entry(id=entry_id, account=account, **self.values)


class AccountCopy(NamedTuple):
    """An account without its keys.

    Attributes:
        values: The values of its columns, by name.
        parent: The name of its parent, or None.
        entries: The entries of its own list.
    """

    values: dict[str, Any]
    parent: str | None
    entries: Sequence[EntryCopy]

    @property
    def name(self) -> str:
        """The name of the account."""
        return str(self.values["name"])


def copy_of_record(account: dict[str, Any], listed: Sequence[dict[str, Any]]) -> AccountCopy:
    """Return the copy that JSON objects describe.

    Raises:
        ValueError: If a member is missing, is unknown, or has a wrong type.
    """
    values = values_of(ACCOUNT_FIELDS, account)
    parent = values.pop(_PARENT.name)
    copies = []
    for record in listed:
        entry = values_of(ENTRY_FIELDS, record)
        last_matched_at = entry.pop(_LAST_MATCH.name)
        copies.append(EntryCopy(entry, last_matched_at))
    return AccountCopy(values, parent, copies)


def record_of_copy(copy: AccountCopy) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the JSON objects of a copy, as `read_copies` yields them."""
    account = {**copy.values, _PARENT.name: copy.parent}
    listed = [{**entry.values, _LAST_MATCH.name: entry.last_matched_at} for entry in copy.entries]
    return record_of(ACCOUNT_FIELDS, account), [record_of(ENTRY_FIELDS, entry) for entry in listed]


def read_copies(
    transaction: Transaction, names: Collection[str] | None = None
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Stream accounts and the entries of their own lists as JSON objects, parents first, sorted by name.

    The order is the same on every kind of store, and the entries are in no particular order.

    Args:
        transaction: A read transaction that sees one committed state.
        names: Only these accounts and their subaccounts; None for all.
    """
    transaction.expect_all()
    # Bytes of UTF-8 sort like characters, whatever the database's language is.
    by_name = accounts.c.name.collate("BINARY" if transaction.connection.dialect.name == "sqlite" else "C")
    statement = _select_accounts.order_by(accounts.c.parent_id.is_not(None), by_name)
    keys = {}
    if names is not None:
        statement = statement.where(_named)
        keys = {"names": list(names), "parents": list(names)}
    options = {"yield_per": _ACCOUNTS_A_FETCH}
    with transaction.connection.execute(statement, keys, execution_options=options) as found:
        for rows in found.partitions():
            lists: dict[int, list[dict[str, Any]]] = {row.id: [] for row in rows}
            for row in transaction.connection.execute(_select_entries, {"ids": list(lists)}):
                lists[row.account_id].append(record_of(ENTRY_FIELDS, row._asdict()))
            for row in rows:
                yield record_of(ACCOUNT_FIELDS, row._asdict()), lists[row.id]


def insert_copies(
    transaction: Transaction,
    copies: Sequence[AccountCopy],
    parents: dict[str, int],
    *,
    at: datetime,
    actor: str | None,
    origin: Origin | None,
    details: Mapping[str, dict[str, Any] | None],
) -> dict[str, int]:
    """Create accounts with their lists from copies, and log that.

    An account whose name an earlier account had gets a greater version than that one.

    Args:
        transaction: A write transaction.
        copies: The copies of accounts that do not exist.
        parents: The keys of the parents of the subaccounts among them.
        at: The time of the change, with a time zone.
        actor: Who makes the change, for the change log.
        origin: How the actor is known, and from where the change comes.
        details: What the change log says about the settings of each account.

    Returns:
        The keys of the new accounts, by name.
    """
    keys = dict(zip((copy.name for copy in copies), transaction._new_account_ids(len(copies)), strict=True))
    left = AccountRows(transaction).versions_left(list(keys))
    versions = {copy.name: max(copy.values["version"], left.get(copy.name, -1) + 1) for copy in copies}
    transaction.insert_rows(
        accounts,
        ("id", "parent_id", *(field.name for field in _ACCOUNT_COLUMNS)),
        (
            [
                keys[copy.name],
                None if copy.parent is None else parents[copy.parent],
                *(
                    versions[copy.name] if field.name == "version" else copy.values[field.name]
                    for field in _ACCOUNT_COLUMNS
                ),
            ]
            for copy in copies
        ),
    )
    lists = _new_lists(transaction, copies)
    _insert_entries(transaction, copies, lists, keys)
    made = []
    for copy in copies:
        owner = StoredAccount(keys[copy.name], copy.name, copy.parent, copy.values["created_at"], versions[copy.name])
        made.append(StoredChange(owner, "create_account", actor=actor, origin=origin, details=details[copy.name]))
        if copy.entries:
            made.append(StoredChange(owner, "add", after=tuple(lists[copy.name]), actor=actor, origin=origin))
    transaction.log(made, at=at)
    return keys


def replace_by_copy(
    transaction: Transaction,
    owner: StoredAccount,
    listed: Sequence[Entry],
    copy: AccountCopy,
    *,
    at: datetime,
    actor: str | None,
    origin: Origin | None,
    details: dict[str, Any] | None,
) -> None:
    """Make an account what a copy of it is, and log that. Its version grows.

    Args:
        transaction: A write transaction.
        owner: The account, which has the same parent as the copy.
        listed: The entries of its own list.
        copy: The copy.
        at: The time of the change, with a time zone.
        actor: Who makes the change, for the change log.
        origin: How the actor is known, and from where the change comes.
        details: What the change log says about the settings.
    """
    after = _new_lists(transaction, [copy])[copy.name]
    transaction.connection.execute(delete(entries).where(entries.c.account_id == owner.id))
    _insert_entries(transaction, [copy], {copy.name: after}, {copy.name: owner.id})
    version = max(owner.version + 1, copy.values["version"])
    transaction.connection.execute(
        update(accounts).where(accounts.c.id == owner.id).values(copy.values | {"version": version})
    )
    change = StoredChange(owner, "replace", tuple(listed), tuple(after), actor, origin=origin, details=details)
    transaction.log([change], at=at)


def _new_lists(transaction: Transaction, copies: Sequence[AccountCopy]) -> dict[str, list[Entry]]:
    """Return the entries of copies, with keys of this store."""
    ids = transaction.new_entry_ids(max(1, sum(len(copy.entries) for copy in copies)))
    return {copy.name: [one.entry(next(ids), copy.name) for one in copy.entries] for copy in copies}


def _insert_entries(
    transaction: Transaction, copies: Sequence[AccountCopy], lists: dict[str, list[Entry]], keys: dict[str, int]
) -> None:
    names = tuple(field.name for field in _ENTRY_COLUMNS)
    transaction.insert_rows(
        entries,
        ("id", "account_id", *names),
        (
            [entry.id, keys[copy.name], *(getattr(entry, name) for name in names)]
            for copy in copies
            for entry in lists[copy.name]
        ),
    )
    transaction.insert_rows(
        matches,
        ("entry_id", "at"),
        (
            [entry.id, one.last_matched_at]
            for copy in copies
            for entry, one in zip(lists[copy.name], copy.entries, strict=True)
            if one.last_matched_at is not None
        ),
    )
