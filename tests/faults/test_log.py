"""A log that is pruned to almost nothing again and again, while writers and followers are at work."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from cidrgate import RuleManager
from tests.faults.invariants import ROUNDS, Ledger, check, no_stranger, prepare, report, writers

if TYPE_CHECKING:
    from cidrgate import Change


@pytest.fixture
def url(shared_store_url: str) -> str:
    """A store of each kind, with enforced accounts."""
    prepare(shared_store_url)
    return shared_store_url


def all_committed_before(url: str) -> datetime:
    """A moment such that each change of an earlier one is committed or given up."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # it is nobody else's turn
            now = datetime.now(UTC)
            connection.execute("ROLLBACK")
            return now
    # Not `clock_timestamp`: a transaction may begin after this one has looked, and before it asks for the time.
    begun = """
        SELECT coalesce(min(xact_start), statement_timestamp()) FROM pg_stat_activity
        WHERE application_name = 'cidrgate' AND datname = current_database()
    """
    with psycopg.connect(url) as connection:
        row = connection.execute(begun).fetchone()
    assert row is not None
    at: datetime = row[0]
    return at


@pytest.mark.fault("the log is pruned under load")
def test_a_log_that_is_pruned(url: str) -> None:
    """Followers miss nothing, whatever the log has forgotten; no change is refused for it."""
    ledger = Ledger()
    read: list[Change] = []
    pruned = 0
    with RuleManager.open(url) as one, RuleManager.open(url) as other, RuleManager.open(url, load=False) as pruning:
        with no_stranger(ledger, one, other), writers(ledger, [one, other]):
            for _ in range(5 * ROUNDS):
                ledger.wait_for_more()
                until = all_committed_before(url)
                read += pruning.history()
                with pruning._store.write() as transaction:
                    pruned += transaction.prune(until)
            ledger.wait_for_more()
        check(url, ledger, [one, other], read=read)
    with RuleManager.open(url) as started:
        check(url, ledger, [started], read=read)
    report(f"{url.partition(':')[0]}, log pruned", ledger, pruned=pruned)
    assert pruned > 0
    assert not ledger.refused
    assert not ledger.unknown
