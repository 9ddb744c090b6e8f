"""A service's user of PostgreSQL: with its grants it does all that a service does, and alters nothing of the schema."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from cidrgate import NewEntry, RuleManager, StoreError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import grant_store, migrate_store, open_store
from tests.service.conftest import an_api
from tests.waiting import eventually, soon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import PostgresServer

NAMES = ["service", 'we"ird-user', "Ünï côdé", "x'; DROP SCHEMA cidrgate CASCADE; --", "public ", "SELECT", "a%sb{}"]


@pytest.fixture
def user(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh role, which may connect and nothing else."""
    name = getattr(request, "param", "service")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(name)))
        yield name
        connection.execute(SQL("DROP OWNED BY {0}").format(Identifier(name)))
        connection.execute(SQL("DROP ROLE {}").format(Identifier(name)))


def as_user(url: str, user: str) -> str:
    return url.replace("postgres@", f"{quote(user, safe='')}@")


@pytest.mark.parametrize("user", NAMES, indirect=True)
def test_a_user_of_any_name_gets_what_a_service_needs(postgres_url: str, user: str) -> None:
    for _ in range(2):
        grant_store(postgres_url, user)
    with RuleManager.open(as_user(postgres_url, user)) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        assert not manager.allows("acct-1", "9.9.9.9")


def test_it_does_all_that_a_service_does(postgres_url: str, user: str) -> None:
    grant_store(postgres_url, user)
    with RuleManager.open(postgres_url) as owner, closing(an_api(as_user(postgres_url, user))) as apis:  # type: ignore[type-var]
        api = next(apis)
        manager, admin = api.manager, api.caller("admin")
        # Lists: every change there is, over HTTP, kept under a key.
        admin.ok("POST", "/v1/accounts", {"name": "acct-1"}, idempotency_key="key-1")
        admin.ok("POST", "/v1/accounts/acct-1/subaccounts", {"name": "sub-1"})
        admin.ok("POST", "/v1/accounts/acct-1/entries", {"cidrs": "8.8.8.0/24, 1.1.1.1/32"}, idempotency_key="key-2")
        admin.ok("POST", "/v1/accounts/acct-1/entries", {"cidrs": "8.8.8.0/24, 1.1.1.1/32"}, idempotency_key="key-2")
        entry = manager.entries("acct-1")[0]
        admin.ok("PATCH", f"/v1/accounts/acct-1/entries/{entry.id}", {"cidr": "1.1.1.0/24"})
        assert admin("DELETE", f"/v1/accounts/acct-1/entries/{entry.id}").status_code < 300
        admin.ok("PUT", "/v1/accounts/acct-1/entries", {"cidrs": "9.9.9.0/24"})
        first = min(change.sequence for change in manager.history("acct-1"))
        admin.ok("POST", "/v1/accounts/acct-1/restore", {"to_sequence": first + 1})
        manager.import_accounts({f"many-{number}": [NewEntry("8.8.8.0/24")] for number in range(50)}, create=True)
        # What is done now and then.
        end = soon()
        manager.add("many-3", [NewEntry("9.9.8.0/24", expires_at=end)])
        manager.note_match("many-1", "8.8.8.8")
        manager.store_matches()
        assert manager.last_matches("many-1")
        eventually(lambda: manager.sweep() == 1, pause=0.05)
        assert manager.erase(timedelta(0)) > 0
        manager.prune_history(timedelta(0))
        # Credentials.
        credentials = Credentials(manager._store)
        made = credentials.create_token("billing", [Scope("admin")])
        token = credentials.authenticate(made.secret)
        assert token is not None
        session = credentials.begin_session(token, lifetime=timedelta(hours=1))
        assert credentials.session(session) is not None
        credentials.end_session(session)
        link = credentials.create_link("console", [Scope("admin")], lifetime=timedelta(hours=1))
        assert credentials.open_link(link, lifetime=timedelta(hours=1)) is not None
        credentials.end_all_sessions()
        credentials.revoke_token(made.token.id)
        # It follows, and is followed.
        owner.add("many-1", "7.7.7.0/24")
        eventually(lambda: manager.allows("many-1", "7.7.7.7"))
        manager.add("many-2", "7.7.7.0/24")
        eventually(lambda: owner.allows("many-2", "7.7.7.7"))
        assert admin.ok("GET", "/readyz")["status"] == "ready"


