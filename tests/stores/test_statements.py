"""Each statement is a message to the database and back, and work in this process: a change needs few of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from cidrgate import RuleManager
from tests.stores.test_plans import engines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADDED = {"sqlite": 8, "postgresql": 6}
"""BEGIN, the account, its entries, the ids, what is stored, and what is published; COMMIT is none of the statements."""


@contextmanager
def statements(manager: RuleManager) -> Iterator[list[str]]:
    """Collect the statements of a manager, and of no other that the process may have."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        found.append(" ".join(statement.split()))

    engines = engines_of(manager)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, follow=False) as opened:
        opened.create_account("acct-1")
        opened.add("acct-1", "9.9.9.9/32")
        yield opened


def most(store_url: str) -> int:
    return ADDED["postgresql" if store_url.startswith("postgresql") else "sqlite"]


def test_a_change_has_few_statements_however_many_entries_it_adds(store_url: str, manager: RuleManager) -> None:
    # Ids come in blocks that grow, because most changes need one.
    for cidrs, blocks in (("8.8.8.8/32", 1), (", ".join(f"1.1.{number}.0/24" for number in range(20)), 3)):
        with statements(manager) as found:
            manager.add("acct-1", cidrs)
        assert len(found) < most(store_url) + blocks, found
        assert manager.matcher.allows("acct-1", cidrs.partition("/")[0])


@pytest.mark.parametrize(
    "ask",
    [
        lambda manager: manager.account("acct-1"),
        lambda manager: manager.accounts(limit=10),
        lambda manager: manager.counts(["acct-1"]),
        lambda manager: manager.list_states(["acct-1"]),
    ],
    ids=["account", "accounts", "counts", "list_states"],
)
def test_a_question_with_one_statement_needs_no_transaction(
    manager: RuleManager, ask: Callable[[RuleManager], object]
) -> None:
    with statements(manager) as found:
        ask(manager)
    assert len(found) == 1, found


def test_a_list_and_its_matches_are_read_in_one_transaction(manager: RuleManager) -> None:
    with statements(manager) as found:
        _, entries, matched = manager._listing_with_matches("acct-1")
    assert len(found) == 4, found
    assert (entries, matched) == (manager.entries("acct-1"), manager.last_matches("acct-1"))


def test_each_statement_on_postgresql_names_the_schema(postgres_url: str) -> None:
    """Also in a process with two stores, and when a statement is repeated."""
    urls = {schema: f"{postgres_url}?schema={schema}" for schema in ("one", "two")}
    for _ in range(2):
        for schema, url in urls.items():
            with RuleManager.open(url, create=True, follow=False) as manager, statements(manager) as found:
                if manager.accounts() == []:
                    manager.create_account("acct-1")
                    manager.add("acct-1", "8.8.8.0/24")
                manager.replace("acct-1", ["9.9.9.0/24"])
                manager.replace("acct-1", ["8.8.8.0/24"])
            tables = [one for one in found if not one.startswith(("BEGIN", "SELECT nextval"))]
            other = "two" if schema == "one" else "one"
            assert tables
            assert [one for one in tables if f"{schema}." not in one.replace('"', "")] == []
            assert [one for one in found if f"{other}." in one.replace('"', "")] == []
