"""Which URLs name a store, and what people are told about the others."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psycopg
import pytest

from cidrgate import Matcher, RuleManager, StoreError, StoreNotFoundError
from cidrgate.stores import open_store
from cidrgate.stores.migrations import HEAD
from tests.ordinary_user import an_ordinary_user
from tests.servers.running import free_port
from tests.warm_starts import output_of

if TYPE_CHECKING:
    from tests.postgres import PostgresServer


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:allowlist.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://allowlist.db",
        ":memory:",
        "memory:",
        "memory://name",
        "mysql://host/lists",
    ],
)
def test_an_unsupported_url_is_refused_with_the_supported_ones(url: str) -> None:
    for create in (False, True):
        with pytest.raises(StoreError, match=r"sqlite:///relative/path\.db") as refusal:
            open_store(url, create=create)
        assert repr(url) in str(refusal.value)


class Place:
    """Something at a path that is no store of cidrgate; `left` tells whether it is as it was."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind = kind
        self.folder = folder
        self.path = folder / "lists.db"
        getattr(self, f"_{kind}")()
        self._before = self._seen()

    def _nothing(self) -> None: ...

    def _missing_folder(self) -> None:
        self.path = self.folder / "missing" / "deeper" / "lists.db"

    def _file_as_folder(self) -> None:
        (self.folder / "file").write_text("text")
        self.path = self.folder / "file" / "lists.db"

    def _dangling_link(self) -> None:
        self.path.symlink_to(self.folder / "unmounted" / "lists.db")

    def _dangling_link_beside(self) -> None:
        self.path.symlink_to("nowhere.db")

    def _link_to_itself(self) -> None:
        self.path.symlink_to(self.path)

    def _folder(self) -> None:
        self.path.mkdir()

    def _link_to_a_folder(self) -> None:
        self.path.symlink_to(self.folder)

    def _pipe(self) -> None:
        os.mkfifo(self.path)

    def _socket(self) -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.path))

    def _empty_file(self) -> None:
        self.path.touch()

    def _link_to_an_empty_file(self) -> None:
        (self.folder / "empty").touch()
        self.path.symlink_to("empty")

    def _text(self) -> None:
        self.path.write_text("not a database\n" * 100)

    def _short_text(self) -> None:
        self.path.write_text("SQLite format 3")

    def _snapshot(self) -> None:
        Matcher().save(self.path)

    def _half_a_database(self) -> None:
        self._other_program()
        self.path.write_bytes(self.path.read_bytes()[:700])

    def _empty_database(self) -> None:
        self._database("PRAGMA user_version = 0", "CREATE TABLE a (b)", "DROP TABLE a")

    def _empty_database_with_our_mark(self) -> None:
        mark = int.from_bytes(b"CIDR")
        self._database(f"PRAGMA application_id = {mark}", "CREATE TABLE a (b)", "DROP TABLE a")

    def _other_program(self) -> None:
        self._database("CREATE TABLE accounts (id INTEGER)")

    def _other_program_with_a_version(self) -> None:
        self._database("CREATE TABLE accounts (id INTEGER)", "PRAGMA user_version = 2")

    def _other_program_with_a_log(self) -> None:
        self._database("PRAGMA journal_mode = WAL", "CREATE TABLE accounts (id INTEGER)")

    def _database(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)

    def _seen(self) -> object:
        found = sorted(self.folder.rglob("*"))
        contents = [path.read_bytes() if path.is_file() else None for path in found]
        return found, contents, [path.lstat().st_mode for path in found]

    @property
    def untouched(self) -> bool:
        return self._seen() == self._before


NO_STORE = [
    name.removeprefix("_") for name in vars(Place) if name.startswith("_") and name not in ("_seen", "_database")
]
NO_STORE = [name for name in NO_STORE if not name.startswith("_")]
COULD_BECOME_ONE = {"nothing", "empty_file", "link_to_an_empty_file", "empty_database", "empty_database_with_our_mark"}


@pytest.mark.parametrize("kind", NO_STORE)
def test_what_only_asks_creates_no_store(kind: str, tmp_path: Path) -> None:
    place = Place(tmp_path, kind)
    for _ in range(2):
        for ask in (open_store, RuleManager.open, partial(RuleManager.open, load=False)):
            for url in (f"sqlite:///{place.path}", str(place.path), place.path):
                with pytest.raises(StoreError, match=r"lists\.db") as refusal:
                    ask(url)
                assert isinstance(refusal.value, StoreNotFoundError) or kind in {"link_to_itself", "half_a_database"}
                assert str(place.path) in str(refusal.value)
    assert place.untouched


