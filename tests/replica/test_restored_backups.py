"""Backups that are restored under a node that goes on: it notices, however long the restored log is by then."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager
from cidrgate.stores import open_store
from tests.postgres import find_binaries
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def backup_of(url: str, folder: Path) -> Callable[[], None]:
    """Makes a backup; what is returned restores it, in place and while others read."""
    copy = folder / "backup"
    if url.startswith("sqlite"):
        live = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(live)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)

        def restore() -> None:
            with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(live)) as target:
                source.backup(target)

        return restore

    binaries = find_binaries()
    assert binaries is not None
    dump = shutil.which("pg_dump") or str(binaries / "pg_dump")
    psql = shutil.which("psql") or str(binaries / "psql")
    wanted = [dump, "--schema=cidrgate", "--clean", "--if-exists", f"--file={copy}", url]
    subprocess.run(wanted, check=True)
    typed = [psql, "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", f"--file={copy}", url]

    def restore_all() -> None:
        subprocess.run(typed, check=True, stdout=subprocess.DEVNULL)

    return restore_all


@pytest.mark.parametrize("before", [1, 3])
@pytest.mark.parametrize("after", [0, 1, 3, 5])
def test_a_backup_that_is_restored_comes_to_every_node(
    shared_store_url: str, tmp_path: Path, before: int, after: int
) -> None:
    """The log then ends before what a node has seen of it, there, or behind it, and says something else."""
    with RuleManager.open(shared_store_url) as writer, RuleManager.open(shared_store_url) as node:
        writer.create_account("acct-1")
        writer.create_account("acct-2")
        writer.add("acct-1", "8.8.8.0/24")
        restore = backup_of(shared_store_url, tmp_path)
        for number in range(before):
            writer.add("acct-1", f"9.9.9.{number}/32")
        eventually(lambda: node.matcher.allows("acct-1", f"9.9.9.{before - 1}"))
        with RuleManager.open(shared_store_url, follow=False) as seen:
            seen.save_snapshot(tmp_path / "lists.snapshot")
        restore()
        with RuleManager.open(shared_store_url, follow=False) as other:
            for number in range(after):
                other.add("acct-2", f"1.1.1.{number}/32")
        for manager in (node, writer):
            eventually(lambda manager=manager: not manager.matcher.allows("acct-1", "9.9.9.0"))  # type: ignore[misc]
            eventually(lambda manager=manager: len(manager.matcher.prefixes("acct-2")) == after)  # type: ignore[misc]
            assert manager.matcher.prefixes("acct-1") == ["8.8.8.0/24"]
        with RuleManager.open(shared_store_url, follow=False, snapshot=tmp_path / "lists.snapshot") as started:
            assert started.matcher.prefixes("acct-1") == ["8.8.8.0/24"]
            assert len(started.matcher.prefixes("acct-2")) == after


def test_a_backup_without_a_change_that_is_not_the_last_row_of_the_log(postgres_url: str, tmp_path: Path) -> None:
    """The change got its place in the log before the last row in the backup, and was committed after the backup."""
    snapshot = tmp_path / "lists.snapshot"
    with RuleManager.open(postgres_url) as node, closing(open_store(postgres_url)) as store:
        with store.write() as transaction:
            transaction.insert_accounts(["acct-1"], parent=None, at=datetime.now(UTC), actor=None)
            node.create_account("acct-2")
            restore = backup_of(postgres_url, tmp_path)
        eventually(lambda: "acct-1" in node.matcher)
        node.save_snapshot(snapshot)
        restore()
        eventually(lambda: "acct-1" not in node.matcher)
        assert "acct-2" in node.matcher
    with RuleManager.open(postgres_url, follow=False, snapshot=snapshot) as started:
        assert "acct-1" not in started.matcher


def test_a_log_that_goes_on_is_not_taken_for_another_one(shared_store_url: str) -> None:
    """Nor is one of which what a node has seen last was deleted by retention, more than once."""
    store = open_store(shared_store_url)
    with RuleManager.open(shared_store_url, follow=False) as writer, closing(store):
        writer.create_account("acct-1")
        with store.read() as transaction:
            position = transaction.position()
        for number in range(3):
            writer.add("acct-1", f"9.9.9.{number}/32")
            with store.read() as transaction:
                assert transaction.changed_since(position, 10) == {"acct-1"}
                position = transaction.position()
                assert transaction.changed_since(position, 10) == set()
        with store.write() as transaction:
            assert transaction.changed_since(position, 10) == set()