FORBIDDEN = [
    "CREATE TABLE {schema}.extra (id int)",
    "DROP TABLE {schema}.entries",
    "TRUNCATE {schema}.matches",
    "ALTER TABLE {schema}.entries ADD COLUMN extra int",
    "ALTER TABLE {schema}.changes DISABLE TRIGGER ALL",
    "DROP TRIGGER changes_notify ON {schema}.changes",
    "CREATE INDEX ON {schema}.entries (id)",
    "UPDATE {schema}.alembic_version SET version_num = '0001'",
    "DELETE FROM {schema}.alembic_version",
    "UPDATE {schema}.changes SET account = 'nobody'",
    "DELETE FROM {schema}.facts",
    "GRANT SELECT ON {schema}.entries TO PUBLIC",
    "DROP SCHEMA {schema} CASCADE",
    "ALTER SCHEMA {schema} RENAME TO other",
    "CREATE OR REPLACE FUNCTION {schema}.notify_followers() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
]


def test_it_alters_nothing_of_the_schema(postgres_url: str, user: str) -> None:
    grant_store(postgres_url, user)
    with psycopg.connect(as_user(postgres_url, user), autocommit=True) as connection:
        for statement in FORBIDDEN:
            try:
                connection.execute(statement.format(schema="cidrgate"))
            except psycopg.errors.InsufficientPrivilege:
                continue
            assert statement.startswith("GRANT"), statement  # which only warns that nothing was granted
            public = "has_table_privilege('public', 'cidrgate.entries', 'SELECT')"
            assert connection.execute(f"SELECT {public}").fetchone() == (False,)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE another")
    with pytest.raises(StoreError, match="`cidrgate migrate --grant"):
        grant_store(as_user(postgres_url, user), "another")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY another; DROP ROLE another")


@pytest.mark.parametrize(
    "use",
    [
        lambda url: open_store(url).close(),
        lambda url: RuleManager.open(url).close(),
        lambda url: RuleManager.open(url, create=True, load=False).close(),
        lambda url: grant_store(url, "postgres"),
    ],
    ids=["open", "follow", "create", "grant"],
)
def test_without_grants_the_message_says_what_to_do(use: Callable[[str], object], postgres_url: str, user: str) -> None:
    with pytest.raises(StoreError, match="`cidrgate migrate --grant"):
        use(as_user(postgres_url, user))


def test_a_right_that_is_taken_away_is_named_with_what_to_do(postgres_url: str, user: str) -> None:
    grant_store(postgres_url, user)
    with RuleManager.open(as_user(postgres_url, user)) as manager:
        with psycopg.connect(postgres_url) as connection:
            connection.execute(SQL("REVOKE INSERT ON cidrgate.accounts FROM {}").format(Identifier(user)))
        with pytest.raises(StoreError, match="`cidrgate migrate --grant"):
            manager.create_account("acct-1")


def test_several_at_once_take_turns(postgres_url: str, user: str) -> None:
    errors: list[Exception] = []

    def give() -> None:
        try:
            grant_store(postgres_url, user)
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=give) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_another_schema_and_what_else_is_in_it(shared_postgres_server: PostgresServer, user: str) -> None:
    url = f"{shared_postgres_server.new_database(template='template1')}?schema=Other"
    migrate_store(url)
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        connection.execute('CREATE TABLE "Other".private (secret text)')
    grant_store(url, user)
    with RuleManager.open(as_user(url, user)) as manager:
        manager.create_account("acct-1")
    with (
        psycopg.connect(as_user(url.partition("?")[0], user)) as limited,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        limited.execute('SELECT * FROM "Other".private')
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        connection.execute(SQL("DROP OWNED BY {}").format(Identifier(user)))
