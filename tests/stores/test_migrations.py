"""The schema's history: every store ends where a new one begins, whatever it was, and none is changed unasked."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from cidrgate import RuleManager, StoreError, StoreNotFoundError
from cidrgate.stores import migrate_store, migrations, open_store
from cidrgate.stores.migrations import HEAD
from cidrgate.stores.schema import metadata
from cidrgate.stores.sqlite.search import NAMES, NETWORKS
from tests.change_log import Replay, assert_consistent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from tests.postgres import PostgresServer

SHADOW_TABLES = ("", "_config", "_data", "_docsize", "_idx")
"""The tables of a full-text index of SQLite, by what follows its name."""

FOLDER = Path(migrations.__file__).parent
OLD_DATABASES = Path(__file__).parent / "old_databases"


@pytest.fixture
def empty(shared_postgres_server: PostgresServer) -> str:
    """The URL of a PostgreSQL database without any table."""
    return shared_postgres_server.new_database(template="template1")


@pytest.fixture
def engine(empty: str) -> Iterator[Engine]:
    """Of the empty database, with the search path of a store."""
    engine = create_engine(
        empty.replace("postgresql://", "postgresql+psycopg://"),
        connect_args={"options": "-c search_path=cidrgate,public"},
    )
    yield engine
    engine.dispose()


def migrate_to(revision: str, connection: Connection, schema: str | None) -> None:
    config = Config(attributes={"connection": connection, "schema": schema})
    config.set_main_option("script_location", str(FOLDER))
    command.upgrade(config, revision)


def old_database(number: int, path: Path) -> str:
    """A file as the cidrgate of then left it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((OLD_DATABASES / f"{number}.sql").read_text())
    return f"sqlite:///{path}"


def sqlite_schema(path: Path) -> object:
    with closing(sqlite3.connect(path)) as connection:
        objects = connection.execute(
            "SELECT type, name, iif(type = 'trigger', sql, NULL) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
        )
        found = sorted(objects, key=str)
        tables = [name for kind, name, _ in found if kind == "table"]
        return found, {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name in tables}


def test_the_last_revision_is_the_one_that_stores_ask_for() -> None:
    revisions = [revision.revision for revision in ScriptDirectory(str(FOLDER)).walk_revisions()]
    assert revisions[0] == HEAD, "name the last revision in HEAD of cidrgate/stores/migrations/__init__.py"
    assert wrongly_numbered(revisions[::-1]) is None


def wrongly_numbered(revisions: list[str]) -> str | None:
    """Return the first of these revisions whose name does not follow from the one before it; None if all do."""
    generation = 1
    for number, revision in enumerate(revisions, 1):
        plain, _, dotted = revision.partition(".")
        if plain != f"{number:04}" or int(dotted or 1) not in (generation, generation + 1) or dotted == "1":
            return revision
        generation = int(dotted or 1)
    return None


def test_revisions_are_numbered_and_those_that_change_what_matches_after_a_dot_too() -> None:
    assert wrongly_numbered(["0001", "0002", "0003.2", "0004.2", "0005.3"]) is None
    for wrong in (["0001", "0003"], ["0001", "0002.3"], ["0001", "0002.2", "0003"], ["0001", "0002.1"], ["1"]):
        assert wrongly_numbered(wrong) == wrong[-1]


