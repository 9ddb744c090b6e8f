"""Observations in a store: what was seen of each network that acted for an account, summed up by day in UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    Text,
    bindparam,
    case,
    cast,
    delete,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import CIDR

from cidrgate.stores.entry_rows import stored_cidr
from cidrgate.stores.incomplete_days import delete_incomplete_days, locked_accounts, mark_selected_days
from cidrgate.stores.schema import accounts, changes, observations, utc_text
from cidrgate.values import Observation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from sqlalchemy import FromClause
    from sqlalchemy.types import TypeEngine

    from cidrgate.stores.sql import Transaction
    from cidrgate.stores.values import StoredAccount

__all__ = [
    "add_observations",
    "delete_observations",
    "first_observed",
    "observations_of",
    "observations_of_family",
    "renamed_since",
    "trim_observations",
]

_KEY = tuple(observations.primary_key.columns)
_SUMS = (
    func.sum(observations.c.requests),
    func.min(observations.c.first_seen),
    func.max(observations.c.last_seen),
)


def _members_on_sqlite() -> tuple[FromClause, Sequence[ColumnElement[Any]]]:
    seen = func.json_each(bindparam("seen")).table_valued("value", name="seen")
    return seen, [func.json_extract(seen.c.value, f"$[{place}]") for place in range(7)]


def _members_on_postgresql() -> tuple[FromClause, Sequence[ColumnElement[Any]]]:
    seen = func.jsonb_array_elements(cast(bindparam("seen"), postgresql.JSONB)).table_valued("value", name="seen")
    time = observations.c.first_seen.type
    types: tuple[TypeEngine[Any], ...] = (Text(), Date(), Boolean(), CIDR(), BigInteger(), time, time)
    texts = [seen.c.value.op("->>", return_type=Text())(place) for place in range(len(types))]
    return seen, [cast(one, kind) for one, kind in zip(texts, types, strict=True)]


def _addition(members: tuple[FromClause, Sequence[ColumnElement[Any]]], insert: Any, least: Any, most: Any) -> Any:
    """Return the statement that adds observations to those of the same account, day, network and verdict."""
    seen, (name, day, allowed, network, requests, first_seen, last_seen) = members
    named = (
        select(accounts.c.id, day, allowed, network, requests, first_seen, last_seen)
        .select_from(seen.join(accounts, accounts.c.name == name))
        # In a fixed order, so that nodes that add to the same rows do not deadlock.
        .order_by(accounts.c.id, day, allowed, network)
    )
    statement = insert(observations).from_select([one.name for one in observations.columns], named)
    return statement.on_conflict_do_update(
        index_elements=_KEY,
        set_={
            "requests": observations.c.requests + statement.excluded.requests,
            "first_seen": least(observations.c.first_seen, statement.excluded.first_seen),
            "last_seen": most(observations.c.last_seen, statement.excluded.last_seen),
        },
    )


_ADDITIONS = {
    "sqlite": _addition(_members_on_sqlite(), sqlite.insert, func.min, func.max),
    "postgresql": _addition(_members_on_postgresql(), postgresql.insert, func.least, func.greatest),
}

_renames = select(changes.c.account, changes.c.details).where(
    changes.c.sequence > bindparam("after"), changes.c.action == "rename_account"
)


def add_observations(transaction: Transaction, seen: Sequence[Observation]) -> int:
    """Add observations to those that are stored of the same day, network and verdict.

    Args:
        transaction: A write transaction.
        seen: The observations, some thousands at most, each of one day: that of `last_seen` in UTC. No two are of the
            same account, day, network and verdict. One of an account that does not exist, or did not exist at that
            time, is left out.

    Returns:
        How many requests were in the observations that were stored.
    """
    connection = transaction.connection
    found = locked_accounts(transaction, {one.account for one in seen})
    # Another account may have got the name of one that was deleted.
    kept = [one for one in seen if one.account in found and found[one.account][1] <= one.last_seen]
    if kept:
        rows = [
            (
                one.account,
                one.last_seen.astimezone(UTC).date().isoformat(),
                one.allowed,
                one.network,
                one.requests,
                utc_text(one.first_seen),
                utc_text(one.last_seen),
            )
            for one in kept
        ]
        connection.execute(_ADDITIONS[connection.dialect.name], {"seen": json.dumps(rows)})
    return sum(one.requests for one in kept)


def observations_of(transaction: Transaction, account: StoredAccount, since: date) -> list[Observation]:
    """Return what was seen of an account since a day, the sums of all days; the most requests first."""
    return _summed(transaction, accounts.c.id == account.id, since)


def observations_of_family(
    transaction: Transaction, owner: StoredAccount, since: date, most: int | None = None
) -> list[Observation]:
    """Return what was seen of an account and of its subaccounts since a day, as `observations_of` does of each.

    Args:
        transaction: A transaction.
        owner: The account.
        since: The first day that counts.
        most: The most observations to return, in no particular choice; None for all.
    """
    return _summed(transaction, or_(accounts.c.id == owner.id, accounts.c.parent_id == owner.id), since, most)


def first_observed(transaction: Transaction) -> datetime | None:
    """Return the begin of the day in UTC when the first request was observed of which anything is stored, or None.

    It is the same for every account, so it must not say when the first request of another account was.
    """
    first = select(func.min(observations.c.day)).scalar_subquery()
    found: datetime | None = transaction.connection.scalar(
        select(func.min(observations.c.first_seen)).where(observations.c.day == first)
    )
    return None if found is None else datetime.combine(found.astimezone(UTC).date(), time(), UTC)


def _summed(
    transaction: Transaction, which: ColumnElement[bool], since: date, most: int | None = None
) -> list[Observation]:
    statement = (
        select(accounts.c.name, observations.c.network, observations.c.allowed, *_SUMS)
        .join_from(accounts, observations)
        .where(which, observations.c.day >= since)
        .group_by(accounts.c.id, accounts.c.name, observations.c.network, observations.c.allowed)
        .limit(most)
    )
    found = [
        Observation(
            account=name,
            network=stored_cidr(network),
            allowed=allowed,
            requests=int(requests),
            first_seen=first_seen,
            last_seen=last_seen,
        )
        for name, network, allowed, requests, first_seen, last_seen in transaction.connection.execute(statement)
    ]
    found.sort(key=lambda one: (-one.requests, one.account, one.network, one.allowed))
    return found


def delete_observations(
    transaction: Transaction,
    before: date,
    limit: int | None = None,
    *,
    seen_before: datetime | None = None,
    account: str | None = None,
    dry_run: bool = False,
) -> int:
    """Delete observations of days before a day, and return how many.

    Days of an account of which others stay, or of which those of other accounts stay, are marked as incomplete.

    Args:
        transaction: A write transaction, or a read transaction for a dry run.
        before: The first day that stays.
        limit: The largest number to delete; None for all.
        seen_before: Delete those of that day too of which the last request was before this time; None for none.
        account: Only those of the account with this name; None for all.
        dry_run: Whether to count them and delete none.
    """
    which: list[ColumnElement[bool]] = [observations.c.day < before]
    if seen_before is not None:
        which = [observations.c.day <= before, observations.c.last_seen < seen_before]
    if account is not None:
        which.append(observations.c.account_id.in_(select(accounts.c.id).where(accounts.c.name == account)))
    if dry_run:
        return transaction.connection.scalar(select(func.count()).select_from(observations).where(*which)) or 0
    if account is not None:
        mark_selected_days(transaction, select(observations.c.account_id, observations.c.day).where(*which))
    elif seen_before is not None:
        whose = select(observations.c.account_id, observations.c.day).where(*which, observations.c.day == before)
        mark_selected_days(transaction, whose)
        delete_incomplete_days(transaction, before)
    if limit is not None:
        which = [tuple_(*_KEY).in_(select(*_KEY).where(*which).limit(limit))]
    return transaction.connection.execute(delete(observations).where(*which)).rowcount


def trim_observations(transaction: Transaction, day: date, most_allowed: int, most_denied: int, limit: int) -> int:
    """Delete the observations of a day that an account has too many of, and return how many. The day is marked.

    Those with the most requests stay of what was allowed, and those that were seen last of what was denied.

    Args:
        transaction: A write transaction.
        day: The day.
        most_allowed: How many observations of allowed requests an account keeps.
        most_denied: How many observations of denied requests an account keeps.
        limit: The largest number to delete.
    """
    full = (
        select(observations.c.account_id)
        .where(observations.c.day == day)
        .group_by(observations.c.account_id)
        .having(func.count() > min(most_allowed, most_denied))
    )
    in_order = func.row_number().over(
        partition_by=(observations.c.account_id, observations.c.allowed),
        order_by=(
            case((observations.c.allowed, observations.c.requests), else_=0).desc(),
            observations.c.last_seen.desc(),
            observations.c.network,
        ),
    )
    placed = (
        select(*_KEY, in_order.label("place"))
        .where(observations.c.day == day, observations.c.account_id.in_(full))
        .subquery()
    )
    most = case((placed.c.allowed, most_allowed), else_=most_denied)
    mark_selected_days(transaction, select(placed.c.account_id, placed.c.day).where(placed.c.place > most))
    surplus = select(*(placed.c[one.name] for one in _KEY)).where(placed.c.place > most).limit(limit)
    return transaction.connection.execute(delete(observations).where(tuple_(*_KEY).in_(surplus))).rowcount


def renamed_since(transaction: Transaction, after: int) -> set[str]:
    """Return the names that accounts got or lost by being renamed after a sequence of the change log."""
    found: set[str] = set()
    for name, details in transaction.connection.execute(_renames, {"after": after}):
        found.add(name)
        found.update(str(part["name"]) for part in (details or {}).values() if part and "name" in part)
    return found
