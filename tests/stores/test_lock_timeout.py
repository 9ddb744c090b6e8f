"""Nothing waits longer than the lock timeout, what is refused is not stored later, and one lock stops nobody else."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cidrgate import NewEntry, OutcomeUnknownError, RuleManager, StoreBusyError, StoreError
from cidrgate.errors import ChangeWithdrawnError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import grant_store, migrate_store, open_store
from cidrgate.stores.waits import answer_by
from tests.command_line import typed
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import PostgresServer

PATIENT = 30.0
"""Seconds that nothing here waits for: a test that ends before has not waited for a lock that is never given back."""

ACCOUNTS = [f"acct-{number}" for number in range(8)]


@pytest.fixture
def manager(shared_store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(shared_store_url, create=True, lock_timeout=0.5, follow=False) as manager:
        for account in ACCOUNTS:
            manager.create_account(account)
        yield manager


@contextmanager
def all_locked(url: str) -> Iterator[None]:
    """Every write of others is kept waiting, and no read."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(url, application_name="a visitor") as other:
            other.execute("LOCK TABLE cidrgate.accounts IN EXCLUSIVE MODE")
            yield


WRITES: dict[str, Callable[[RuleManager], object]] = {
    "change of a list": lambda manager: manager.replace("acct-1", "8.8.8.0/24"),
    "new account": lambda manager: manager.create_account("new"),
    "import": lambda manager: manager.import_accounts({"imported": [NewEntry("8.8.8.0/24")]}),
}


@pytest.mark.parametrize("work", WRITES)
def test_a_write_that_waits_too_long_is_refused_and_not_stored_later(
    manager: RuleManager, shared_store_url: str, work: str
) -> None:
    before = manager.history()
    with all_locked(shared_store_url):
        with pytest.raises(StoreBusyError, match="nothing was changed"):
            WRITES[work](manager)
        assert manager.entries("acct-1") == []
    assert manager.create_account("sentinel")
    assert [change.account for change in manager.history()[: -len(before)]] == ["sentinel"]


def test_postgresql_says_who_holds_the_lock(postgres_url: str) -> None:
    with RuleManager.open(postgres_url, lock_timeout=0.2, follow=False) as manager:
        manager.create_account("acct-1")
        with psycopg.connect(postgres_url, application_name="a visitor") as other:
            other.execute("SELECT FROM cidrgate.accounts FOR UPDATE")
            with pytest.raises(StoreBusyError) as refusal:
                manager.replace("acct-1", "8.8.8.0/24")
            assert f"process {other.info.backend_pid} " in str(refusal.value)
            assert "'a visitor'" in str(refusal.value)
            assert "in a transaction since 20" in str(refusal.value)


def test_many_writes_are_all_answered_in_time_and_none_is_stored_later(
    manager: RuleManager, shared_store_url: str
) -> None:
    """A group that cannot begin fails as one: its members do not wait one after the other."""
    with all_locked(shared_store_url), ThreadPoolExecutor(60) as pool:
        began = time.monotonic()
        asked = [pool.submit(manager.add, ACCOUNTS[n % len(ACCOUNTS)], f"9.9.{n}.0/24") for n in range(60)]
        errors = [one.exception(PATIENT) for one in asked]
        # On a busy machine, some are not told in time that nothing was stored.
        assert {StoreBusyError} <= {type(error) for error in errors} <= {StoreBusyError, OutcomeUnknownError}
        assert time.monotonic() - began < PATIENT  # 60 times the lock timeout
    assert [manager.entries(account) for account in ACCOUNTS] == [[]] * len(ACCOUNTS)


def test_locked_accounts_keep_nobody_else_waiting(postgres_url: str) -> None:
    """More of them are locked than transactions are under way at once; all the others are changed meanwhile."""
    with RuleManager.open(postgres_url, lock_timeout=PATIENT, follow=False) as manager, ThreadPoolExecutor(20) as pool:
        for account in ACCOUNTS:
            manager.create_account(account)
        locked, free = ACCOUNTS[:5], ACCOUNTS[5:]
        with psycopg.connect(postgres_url) as other:
            other.execute("SELECT FROM cidrgate.accounts WHERE name = ANY(%s) FOR UPDATE", [locked])
            waiting = [pool.submit(manager.replace, name, "8.8.8.0/24") for name in locked for _ in range(2)]
            for _ in range(3):
                for done in [pool.submit(manager.replace, name, "9.9.9.0/24") for name in free]:
                    assert done.result(PATIENT)
            assert not any(one.done() for one in waiting)
        for one in waiting:
            assert one.result(PATIENT)
        assert {entry.cidr for name in locked for entry in manager.entries(name)} == {"8.8.8.0/24"}


