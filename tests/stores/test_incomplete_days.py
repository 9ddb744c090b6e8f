"""Marks of days of which something of an account is missing: whoever deletes or loses observations leaves one."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, select, text, update

from cidrgate import RuleManager
from cidrgate.stores import migrate_store
from cidrgate.stores.incomplete_days import (
    accounts_with_incomplete_days,
    delete_incomplete_days,
    mark_incomplete_days,
)
from cidrgate.stores.observations import add_observations, delete_observations, trim_observations
from cidrgate.stores.schema import accounts, incomplete_days
from cidrgate.values import Observation
from tests.stores.test_migrations import migrate_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.postgres import PostgresServer

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
TODAY = NOW.date()
Marks = set[tuple[str, int]]
"""Accounts with days, as how many days ago each was."""


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, follow=False) as opened:
        for name, parent in {"acct-1": None, "acct-2": None, "sub-1": "acct-1"}.items():
            opened.create_account(name, parent=parent)
        with opened._store.write() as transaction:
            created = NOW - timedelta(days=90)
            transaction.connection.execute(update(accounts).values(created_at=created))
        yield opened


def add(manager: RuleManager, account: str, *, days: int = 0, addresses: int = 1, hours: int = 0) -> None:
    at = NOW - timedelta(days=days, hours=hours)
    with manager._store.write() as transaction:
        add_observations(
            transaction,
            [
                Observation(
                    account=account,
                    network=f"8.8.{hours}.{last}/32",
                    allowed=True,
                    requests=1,
                    first_seen=at,
                    last_seen=at,
                )
                for last in range(addresses)
            ],
        )


def mark(manager: RuleManager, *days: tuple[str, date]) -> None:
    with manager._store.write() as transaction:
        mark_incomplete_days(transaction, days)


def marks(manager: RuleManager) -> Marks:
    with manager._store.read() as transaction:
        columns = accounts.c.name, incomplete_days.c.day
        found = transaction.connection.execute(select(*columns).join_from(accounts, incomplete_days))
        return {(name, (TODAY - day).days) for name, day in found}


def read(manager: RuleManager, account: str, since: date) -> list[str]:
    with manager._store.read() as transaction:
        owner = transaction.account(account)
        assert owner is not None
        return accounts_with_incomplete_days(transaction, [owner], since)


def test_readers_of_a_list_hear_of_every_account_that_has_it(manager: RuleManager) -> None:
    yesterday = TODAY - timedelta(days=1)
    mark(manager, ("sub-1", yesterday), ("acct-1", yesterday), ("sub-1", TODAY), ("sub-1", TODAY))
    mark(manager, ("sub-1", TODAY))
    assert read(manager, "acct-1", yesterday) == ["acct-1", "sub-1"]
    assert read(manager, "acct-1", TODAY) == ["sub-1"]
    assert read(manager, "acct-2", yesterday) == []


def test_only_days_on_which_an_account_existed_are_marked(manager: RuleManager) -> None:
    mark(manager, ("acct-1", TODAY - timedelta(days=91)), ("acct-1", TODAY - timedelta(days=90)), ("gone", TODAY))
    mark(manager)
    assert marks(manager) == {("acct-1", 90)}


def test_marks_follow_a_renamed_account_and_end_with_a_deleted_one(manager: RuleManager) -> None:
    mark(manager, ("acct-1", TODAY), ("acct-2", TODAY))
    manager.rename_account("acct-2", "acct-3")
    assert marks(manager) == {("acct-1", 0), ("acct-3", 0)}
    manager.delete_account("acct-3")
    manager.create_account("acct-3")
    assert marks(manager) == {("acct-1", 0)}


def test_surplus_observations_leave_a_mark_also_if_others_are_added(manager: RuleManager) -> None:
    for account, addresses in (("acct-1", 5), ("acct-2", 4)):
        add(manager, account, addresses=addresses)
        add(manager, account, days=1, addresses=5)
    with manager._store.write() as transaction:
        assert trim_observations(transaction, TODAY, 4, 4, 100) == 1
    assert marks(manager) == {("acct-1", 0)}
    add(manager, "acct-1", hours=1)
    assert marks(manager) == {("acct-1", 0)}


@pytest.mark.parametrize(
    ("older_than", "account", "left"),
    [
        # All of day 2 and half of day 1 go. Earlier days are those of no account, so that nobody needs a mark.
        (timedelta(days=1), None, {("acct-1", 1)}),
        (timedelta(days=1), "acct-1", {("acct-1", 1), ("acct-1", 2)}),
        (timedelta(days=1), "acct-2", {("acct-1", 2), ("acct-2", 2)}),
        (timedelta(days=9), None, {("acct-1", 2)}),
    ],
)
def test_what_is_erased_of_days_that_stay_leaves_a_mark(
    manager: RuleManager, older_than: timedelta, account: str | None, left: Marks
) -> None:
    for hours in (0, 2):
        add(manager, "acct-1", days=1, hours=hours)
    add(manager, "acct-1", days=2)
    add(manager, "acct-2", days=2)
    add(manager, "acct-2", days=0)
    mark(manager, ("acct-1", TODAY - timedelta(days=2)))
    before = NOW - timedelta(hours=1) - older_than
    with manager._store.write() as transaction:
        would = delete_observations(transaction, before.date(), seen_before=before, account=account, dry_run=True)
        assert delete_observations(transaction, before.date(), seen_before=before, account=account) == would
    assert marks(manager) == left


def test_marks_of_old_days_are_deleted_in_parts(manager: RuleManager) -> None:
    mark(manager, *[(name, TODAY - timedelta(days=days)) for name in ("acct-1", "acct-2") for days in range(4)])
    with manager._store.write() as transaction:
        assert [delete_incomplete_days(transaction, TODAY, 4) for _ in range(3)] == [4, 2, 0]
    assert marks(manager) == {("acct-1", 0), ("acct-2", 0)}


FULL_DAY = """
    INSERT INTO observations (account_id, day, allowed, network, requests, first_seen, last_seen)
    VALUES (:account, :day, :allowed, :network, 1, :at, :at)
