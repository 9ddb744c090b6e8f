"""A pooler before PostgreSQL, and several servers: refused where it cannot work, and nothing goes to another schema."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from cidrgate import NewEntry, RuleManager, StoreError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import migrate_store, open_store
from cidrgate.stores.postgres.database import Database
from cidrgate.stores.postgres.dialect import StoreDialect
from cidrgate.stores.postgres.settings import last_row
from tests.pgbouncer import PgBouncer
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import PostgresServer

CALLS: dict[str, Callable[[RuleManager], object]] = {
    "a look": lambda manager: manager.entries("acct-1"),
    "a change": lambda manager: manager.add("acct-1", "8.8.8.0/24"),
}


@pytest.fixture
def transaction_mode(shared_postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(shared_postgres_server, "transaction") as pooler:
        yield pooler


@pytest.fixture
def session_mode(shared_postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(shared_postgres_server, "session", size=50) as pooler:
        yield pooler


def pooled(url: str, pooler: PgBouncer, **parameters: str) -> str:
    query = "".join(f"&{name}={value}" for name, value in parameters.items())
    return f"{url}?pooled_url={quote(pooler.url(url), safe='')}{query}"


def test_a_pooler_in_transaction_mode_is_refused_by_name(transaction_mode: PgBouncer, postgres_url: str) -> None:
    for use in (open_store, lambda url: RuleManager.open(url, create=False, load=False)):
        with pytest.raises(StoreError, match=r"PgBouncer in transaction mode.*\?pooled_url="):
            use(transaction_mode.url(postgres_url))


def work(manager: RuleManager, name: str) -> list[str]:
    """Something of everything that a store does; what the list of an account is in the end."""
    manager.create_account(name)
    manager.create_account(f"{name}-sub", parent=name)
    for number in range(12):  # more often than a statement is executed before the driver prepares it
        manager.add(name, f"8.8.{number}.0/24", label=name, actor=name)
    manager.edit(name, "8.8.1.0/24", "8.9.1.0/24")
    manager.remove(name, "8.8.2.0/24")
    manager.replace(name, ["9.9.9.0/24", "8.8.3.0/24"])
    manager.restore(name, to_sequence=manager.history(name)[1].sequence)
    manager.import_accounts({f"{name}-imported": [NewEntry("1.1.1.0/24", label="x")]})
    manager.note_match(name, "8.8.3.1")
    manager.store_matches()
    assert len(manager.last_matches(name)) == 1
    token = Credentials(manager._store).create_token(name, [Scope("admin")])
    assert Credentials(manager._store).authenticate(token.secret) is not None
    assert manager.prune_history(timedelta(0)) > 0
    assert {account.name for account in manager.accounts()} == {name, f"{name}-sub", f"{name}-imported"}
    return [entry.cidr for entry in manager.entries(name)]


def test_a_pooler_in_session_mode_works(session_mode: PgBouncer, postgres_url: str) -> None:
    with RuleManager.open(session_mode.url(postgres_url)) as manager, RuleManager.open(postgres_url) as near:
        cidrs = work(manager, "acct-1")
        assert [entry.cidr for entry in near.entries("acct-1")] == cidrs
        near.replace("acct-1", "1.1.1.1/32")
        eventually(lambda: manager.matcher.prefixes("acct-1") == ["1.1.1.1/32"])


def test_a_pooler_in_transaction_mode_works_beside_a_direct_url(transaction_mode: PgBouncer, postgres_url: str) -> None:
    with RuleManager.open(pooled(postgres_url, transaction_mode)) as manager, RuleManager.open(postgres_url) as near:
        cidrs = work(manager, "acct-1")
        eventually(lambda: near.matcher.prefixes("acct-1") == manager.matcher.prefixes("acct-1") == cidrs)
        near.replace("acct-1", "1.1.1.1/32")
        eventually(lambda: manager.matcher.prefixes("acct-1") == ["1.1.1.1/32"])


def test_two_schemas_behind_one_pooler_stay_apart(transaction_mode: PgBouncer, postgres_url: str) -> None:
    """Their transactions take turns on the same few sessions, and each writes to its own tables."""
    names = ["one", "two", "cidrgate"]
    urls = {name: pooled(postgres_url, transaction_mode, schema=name) for name in names}
    managers = {name: RuleManager.open(url, create=True) for name, url in urls.items()}
    try:
        for name in names:
            for number in range(4):
                managers[name].create_account(f"{name}-{number}")

        def change(number: int) -> tuple[str, str]:
            name = names[number % len(names)]
            account = f"{name}-{number % 4}"
            managers[name].add(account, f"8.{number}.0.0/16", actor=name)
            return account, f"8.{number}.0.0/16"

        with ThreadPoolExecutor(12) as pool:
            acknowledged = sorted(pool.map(change, range(120)))
        stored = []
        for name in names:
            with RuleManager.open(f"{postgres_url}?schema={name}", follow=False) as near:
                assert {change.actor for change in near.history()} == {None, name}
                assert {account.name for account in near.accounts()} == {f"{name}-{number}" for number in range(4)}
                stored += [(a.name, entry.cidr) for a in near.accounts() for entry in near.entries(a.name)]
        assert sorted(stored) == acknowledged
    finally:
        for manager in managers.values():
            manager.close()


@pytest.mark.parametrize("search_path", ["public", "cidrgate", "other, public", "''"])
def test_a_search_path_says_nothing(postgres_url: str, search_path: str) -> None:
    """Not that of the role, of the database, or of a pooler that hands on the session of somebody else."""
    migrate_store(f"{postgres_url}?schema=other")
    database = postgres_url.rpartition("/")[2]
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"ALTER DATABASE {database} SET search_path TO {search_path}")
    try:
        for schema in ("cidrgate", "other"):
            with RuleManager.open(f"{postgres_url}?schema={schema}", create=True, follow=False) as manager:
                work(manager, schema)
    finally:
        with psycopg.connect(postgres_url) as connection:
            connection.execute(f"ALTER DATABASE {database} RESET search_path")
            connection.execute("DROP SCHEMA other CASCADE")


def test_a_schema_that_is_dropped_takes_nothing_from_another(shared_postgres_server: PostgresServer) -> None:
    """What both need of the database, the one that came first did not take into its own schema."""
    url = shared_postgres_server.new_database(template="template1")
    for schema in ("first", "second"):
        migrate_store(f"{url}?schema={schema}")
    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA first CASCADE")
    with RuleManager.open(f"{url}?schema=second", follow=False) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.ExclusionViolation):
            connection.execute(
                "INSERT INTO second.entries SELECT 99, account_id, cidr, label, created_at FROM second.entries"
            )


def test_a_pooled_url_that_leads_elsewhere_is_refused(
    transaction_mode: PgBouncer, postgres_url: str, shared_postgres_server: PostgresServer
) -> None:
    other = shared_postgres_server.new_database()
    with pytest.raises(StoreError, match="are two stores"):
        open_store(f"{postgres_url}?pooled_url={quote(transaction_mode.url(other), safe='')}")


ENDS: list[psycopg.Error] = [
    psycopg.errors.IdleSessionTimeout("terminating connection due to idle-session timeout"),
    psycopg.errors.ProtocolViolation("invalid server parameter"),  # of PgBouncer, while it prepared the session
]


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("ends", [1, 2])
@pytest.mark.parametrize("asks", CALLS)
def test_a_session_that_ends_as_the_pooler_hands_it_over(
    asks: str,
    ends: int,
    error: psycopg.Error,
    transaction_mode: PgBouncer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next one is taken; but a server that ends every session is no reason to go on for ever."""
    with RuleManager.open(pooled(postgres_url, transaction_mode), follow=False) as manager:
        manager.create_account("acct-1")
        asked = count(1)

        def last_row_unless_ended(connection: Any, statements: str) -> Any:
            if next(asked) <= ends:
                connection.close()
                raise error
            return last_row(connection, statements)

        monkeypatch.setattr("cidrgate.stores.postgres.database.last_row", last_row_unless_ended)
        if ends > 1:
            with pytest.raises(StoreError, match=r"idle_session_timeout|cannot be reached"):
                CALLS[asks](manager)
        CALLS[asks](manager)
        assert [one.action for one in manager.changes()] == ["create_account"] + ["add"] * (asks == "a change")


