"""A newer cidrgate migrates the store of a process that runs on: it trusts what it knows, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from cidrgate import Gate, RuleManager, StoreError
from cidrgate.stores.migrations import HEAD, VERSION_TABLE, lists_form
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

SAME = f"9999.{lists_form(HEAD)}"
"""A later revision in which lists match as they do now."""
OTHER = f"9999.{lists_form(HEAD) + 1}"
"""A later revision in which they do not."""


@pytest.fixture
def node(shared_store_url: str) -> Iterator[RuleManager]:
    """A process that follows, and denies when its lists are stale."""
    with RuleManager.open(shared_store_url, create=True, max_staleness=3_600, on_stale="deny") as opened:
        opened.create_account("acct-1")
        opened.add("acct-1", "8.8.8.0/24")
        eventually(lambda: opened.allows("acct-1", "8.8.8.8"))
        yield opened
        migrate_to(opened, HEAD)  # the database of a test may serve another one


def migrate_to(node: RuleManager, revision: str) -> None:
    """Do what a migration does at its end."""
    with node._store.write() as transaction:
        schema = "cidrgate." if transaction.connection.dialect.name == "postgresql" else ""
        statement = f"UPDATE {schema}{VERSION_TABLE} SET version_num = '{revision}'"
        transaction.connection.execute(text(statement))


def test_lists_that_match_otherwise_are_stale_at_once(node: RuleManager, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(node, unlisted="allow")
    migrate_to(node, OTHER)
    with pytest.raises(StoreError, match=rf"{re.escape(OTHER)} by a newer cidrgate.*start the newer cidrgate"):
        node._replica.published.catch_up()
    assert node.stale
    assert not node.allows("acct-1", "8.8.8.8")
    assert gate.decide("acct-1", "8.8.8.8", []).result == "denied"
    before = node.history()
    with pytest.raises(StoreError, match="start the newer cidrgate"):
        node.add("acct-1", "9.9.9.9/32")
    assert node.history() == before
    eventually(lambda: any("store_outgrown" in str(vars(record)) for record in caplog.records))


def test_a_node_goes_on_where_lists_match_as_before(node: RuleManager) -> None:
    migrate_to(node, SAME)
    node._replica.published.catch_up()
    node.add("acct-1", "9.9.9.9/32")
    assert node.allows("acct-1", "9.9.9.9")
    assert not node.stale


def test_a_node_goes_on_when_the_store_is_restored(node: RuleManager) -> None:
    migrate_to(node, OTHER)
    with pytest.raises(StoreError):
        node._replica.published.catch_up()
    migrate_to(node, HEAD)
    node._replica.published.catch_up()
    assert node.allows("acct-1", "8.8.8.8")
    node.add("acct-1", "9.9.9.9/32")
