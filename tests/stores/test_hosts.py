"""Several hosts in a URL: one that is silent uses up the time of a connection once, and not that of every change."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from cidrgate import RuleManager, StoreError
from cidrgate.stores.postgres.database import Database
from cidrgate.stores.postgres.failures import explained
from cidrgate.stores.postgres.hosts import Hosts
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.postgres import PostgresServer


@pytest.mark.parametrize(("count", "seconds"), [(1, "10"), (2, "5"), (3, "3"), (5, "2"), (9, "2")])
def test_hosts_share_the_time_of_a_connection(count: int, seconds: str) -> None:
    hosts = ",".join(f"db-{number}" for number in range(count))
    assert Database.parse(f"postgresql://{hosts}/lists").arguments["connect_timeout"] == seconds
    assert Database.parse(f"postgresql://{hosts}/lists?connect_timeout=7").arguments["connect_timeout"] == "7"


@pytest.mark.parametrize(
    ("host", "port", "last", "ordered"),
    [
        ("a", "1", ("a", 1), ("a", "1")),
        ("a,b", "1,2", ("b", 2), ("b,a", "2,1")),
        ("a,b", "1,2", ("b", 1), ("a,b", "1,2")),
        ("a,b,c", "7", ("c", 7), ("c,a,b", "7")),
        ("a,b", None, ("b", 5432), ("b,a", None)),
        ("a,b", None, ("b", 6000), ("b,a", None)),  # PGPORT
        ("a,b", "1,", ("b", 5432), ("b,a", ",1")),
        ("a,a", "1,2", ("a", 2), ("a,a", "2,1")),
        ("::1,/run/db", "1,2", ("/run/db", 2), ("/run/db,::1", "2,1")),
    ],
)
def test_the_host_that_answered_last_is_first(
    host: str, port: str | None, last: tuple[str, int], ordered: tuple[str, str | None]
) -> None:
    hosts = Hosts()
    given = {"host": host, "user": "me"} | ({} if port is None else {"port": port})
    assert hosts.in_order(given) == given
    hosts.answered(*last)
    found = hosts.in_order(given)
    assert (found["host"], found.get("port"), found["user"]) == (*ordered, "me")


def test_a_silent_host_is_asked_once(postgres_url: str, shared_postgres_server: PostgresServer) -> None:
    with RuleManager.open(postgres_url, follow=False) as manager:
        manager.create_account("acct-1")
    asked: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            while True:
                try:
                    asked.append(silent.accept()[0])
                except OSError:
                    return

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            port = shared_postgres_server.port
            several = postgres_url.replace(f":{port}/", f":{silent.getsockname()[1]},127.0.0.1:{port}/")
            with RuleManager.open(f"{several}?connect_timeout=2") as manager:
                manager.add("acct-1", "1.1.1.1/32")
                with psycopg.connect(postgres_url, autocommit=True) as dba:
                    others = "datname = current_database() AND pid <> pg_backend_pid()"
                    [pids] = dba.execute(f"SELECT array_agg(pid) FROM pg_stat_activity WHERE {others}").fetchall()
                    sessions = "FROM pg_stat_activity WHERE pid = ANY(%s)"
                    dba.execute(f"SELECT pg_terminate_backend(pid) {sessions}", pids)
                    eventually(lambda: not dba.execute(f"SELECT pid {sessions}", pids).fetchall())
                manager.add("acct-1", "8.8.8.8/32")
            assert len(asked) == 1
        finally:
            silent.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in asked:
                connection.close()


def test_a_connection_that_takes_too_long_says_what_to_check() -> None:
    with (
        pytest.raises(StoreError, match=r"^the store cannot be reached: connection timeout expired"),
        explained("the store"),
    ):
        raise psycopg.errors.ConnectionTimeout("connection timeout expired")
