"""A commit whose answer is lost: nobody says that nothing was changed, and nobody makes the change a second time."""

from __future__ import annotations

import math
import re
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import psycopg
import pytest

from cidrgate import OutcomeUnknownError, RuleManager, StoreError
from cidrgate.errors import StoreConflictError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import grant_store, migrate_store, migrations, open_store
from cidrgate.stores.unknown_outcomes import _CHECKS
from cidrgate.values import Action
from tests.command_line import typed
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from tests.postgres import PostgresServer

CHANGES: dict[str, Callable[[RuleManager], object]] = {
    "add": lambda manager: manager.add("acct-1", "1.1.1.1/32", actor="unsure"),
    "replace": lambda manager: manager.replace("acct-1", "1.1.1.1/32", actor="unsure"),
    "create": lambda manager: manager.create_account("acct-2", actor="unsure"),
    "remove": lambda manager: manager.remove("acct-1", "8.8.8.0/24", actor="unsure", allow_empty=True),
}

A_CHANGE = (b"INSERT INTO cidrgate.changes", b'INTO "cidrgate".changes')
"""What a transaction says that changes something."""


@pytest.fixture
def proxy(shared_postgres_server: PostgresServer) -> Iterator[TcpProxy]:
    with TcpProxy(("127.0.0.1", shared_postgres_server.port)) as proxy:
        yield proxy


@pytest.fixture
def distant(proxy: TcpProxy, postgres_url: str, shared_postgres_server: PostgresServer) -> Iterator[RuleManager]:
    """A manager behind the proxy."""
    behind = postgres_url.replace(f":{shared_postgres_server.port}/", f":{proxy.port}/")
    with RuleManager.open(behind) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        yield manager


@pytest.mark.parametrize("deliver", [True, False], ids=["carried out", "never arrived"])
@pytest.mark.parametrize("work", CHANGES)
def test_a_connection_that_breaks_at_the_commit(
    work: str, deliver: bool, proxy: TcpProxy, distant: RuleManager, postgres_url: str
) -> None:
    proxy.drop_at(b"COMMIT\0", deliver=deliver)
    with pytest.raises(OutcomeUnknownError, match="may be stored or not; check the list"):
        CHANGES[work](distant)
    assert proxy.trapped == 1
    with RuleManager.open(postgres_url, follow=False) as near:
        if deliver:
            eventually(lambda: len([c for c in near.history() if c.actor == "unsure"]) == 1)
        lists = {account.name: [entry.cidr for entry in near.entries(account.name)] for account in near.accounts()}
        made = [change for change in near.history() if change.actor == "unsure"]
        assert len(made) == deliver  # once, and not tried again
    eventually(
        lambda: (
            {name: distant.matcher.prefixes(name) for name in lists if lists[name]}
            == {name: cidrs for name, cidrs in lists.items() if cidrs}
        )
    )


TOLD: dict[str, tuple[list[str], str]] = {
    "token create": (["token", "create", "n", "--scope", "admin"], r"list the tokens \(`cidrgate token list`\)"),
    "token revoke": (["token", "revoke", "{token}"], r"list the tokens \(`cidrgate token list`\), and revoke"),
    "session end": (["session", "end", "{session}"], r"list the sessions \(`cidrgate session list`\)"),
    "session end --all": (["session", "end", "--all"], r"list the sessions \(`cidrgate session list`\)"),
    "policy set of an account": (
        ["policy", "set", "--account", "acct-1", "--max-entries", "7"],
        r"read the policy \(`cidrgate policy",
    ),
    "policy set": (["policy", "set", "--max-entries", "77"], r"read the policy \(`cidrgate policy show`\)"),
    "prune": (["prune", "--older-than", "0d", "--yes"], r"read the change log \(`cidrgate history`\) first"),
    "erase": (["erase", "--older-than", "0d", "--yes"], r"read the change log \(`cidrgate history`\) first"),
    "remove": (["remove", "acct-1", "8.8.8.0/24", "--empty"], "check the list before you try again"),
}