@pytest.mark.filterwarnings("ignore:Did not recognize type .xid8.")
def test_the_tables_are_those_the_code_describes(tmp_path: Path, empty: str, engine: Engine) -> None:
    open_store(f"sqlite:///{tmp_path}/lists.db", create=True).close()
    open_store(empty, create=True).close()
    sqlite = create_engine(f"sqlite:///{tmp_path}/lists.db")
    for database in (sqlite, engine):
        with database.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            differences = compare_metadata(context, metadata)
        # What SQLAlchemy has no type for is the migrations' alone, and each database has what only it needs.
        known = {"txid", "changes_by_txid", migrations.VERSION_TABLE}
        known |= {"entries_by_account"} if database is sqlite else {"add_constraint", "accounts_by_part_of_name"}
        known |= {f"{index.name}{part}" for index in (NAMES, NETWORKS) for part in SHADOW_TABLES}
        assert [found for found in differences if not known & {getattr(one, "name", str(one)) for one in found}] == []
    sqlite.dispose()


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_file_of_an_older_cidrgate_is_migrated_when_it_is_opened(number: int, tmp_path: Path) -> None:
    url = old_database(number, tmp_path / "old.db")
    with RuleManager.open(url) as manager:
        assert [entry.cidr for entry in manager.entries("acct-1")] == ["8.8.4.0/24", "2606:4700::/32"]
        assert manager.allows("sub-1", "8.8.4.4")
        assert {one.name: one.version for one in manager.accounts()} == {"acct-1": 2, "acct-2": 2, "sub-1": 0}
        assert_consistent(manager, Replay())
        manager.restore("acct-1", to_sequence=4)
        manager.add("acct-2", "9.9.9.9/32")
        assert_consistent(manager, Replay())
    with (
        closing(sqlite3.connect(tmp_path / "old.db")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute("DELETE FROM changes")
    open_store(f"sqlite:///{tmp_path}/new.db", create=True).close()
    assert sqlite_schema(tmp_path / "old.db") == sqlite_schema(tmp_path / "new.db")


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    url = old_database(1, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE facts (already TEXT)")
        before = list(connection.iterdump())
    with pytest.raises(StoreError, match="table facts already exists"):
        open_store(url)
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before
        connection.execute("DROP TABLE facts")
    open_store(url).close()


def test_a_migration_says_what_was_there(tmp_path: Path) -> None:
    url = old_database(1, tmp_path / "old.db")
    assert migrate_store(url) == "0001"
    assert migrate_store(url) == HEAD
    assert migrate_store(f"sqlite:///{tmp_path}/new.db") is None
    with pytest.raises(StoreError, match="nothing to migrate"):
        migrate_store("memory://")


def test_a_store_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path, postgres_url: str) -> None:
    urls = [f"sqlite:///{tmp_path}/lists.db", postgres_url]
    open_store(urls[0], create=True).close()
    code = "import sys; from cidrgate.stores import open_store; [open_store(u).close() for u in sys.argv[1:]]"
    code += "; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, *urls], check=False).returncode == 0


def test_every_store_in_memory_is_another_one() -> None:
    stores = [open_store("memory://"), open_store("memory://")]
    positions = []
    for store in stores:
        with store.read() as transaction:
            positions.append(transaction.position())
        store.close()
    assert positions[0] != positions[1]


def test_an_empty_database_gets_its_tables_from_whoever_opens_it_first(empty: str) -> None:
    failed: list[StoreError] = []

    def create() -> None:
        try:
            open_store(empty, create=True).close()
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with RuleManager.open(empty) as manager:
        manager.create_account("acct-1")
        assert len(manager.history()) == 1


def test_tables_are_not_created_where_nobody_asked_for_it(empty: str) -> None:
    with pytest.raises(StoreNotFoundError, match="create them with `cidrgate migrate`"):
        open_store(empty)
    assert migrate_store(empty) is None
    assert migrate_store(empty) == HEAD
    open_store(empty).close()


def test_a_database_of_an_older_cidrgate_waits_for_somebody_to_migrate_it(empty: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA cidrgate")
        migrate_to("0001", connection, "cidrgate")
    with pytest.raises(StoreError, match=rf"schema version 0001, this cidrgate needs {HEAD}: run `cidrgate migrate`"):
        open_store(empty)
    assert migrate_store(empty) == "0001"
    open_store(empty).close()


def test_a_database_of_a_newer_cidrgate_is_refused(empty: str, engine: Engine) -> None:
    open_store(empty, create=True).close()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for use in (open_store, migrate_store):
        with pytest.raises(StoreError, match=r"schema version 9999.*upgrade cidrgate"):
            use(empty)


def test_the_migrations_of_another_program_are_left_alone(empty: str) -> None:
    """A platform's own tables are in the same database, and it uses Alembic too."""
    with psycopg.connect(empty) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES ('abc123')")
        connection.execute("CREATE TABLE accounts (id bigint)")
        connection.execute("CREATE TABLE facts (id bigint)")
    with pytest.raises(StoreNotFoundError):
        open_store(empty)
    with RuleManager.open(empty, create=True) as manager:
        manager.create_account("acct-1")
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT * FROM public.alembic_version").fetchall() == [("abc123",)]
        assert connection.execute("SELECT count(*) FROM public.accounts").fetchone() == (0,)


def test_a_user_without_rights_is_told_what_to_do(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute("DROP ROLE IF EXISTS nobody_special")
        connection.execute("CREATE ROLE nobody_special LOGIN")
    limited = empty.replace("postgres@", "nobody_special@")
    with pytest.raises(StoreError, match="run `cidrgate migrate` as the administrator"):
        open_store(limited, create=True)
    migrate_store(empty)
    with psycopg.connect(empty) as connection:
        connection.execute("GRANT USAGE ON SCHEMA cidrgate TO nobody_special")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA cidrgate TO nobody_special")
    with RuleManager.open(limited) as reader:
        assert reader.accounts() == []
        with pytest.raises(StoreError, match="denies the user a right"):
            reader.create_account("acct-1")
    with psycopg.connect(empty) as connection:
        connection.execute("DROP OWNED BY nobody_special")


def test_another_schema_can_be_named(empty: str) -> None:
    with (
        RuleManager.open(f"{empty}?schema=other", create=True) as other,
        RuleManager.open(empty, create=True) as manager,
    ):
        other.create_account("acct-1")
        assert manager.accounts() == []
    with pytest.raises(StoreError, match="cannot name a schema"):
        open_store(f'{empty}?schema=a"b')