def test_an_account_that_is_locked_for_a_moment_is_waited_for(postgres_url: str) -> None:
    with RuleManager.open(postgres_url, follow=False) as manager, ThreadPoolExecutor(1) as pool:
        manager.create_account("acct-1")
        with psycopg.connect(postgres_url) as other:
            other.execute("SELECT FROM cidrgate.accounts FOR UPDATE")
            waiting = pool.submit(manager.replace, "acct-1", "8.8.8.0/24")
            eventually(lambda: blocked(postgres_url) == 1)
        assert [entry.cidr for entry in waiting.result(PATIENT).entries] == ["8.8.8.0/24"]


def blocked(url: str) -> int:
    """How many sessions wait for a lock."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
    assert row is not None
    return int(row[0])


READS: dict[str, Callable[[RuleManager], object]] = {
    "entries": lambda manager: manager.entries("acct-1"),
    "look": lambda manager: manager._replica.published.catch_up(),
}


@pytest.mark.parametrize("work", READS)
def test_a_read_that_waits_too_long_is_refused(postgres_url: str, work: str) -> None:
    with RuleManager.open(postgres_url, lock_timeout=0.2, follow=False) as manager:
        manager.create_account("acct-1")
        with psycopg.connect(postgres_url) as other:
            other.execute("LOCK TABLE cidrgate.accounts, cidrgate.changes")
            with pytest.raises(StoreBusyError):
                READS[work](manager)
        READS[work](manager)


ALTERING: dict[str, Callable[[str], object]] = {
    "migrate, as the URL says": lambda url: migrate_store(f"{url}?lock_timeout=0.2"),
    "migrate": lambda url: migrate_store(f"{url}?lock_timeout=50", lock_timeout=0.2),
    "open": lambda url: open_store(f"{url}?lock_timeout=50", create=True, lock_timeout=0.2),
    "grant, as the URL says": lambda url: grant_store(f"{url}?lock_timeout=0.2", "postgres"),
    "grant": lambda url: grant_store(f"{url}?lock_timeout=50", "postgres", lock_timeout=0.2),
}


@pytest.mark.parametrize("work", ALTERING)
def test_whoever_alters_the_schema_waits_for_others_no_longer_than_that(
    shared_postgres_server: PostgresServer, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.stores.postgres.database.LOCK_TIMEOUT", 50.0)
    url = shared_postgres_server.new_database(*(["template1"] if work == "open" else []))
    with psycopg.connect(url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('cidrgate migrate'))")
        began = time.monotonic()
        with pytest.raises(StoreBusyError):
            ALTERING[work](url)
        assert time.monotonic() - began < PATIENT


@pytest.mark.parametrize("grants", [[], ["--grant", "postgres"]], ids=["migrate", "grant"])
def test_the_command_that_migrates_waits_no_longer_than_its_option_says(
    shared_postgres_server: PostgresServer, grants: list[str]
) -> None:
    url = shared_postgres_server.new_database()
    with psycopg.connect(url) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('cidrgate migrate'))")
        done = typed(["migrate", *grants, "--lock-timeout", "0.2", "-d", f"{url}?lock_timeout=50"])
    assert done.exit_code == 6, done.output
    assert "locked by another transaction" in done.stderr


def test_a_name_that_somebody_is_taking_is_waited_for_no_longer_than_that(postgres_url: str) -> None:
    with RuleManager.open(postgres_url, lock_timeout=0.2, follow=False) as manager:
        with psycopg.connect(postgres_url) as other:
            other.execute("INSERT INTO cidrgate.accounts (id, name, created_at) VALUES (1000, 'taken', now())")
            with pytest.raises(StoreBusyError):
                manager.create_account("taken")
            other.rollback()
        assert manager.create_account("taken").name == "taken"


def test_who_has_waited_already_waits_less_for_a_lock(manager: RuleManager, shared_store_url: str) -> None:
    manager._store.lock_timeout = manager._commits._lock_timeout = PATIENT
    with all_locked(shared_store_url), answer_by(time.monotonic() + 0.2):
        began = time.monotonic()
        with pytest.raises(StoreBusyError):
            manager.replace("acct-1", "8.8.8.0/24")
        assert time.monotonic() - began < PATIENT


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_connection_is_waited_for_no_longer_than_that(shared_store_url: str, way: str) -> None:
    store: Any = open_store(shared_store_url, create=True, lock_timeout=0.2, pool_size=2)
    begin = getattr(store, way)
    with begin(), pytest.raises(StoreBusyError), begin():
        pass
    with store.read() as reading, store.write():  # which have connections of their own
        assert reading.accounts() == []
    store.close()


def test_a_store_in_memory_is_waited_for_no_longer_than_that() -> None:
    store = open_store("memory://", lock_timeout=0.1)
    taken, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with store.write():
            taken.set()
            assert go_on.wait(PATIENT)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(PATIENT)
    with pytest.raises(StoreBusyError), store.read():
        pass
    go_on.set()
    holder.join()
    store.close()


@pytest.mark.parametrize("held", ["the lock", "their turn"])
def test_changes_that_wait_can_be_taken_back(manager: RuleManager, shared_store_url: str, held: str) -> None:
    """As a process does that stops: each thread gets its error, and nothing is stored once the lock is given back."""
    manager._store.lock_timeout = manager._commits._lock_timeout = PATIENT
    count = 2 if held == "the lock" else 20
    with all_locked(shared_store_url), ThreadPoolExecutor(count + 1) as pool:
        asked: list[Future[Any]] = [
            pool.submit(manager.add, ACCOUNTS[n % len(ACCOUNTS)], f"9.9.{n}.0/24") for n in range(count)
        ]
        asked.append(pool.submit(manager.create_account, "new"))
        store: Any = manager._store
        eventually(lambda: len(store._writes._under_way) >= 1)
        while not all(one.done() for one in asked):
            manager.withdraw_changes()
            time.sleep(0.01)
        assert {type(one.exception()) for one in asked} == {ChangeWithdrawnError}
    manager.create_account("sentinel")
    assert manager.history()[0].account == "sentinel"
    assert [manager.entries(account) for account in ACCOUNTS] == [[]] * len(ACCOUNTS)
    assert manager.replace("acct-1", "8.8.8.0/24")


@pytest.mark.parametrize("url", ["memory://", "postgresql://127.0.0.1:1/lists"])
@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_a_lock_timeout_is_a_time(url: str, seconds: float) -> None:
    with pytest.raises(ValueError, match="lock_timeout"):
        open_store(url, lock_timeout=seconds)


@pytest.mark.parametrize("query", ["lock_timeout=soon", "lock_timeout=0", "pool_size=1", "pool_size=x", "pool_size=-3"])
def test_a_setting_of_the_url_that_makes_no_sense_is_refused(query: str) -> None:
    with pytest.raises(StoreError, match=r"must be a number|must be at least 2"):
        open_store(f"postgresql://127.0.0.1:1/lists?{query}")


def test_a_change_that_cannot_be_read_again_leaves_lists_that_are_known_to_be_old(postgres_url: str) -> None:
    """It is stored, and nothing says otherwise; who must not serve old lists denies until it was read."""
    with RuleManager.open(postgres_url, lock_timeout=0.5, max_staleness=60, on_stale="deny") as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", ["8.8.8.0/24", "9.9.9.9/32"])
        with psycopg.connect(postgres_url) as other:
            other.execute("LOCK TABLE cidrgate.alembic_version IN ACCESS EXCLUSIVE MODE")
            manager.remove("acct-1", "9.9.9.9/32")
            assert manager.staleness == float("inf")
            assert not manager.allows("acct-1", "9.9.9.9")
            assert not manager.allows("acct-1", "8.8.8.8")
        eventually(lambda: manager.allows("acct-1", "8.8.8.8"))
        assert not manager.allows("acct-1", "9.9.9.9")


def test_what_was_in_use_when_a_store_was_closed_is_closed_too(postgres_url: str) -> None:
    """Nobody else would close it: it goes back to a pool that the store has left."""
    for transaction in ("read", "write"):
        store = open_store(postgres_url)
        with getattr(store, transaction)() as used:
            driver = used.connection.connection.driver_connection
            store.close()
            assert not driver.closed
        assert driver.closed


def test_what_began_while_a_store_was_closed_is_closed_too(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not refused yet, and takes its connection from the pool that followed."""
    for transaction in ("read", "write"):
        store = open_store(postgres_url)
        monkeypatch.setattr(store, "_refuse_closed", store.close)
        with getattr(store, transaction)() as used:
            driver = used.connection.connection.driver_connection
        assert driver.closed