@pytest.mark.parametrize("command", TOLD)
def test_a_command_says_what_to_look_at(
    command: str, proxy: TcpProxy, distant: RuleManager, postgres_url: str, shared_postgres_server: PostgresServer
) -> None:
    behind = postgres_url.replace(f":{shared_postgres_server.port}/", f":{proxy.port}/")
    credentials = Credentials(distant._store)
    token = credentials.create_token("old", [Scope("admin")]).token
    credentials.begin_session(token, lifetime=3600)
    [session] = credentials.sessions()
    distant.close()
    arguments, told = TOLD[command]
    proxy.drop_at(b"COMMIT\0", deliver=True, after=A_CHANGE)
    done = typed([*(one.format(token=token.id, session=session.id) for one in arguments), "-d", behind])
    assert proxy.trapped == 1, done.output
    assert done.exit_code == 6, done.output
    assert re.search(f"may be stored or not; {told}", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda manager: Credentials(manager._store).end_all_sessions(), "list the sessions"),
        (lambda manager: Credentials(manager._store).revoke_token(1), "list the tokens"),
        (lambda manager: manager.prune_history(timedelta(days=9)), "read the change log"),
        (lambda manager: manager.erase(timedelta(days=9)), "read the change log"),
    ],
    ids=["sessions", "token", "prune", "erase"],
)
def test_what_changes_nothing_says_it_too(
    make: Callable[[RuleManager], object], told: str, proxy: TcpProxy, distant: RuleManager
) -> None:
    credentials = Credentials(distant._store)
    credentials.revoke_token(credentials.create_token("old", [Scope("admin")]).token.id)
    proxy.drop_at(
        b"COMMIT\0", deliver=True, after=(b"DELETE FROM", b"UPDATE cidrgate", b"EXCLUSIVE MODE", b"log_start")
    )
    with pytest.raises(OutcomeUnknownError, match=told):
        make(distant)


def test_every_event_has_something_to_look_at() -> None:
    of_lists = {"create_account", "add", "edit", "remove", "replace", "restore", "undo", "expire", "set_mode"}
    of_accounts = {"rename_account", "move_account", "edit_account", "delete_account"}
    assert set(_CHECKS) == set(get_args(Action)) - of_lists - of_accounts


def test_a_connection_that_breaks_before_the_commit_changes_nothing(
    proxy: TcpProxy, distant: RuleManager, postgres_url: str
) -> None:
    before = len(distant.history())
    for word in (b"FOR UPDATE", b"INSERT INTO"):
        proxy.drop_at(word, deliver=True)
        with pytest.raises(StoreError) as failure:
            distant.add("acct-1", "1.1.1.1/32")
        assert not isinstance(failure.value, OutcomeUnknownError)
    assert proxy.trapped == 2
    with RuleManager.open(postgres_url, follow=False) as near:
        assert len(near.history()) == before


@pytest.mark.parametrize("ends", ["pg_terminate_backend", "pg_cancel_backend"])
def test_a_server_that_ends_the_wait_of_a_commit(postgres_url: str, ends: str) -> None:
    """Committed here, and waiting for a standby that never answers, when the administrator ends the session or wait."""
    with RuleManager.open(postgres_url, follow=False) as manager, psycopg.connect(postgres_url, autocommit=True) as dba:
        manager.create_account("acct-1")
        dba.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        dba.execute("SELECT pg_reload_conf()")
        try:
            failures: list[BaseException] = []
            asked: list[str] = []

            def change() -> None:
                # The server waits for the standby from some moment after it was told to on.
                for number in cycle(range(256)):
                    try:
                        manager.replace("acct-1", f"8.8.{number}.0/24")
                    except StoreError as error:
                        failures.append(error)
                        asked.append(f"8.8.{number}.0/24")
                        return

            waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            changing = threading.Thread(target=change)
            changing.start()
            eventually(lambda: dba.execute(waits).fetchone() is not None)
            dba.execute(f"SELECT {ends}(pid) FROM ({waits}) AS waiting")
            changing.join()
        finally:
            dba.execute("ALTER SYSTEM RESET synchronous_standby_names")
            dba.execute("SELECT pg_reload_conf()")
        assert [type(failure) for failure in failures] == [OutcomeUnknownError]
        assert [entry.cidr for entry in manager.entries("acct-1")] == asked


