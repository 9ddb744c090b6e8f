"""Faults of PostgreSQL and of what stands before it, while several processes' worth of writers are at work."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest

from cidrgate import NewEntry, RuleManager, StoreError
from tests.faults.invariants import ACCOUNTS, ROUNDS, SECONDS, Ledger, check, no_stranger, prepare, report, writers
from tests.pgbouncer import PgBouncer
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import PostgresServer


UNHURRIED = "-c statement_timeout=0 -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0"
"""For who sets the timeouts of all others."""


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    """A database on a server of the test's own, with enforced accounts."""
    made = postgres_server.new_database()
    prepare(made)
    return made


def as_dba(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True, options=UNHURRIED) as connection:
        connection.execute(statement)


def restarted(server: PostgresServer, url: str) -> None:
    server.restart("immediate")


def sessions_ended(server: PostgresServer, url: str) -> None:
    as_dba(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cidrgate'")


def statements_cancelled(server: PostgresServer, url: str) -> None:
    for _ in range(20):
        as_dba(url, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'cidrgate'")


def timeouts_set(server: PostgresServer, url: str) -> None:
    database = url.rpartition("/")[2]
    for setting in ("statement_timeout = 3", "idle_in_transaction_session_timeout = 3", "idle_session_timeout = 20"):
        as_dba(url, f"ALTER DATABASE {database} SET {setting}")
        sessions_ended(server, url)
        time.sleep(SECONDS / 4)
    as_dba(url, f"ALTER DATABASE {database} RESET ALL")
    sessions_ended(server, url)


def password_rotated(server: PostgresServer, url: str) -> None:
    """Sessions go on with the old one; new ones are refused until the role may log in again."""
    as_dba(url, "ALTER ROLE writer NOLOGIN")
    sessions_ended(server, url)
    time.sleep(SECONDS / 4)
    as_dba(url, "ALTER ROLE writer LOGIN")


SERVER = pytest.mark.fault("PostgreSQL restarts, ends sessions, cancels statements, or sets timeouts")
PASSWORD = pytest.mark.fault("the password is changed")

FAULTS = [
    pytest.param(restarted, marks=SERVER),
    pytest.param(sessions_ended, marks=SERVER),
    pytest.param(statements_cancelled, marks=SERVER),
    pytest.param(timeouts_set, marks=SERVER),
    pytest.param(password_rotated, marks=PASSWORD),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_again_and_again(
    fault: Callable[[PostgresServer, str], None], postgres_server: PostgresServer, url: str
) -> None:
    ledger = Ledger()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE ROLE writer SUPERUSER LOGIN")
    theirs = url.replace("postgres@", "writer@")
    with RuleManager.open(theirs) as one, RuleManager.open(theirs) as other:
        with no_stranger(ledger, one, other), writers(ledger, [one, other]):
            for _ in range(ROUNDS):
                ledger.wait_for_more()
                fault(postgres_server, url)
            ledger.wait_for_more()
        check(url, ledger, [one, other])
    report(fault.__name__.replace("_", " "), ledger)


@pytest.mark.fault("PostgreSQL restarts, ends sessions, cancels statements, or sets timeouts")
def test_a_storm_of_restarts(postgres_server: PostgresServer, url: str) -> None:
    """Thirteen a minute, each before all has recovered from the one before."""
    ledger = Ledger()
    restarts = max(2, round(SECONDS * 13 / 60))
    with RuleManager.open(url) as one, RuleManager.open(url) as other:
        with no_stranger(ledger, one, other), writers(ledger, [one, other]):
            ledger.wait_for_more()
            for number in range(restarts):
                began = time.monotonic()
                postgres_server.restart("immediate" if number % 2 else "fast")
                time.sleep(max(0.0, min(SECONDS / restarts, 60 / 13) - (time.monotonic() - began)))
            ledger.wait_for_more()
        check(url, ledger, [one, other])
    report("storm of restarts", ledger, restarts=restarts)


@pytest.mark.fault("PostgreSQL's transaction ids pass 2³²")
def test_transaction_ids_that_pass_2_32(postgres_server: PostgresServer, url: str) -> None:
    """The server's own are of 32 bits and begin anew; places of followers and of the log are of 64."""
    ledger = Ledger()
    with RuleManager.open(url) as before:
        before.add(ACCOUNTS[0], "9.9.9.9/32")
    postgres_server.advance_to_transaction((1 << 32) - 40)
    with RuleManager.open(url) as one, RuleManager.open(url) as other, psycopg.connect(url, autocommit=True) as dba:
        current = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
        [first] = dba.execute(current).fetchone() or (0,)
        assert first < 1 << 32
        with no_stranger(ledger, one, other), writers(ledger, [one, other]):
            eventually(lambda: (dba.execute(current).fetchone() or (0,))[0] > (1 << 32) + 100)
            ledger.wait_for_more(20 * ROUNDS)
        check(url, ledger, [one, other])
        [last] = dba.execute(current).fetchone() or (0,)
    with RuleManager.open(url) as started:
        check(url, ledger, [started])
    report("transaction ids past 2^32", ledger, first=first, last=last)
    assert not ledger.refused
    assert not ledger.unknown


@pytest.mark.fault("the connection to PostgreSQL breaks at a `COMMIT`")
@pytest.mark.parametrize("deliver", [True, False], ids=["carried out", "never arrived"])
def test_connections_that_break_at_the_commit(deliver: bool, postgres_server: PostgresServer, url: str) -> None:
    ledger = Ledger()
    with TcpProxy(("127.0.0.1", postgres_server.port)) as proxy:
        behind = url.replace(f":{postgres_server.port}/", f":{proxy.port}/")
        with RuleManager.open(behind) as far, RuleManager.open(url) as near:
            with no_stranger(ledger, far, near), writers(ledger, [far, near]):
                for number in range(4 * ROUNDS):
                    proxy.drop_at(b"COMMIT\0", deliver=deliver, after=(b'INTO "cidrgate".changes',))
                    eventually(lambda number=number: proxy.trapped > number)  # type: ignore[misc]
                    ledger.wait_for_more(1)
            check(url, ledger, [far, near])
            stored = {entry.label for change in near.history() for entry in change.after}
    assert ledger.unknown
    report("connection broken at COMMIT", ledger, stored_of_unknown=len(ledger.unknown & stored))


@pytest.mark.fault("the network to PostgreSQL is cut")
def test_a_network_that_is_cut_and_heals(postgres_server: PostgresServer, url: str) -> None:
    ledger = Ledger()
    with TcpProxy(("127.0.0.1", postgres_server.port)) as proxy:
        behind = url.replace(f":{postgres_server.port}/", f":{proxy.port}/")
        with RuleManager.open(behind) as far, RuleManager.open(url) as near:
            with no_stranger(ledger, far, near), writers(ledger, [near]):
                for _ in range(ROUNDS):
                    proxy.cut()
                    ledger.wait_for_more()
                    time.sleep(SECONDS / 10)
                    proxy.heal()
                    ledger.wait_for_more()
            check(url, ledger, [far, near])
    report("network cut and healed", ledger)


@pytest.mark.fault("a synchronous standby takes over")
@pytest.mark.fault("a pooler in transaction mode, or a standby, is named as the store")
def test_a_standby_that_takes_over(postgres_server: PostgresServer, url: str) -> None:
    """A synchronous one, so that it has what was acknowledged."""
    ledger = Ledger()
    name = url.rpartition("/")[2]
    with postgres_server.standby() as standby:
        with pytest.raises(StoreError, match="is a standby"):
            RuleManager.open(standby.url(name))
        as_dba(url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        as_dba(url, "SELECT pg_reload_conf()")
        with psycopg.connect(url, autocommit=True) as dba:
            synchronous = "SELECT sync_state FROM pg_stat_replication"
            eventually(lambda: dba.execute(synchronous).fetchone() == ("sync",))
        both = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{postgres_server.port}/{name}"
        with RuleManager.open(both) as one, RuleManager.open(both) as other:
            with no_stranger(ledger, one, other), writers(ledger, [one, other]):
                ledger.wait_for_more()
                postgres_server.stop("immediate")
                standby.promote()
                as_dba(standby.url(name), "ALTER SYSTEM RESET synchronous_standby_names")
                as_dba(standby.url(name), "SELECT pg_reload_conf()")
                ledger.wait_for_more()
            check(standby.url(name), ledger, [one, other])
        report("synchronous standby took over", ledger)
    postgres_server.start()


@pytest.mark.fault("a pooler in transaction mode, or a standby, is named as the store")
def test_two_schemas_behind_a_pooler_in_transaction_mode(postgres_server: PostgresServer, url: str) -> None:
    prepare(f"{url}?schema=other")
    ledgers = {"cidrgate": Ledger(), "other": Ledger()}
    with PgBouncer(postgres_server, "transaction", size=4) as pooler, ExitStack() as stack:
        with pytest.raises(StoreError, match="PgBouncer in transaction mode"):
            RuleManager.open(pooler.url(url))
        pooled = quote(pooler.url(url), safe="")
        managers = {
            schema: [
                stack.enter_context(RuleManager.open(f"{url}?schema={schema}&pooled_url={pooled}")) for _ in range(2)
            ]
            for schema in ledgers
        }
        with ExitStack() as at_work:
            for schema, ledger in ledgers.items():
                at_work.enter_context(no_stranger(ledger, *managers[schema]))
                at_work.enter_context(writers(ledger, managers[schema]))
            for _ in range(ROUNDS):
                for ledger in ledgers.values():
                    ledger.wait_for_more(20)
        for schema, ledger in ledgers.items():
            check(f"{url}?schema={schema}", ledger, managers[schema])
            report(f"pooler in transaction mode, schema {schema}", ledger)
            assert not ledger.refused
            assert not ledger.unknown


@pytest.fixture
def neighbour(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that writes, and is stopped or killed in the middle."""
    code = (
        "import itertools, sys\n"
        "from cidrgate import RuleManager\n"
        "with RuleManager.open(sys.argv[1]) as manager:\n"
        "    for number in itertools.count():\n"
        "        if number == 5: print('ready', flush=True)\n"
        f"        account = {ACCOUNTS!r}[number % {len(ACCOUNTS)}]\n"
        "        manager.replace(account, [f'7.7.{number % 250}.0/24', '8.8.8.8/32'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        process.send_signal(signal.SIGCONT)
        process.kill()


@pytest.mark.fault("another writer is stopped or killed")
@pytest.mark.parametrize("kind", ["stopped", "killed"])
def test_another_writer_is_stopped_or_killed(kind: str, neighbour: subprocess.Popen[bytes], url: str) -> None:
    """In the middle of a change it goes on holding the lock of that account, until it goes on or is gone."""
    ledger = Ledger()
    with RuleManager.open(url, lock_timeout=2.0) as one, RuleManager.open(url, lock_timeout=2.0) as other:
        with no_stranger(ledger, one, other), writers(ledger, [one, other]):
            for _ in range(ROUNDS):
                ledger.wait_for_more()
                neighbour.send_signal(signal.SIGSTOP if kind == "stopped" else signal.SIGKILL)
                ledger.wait_for_more()
                time.sleep(SECONDS / 10)
                if kind == "stopped":
                    neighbour.send_signal(signal.SIGCONT)
                ledger.wait_for_more()
        neighbour.kill()
        neighbour.wait()
        check(url, ledger, [one, other])
    report(f"another writer {kind}", ledger)


@pytest.mark.fault("the processes of PostgreSQL are stopped (SIGSTOP)")
def test_a_server_whose_processes_are_stopped(postgres_server: PostgresServer, url: str) -> None:
    """The network says that all is well. Changes end in time: what was not told to commit is not stored."""
    ledger = Ledger()
    with RuleManager.open(url, lock_timeout=1.0) as one, RuleManager.open(url, lock_timeout=1.0) as other:
        with no_stranger(ledger, one, other), writers(ledger, [one, other]):
            for _ in range(max(1, ROUNDS // 4)):
                ledger.wait_for_more()
                answered, failed = len(ledger.seconds), len(ledger.refused | ledger.unknown)
                postgres_server.freeze()
                try:
                    with pytest.raises(StoreError, match=r"did not answer for 6 seconds|are in use|timeout expired"):
                        one.entries(ACCOUNTS[0])
                    eventually(lambda: len(ledger.seconds) > answered + 4)  # noqa: B023
                    assert len(ledger.refused | ledger.unknown) > failed
                finally:
                    postgres_server.thaw()
                ledger.wait_for_more()
        check(url, ledger, [one, other])
    report("server stopped", ledger)


@pytest.mark.fault("the processes of PostgreSQL are stopped (SIGSTOP)")
def test_entries_end_in_time_while_a_server_is_silent(postgres_server: PostgresServer, url: str) -> None:
    """Neither a connection that waits for an answer nor the next attempts to connect delay an end."""
    with RuleManager.open(url) as node:
        node.create_account("ends")
        start = datetime.now(UTC) + timedelta(seconds=2)
        ends = {f"8.8.{number}.0/24": start + timedelta(seconds=number) for number in range(1, 20)}
        node.replace("ends", [NewEntry("9.9.9.0/24"), *(NewEntry(cidr, expires_at=end) for cidr, end in ends.items())])
        late: list[float] = []
        postgres_server.freeze()
        try:
            for cidr, end in ends.items():
                eventually(lambda cidr=cidr: not node.allows("ends", cidr.replace("0/24", "1")), 90)  # type: ignore[misc]
                late.append((datetime.now(UTC) - end).total_seconds())
        finally:
            postgres_server.thaw()
    assert 0.0 <= min(late) <= max(late) < 2.0
