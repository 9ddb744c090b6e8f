"""The indexes for searches: they are used, they follow every change, and every search works without them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from cidrgate import NewEntry, RuleManager
from cidrgate.stores import migrate_store
from cidrgate.stores.sqlite import store as sqlite_store
from tests.stores.test_migrations import old_database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.postgres import PostgresServer

ACCOUNTS = 20_000


def lists(accounts: int) -> dict[str, list[NewEntry]]:
    return {
        f"acct-{number:05}": [NewEntry(f"20.{number >> 8}.{number & 255}.0/24"), NewEntry(f"2606:{number:x}::/32")]
        for number in range(accounts)
    }


SEARCHES: dict[str, Callable[[RuleManager], list[Any]]] = {
    "covers": lambda manager: manager.find("20.1.2.3", limit=10),
    "covers, IPv6": lambda manager: manager.find("2606:102::1", limit=10),
    "overlaps": lambda manager: manager.find(overlaps="20.1.2.0/23", limit=10)[:1],
    "overlaps, IPv6": lambda manager: manager.find(overlaps="2606:102:1234::/48", limit=10),
    "containing": lambda manager: manager.accounts(containing="T-00258", limit=10),
    "starting with": lambda manager: manager.accounts(starting_with="Acct-00258", limit=10),
}


def plans(manager: RuleManager, search: Callable[[RuleManager], list[Any]]) -> list[str]:
    """The plans of a search's statements, with the parameters that it has."""
    store: Any = manager._store
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, _context: object, _many: bool) -> None:
        seen.append((statement, parameters))

    event.listen(store._readers, "before_cursor_execute", note)
    assert len(search(manager)) == 1
    event.remove(store._readers, "before_cursor_execute", note)
    sqlite = store._readers.dialect.name == "sqlite"
    found = []
    with closing(store._readers.raw_connection()) as connection:
        cursor: Any = connection.cursor()
        for statement, parameters in seen:
            if "SELECT" in statement and "sqlite_master" not in statement:
                cursor.execute(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{statement}", parameters)
                found += [row[3] if sqlite else row[0] for row in cursor.fetchall()]
    return found


def test_searches_use_indexes_of_analysed_tables(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, load=False) as manager:
        manager.import_accounts(lists(ACCOUNTS))
        manager._store.index_new_rows()
        if shared_store_url.startswith("postgresql"):
            with psycopg.connect(shared_store_url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")  # what autovacuum does after an import
        else:
            with manager._store.write() as transaction:
                transaction.connection.exec_driver_sql("ANALYZE")
        for name, search in SEARCHES.items():
            lines = plans(manager, search)
            scans = [line for line in lines if "Seq Scan" in line or line.startswith(("SCAN entries", "SCAN accounts"))]
            assert scans == [], name
            names = "account" if "in" in name.split()[-1] or "with" in name else "entry"
            used = {"entry": ("entries_no_overlap", "entry_networks"), "account": ("by_part_of_name", "account_names")}
            assert any(index in line or "VIRTUAL TABLE INDEX" in line for line in lines for index in used[names]), lines


def test_a_file_of_an_older_cidrgate_is_searched_by_its_rows(tmp_path: Path) -> None:
    url = old_database(2, tmp_path / "old.db")
    with RuleManager.open(url, load=False) as manager:
        assert [one.entry.account for one in manager.find("8.8.4.4")] == ["acct-1"]
        assert [one.entry.account for one in manager.find("2606:4700::/48")] == ["acct-1"]
        assert {one.name for one in manager.accounts(containing="CCT")} == {"acct-1", "acct-2"}
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        assert connection.execute("SELECT max(id) FROM entry_networks_docsize").fetchone()[0] > 0


def test_an_older_process_keeps_the_indexes_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows the tables, and nothing of the indexes."""
    monkeypatch.setattr(sqlite_store, "_FEWEST_TO_INDEX", 1)
    with RuleManager.open(f"sqlite:///{tmp_path}/lists.db", create=True, load=False) as manager:
        manager.import_accounts(lists(3))
        manager._store.index_new_rows()
        with closing(sqlite3.connect(tmp_path / "lists.db")) as old, old:
            old.execute("PRAGMA foreign_keys = ON")
            old.execute("UPDATE entries SET cidr = '7.7.7.0/24' WHERE cidr = '20.0.0.0/24'")
            old.execute("DELETE FROM entries WHERE cidr = '20.0.1.0/24'")
            old.execute("UPDATE accounts SET name = 'renamed' WHERE name = 'acct-00002'")
            old.execute("INSERT INTO accounts (name, created_at) SELECT 'brand-new', created_at FROM accounts LIMIT 1")
            old.execute(
                "INSERT INTO entries (account_id, cidr, created_at) "
                "SELECT max(id), '20.0.1.0/25', max(created_at) FROM accounts"
            )
        for _ in range(2):
            assert [one.entry.account for one in manager.find("7.7.7.7")] == ["acct-00000"]
            assert manager.find("20.0.0.1") == []
            assert [one.entry.cidr for one in manager.find("20.0.1.1")] == ["20.0.1.0/25"]
            assert [one.name for one in manager.accounts(containing="NAME")] == ["renamed"]
            assert manager.accounts(containing="00002") == []
            assert [one.name for one in manager.accounts(starting_with="bra")] == ["brand-new"]
            manager._store.index_new_rows()


def test_every_search_works_without_full_text_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic.operations import Operations

    execute = Operations.execute

    def refuse(self: Any, statement: Any, *arguments: Any, **settings: Any) -> Any:
        if "VIRTUAL TABLE" in str(statement):
            raise OperationalError("CREATE", {}, sqlite3.OperationalError("no such module: fts5"))
        return execute(self, statement, *arguments, **settings)

    monkeypatch.setattr(Operations, "execute", refuse)
    with RuleManager.open(f"sqlite:///{tmp_path}/lists.db", create=True, load=False) as manager:
        with closing(sqlite3.connect(tmp_path / "lists.db")) as connection:
            assert not connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'entry_networks%'").fetchall()
        manager.import_accounts(lists(300))
        manager._store.index_new_rows()
        for name, search in SEARCHES.items():
            assert len(search(manager)) == 1, name


def test_every_search_works_without_the_extension(shared_postgres_server: PostgresServer) -> None:
    url = shared_postgres_server.new_database(template="template1")
    database = url.rpartition("/")[2]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS humble_owner")
        connection.execute("CREATE ROLE humble_owner LOGIN")
        connection.execute("CREATE EXTENSION btree_gist SCHEMA public")
        connection.execute("CREATE SCHEMA cidrgate AUTHORIZATION humble_owner")
        connection.execute(SQL("REVOKE CREATE ON DATABASE {} FROM public").format(Identifier(database)))
    humble = url.replace("postgres@", "humble_owner@")
    try:
        assert migrate_store(humble) is None
        with RuleManager.open(humble, load=False) as manager:
            manager.import_accounts(lists(300))
            for name, search in SEARCHES.items():
                assert len(search(manager)) == 1, name
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'").fetchall() == []
            [(made,)] = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname LIKE '%part_of_name'")
            assert "text_pattern_ops" in made
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY humble_owner")
            connection.execute("DROP ROLE humble_owner")


def test_compatible_addresses_are_read_as_they_were_written(store_url: str) -> None:
    """PostgreSQL writes ::1:2/128 as ::0.1.0.2/128."""
    from cidrgate import Policy

    with RuleManager.open(store_url, policy=Policy(allow_special=True)) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "::1:2/128, ::8:0/112")
        assert [entry.cidr for entry in manager.entries("acct-1")] == ["::1:2/128", "::8:0/112"]
        assert manager.edit("acct-1", "::1:2/128", label="x").entry("::1:2/128").label == "x"
        assert [one.entry.cidr for one in manager.find("::8:1")] == ["::8:0/112"]
        assert manager.allows("acct-1", "::1:2")
