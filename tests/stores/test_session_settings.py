"""No setting of a role, a database, an environment or a URL changes what a store on PostgreSQL means or returns."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import text

from cidrgate import NewEntry, RuleManager, StoreError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import migrate_store, open_store
from cidrgate.stores.postgres.database import BEGIN, Database
from cidrgate.stores.postgres.failures import explained
from cidrgate.stores.postgres.grants import grant
from tests.command_line import typed
from tests.length import length
from tests.pgbouncer import PgBouncer
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate.stores.sql import Transaction
    from tests.postgres import PostgresServer

SETTINGS = [
    ("DateStyle", "'SQL, DMY'"),
    ("DateStyle", "'German'"),
    ("DateStyle", "'Postgres, MDY'"),
    ("IntervalStyle", "'iso_8601'"),
    ("TimeZone", "'Asia/Kathmandu'"),
    ("client_encoding", "'LATIN1'"),
    ("client_encoding", "'SQL_ASCII'"),
    ("client_encoding", "'EUC_JP'"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "off"),
    ("array_nulls", "off"),
    ("bytea_output", "'escape'"),
    ("extra_float_digits", "-15"),
    ("transform_null_equals", "on"),
    ("quote_all_identifiers", "on"),
    ("default_transaction_isolation", "'repeatable read'"),
    ("default_transaction_isolation", "'serializable'"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_deferrable", "on"),
    ("search_path", "''"),
    ("search_path", "'shadow, pg_catalog'"),
    ("row_security", "off"),
    ("row_security", "on"),
    ("lock_timeout", "'1ms'"),
    ("idle_session_timeout", "'100ms'"),
    ("synchronous_commit", "off"),
    ("gin_fuzzy_search_limit", "1"),
    ("enable_indexscan", "off"),
    ("plan_cache_mode", "'force_generic_plan'"),
    ("client_min_messages", "'debug1'"),
    ("lc_messages", "'C'"),
    ("check_function_bodies", "off"),
]
"""What is set by `ALTER DATABASE`."""


def groups() -> list[list[tuple[str, str]]]:
    """Settings to set at once, each in one group; in the long run each alone."""
    if length(0, 1):
        return [[one] for one in SETTINGS]
    seen: Counter[str] = Counter()
    found: dict[int, list[tuple[str, str]]] = {}
    for name, value in SETTINGS:
        found.setdefault(seen[name], []).append((name, value))
        seen[name] += 1
    return list(found.values())


SHADOW = """
    CREATE SCHEMA shadow;
    CREATE FUNCTION shadow.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'shadow' $$;
    CREATE FUNCTION shadow.pg_notify(text, text) RETURNS void LANGUAGE sql AS $$ SELECT $$;