def test_a_wait_of_a_commit_of_the_main_thread_that_a_server_ends(postgres_url: str) -> None:
    """There, an error that no database has raised may be one of a signal handler."""
    with closing(open_store(postgres_url)) as store, psycopg.connect(postgres_url, autocommit=True) as dba:
        credentials = Credentials(store)
        dba.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        dba.execute("SELECT pg_reload_conf()")

        def end() -> None:
            waits = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            eventually(lambda: dba.execute(waits).fetchone() is not None)
            dba.execute(f"SELECT pg_cancel_backend(pid) FROM ({waits}) AS waiting")

        def change() -> None:
            while True:  # the server waits for the standby from some moment after it was told to on
                credentials.create_token("name", [Scope("admin")])

        ending = threading.Thread(target=end)
        ending.start()
        try:
            with pytest.raises(OutcomeUnknownError):
                change()
        finally:
            ending.join()
            dba.execute("ALTER SYSTEM RESET synchronous_standby_names")
            dba.execute("SELECT pg_reload_conf()")


ALTERING: dict[str, tuple[bytes, str, Callable[[str], object]]] = {
    "migrate": (b"CREATE TABLE", "run `cidrgate migrate` again", migrate_store),
    "open": (b"CREATE TABLE", "run `cidrgate migrate` again", lambda url: RuleManager.open(url, create=True).close()),
    "grant": (b"GRANT", "run `cidrgate migrate --grant` again", lambda url: grant_store(url, "unsure")),
}


@pytest.mark.parametrize("deliver", [True, False], ids=["carried out", "never arrived"])
@pytest.mark.parametrize("work", ALTERING)
def test_a_connection_that_breaks_at_the_commit_of_tables_and_rights(
    work: str, deliver: bool, proxy: TcpProxy, shared_postgres_server: PostgresServer
) -> None:
    said, advice, alter = ALTERING[work]
    grants = work == "grant"
    url = shared_postgres_server.new_database(*([] if grants else ["template1"]))
    behind = url.replace(f":{shared_postgres_server.port}/", f":{proxy.port}/")
    with psycopg.connect(url, autocommit=True) as dba:
        dba.execute("DROP ROLE IF EXISTS unsure")
        dba.execute("CREATE ROLE unsure LOGIN")
        proxy.drop_at(b"COMMIT", deliver=deliver, after=(said,))
        with pytest.raises(OutcomeUnknownError, match=f"may be stored or not; {advice}"):
            alter(behind)
        assert proxy.trapped == 1
        done = "has_table_privilege('unsure', 'cidrgate.entries', 'INSERT')" if grants else "count(*) > 0"
        found = f"SELECT {done} FROM pg_tables WHERE schemaname = 'cidrgate'"
        if deliver:
            eventually(lambda: (dba.execute(found).fetchone() or [False])[0] is True)
        alter(url)
        assert dba.execute(found).fetchone() == (True,)
        dba.execute("DROP OWNED BY unsure")
        dba.execute("DROP ROLE unsure")