def test_a_session_that_ends_as_the_first_connection_asks_for_the_version(
    transaction_mode: PgBouncer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count(1)
    initialize: Any = StoreDialect.initialize

    def ended_at_first(dialect: StoreDialect, connection: Any) -> None:
        if next(asked) == 1:
            error = psycopg.errors.IdleSessionTimeout("terminating connection due to idle-session timeout")
            raise OperationalError("select pg_catalog.version()", None, error)
        initialize(dialect, connection)

    monkeypatch.setattr(StoreDialect, "initialize", ended_at_first)
    with RuleManager.open(pooled(postgres_url, transaction_mode), follow=False) as manager:
        manager.create_account("acct-1")
    assert next(asked) > 2


def test_how_many_connections_a_process_keeps_is_bounded(postgres_url: str) -> None:
    ours = f"{postgres_url}?application_name=bounded&pool_size=4"
    counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bounded'"
    with RuleManager.open(ours) as manager, ThreadPoolExecutor(24) as pool:
        for number in range(24):
            manager.create_account(f"a{number}")
        asked: list[Future[object]] = [pool.submit(manager.add, f"a{n % 24}", f"8.{n}.0.0/16") for n in range(200)]
        asked += [pool.submit(manager.entries, f"a{n % 24}") for n in range(200)]
        most = 0
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            while not all(one.done() for one in asked):
                row = connection.execute(counted).fetchone()
                most = max(most, row[0] if row else 0)
        assert [one.exception() for one in asked] == [None] * 400
    assert 2 < most <= 5  # and one that listens


# ------------------------------------------------------------------------------------------------- several servers


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://u@a:1,b:2/db", "a,b", "1,2"),
        ("postgresql://a,b/db", "a,b", ","),
        ("postgresql://a:1,b/db?connect_timeout=3", "a,b", "1,"),
        ("postgresql://[::1]:1,[2001:db8::1]:2/db", "::1,2001:db8::1", "1,2"),
        ("postgresql:///db?host=a:1&host=b:2", "a,b", "1,2"),
        ("postgresql:///db?host=a,b&port=1,2", "a,b", "1,2"),
        ("postgresql:///db?host=a,b&port=7", "a,b", "7"),
        ("postgresql:///db?host=/run/postgresql", "/run/postgresql", None),
        ("postgresql://a:1/db", "a", "1"),
    ],
)
def test_what_is_connected_to(url: str, host: str, port: str | None) -> None:
    arguments = Database.parse(url).arguments
    assert arguments["host"] == host
    assert [text for text in (arguments.get("port") or "").split(",") if text] == [
        text for text in (port or "").split(",") if text
    ]
    assert arguments["dbname"] == "db"
    assert arguments.get("target_session_attrs") == ("read-write" if "," in host else None)