SILENT: dict[str, Callable[[RuleManager], object]] = {
    **WRITES,
    "token": lambda manager: Credentials(manager._store).create_token("t", [Scope("admin")]),
    "read": lambda manager: manager.entries("acct-1"),
    "retention": lambda manager: manager.prune_history(timedelta(days=1)),
}


def test_no_work_waits_long_for_a_server_that_is_silent(
    postgres_url: str, shared_postgres_server: PostgresServer
) -> None:
    """Whoever asks, on a connection that was good so far: the network says that all is well."""
    port = shared_postgres_server.port
    with TcpProxy(("127.0.0.1", port)) as proxy, ExitStack() as opened, ThreadPoolExecutor(len(SILENT)) as pool:
        url = postgres_url.replace(f":{port}/", f":{proxy.port}/")
        managers = {
            name: opened.enter_context(RuleManager.open(url, lock_timeout=0.2, follow=False)) for name in SILENT
        }
        for number, manager in enumerate(managers.values()):
            manager.create_account(f"acct-{number}")
        proxy.cut()
        working = {name: pool.submit(work, managers[name]) for name, work in SILENT.items()}
        failed = {name: one.exception(timeout=PATIENT) for name, one in working.items()}
        proxy.drop()
    assert {name: error for name, error in failed.items() if "did not answer" not in str(error)} == {}