def test_a_change_that_waits_too_long_in_its_transaction_changes_nothing(
    shared_postgres_server: PostgresServer,
) -> None:
    postgres_url = shared_postgres_server.new_database()
    with RuleManager.open(postgres_url, follow=False) as manager:
        manager.create_account("acct-1")
    with psycopg.connect(postgres_url, autocommit=True) as dba:
        name = dba.info.dbname
        dba.execute(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = 300")
    with RuleManager.open(postgres_url, follow=False) as manager:
        slow = manager._with_transaction_hook(lambda *_: time.sleep(1))
        with pytest.raises(StoreError, match=r"idle_in_transaction_session_timeout allows; nothing was changed: keep"):
            slow.add("acct-1", "1.1.1.1/32")
        assert manager.entries("acct-1") == []


def test_a_change_without_a_schema_version_is_stored_and_later_looks_say_what_is_lost(
    shared_postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    postgres_url = shared_postgres_server.new_database()
    with RuleManager.open(postgres_url, follow=False) as manager:
        manager.create_account("acct-1")
        with psycopg.connect(postgres_url) as dba:
            dba.execute("DELETE FROM cidrgate.alembic_version")
        manager.add("acct-1", "1.1.1.1/32")
        assert [entry.cidr for entry in manager.entries("acct-1")] == ["1.1.1.1/32"]
        assert manager.staleness == math.inf
    assert "has lost the row of alembic_version" in caplog.text


def test_a_commit_that_the_server_refuses_changes_nothing_and_is_tried_again(postgres_url: str) -> None:
    """What a deferred constraint says, it says to the COMMIT."""
    with RuleManager.open(postgres_url, follow=False) as manager:
        manager.create_account("acct-1")
        with psycopg.connect(postgres_url) as connection:
            connection.execute(
                """
                CREATE TABLE tries (at serial);
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    RAISE EXCEPTION 'not now' USING ERRCODE = 'serialization_failure';
                END $$;
                CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON cidrgate.entries
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
                """
            )
        with pytest.raises(StoreConflictError):
            manager.add("acct-1", "8.8.8.0/24")
        with psycopg.connect(postgres_url) as connection:
            connection.execute("DROP TRIGGER refuse ON cidrgate.entries; DROP FUNCTION refuse; DROP TABLE tries")
        assert manager.entries("acct-1") == []


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """The disk takes nothing more of this process: an error of the file system, as a disk that fails gives one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fails_at_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "lists.db"
    with RuleManager.open(f"sqlite:///{path}", create=True, follow=False) as manager:
        manager.create_account("acct-1")
        with no_file_grows_beyond(Path(f"{path}-wal").stat().st_size), pytest.raises(OutcomeUnknownError):
            manager.add("acct-1", "8.8.8.0/24")
        manager.add("acct-1", "9.9.9.0/24")
        stored = [entry.cidr for entry in manager.entries("acct-1")]
    with RuleManager.open(f"sqlite:///{path}", create=True, follow=False) as manager:
        assert [entry.cidr for entry in manager.entries("acct-1")] == stored == ["9.9.9.0/24"]


def test_a_disk_that_fails_at_the_commit_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lists.db"
    upgrade = migrations.upgrade

    def upgrade_and_fill_the_disk(connection: Connection, **since: Any) -> None:
        upgrade(connection, **since)
        size = Path(f"{path}-wal").stat().st_size
        limits.enter_context(no_file_grows_beyond(size))

    monkeypatch.setattr(migrations, "upgrade", upgrade_and_fill_the_disk)
    with ExitStack() as limits, pytest.raises(OutcomeUnknownError, match="run `cidrgate migrate` again"):
        migrate_store(f"sqlite:///{path}")
    monkeypatch.undo()
    migrate_store(f"sqlite:///{path}")
    RuleManager.open(f"sqlite:///{path}").close()


def test_changes_that_were_committed_together_are_all_unknown(
    proxy: TcpProxy, distant: RuleManager, postgres_url: str
) -> None:
    for name in ("a", "b", "c", "d"):
        distant.create_account(name)
    with psycopg.connect(postgres_url) as other, ThreadPoolExecutor(8) as pool:
        other.execute("LOCK TABLE cidrgate.entries IN EXCLUSIVE MODE")
        asked = [pool.submit(distant.add, name, "1.1.1.1/32", actor="unsure") for name in ("a", "b", "c", "d")]
        eventually(lambda: len(distant._commits._waiting) >= 2)
        proxy.drop_at(b"COMMIT\0", deliver=True)
        other.rollback()
        errors = [one.exception(30) for one in asked]
    unknown = [error for error in errors if error is not None]
    assert unknown
    assert {type(error) for error in unknown} == {OutcomeUnknownError}
    with RuleManager.open(postgres_url, follow=False) as near:
        made = [f"{change.account}" for change in near.history() if change.actor == "unsure"]
        assert sorted(made) == ["a", "b", "c", "d"]
