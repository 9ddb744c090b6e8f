"""Which URLs name a store, and what people are told about the others."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from cidrgate import StoreError
from cidrgate.stores import open_store
from cidrgate.stores.migrations import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    "url",
    [
        "",
        "allowlist.db",
        "sqlite:allowlist.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://allowlist.db",
        "memory:",
        "memory://name",
        "mysql://host/lists",
    ],
)
def test_an_unsupported_url_is_refused_with_the_supported_ones(url: str) -> None:
    with pytest.raises(StoreError, match=r"sqlite:///relative/path\.db") as refusal:
        open_store(url)
    assert repr(url) in str(refusal.value)


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(StoreError) as refusal:
        open_store("postgresql://me:secret@host/lists")
    assert "secret" not in str(refusal.value)
    assert "postgresql://" in str(refusal.value)


def test_a_relative_path_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///lists.db")
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
    open_store(f"sqlite:///{tmp_path}/{name}").close()
    assert (tmp_path / name).is_file()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"create the directory .*/missing first"):
        open_store(f"sqlite:///{tmp_path}/missing/lists.db")


def test_a_directory_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="check that the path is a file"):
        open_store(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    text = "not a database\n" * 100
    path.write_text(text)
    with pytest.raises(StoreError, match="is not a SQLite database"):
        open_store(f"sqlite:///{path}")
    assert path.read_text() == text


@pytest.mark.parametrize("version", [0, 2, 7])
def test_the_database_of_another_program_is_left_alone(version: int, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (id INTEGER)")
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="the database of another program"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lists.db"
    open_store(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreError, match=rf"schema version 9999.*up to {HEAD}.*upgrade cidrgate"):
        open_store(f"sqlite:///{path}")


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Nobody's rights for root, who may write everywhere; everybody else is ordinary."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_directory_without_write_permission_is_named() -> None:
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        with an_ordinary_user(), pytest.raises(StoreError, match="directory you may write to"):
            open_store(f"sqlite:///{directory}/lists.db")
        Path(directory).chmod(0o700)


def test_processes_that_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.stores.open_at_once", str(tmp_path)]
    assert subprocess.run(command, cwd=root, check=False).returncode == 0