@pytest.mark.parametrize(
    "url",
    ["postgresql://a:1,b:2/db?port=3", "postgresql:///db?host=a,b,c&port=1,2", "postgresql:///db?schema=a&schema=b"],
)
def test_what_could_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(StoreError):
        open_store(url)


def test_a_password_of_several_hosts_is_not_shown() -> None:
    database = Database.parse("postgresql://me:sec%40ret@a:1,b:2/db?pooled_url=postgresql%3A%2F%2Fme%3Asecret%40c%2Fdb")
    assert database.arguments["password"] == "sec@ret"
    assert database.name == "the store postgresql://me:***@a:1,b:2/db"


@pytest.mark.fault("a synchronous standby takes over")
def test_the_server_that_takes_writes_is_used_and_followed(postgres_server: PostgresServer) -> None:
    """Whatever the order they are named in, and whichever it is after a failover."""
    database = postgres_server.new_database()
    name = database.rpartition("/")[2]
    with postgres_server.standby() as standby:
        places = [f"127.0.0.1:{standby.port}", f"127.0.0.1:{postgres_server.port}"]
        urls = [
            f"postgresql://postgres@{','.join(places)}/{name}",
            f"postgresql://postgres@/{name}?host={places[0]}&host={places[1]}",
        ]
        with pytest.raises(StoreError, match="is a standby"):
            open_store(standby.url(name))
        with RuleManager.open(urls[0]) as one, RuleManager.open(urls[1]) as other:
            one.create_account("acct-1")
            one.add("acct-1", "8.8.8.0/24")
            eventually(lambda: other.matcher.prefixes("acct-1") == ["8.8.8.0/24"])
            caught_up = "SELECT pg_last_wal_replay_lsn() >= %s"
            with psycopg.connect(database) as primary, psycopg.connect(standby.url(name), autocommit=True) as replica:
                lsn = primary.execute("SELECT pg_current_wal_lsn()").fetchone()
                eventually(lambda: replica.execute(caught_up, lsn).fetchone() == (True,))
            postgres_server.stop("immediate")
            standby.promote()

            def changed() -> bool:
                try:
                    one.replace("acct-1", "9.9.9.0/24")
                except StoreError:
                    return False
                return True

            eventually(changed, pause=0.1)
            eventually(lambda: other.matcher.prefixes("acct-1") == ["9.9.9.0/24"])
        postgres_server.start()


def test_a_database_with_schemas_of_a_test_is_not_taken_by_another(shared_postgres_server: PostgresServer) -> None:
    url = shared_postgres_server.take_database()
    with RuleManager.open(f"{url}?schema=another", create=True, follow=False) as manager:
        manager.create_account("acct-1")
    shared_postgres_server.give_back(url)
    assert shared_postgres_server.take_database() != url
