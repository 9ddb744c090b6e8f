"""A new SQLite file that nobody has used is deleted again, and no other file is."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager, StoreError
from cidrgate.manager import rule_manager
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.stores import open_store
from cidrgate.stores.sqlite import unused_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lists.db"


def beside(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


def test_a_new_file_is_deleted_with_its_log(path: Path) -> None:
    store = open_store(path, create=True)
    store.discard()
    assert beside(path) == []
    store.discard()


def test_a_file_of_another_object_stays(path: Path) -> None:
    open_store(path, create=True).close()
    open_store(path, create=True).discard()
    assert beside(path) == ["lists.db"]


def with_account(manager: RuleManager) -> None:
    manager.create_account("acct-1")


def with_account_of_the_past(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    manager.delete_account("acct-1")


def with_policy(manager: RuleManager) -> None:
    manager.set_policy(max_entries=7)


def with_token(manager: RuleManager) -> None:
    Credentials(manager._store).create_token("ops", [Scope("admin")])


def with_link(manager: RuleManager) -> None:
    Credentials(manager._store).create_link("console", [Scope("admin")], lifetime=timedelta(hours=1))


@pytest.mark.parametrize("use", [with_account, with_account_of_the_past, with_policy, with_token, with_link])
def test_a_file_that_was_used_stays(path: Path, use: Callable[[RuleManager], None]) -> None:
    manager = RuleManager.open(path, create=True, load=False)
    use(manager)
    manager._store.discard()
    assert beside(path) == ["lists.db"]
    RuleManager.open(path, load=False).close()


def test_a_file_that_another_process_has_open_stays(path: Path) -> None:
    store = open_store(path, create=True)
    program = (
        "import sys, cidrgate\n"
        "with cidrgate.RuleManager.open(sys.argv[1], load=False) as manager:\n"
        "    print('open', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    manager.create_account('acct-1')\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        store.discard()
        process.communicate("\n", timeout=60)
    assert process.returncode == 0
    with RuleManager.open(path, load=False) as manager:
        assert [account.name for account in manager.accounts()] == ["acct-1"]


def test_another_file_at_the_path_stays(path: Path) -> None:
    store = open_store(path, create=True)
    store.close()
    path.rename(path.with_name("moved.db"))
    open_store(path, create=True).close()
    store.discard()
    assert beside(path) == ["lists.db", "moved.db"]


def test_who_opens_a_file_while_it_is_deleted_gets_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a store without a file, whose changes would be lost."""
    store = open_store(path, create=True)
    asked = unused_files._was_used
    opened: list[sqlite3.Connection] = []

    def meanwhile(connection: sqlite3.Connection) -> bool:
        if opened or connection.execute("PRAGMA journal_mode").fetchone() == ("delete",):
            with pytest.raises(StoreError, match="locked"):
                open_store(path, create=True, lock_timeout=0.05)
            opened.append(sqlite3.connect(path, timeout=0))
        return asked(connection)

    monkeypatch.setattr(unused_files, "_was_used", meanwhile)
    store.discard()
    assert beside(path) == []
    with closing(opened[0]):
        assert len(opened) == 1


def test_a_manager_that_cannot_be_opened_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="max_staleness"):
        RuleManager.open(path, create=True, max_staleness=-1)
    assert beside(path) == []

    def failed(*_arguments: object, **_more: object) -> None:
        raise StoreError("it cannot be read")

    monkeypatch.setattr(rule_manager.RuleManager, "load", failed)
    with pytest.raises(StoreError, match="it cannot be read"):
        RuleManager.open(path, create=True)
    assert beside(path) == []