"""
ENDS = datetime(2131, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
NAMES = ["NULL", "kunde-€", "a'b\\c", "日本"]
DEFAULTS = ("repeatable read", "serializable")


@pytest.fixture(scope="module")
def pooler(shared_postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(shared_postgres_server, "transaction") as opened:
        yield opened


@pytest.fixture(params=["direct", "pooled"])
def url_of(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """What makes the URL of a store from that of its database, without and with a pooler in transaction mode."""
    if request.param == "direct":
        return lambda url: url
    pooler: PgBouncer = request.getfixturevalue("pooler")
    return lambda url: f"{url}?pooled_url={quote(pooler.url(url), safe='')}"


@pytest.fixture
def database(shared_postgres_server: PostgresServer) -> Iterator[str]:
    """A new database, because a pooler keeps sessions of others with their defaults."""
    url = shared_postgres_server.new_database()
    yield url
    with psycopg.connect(shared_postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


def set_default(url: str, setting: str, value: str) -> None:
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET {setting} TO {value}")


def use(manager: RuleManager, follower: RuleManager) -> None:
    """Write and read all that a setting could change, and follow it."""
    for name in NAMES:
        manager.create_account(name, display_name=name)
        for number in range(7):  # more often than a statement is executed before the driver prepares it
            manager.add(name, f"8.8.{number}.0/24")
        manager.replace(
            name,
            [
                NewEntry("8.8.8.0/24", label="NULL", expires_at=ENDS),
                "2606:4700::/32",
                NewEntry("1.1.1.1/32", label="\\'€"),
            ],
            actor=name,
        )
    manager.create_account("sub", parent="NULL")
    manager.import_accounts({"imported": [NewEntry("1.1.1.0/24", label="€", expires_at=ENDS)]})
    for reader in (manager, follower):
        for name in NAMES:
            found = {entry.cidr: (entry.label, entry.expires_at, entry.created_by) for entry in reader.entries(name)}
            assert found == {
                "8.8.8.0/24": ("NULL", ENDS, name),
                "2606:4700::/32": (None, None, name),
                "1.1.1.1/32": ("\\'€", None, name),
            }
            last = reader.history(name)[0]
            assert last.actor == name
            assert abs(datetime.now(UTC) - last.at) < timedelta(minutes=5)
            assert reader.explain(name, "8.8.8.8").allowed
            assert not reader.explain(name, "9.9.9.9").allowed
        assert [account.name for account in reader.accounts(containing="nul")] == ["NULL"]
        assert [account.name for account in reader.accounts(containing="€")] == ["kunde-€"]
        assert [found.entry.account for found in reader.find("1.1.1.0/25")] == ["imported"]
        eventually(partial(follows, reader))
        assert reader.allows("sub", "8.8.8.8")
        assert not reader.allows("sub", "9.9.9.9")
    token = Credentials(manager._store).create_token("a token", [Scope("admin")])
    assert Credentials(follower._store).authenticate(token.secret) is not None
    assert manager.prune_history(timedelta(0)) > 0
    backup = list(manager.backup())
    with RuleManager.open("memory://") as copy:
        copy.restore_backup(backup)
        assert [account.name for account in copy.accounts()] == [account.name for account in manager.accounts()]


def follows(reader: RuleManager) -> bool:
    return reader.matcher.prefixes("imported") == ["1.1.1.0/24"]


def check(url: str) -> None:
    with RuleManager.open(url) as manager, RuleManager.open(url) as follower:
        use(manager, follower)
    done = typed(["account", "list", "-d", url])
    assert done.exit_code == 0, done.output
    assert "kunde-€" in done.output


@pytest.mark.parametrize("settings", groups())
def test_defaults_of_the_database_change_nothing(
    database: str, url_of: Callable[[str], str], settings: list[tuple[str, str]]
) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(SHADOW)
    for setting, value in settings:
        set_default(database, setting, value)
    check(url_of(database))


def test_all_of_them_change_nothing_at_a_migration(
    shared_postgres_server: PostgresServer, url_of: Callable[[str], str]
) -> None:
    url = shared_postgres_server.new_database(template="template1")
    with psycopg.connect(url) as connection:
        connection.execute(SHADOW)
        connection.execute(f"CREATE ROLE {(role := url.rpartition('/')[2])}")
    for setting, value in SETTINGS:
        set_default(url, setting, value)
    migrate_store(url)
    grant(url, role)
    check(url_of(url))


@pytest.mark.parametrize(
    "variables",
    [
        {"PGOPTIONS": "-c default_transaction_isolation=serializable -c array_nulls=off -c datestyle=German"},
        {"PGCLIENTENCODING": "SQL_ASCII"},
        {"PGCLIENTENCODING": "LATIN1", "PGDATESTYLE": "SQL", "PGTZ": "Asia/Kathmandu"},
    ],
    ids=["options", "bytes", "locale"],
)
def test_the_environment_changes_nothing(
    database: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check(database)


def test_the_url_changes_nothing(database: str) -> None:
    options = quote("-c default_transaction_isolation=serializable -c datestyle=German -c array_nulls=off")
    check(f"{database}?client_encoding=LATIN1&options={options}")


@pytest.mark.parametrize("isolation", DEFAULTS)
def test_whoever_waits_for_a_lock_sees_what_its_holder_committed(
    database: str, url_of: Callable[[str], str], isolation: str
) -> None:
    """Otherwise an account is moved below another one although it got a subaccount while that waited."""
    set_default(database, "default_transaction_isolation", f"'{isolation}'")
    url = url_of(database)
    with RuleManager.open(url) as one, RuleManager.open(url) as other:
        for name in ("top", "moved"):
            one.create_account(name)
        refused: list[Exception] = []

        def move() -> None:
            try:
                other.edit_account("moved", parent="top", confirmed=["other_list", "disable_enforcement"])
            except Exception as error:  # noqa: BLE001 - any refusal is one
                refused.append(error)

        moves = threading.Thread(target=move)

        def meanwhile(transaction: Transaction, _made: object) -> None:
            moves.start()
            eventually(lambda: waits_for_lock(database))

        one._with_transaction_hook(meanwhile).create_account("below", parent="moved")
        moves.join()
        assert [type(error).__name__ for error in refused] == ["AccountHasSubaccountsError"]
        with RuleManager.open(url) as third:
            assert {account.name: account.parent for account in third.accounts()} == {
                "top": None,
                "moved": None,
                "below": "moved",
            }


def waits_for_lock(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return connection.execute(waiting).fetchone() is not None


@pytest.mark.parametrize("isolation", DEFAULTS)
def test_writers_wait_for_each_other_instead_of_failing(
    database: str, url_of: Callable[[str], str], isolation: str
) -> None:
    set_default(database, "default_transaction_isolation", f"'{isolation}'")
    url = url_of(database)
    with RuleManager.open(url) as one, RuleManager.open(url) as other:
        one.create_account("acct-1")
        waits = threading.Thread(target=other.add, args=("acct-1", "9.9.9.0/24"))

        def meanwhile(transaction: Transaction, _made: object) -> None:
            waits.start()
            eventually(lambda: waits_for_lock(database))

        one._with_transaction_hook(meanwhile).add("acct-1", "8.8.8.0/24")
        waits.join()
        assert [entry.cidr for entry in one.entries("acct-1")] == ["8.8.8.0/24", "9.9.9.0/24"]


@pytest.mark.parametrize(
    ("value", "used"), [("off", "local"), ("local", "local"), ("remote_apply", "remote_apply"), ("on", "on")]
)
def test_an_acknowledged_change_is_on_the_disk(
    database: str, url_of: Callable[[str], str], value: str, used: str
) -> None:
    set_default(database, "synchronous_commit", value)
    store = open_store(url_of(database))
    try:
        for _ in range(2):
            with store.write() as transaction:
                shown = transaction.connection.scalar(text("SHOW synchronous_commit"))
            assert shown == used
    finally:
        store.close()


# In the first, there are no triggers; in the second, damaged pages have no rows.
UNSAFE = [("session_replication_role", "replica", "origin"), ("zero_damaged_pages", "on", "off")]


@pytest.mark.parametrize(("setting", "value", "safe"), UNSAFE)
def test_unsafe_sessions_are_refused(
    database: str, url_of: Callable[[str], str], setting: str, value: str, safe: str
) -> None:
    set_default(database, setting, value)
    with pytest.raises(StoreError, match=f"{setting} = {value}"):
        open_store(url_of(database))


@pytest.mark.parametrize(("setting", "value", "safe"), UNSAFE)
def test_unsafe_sessions_of_a_pooler_are_refused(
    database: str, pooler: PgBouncer, setting: str, value: str, safe: str
) -> None:
    """Those of the URL are safe."""
    set_default(database, setting, value)
    options = quote(f"-c {setting}={safe}")
    with pytest.raises(StoreError, match=f"{setting} = {value}"):
        open_store(f"{database}?options={options}&pooled_url={quote(pooler.url(database), safe='')}")


@pytest.mark.parametrize("use_store", [migrate_store, lambda url: open_store(url, create=True)])
def test_a_database_that_stores_bytes_is_refused(
    shared_postgres_server: PostgresServer, use_store: Callable[[str], object]
) -> None:
    url = shared_postgres_server.new_database("template0 ENCODING 'SQL_ASCII'")
    with pytest.raises(StoreError, match=r"SQL_ASCII.*ENCODING 'UTF8'"):
        use_store(url)


def test_a_database_with_another_encoding_says_what_it_cannot_store(shared_postgres_server: PostgresServer) -> None:
    url = shared_postgres_server.new_database("template0 ENCODING 'LATIN1'")
    with RuleManager.open(url, create=True) as manager:
        manager.create_account("Ä")
        with pytest.raises(StoreError, match="encoding must be UTF8"):
            manager.create_account("kunde-€")


def test_a_message_that_contains_null_is_no_nul_character(database: str) -> None:
    with pytest.raises(StoreError) as raised, explained("the store"), psycopg.connect(database) as connection:
        connection.execute("SELECT 'NULL'::int")
    assert "NUL characters" not in str(raised.value)


@pytest.mark.parametrize("style", ["German", "SQL"])
def test_an_answer_that_the_driver_cannot_read_is_an_error_of_the_store(database: str, style: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(f"SET datestyle TO '{style}'")
        cursor = connection.execute("SELECT now()")
        with pytest.raises(StoreError, match="DateStyle"), explained("the store"):
            cursor.fetchone()


@pytest.mark.parametrize("kind", [NotImplementedError, TypeError, ValueError, UnicodeError, KeyError])
def test_an_error_of_other_code_is_none_of_the_store(kind: type[Exception]) -> None:
    with pytest.raises(kind), explained("the store"):
        raise kind("a fault of a program")


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("pooled", [True, False])
def test_a_standby_is_called_one(pooled: bool, writes: bool, postgres_server: PostgresServer) -> None:
    """`open` refuses it, but a server may become one later."""
    with postgres_server.standby() as standby:
        url = standby.url("postgres")
        database = Database.parse(f"{url}?pooled_url={quote(url, safe='')}" if pooled else url)
        begin = {BEGIN: database.begin("READ COMMITTED", writes=writes)}
        engine = database.engine(1, 10.0).execution_options(**begin)
        with pytest.raises(StoreError, match="name the primary server"), explained("the store"), engine.begin():
            pass
        engine.dispose()
