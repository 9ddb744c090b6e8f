"""Days of which something that was seen of an account is missing in its observations.

Whoever loses an observation marks the day of its account, in the transaction that deletes it if it was stored. So
readers need not know what the processes that record were told to keep. A transaction marks days before it adds or
deletes observations, and in the order of their keys, so that nodes that do so at the same time do not deadlock.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from cidrgate.stores.key_lists import in_keys
from cidrgate.stores.schema import accounts, incomplete_days

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import date, datetime

    from sqlalchemy import Select

    from cidrgate.stores.sql import Transaction
    from cidrgate.stores.values import StoredAccount

__all__ = [
    "accounts_with_incomplete_days",
    "locked_accounts",
    "delete_incomplete_days",
    "mark_incomplete_days",
    "mark_selected_days",
]

_KEY = tuple(incomplete_days.primary_key.columns)
_INSERTS = {"sqlite": sqlite.insert(incomplete_days), "postgresql": postgresql.insert(incomplete_days)}

# The rows refer to the accounts. Changes lock accounts in this order too.
_select_accounts = (
    select(accounts.c.name, accounts.c.id, accounts.c.created_at)
    .where(in_keys(accounts.c.name, "names"))
    .order_by(accounts.c.id)
    .with_for_update(read=True, key_share=True)
)

_select_marked = (
    select(accounts.c.name)
    .join_from(accounts, incomplete_days)
    .where(
        or_(in_keys(accounts.c.id, "ids"), in_keys(accounts.c.parent_id, "ids")),
        incomplete_days.c.day >= bindparam("since"),
    )
    .distinct()
)


def locked_accounts(transaction: Transaction, names: Collection[str]) -> dict[str, tuple[int, datetime]]:
    """Return the ids of accounts and when they were created, and keep them from being deleted until the commit.

    Args:
        transaction: A write transaction.
        names: The names of the accounts. The result lacks those that no account has.
    """
    if not names:
        return {}
    found = transaction.connection.execute(_select_accounts, {"names": sorted(set(names))})
    return {name: (key, created_at) for name, key, created_at in found}


def mark_incomplete_days(transaction: Transaction, days: Iterable[tuple[str, date]]) -> None:
    """Mark days of accounts of which something is missing.

    Args:
        transaction: A write transaction.
        days: The names of accounts with days in UTC, some thousands at most. Those of an account that does not exist,
            or did not exist on that day, are left out.
    """
    asked = set(days)
    found = locked_accounts(transaction, {name for name, _ in asked})
    keys = sorted(
        (found[name][0], day) for name, day in asked if name in found and found[name][1].astimezone(UTC).date() <= day
    )
    if keys:
        values = [{"account_id": key, "day": day} for key, day in keys]
        transaction.connection.execute(_insert(transaction).on_conflict_do_nothing(), values)


def mark_selected_days(transaction: Transaction, which: Select[Any]) -> None:
    """Mark days that a statement selects: ids of accounts and days."""
    statement = which.distinct().order_by(*which.selected_columns)
    insert = _insert(transaction).from_select([column.name for column in _KEY], statement)
    transaction.connection.execute(insert.on_conflict_do_nothing())


def _insert(transaction: Transaction) -> Any:
    return _INSERTS[transaction.connection.dialect.name]


def accounts_with_incomplete_days(transaction: Transaction, owners: Iterable[StoredAccount], since: date) -> list[str]:
    """Return which of some accounts and their subaccounts have such a day since a day, by name."""
    found = transaction.connection.scalars(_select_marked, {"ids": [one.id for one in owners], "since": since})
    return sorted(found)


def delete_incomplete_days(transaction: Transaction, before: date, limit: int | None = None) -> int:
    """Delete the marks of days before a day, and return how many.

    Args:
        transaction: A write transaction.
        before: The first day that stays.
        limit: The largest number to delete; None for all.
    """
    which = incomplete_days.c.day < before
    if limit is not None:
        which = tuple_(*_KEY).in_(select(*_KEY).where(which).limit(limit))
    return transaction.connection.execute(delete(incomplete_days).where(which)).rowcount