@pytest.mark.parametrize("kind", NO_STORE)
def test_a_store_is_created_where_there_is_room_for_one(kind: str, tmp_path: Path) -> None:
    place = Place(tmp_path, kind)
    if kind not in COULD_BECOME_ONE:
        with pytest.raises(StoreError):
            RuleManager.open(place.path, create=True)
        assert place.untouched
        return
    with RuleManager.open(place.path, create=True) as manager:
        manager.create_account("acct-1")
    with RuleManager.open(place.path) as manager:
        assert [account.name for account in manager.accounts()] == ["acct-1"]


def test_the_refusal_says_where_it_looked_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreNotFoundError) as refusal:
        RuleManager.open("sqlite:///lists.db")
    for part in (f"{tmp_path}/lists.db", "working directory", "`cidrgate migrate`", "create=True"):
        assert part in str(refusal.value)


def test_a_store_that_is_removed_is_not_made_again(tmp_path: Path) -> None:
    """Neither by the thread that follows it nor by a connection that is opened later."""
    path = tmp_path / "lists.db"
    with RuleManager.open(path, create=True, follow=False) as manager:
        manager.create_account("acct-1")
        for file in tmp_path.iterdir():
            file.unlink()
        with pytest.raises(StoreError, match="replaced or deleted while it was open"):
            manager._store.watch()
        manager._store._readers.dispose()  # type: ignore[attr-defined] # so that another connection is needed
        with pytest.raises(StoreError, match="replaced or deleted"), manager._store.read() as transaction:
            transaction.accounts()
        assert list(tmp_path.iterdir()) == []


def test_a_store_in_memory_is_always_new() -> None:
    for opened in (RuleManager.open("memory://"), RuleManager.open("memory://", load=False)):
        with opened:
            assert opened.accounts() == []


@pytest.mark.parametrize("name", ["nowhere", "postgres"])
def test_a_database_that_is_not_there_or_empty_is_refused(name: str, shared_postgres_server: PostgresServer) -> None:
    url = shared_postgres_server.url(name)
    for ask in (open_store, RuleManager.open, partial(RuleManager.open, load=False)):
        with pytest.raises(StoreError, match=f"/{name}") as refusal:
            ask(url)
        assert isinstance(refusal.value, StoreNotFoundError) or name == "nowhere"
    with psycopg.connect(shared_postgres_server.url("postgres")) as connection:
        assert connection.execute("SELECT to_regnamespace('cidrgate')").fetchone() == (None,)


def test_a_server_that_is_not_there_is_refused() -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        RuleManager.open(f"postgresql://me@127.0.0.1:{free_port()}/lists")


def test_a_relative_path_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///lists.db", create=True)
    other = tmp_path / "elsewhere"
    other.mkdir()
    monkeypatch.chdir(other)
    with store.write() as transaction:
        assert transaction.accounts() == []
    store.close()
    assert (tmp_path / "lists.db").is_file()
    assert list(other.iterdir()) == []


@pytest.mark.parametrize("name", ["a?b.db", "a%20b.db", "ä b.db", "file:x.db"])
def test_the_path_is_taken_as_written(name: str, tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/{name}", create=True).close()
    assert (tmp_path / name).is_file()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"create the directory .*/missing first"):
        open_store(f"sqlite:///{tmp_path}/missing/lists.db", create=True)


def test_a_file_that_is_no_database_is_named_so(tmp_path: Path) -> None:
    path = Place(tmp_path, "text").path
    with pytest.raises(StoreNotFoundError, match="is not a SQLite database"):
        open_store(path, create=True)
    for version in (0, 2, 7):
        with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS accounts (id INTEGER)")
            connection.execute(f"PRAGMA user_version = {version}")
        with pytest.raises(StoreNotFoundError, match="the database of another program"):
            open_store(tmp_path / "other.db", create=True)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lists.db"
    open_store(path, create=True).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match=rf"schema version 9999.*up to {HEAD}.*upgrade cidrgate"):
        open_store(f"sqlite:///{path}")


def test_a_directory_without_write_permission_is_named() -> None:
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        with an_ordinary_user(), pytest.raises(StoreError, match="directory you may write to"):
            open_store(f"sqlite:///{directory}/lists.db", create=True)
        Path(directory).chmod(0o700)


def test_processes_that_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.stores.open_at_once", str(tmp_path)]
    assert output_of(command, cwd=root).returncode == 0
