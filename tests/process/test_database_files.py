"""A database that a user names for another file is neither replaced nor closed: it may be an open store."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cidrgate import Matcher, RuleManager, SnapshotError, StoreNotFoundError
from cidrgate.process.database_files import DatabaseFileError, open_no_database, refuse_database
from cidrgate.process.private_files import open_lock, replacement
from cidrgate.stores import open_store
from tests.command_line import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OTHER_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("CREATE TABLE other (one)")
connection.execute("DROP TABLE other")
connection.commit()
connection.close()
"""

BESIDE = ("", "-wal", "-shm")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "lists.db"
    with RuleManager.open(path, create=True, load=False) as manager:
        manager.create_account("a")
        manager.add("a", "8.8.8.0/24")
    return path


@pytest.fixture
def manager(store: Path) -> Iterator[RuleManager]:
    """The manager of a store, whose locks and log must survive what other parts of its process do with the file."""
    files = [store.with_name(f"{store.name}{ending}") for ending in BESIDE]
    with RuleManager.open(store, follow=False) as manager:
        manager.add("a", "9.9.9.0/24")
        before = [path.stat().st_ino for path in files]
        yield manager
        # The last connection deletes the log. This one is the last if this process has lost its locks.
        subprocess.run([sys.executable, "-c", OTHER_WRITER, store], check=True, timeout=60)
        assert [path.stat().st_ino for path in files] == before
        manager.remove("a", "9.9.9.0/24")
        assert [entry.cidr for entry in manager.entries("a")] == ["8.8.8.0/24"]


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def itself(path: Path) -> Path:
    return path


def a_symbolic_link(path: Path) -> Path:
    link = path.with_name("link")
    link.symlink_to(path)
    return link


def a_hard_link(path: Path) -> Path:
    link = path.with_name("link")
    link.hardlink_to(path)
    return link


def opens_as_snapshot(path: Path, store: Path) -> None:
    with pytest.raises(SnapshotError, match=r"is not a snapshot: the file (is|belongs to) a database"):
        Matcher.open(path)


def opens_with_snapshot(path: Path, store: Path) -> None:
    with pytest.raises(SnapshotError, match="cannot be used for a snapshot"):
        RuleManager.open("memory://", snapshot=path)


def loads_with_snapshot(path: Path, store: Path) -> None:
    with RuleManager.open("memory://", load=False) as manager, pytest.raises(SnapshotError, match="a database"):
        manager.load(snapshot=path)


def locks_a_snapshot(path: Path, store: Path) -> None:
    with pytest.raises(OSError, match=r"a database|[Ss]ymbolic"):
        open_lock(path)


def names_a_snapshot_whose_lock_it_is(path: Path, store: Path) -> None:
    lock = path.with_name("x.lock")
    lock.symlink_to(path)
    with pytest.raises(SnapshotError, match=r"x\.lock cannot be used"):
        RuleManager.open("memory://", snapshot=path.with_name("x"))


def reads(path: Path, store: Path) -> None:
    with pytest.raises(DatabaseFileError):
        open(path, "rb", opener=open_no_database)  # noqa: SIM115


def types(*arguments: str) -> Callable[[Path, Path], None]:
    def run(path: Path, store: Path) -> None:
        other = path.with_name("other.db")
        open_store(other, create=True).close()
        result = typed(["-d", str(other), *(str(path) if one == "FILE" else one for one in arguments)])
        assert result.exit_code == 2, result.stderr
        assert "a database: choose another file" in result.stderr

    run.__name__ = " ".join(arguments)
    return run


LIBRARY = (
    opens_as_snapshot,
    opens_with_snapshot,
    loads_with_snapshot,
    locks_a_snapshot,
    names_a_snapshot_whose_lock_it_is,
    reads,
)
COMMANDS = (
    types("import", "FILE", "--create"),
    types("apply", "FILE"),
    types("restore-backup", "FILE"),
    types("replay", "FILE", "--format", "csv", "--rules", "store", "--log-account", "a"),
    types("replay", "FILE", "--format", "combined", "--rules", "store", "--log-account", "a"),
)
CASES = [
    *((use, ending, name) for use in LIBRARY for ending in BESIDE for name in (itself, a_symbolic_link, a_hard_link)),
    *((use, ending, name) for use in COMMANDS for ending, name in (("", itself), ("-shm", a_hard_link))),
]


@pytest.mark.parametrize(
    ("use", "ending", "name"), CASES, ids=[f"{use.__name__}-{ending}-{name.__name__}" for use, ending, name in CASES]
)
def test_an_open_store_that_is_named_for_another_file_keeps_its_locks(
    use: Callable[[Path, Path], None], ending: str, name: Callable[[Path], Path], manager: RuleManager, store: Path
) -> None:
    named = store.with_name(f"{store.name}{ending}")
    path = name(named)
    use(path, store)
    if path != named:
        path.unlink()


@pytest.mark.parametrize("name", [itself, a_symbolic_link])
@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize(
    "command", [["export", "-o"], ["export", "--csv", "-o"], ["compile"], ["backup"]], ids=" ".join
)
def test_no_command_replaces_a_file_of_an_open_store(
    command: list[str], ending: str, name: Callable[[Path], Path], manager: RuleManager, store: Path
) -> None:
    path = name(store.with_name(f"{store.name}{ending}"))
    result = typed(["-d", str(store), *command, str(path)])
    assert result.exit_code == 2
    assert "a database: choose another file" in result.stderr or "symbolic link" in result.stderr


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_a_name_beside_a_database_is_refused_before_the_file_exists(ending: str, store: Path) -> None:
    """SQLite would take it for its own, and delete it."""
    path = store.with_name(f"{store.name}{ending}")
    with pytest.raises(DatabaseFileError, match="belongs to a database"), replacement(path):
        pass
    with pytest.raises(StoreNotFoundError, match="a file of another SQLite database"):
        RuleManager.open(path, create=True)
    assert [one.name for one in store.parent.iterdir()] == [store.name]


@pytest.mark.parametrize("name", ["lists-wal", "list-of-journal", "-wal", "notes.csv-shm"])
def test_a_name_that_only_looks_like_one_is_a_file_as_any_other(name: str, tmp_path: Path) -> None:
    (tmp_path / "lists").write_text("no database")
    (tmp_path / "notes.csv").mkdir()
    with replacement(tmp_path / name) as file:
        file.write(b"text")
    refuse_database(tmp_path / name)
    with open(tmp_path / name, "rb", opener=open_no_database) as file:
        assert file.read() == b"text"


def test_files_that_are_no_databases_are_closed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    before = descriptors()
    for path in (tmp_path / "file", tmp_path / "file-wal", tmp_path, tmp_path / "missing"):
        refuse_database(path)
        with suppress(OSError):
            os.close(open_no_database(path, os.O_RDONLY))
    assert descriptors() == before


def test_a_database_takes_one_descriptor_however_often_it_is_named(store: Path) -> None:
    for _ in range(2):
        before = descriptors()
        for _ in range(20):
            for ending in ("", "-wal"):
                with pytest.raises(DatabaseFileError):
                    refuse_database(f"{store}{ending}")
    assert descriptors() == before


def test_a_file_that_was_a_database_can_be_written_and_read_again(store: Path) -> None:
    with pytest.raises(DatabaseFileError):
        refuse_database(store)
    store.write_bytes(b"text")
    refuse_database(store)
