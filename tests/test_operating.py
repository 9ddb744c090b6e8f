"""What docs/operating.md says to type is typed here: backups while others write, and stores that are restored."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from cidrgate import RuleManager, StoreError
from cidrgate.stores import grant_store
from tests.change_log import Replay, assert_consistent
from tests.postgres import find_binaries
from tests.servers.running import program
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import PostgresServer

PAGE = (Path(__file__).parents[1] / "docs" / "operating.md").read_text()


def run(what: str, folder: Path, programs: Path | None = None, **variables: str) -> str:
    """Type the commands that follow a mark in the page, in folders of the test's own, with these programs first."""
    [commands] = re.findall(rf"<!-- run: {what} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    for place in ("/var/lib/app", "/backup"):
        (folder / place.strip("/")).mkdir(parents=True, exist_ok=True)
        commands = commands.replace(f"{place}/", f"{folder}{place}/")
    binaries = find_binaries()
    path = os.pathsep.join(
        map(str, filter(None, (programs, Path(sys.executable).parent, binaries, os.environ["PATH"])))
    )
    done = subprocess.run(
        ["sh", "-ec", commands],
        env={**os.environ, "PATH": path, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def a_writer(url: str) -> Iterator[list[str]]:
    """Somebody who goes on changing a list; what was acknowledged."""
    acknowledged: list[str] = []
    ended = threading.Event()

    def write() -> None:
        with RuleManager.open(url, load=False) as manager:
            for number in count():
                if ended.is_set():
                    return
                cidr = f"8.8.{number // 256 % 256}.{number % 256}/32"
                manager.replace("acct-1", [cidr], actor=f"change-{number}")
                acknowledged.append(f"change-{number}")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        eventually(lambda: len(acknowledged) > 3)
        yield acknowledged
        before = len(acknowledged)
        eventually(lambda: len(acknowledged) > before)
    finally:
        ended.set()
        thread.join()


def assert_holds(url: str, acknowledged: list[str]) -> None:
    """A copy is a store as it was at one moment, after these changes."""
    with RuleManager.open(url) as manager:
        assert_consistent(manager, Replay())
        actors = {change.actor for change in manager.history("acct-1", limit=100_000)}
        assert set(acknowledged) <= actors
        assert len(manager.entries("acct-1")) == 1


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    program("sqlite3", "on Debian: apt-get install sqlite3")
    path = tmp_path / "var/lib/app/allowlist.db"
    path.parent.mkdir(parents=True)
    with RuleManager.open(path, create=True) as manager:
        manager.create_account("acct-1")
        manager.create_account("acct-2")
    return path


@pytest.mark.parametrize(
    ("what", "made"), [("sqlite backup", "allowlist.db"), ("sqlite backup again", "allowlist-2.db")]
)
def test_a_file_is_backed_up_while_others_write(what: str, made: str, sqlite: Path, tmp_path: Path) -> None:
    with a_writer(str(sqlite)) as acknowledged, RuleManager.open(sqlite) as reader:
        before = list(acknowledged)
        run(what, tmp_path)
        said = run(what, tmp_path)  # as every night
        eventually(lambda: reader.staleness < 1)  # whoever runs does not notice
    assert said == ""
    copy = tmp_path / "backup" / made
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert_holds(str(copy), before)


def test_a_copy_that_is_not_whole_replaces_no_earlier_one(sqlite: Path, tmp_path: Path) -> None:
    run("sqlite backup", tmp_path)
    copy = tmp_path / "backup" / "allowlist.db"
    before = copy.read_bytes()
    broken = tmp_path / "programs"
    broken.mkdir()
    (broken / "sqlite3").write_text('#!/bin/sh\necho "row 1 missing from index"\n: > "$(dirname "$1")/made"\n')
    (broken / "sqlite3").chmod(0o755)
    with pytest.raises(AssertionError):
        run("sqlite backup", tmp_path, programs=broken)
    assert copy.read_bytes() == before


def test_the_page_lists_the_loggers() -> None:
    source = "\n".join(path.read_text() for path in (Path(__file__).parents[1] / "src" / "cidrgate").rglob("*.py"))
    loggers = set(re.findall(r'^LOGGER = logging\.getLogger\("([\w.]+)"\)', source, re.MULTILINE))
    [row] = re.findall(r"^\| `logger` \| (`cidrgate`.*) \|$", PAGE, re.MULTILINE)
    [text] = re.findall(r"records of the loggers (.*?):", PAGE, re.DOTALL)
    assert len(loggers) > 3
    assert set(re.findall("`([^`]+)`", row)) == loggers == set(re.findall("`([^`]+)`", text))


def test_a_store_is_moved_while_others_write(sqlite: Path, tmp_path: Path) -> None:
    with a_writer(str(sqlite)) as acknowledged:
        before = list(acknowledged)
        run("sqlite move", tmp_path)
    moved = tmp_path / "backup" / "moved.db"
    assert stat.S_IMODE(moved.stat().st_mode) == 0o600
    assert_holds(str(moved), before)


def test_a_restored_file_is_the_one_that_was_backed_up(sqlite: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "elsewhere.snapshot"  # one that nobody thought of
    with RuleManager.open(sqlite) as running:
        running.add("acct-1", "8.8.8.0/24")
        run("sqlite backup", tmp_path)
        running.add("acct-1", "9.9.9.0/24")
        running.add("acct-2", "9.9.9.0/24")
        running.save_snapshot(snapshot)
        run("sqlite restore", tmp_path)
        # What runs on says that it does not know, and changes nothing.
        with pytest.raises(StoreError, match="replaced"):
            running.add("acct-1", "7.7.7.0/24")
        before = running.staleness
        eventually(lambda: running.staleness > before + 0.2)
    assert stat.S_IMODE(sqlite.stat().st_mode) == 0o600
    with RuleManager.open(sqlite, load=False) as manager:
        assert [entry.cidr for entry in manager.entries("acct-1")] == ["8.8.8.0/24"]
        # As many changes as were lost and more, so that the log is as long as when the snapshot was written.
        for number in range(5):
            manager.replace("acct-1", [f"7.7.{number}.0/24"], allow_empty=True)
    assert_equal_to_store(sqlite, snapshot)


def assert_equal_to_store(url: str | Path, snapshot: Path) -> None:
    """Whoever starts from a snapshot of before decides as the restored store does."""
    with RuleManager.open(url, snapshot=snapshot) as manager:
        for account in manager.accounts():
            assert manager.matcher.prefixes(account.name) == [entry.cidr for entry in manager.entries(account.name)]


@pytest.fixture
def platform(postgres_url: str) -> Iterator[str]:
    """The database of a platform, with something of its own beside the lists."""
    with RuleManager.open(postgres_url) as manager:
        manager.create_account("acct-1")
        manager.create_account("acct-2")
    yield postgres_url
    with suppress(psycopg.Error), psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS public.orders")


def test_a_schema_is_backed_up_while_others_write_and_restored(
    platform: str, shared_postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with psycopg.connect(platform, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.orders (id int)")
    with a_writer(platform) as acknowledged:
        before = list(acknowledged)
        run("postgres backup", tmp_path, DATABASE=platform)
    restored = shared_postgres_server.new_database(template="template1")
    run("postgres restore", tmp_path, RESTORED=restored)
    assert_holds(restored, before)
    with psycopg.connect(restored) as connection:
        assert connection.execute("SELECT to_regclass('public.orders')").fetchone() == (None,)
        with pytest.raises(psycopg.errors.RaiseException):  # the log still refuses to be altered
            connection.execute("SET search_path TO cidrgate; UPDATE changes SET actor = 'nobody'")


def test_a_restored_schema_takes_the_place_of_the_old_one(
    shared_postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = shared_postgres_server.new_database()
    snapshot = tmp_path / "elsewhere.snapshot"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE restored_service LOGIN")
    try:
        with RuleManager.open(url) as manager:
            manager.create_account("acct-1")
            manager.create_account("acct-2")
            manager.add("acct-1", "8.8.8.0/24")
            run("postgres backup", tmp_path, DATABASE=url)
            manager.add("acct-2", "9.9.9.0/24")
            manager.save_snapshot(snapshot)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA cidrgate CASCADE")
        run("postgres restore", tmp_path, RESTORED=url)
        grant_store(url, "restored_service")
        with RuleManager.open(url.replace("postgres@", "restored_service@")) as manager:
            assert not manager.allows("acct-1", "9.9.9.9")
            assert manager.allows("acct-2", "1.1.1.1")
            manager.add("acct-1", "7.7.7.0/24")
        assert_equal_to_store(url, snapshot)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY restored_service")
            connection.execute("DROP ROLE restored_service")
