"""What would hide rows without an error is an error: a list whose entries are hidden would allow every address."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest

from cidrgate import RuleManager, StoreError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import grant_store, migrate_store, open_store
from cidrgate.stores.migrations import VERSION_TABLE
from cidrgate.stores.schema import metadata
from tests.command_line import typed
from tests.pgbouncer import PgBouncer
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.postgres import PostgresServer

TABLES = [*sorted(metadata.tables), VERSION_TABLE]
POLICIES = ["", "CREATE POLICY everything ON cidrgate.{table} USING (true)"]
HIDDEN = "row-level security.*DISABLE ROW LEVEL SECURITY.*BYPASSRLS"


@pytest.fixture(scope="module")
def pooler(shared_postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(shared_postgres_server, "transaction", user="hidden_from") as opened:
        yield opened


@pytest.fixture
def owner_url(shared_postgres_server: PostgresServer) -> Iterator[str]:
    """A new database, whose tables the administrator owns, with one list."""
    url = shared_postgres_server.new_database()
    with RuleManager.open(url) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
    yield url
    with psycopg.connect(shared_postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
        connection.execute("DROP ROLE IF EXISTS hidden_from")


@pytest.fixture(params=["direct", "pooled"])
def url(request: pytest.FixtureRequest, owner_url: str) -> str:
    """The store as a user who is not the owner of the tables, without and with a pooler in transaction mode."""
    execute(owner_url, "CREATE ROLE hidden_from LOGIN")
    grant_store(owner_url, "hidden_from")
    own = owner_url.replace("postgres@", "hidden_from@")
    if request.param == "direct":
        return own
    pooler: PgBouncer = request.getfixturevalue("pooler")
    return f"{own}?pooled_url={quote(pooler.url(own), safe='')}"


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def secure(url: str, table: str, policy: str = "") -> None:
    execute(url, f"ALTER TABLE cidrgate.{table} ENABLE ROW LEVEL SECURITY")
    if policy:
        execute(url, policy.format(table=table))


def every_row(url: str, table: str) -> None:
    store = open_store(url)
    with closing(store), store.read() as transaction:
        transaction.connection.exec_driver_sql(f"SELECT FROM cidrgate.{table}")


@pytest.mark.parametrize("policy", POLICIES, ids=["no policy", "policy"])
def test_every_table_is_read_as_a_whole_or_not_at_all(owner_url: str, url: str, policy: str) -> None:
    execute(owner_url, "ALTER ROLE hidden_from SET row_security TO on")
    for table in TABLES:
        every_row(url, table)
        secure(owner_url, table, policy)
        with pytest.raises(StoreError, match=HIDDEN):
            every_row(url, table)
        execute(owner_url, f"ALTER TABLE cidrgate.{table} DISABLE ROW LEVEL SECURITY")


READS: list[Callable[[RuleManager], object]] = [
    lambda manager: manager.entries("acct-1"),
    lambda manager: manager.explain("acct-1", "9.9.9.9"),
    lambda manager: manager.find("8.8.8.8"),
    lambda manager: list(manager.export()),
    lambda manager: list(manager.backup()),
    lambda manager: manager.add("acct-1", "8.8.8.0/25"),
    lambda manager: manager.remove("acct-1", "8.8.8.0/24"),
    lambda manager: manager.counts(),
]


@pytest.mark.parametrize("table", ["entries", "accounts"])
def test_an_open_manager_reads_all_or_fails(owner_url: str, url: str, table: str) -> None:
    with RuleManager.open(url, load=False) as manager:
        secure(owner_url, table)
        for read in READS:
            with pytest.raises(StoreError, match=HIDDEN):
                read(manager)


@pytest.mark.fault("row-level security is enabled on a table")
@pytest.mark.parametrize("table", ["entries", "accounts", "changes", "facts"])
def test_a_follower_becomes_stale_and_denies(owner_url: str, url: str, table: str) -> None:
    with (
        RuleManager.open(owner_url) as owner,
        RuleManager.open(url, max_staleness=1, on_stale="deny") as node,
    ):
        assert node.allows("acct-1", "8.8.8.8")
        secure(owner_url, table)
        owner.add("acct-1", "7.7.7.0/24")
        eventually(lambda: node.stale)
        assert not node.allows("acct-1", "8.8.8.8")
        assert not node.allows("acct-1", "66.6.6.6")
        execute(owner_url, f"ALTER TABLE cidrgate.{table} DISABLE ROW LEVEL SECURITY")
        eventually(lambda: node.allows("acct-1", "7.7.7.7"))


@pytest.mark.parametrize("table", ["entries", "accounts"])
def test_no_node_starts_with_lists_that_it_cannot_see(owner_url: str, url: str, table: str) -> None:
    secure(owner_url, table)
    with pytest.raises(StoreError, match=HIDDEN):
        RuleManager.open(url)


COMMANDS = [
    ["check", "acct-1", "66.6.6.6"],
    ["list", "acct-1"],
    ["export"],
    ["backup", "{folder}/backup"],
    ["compile", "{folder}/snapshot"],
    ["import", "{folder}/list.csv"],
]


@pytest.mark.parametrize(
    ("command", "table"),
    [(command, table) for command in COMMANDS for table in ("entries", "accounts")]
    + [(["account", "list"], "accounts"), (["token", "list"], "tokens"), (["policy", "show"], "facts")],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_commands_fail(owner_url: str, url: str, command: list[str], table: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("account,cidr\nacct-1,8.8.8.0/25\n")
    secure(owner_url, table)
    done = typed([*(part.format(folder=tmp_path) for part in command), "-d", url])
    assert done.exit_code not in (0, 1), done.output
    assert "ROW LEVEL SECURITY" in done.stderr


def test_credentials_are_read_or_the_check_fails(owner_url: str, url: str) -> None:
    store = open_store(url)
    with closing(store):
        made = Credentials(store).create_token("name", [Scope("admin")])
        secure(owner_url, "tokens")
        with pytest.raises(StoreError, match=HIDDEN):
            Credentials(store).authenticate(made.secret)
        with pytest.raises(StoreError, match=HIDDEN):
            Credentials(store).any_usable()


def test_an_owner_reads_all_unless_it_is_forced(owner_url: str) -> None:
    execute(owner_url, "CREATE ROLE hidden_from LOGIN")
    for table in TABLES:
        execute(owner_url, f"ALTER TABLE cidrgate.{table} OWNER TO hidden_from")
    execute(owner_url, "GRANT USAGE, CREATE ON SCHEMA cidrgate TO hidden_from")
    own = owner_url.replace("postgres@", "hidden_from@")
    secure(owner_url, "entries")
    with RuleManager.open(own) as manager:
        assert not manager.allows("acct-1", "9.9.9.9")
        execute(owner_url, "ALTER TABLE cidrgate.entries FORCE ROW LEVEL SECURITY")
        with pytest.raises(StoreError, match="NO FORCE is enough"):
            manager.entries("acct-1")
        execute(owner_url, "ALTER ROLE hidden_from BYPASSRLS")
        assert len(manager.entries("acct-1")) == 1


def test_a_user_who_would_not_see_all_rows_is_granted_nothing(owner_url: str) -> None:
    execute(owner_url, "CREATE ROLE hidden_from LOGIN")
    secure(owner_url, "entries", POLICIES[1])
    with pytest.raises(StoreError, match=r"row-level security.*\(entries\)"):
        grant_store(owner_url, "hidden_from")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(owner_url.replace("postgres@", "hidden_from@"), "SELECT FROM cidrgate.facts")
    execute(owner_url, "ALTER ROLE hidden_from BYPASSRLS")
    grant_store(owner_url, "hidden_from")


REPLACED = {
    "view": "ALTER TABLE cidrgate.entries RENAME TO kept; CREATE VIEW cidrgate.entries AS SELECT * FROM cidrgate.kept",
    "rule": "CREATE RULE lost AS ON INSERT TO cidrgate.entries DO INSTEAD NOTHING",
    "unlogged": "ALTER TABLE cidrgate.entries RENAME TO kept; "
    "CREATE UNLOGGED TABLE cidrgate.entries (LIKE cidrgate.kept INCLUDING ALL)",
    "partitioned": "ALTER TABLE cidrgate.entries RENAME TO kept; "
    "CREATE TABLE cidrgate.entries (LIKE cidrgate.kept) PARTITION BY HASH (id); "
    "CREATE UNLOGGED TABLE cidrgate.part PARTITION OF cidrgate.entries FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
}


@pytest.mark.parametrize("replaced", REPLACED)
def test_what_is_no_ordinary_table_is_refused(owner_url: str, replaced: str) -> None:
    execute(owner_url, REPLACED[replaced])
    with pytest.raises(StoreError, match="instead of its tables: entries"):
        RuleManager.open(owner_url)


def test_the_user_of_a_migration_sees_all_rows_or_it_fails(owner_url: str) -> None:
    execute(owner_url, "CREATE ROLE hidden_from LOGIN")
    for table in TABLES:
        execute(owner_url, f"ALTER TABLE cidrgate.{table} OWNER TO hidden_from")
    secure(owner_url, VERSION_TABLE)
    execute(
        owner_url,
        "ALTER SCHEMA cidrgate OWNER TO hidden_from",
        f"ALTER TABLE cidrgate.{VERSION_TABLE} FORCE ROW LEVEL SECURITY",
    )
    with pytest.raises(StoreError, match=HIDDEN):
        migrate_store(owner_url.replace("postgres@", "hidden_from@"))


def test_ids_that_the_user_may_not_read_are_not_zero(owner_url: str) -> None:
    execute(owner_url, "CREATE ROLE hidden_from LOGIN")
    grant_store(owner_url, "hidden_from")
    execute(owner_url, "REVOKE USAGE ON ALL SEQUENCES IN SCHEMA cidrgate FROM hidden_from")
    with (
        RuleManager.open(owner_url.replace("postgres@", "hidden_from@")) as manager,
        pytest.raises(StoreError, match="migrate --grant"),
    ):
        list(manager.backup())
