"""Somebody locks the store and does not give it back: the service answers everything in time, and the rest goes on."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from cidrgate import RuleManager
from tests.faults.invariants import ACCOUNTS, SECONDS, Ledger, check, prepare, report
from tests.faults.over_http import admin_token, http_writers, put
from tests.service.a_server import a_server
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_TIMEOUT = 10.0 if SECONDS > 20 else 1.0
LOCKED, FREE = ACCOUNTS[:2], ACCOUNTS[2:]
WRITERS = 24
STORES = [
    pytest.param("postgresql", marks=pytest.mark.fault("another transaction holds rows or tables")),
    pytest.param("sqlite", marks=pytest.mark.fault("another process holds the write lock of a SQLite file")),
]
ASKED = ("/readyz", "/healthz", "/metrics", f"/v1/accounts/{FREE[0]}/entries", f"/v1/accounts/{LOCKED[0]}/entries")


@contextmanager
def rows_locked(url: str) -> Iterator[None]:
    """By a process that was stopped in the middle of its transaction, for all the server knows."""
    with psycopg.connect(url, application_name="stopped") as other:
        other.execute("SELECT FROM cidrgate.accounts WHERE name = ANY(%s) FOR UPDATE", [list(LOCKED)])
        yield


@contextmanager
def file_locked(url: str) -> Iterator[None]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def asker(url: str, token: str) -> Iterator[subprocess.Popen[str]]:
    """A process that asks all the while, and tells on its output how long each answer took."""
    command = [sys.executable, "-m", "tests.faults.asker", url, token, *ASKED]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("store", STORES)
def test_the_service_goes_on_while_somebody_holds_a_lock(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/lists.db" if store == "sqlite" else request.getfixturevalue("postgres_url")
    locked = file_locked if store == "sqlite" else rows_locked
    prepare(url)
    token = admin_token(url)
    ledger = Ledger()
    with ExitStack() as stack:
        server = stack.enter_context(a_server(url, "--lock-timeout", str(LOCK_TIMEOUT)))
        follower = stack.enter_context(RuleManager.open(url))
        asking = stack.enter_context(asker(server.url, token))
        with http_writers(server.url, token, ledger, threads=WRITERS, pause=1.0):
            with locked(url):
                assert asking.stdin is not None
                asking.stdin.write("\n")
                asking.stdin.flush()
                time.sleep(max(SECONDS, 2 * LOCK_TIMEOUT))
                eventually(lambda: bool(ledger.refused))
                told, _ = asking.communicate("\n")
            ledger.wait_for_more()
        figures = json.loads(told)
        check(url, ledger, [follower])
    report(f"{store} locked, asked meanwhile", ledger, **figures)
    assert ledger.refused
    assert all(figure["answers"] > 0 and figure["failed"] == 0 for figure in figures.values())
    # Far less than the lock is held, and less than one change waits after another one.
    assert max(ledger.seconds) < LOCK_TIMEOUT + (2 if SECONDS > 20 else 15)


@pytest.mark.parametrize("store", STORES)
def test_a_service_that_is_stopped_while_changes_wait_leaves_none_behind(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/lists.db" if store == "sqlite" else request.getfixturevalue("postgres_url")
    locked = file_locked if store == "sqlite" else rows_locked
    prepare(url)
    token = admin_token(url)
    ledger = Ledger()
    with a_server(url, "--lock-timeout", "600") as server, locked(url):
        clients = [threading.Thread(target=one_change, args=(server.url, token, ledger, n)) for n in range(8)]
        for client in clients:
            client.start()
        eventually(lambda: in_flight(server.url) >= len(clients))
        time.sleep(0.5)  # for as many as possible to be waiting for the lock
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        took = time.monotonic() - began
        for client in clients:
            client.join()
    report(f"{store} locked, service stopped", ledger, exit=f"{took:.1f} s")
    assert ledger.refused
    assert not ledger.acknowledged
    ledger.refused |= ledger.unknown | ledger.unreached  # their connection was closed before they had asked
    check(url, ledger)


def one_change(url: str, token: str, ledger: Ledger, number: int) -> None:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        put(client, ledger, LOCKED[number % 2], f"s{number}", f"9.9.9.{number}/32")


def in_flight(url: str) -> int:
    """How many connections the service has."""
    port = int(url.rpartition(":")[2])
    listed = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for line in listed if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01")