"""


def fill(connection: Connection, at: object) -> None:
    """Fill days of two accounts as the cidrgate of then did: only one of them has as many rows of a kind as it kept."""
    insert = "INSERT INTO accounts (id, name, created_at) VALUES (:id, :name, :at)"
    connection.execute(text(insert), [{"id": key, "name": f"acct-{key}", "at": at} for key in (1, 2)])
    day = at if connection.dialect.name == "postgresql" else "2026-01-02"
    rows = [
        {"account": account, "day": day, "allowed": last % kinds == 0, "network": f"8.8.{last >> 8}.{last & 255}/32"}
        for account, kinds in ((1, 1), (2, 2))
        for last in range(1_000)
    ]
    connection.execute(text(FULL_DAY), [{**row, "at": at} for row in rows])


def test_a_migration_marks_the_days_that_were_full_on_sqlite(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/old.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA application_id = 1128875090")
        migrate_to("0007.2", connection, None)
        fill(connection, "2026-01-02T03:04:05.000000+00:00")
    engine.dispose()
    with closing(RuleManager.open(f"sqlite:///{tmp_path}/old.db", load=False)) as manager:
        assert marks(manager) == {("acct-1", (TODAY - date(2026, 1, 2)).days)}


def test_a_migration_marks_the_days_that_were_full_on_postgresql(shared_postgres_server: PostgresServer) -> None:
    url = shared_postgres_server.new_database(template="template1")
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"),
        connect_args={"options": "-c search_path=cidrgate,public"},
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA cidrgate")
        migrate_to("0007.2", connection, "cidrgate")
        fill(connection, datetime(2026, 1, 2, 3, tzinfo=UTC))
    engine.dispose()
    assert migrate_store(url) == "0007.2"
    with closing(RuleManager.open(url, load=False)) as manager:
        assert marks(manager) == {("acct-1", (TODAY - date(2026, 1, 2)).days)}
