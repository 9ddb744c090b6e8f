"""`cidrgate migrate`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from cidrgate import StoreError
from cidrgate.stores import grant_store
from cidrgate.stores.migrations import HEAD
from tests.stores.test_migrations import OLD_DATABASES

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate
    from tests.postgres import PostgresServer


@pytest.mark.usefixtures("no_database")
def test_an_old_file_is_migrated(cidrgate: Cidrgate) -> None:
    with closing(sqlite3.connect(cidrgate.database)) as connection:
        connection.executescript((OLD_DATABASES / "1.sql").read_text())
    assert cidrgate("migrate").out == f"migrated the tables from version 0001 to {HEAD}\n"
    assert cidrgate("migrate").out == f"nothing to do: the tables have version {HEAD}\n"
    assert cidrgate("migrate", "--json").record == {"before": HEAD, "version": HEAD, "granted": []}
    assert cidrgate.accounts() == ["acct-1", "acct-2", "sub-1"]


@pytest.mark.usefixtures("no_database")
def test_a_new_database_gets_its_tables(cidrgate: Cidrgate, postgres_url: str) -> None:
    assert cidrgate("migrate").out == f"created the tables, version {HEAD}\n"
    assert cidrgate("migrate", "-d", postgres_url, "--json").record == {"before": HEAD, "version": HEAD, "granted": []}
    assert cidrgate("migrate", "-d", "memory://", "--json", status=2).error["code"] == "command"


def test_a_database_on_a_server_is_not_filled_unasked(
    cidrgate: Cidrgate, shared_postgres_server: PostgresServer
) -> None:
    empty = shared_postgres_server.new_database(template="template1")
    assert "`cidrgate migrate`" in cidrgate("list", "acct-1", "-d", empty, status=6).err
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", "-d", empty)
    assert "8.8.8.0/24" in cidrgate("list", "acct-1", "-d", empty).out


def test_a_service_is_granted_what_it_needs(cidrgate: Cidrgate, shared_postgres_server: PostgresServer) -> None:
    empty, user = shared_postgres_server.new_database(template="template1"), "a_service"
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("CREATE ROLE a_service LOGIN; CREATE ROLE another")
    answer = cidrgate("migrate", "--grant", user, "-d", empty)
    assert answer.out.splitlines()[1] == f"granted {user} what a service needs"
    again = cidrgate("migrate", "--grant", user, "-d", empty, "--json").record
    assert (again["before"], again["granted"]) == (again["version"], [user])
    cidrgate("account", "create", "acct-1", "-d", empty.replace("postgres@", "a_service@"))
    unknown = cidrgate("migrate", "--grant", 'no"body', "-d", empty, status=6).err
    assert """has no user 'no"body'""" in unknown
    assert """CREATE ROLE "no""body" LOGIN""" in unknown
    second = cidrgate("migrate", "--grant", user, "--grant", "nobody", "-d", empty, "--json", status=6).error
    assert second["data"]["stored"] == f"the tables have version {again['version']}, and 1 of 2 users got the rights"
    assert second["data"]["stored"] in second["detail"]
    limited = empty.replace("postgres@", "a_service@")
    assert "`cidrgate migrate --grant" in cidrgate("migrate", "--grant", "another", "-d", limited, status=6).err
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("DROP OWNED BY a_service; DROP ROLE a_service; DROP ROLE another")


@pytest.mark.parametrize("database", ["lists.db", "sqlite:///lists.db"])
@pytest.mark.usefixtures("no_database")
def test_a_file_knows_no_users(cidrgate: Cidrgate, database: str) -> None:
    refused = cidrgate("migrate", "--grant", "service", "-d", database, status=6).err
    assert "`chown`" in refused
    assert not (cidrgate.database.parent / "lists.db").exists()
    with pytest.raises(StoreError, match="only PostgreSQL"):
        grant_store(database, "service")
