"""`cidrgate migrate`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from cidrgate.stores.migrations import HEAD
from tests.stores.test_migrations import OLD_DATABASES

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate
    from tests.postgres import PostgresServer


def test_an_old_file_is_migrated(cidrgate: Cidrgate) -> None:
    with closing(sqlite3.connect(cidrgate.database)) as connection:
        connection.executescript((OLD_DATABASES / "1.sql").read_text())
    assert cidrgate("migrate").out == f"migrated the tables from version 0001 to {HEAD}\n"
    assert cidrgate("migrate").out == f"nothing to do: the tables have version {HEAD}\n"
    assert cidrgate("migrate", "--json").record == {"before": HEAD, "version": HEAD}
    assert cidrgate.accounts() == ["acct-1", "acct-2", "sub-1"]


def test_a_new_database_gets_its_tables(cidrgate: Cidrgate, postgres_url: str) -> None:
    assert cidrgate("migrate").out == f"created the tables, version {HEAD}\n"
    assert cidrgate("migrate", "-d", postgres_url, "--json").record == {"before": HEAD, "version": HEAD}
    assert cidrgate("migrate", "-d", "memory://", "--json", status=2).error["code"] == "store"


def test_a_database_on_a_server_is_not_filled_unasked(
    cidrgate: Cidrgate, shared_postgres_server: PostgresServer
) -> None:
    empty = shared_postgres_server.new_database(template="template1")
    assert "`cidrgate migrate`" in cidrgate("list", "acct-1", "-d", empty, status=2).err
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", "-d", empty)
    assert "8.8.8.0/24" in cidrgate("list", "acct-1", "-d", empty).out
