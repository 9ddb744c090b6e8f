"""Faults of the disk, the file and the process under a SQLite store, while writers are at work."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager, StoreError
from tests.faults.invariants import ACCOUNTS, ROUNDS, SECONDS, Ledger, check, no_stranger, prepare, report, writers
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    path = tmp_path / "store" / "lists.db"
    prepare(f"sqlite:///{path}")
    return path


def moved_over(path: Path, aside: Path) -> None:
    """As a restore does that forgets who uses the file."""
    copy = aside / "copy.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    copy.replace(path)


def deleted(path: Path, aside: Path) -> None:
    path.unlink()


def folder_moved(path: Path, aside: Path) -> None:
    path.parent.rename(aside / "moved")


@pytest.mark.fault("a SQLite file is replaced, moved or deleted while it is in use")
@pytest.mark.parametrize("fault", [moved_over, deleted, folder_moved])
def test_a_file_that_is_replaced_under_writers(fault: Callable[[Path, Path], None], path: Path, tmp_path: Path) -> None:
    """Two processes' worth of managers: what they acknowledged is in the file that was theirs; they do so no more."""
    ledger = Ledger()
    url = f"sqlite:///{path}"
    aside = tmp_path / "aside"
    aside.mkdir()
    with RuleManager.open(url) as one, RuleManager.open(url) as other:
        with no_stranger(ledger, one, other), writers(ledger, [one, other]):
            ledger.wait_for_more()
            fault(path, aside)
            before = time.monotonic()
            eventually(lambda: "StoreError" in ledger.errors)
            time.sleep(SECONDS / 2)
            late = len(ledger.acknowledged)
            time.sleep(SECONDS / 2)
            assert len(ledger.acknowledged) == late
            assert min(one.staleness, other.staleness) > (time.monotonic() - before) / 2
        # The file that was theirs, with its log, as a connection sees it that was made before.
        rescued = tmp_path / "rescued.db"
        store = one._store
        with store._readers.connect() as connection, closing(sqlite3.connect(rescued)) as target:  # type: ignore[attr-defined]
            connection.connection.driver_connection.backup(target)
    assert ledger.strangers == []
    check(f"sqlite:///{rescued}", ledger)
    report(fault.__name__.replace("_", " "), ledger)


@pytest.mark.fault("the disk takes no more")
def test_a_disk_that_takes_no_more(path: Path) -> None:
    """Writing fails, now and then, in the middle of a change or of its commit."""
    ledger = Ledger()
    url = f"sqlite:///{path}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RuleManager.open(url) as one, RuleManager.open(url) as other:
        with no_stranger(ledger, one, other), writers(ledger, [one, other]):
            for _ in range(ROUNDS):
                ledger.wait_for_more()
                resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{path}-wal").stat().st_size, before[1]))
                eventually(lambda: bool(ledger.unknown or ledger.refused))
                time.sleep(SECONDS / 10)
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
                ledger.wait_for_more()
        check(url, ledger, [one, other])
    report("disk that takes no more", ledger)


@pytest.mark.fault("descriptors run out")
def test_descriptors_that_run_out(path: Path) -> None:
    ledger = Ledger()
    url = f"sqlite:///{path}"
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with RuleManager.open(url) as one, RuleManager.open(url) as other:
        with no_stranger(ledger, one, other), writers(ledger, [one, other], threads=8):
            for _ in range(ROUNDS):
                ledger.wait_for_more()
                one._store._readers.dispose()  # type: ignore[attr-defined] # so that connections are needed
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
                time.sleep(SECONDS / 10)
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
                ledger.wait_for_more()
        check(url, ledger, [one, other])
    report("descriptors that run out", ledger)


@pytest.mark.fault("the write-ahead log of a SQLite file is deleted or replaced")
def test_a_write_ahead_log_that_is_deleted(path: Path) -> None:
    """Nothing is acknowledged from then on; what was is written back when all processes have ended."""
    ledger = Ledger()
    url = f"sqlite:///{path}"
    with (
        RuleManager.open(url) as one,
        RuleManager.open(url) as other,
        no_stranger(ledger, one, other),
        writers(ledger, [one, other]),
    ):
        ledger.wait_for_more(20)
        Path(f"{path}-wal").unlink()
        before = time.monotonic()
        eventually(lambda: "StoreError" in ledger.errors)
        time.sleep(SECONDS / 2)
        late = len(ledger.acknowledged)
        time.sleep(SECONDS / 2)
        assert len(ledger.acknowledged) == late
        assert min(one.staleness, other.staleness) > (time.monotonic() - before) / 2
    with RuleManager.open(url) as after:
        check(url, ledger, [after])
    report("write-ahead log deleted", ledger)


@pytest.mark.fault("pages of a SQLite file are damaged")
def test_pages_that_are_damaged(path: Path) -> None:
    ledger = Ledger()
    url = f"sqlite:///{path}"
    with RuleManager.open(url, follow=False) as one, no_stranger(ledger, one), writers(ledger, [one]):
        ledger.wait_for_more(20)
    sound = path.with_name("sound.db")
    shutil.copy(path, sound)
    for page in (1, 3, 6):
        shutil.copy(sound, path)
        with path.open("r+b") as file:
            file.seek(page * 4096)
            file.write(os.urandom(4096))
        try:
            with RuleManager.open(url, follow=False) as damaged:
                for account in ACCOUNTS:
                    assert [entry.cidr for entry in damaged.entries(account)] == damaged.matcher.prefixes(account)
        except StoreError as error:
            ledger.note(str(error).rpartition("lists.db ")[2])
        except ValueError as error:  # what is read is no list
            ledger.note(type(error).__name__)
    shutil.copy(sound, path)
    check(url, ledger)
    report("damaged pages", ledger)


@pytest.mark.fault("another writer is stopped or killed")
@pytest.mark.parametrize("kind", ["stopped", "killed"])
def test_another_writer_is_stopped_or_killed(kind: str, path: Path) -> None:
    ledger = Ledger()
    url = f"sqlite:///{path}"
    code = (
        "import itertools, sys\n"
        "from cidrgate import RuleManager, StoreError\n"
        "with RuleManager.open(sys.argv[1]) as manager:\n"
        "    for number in itertools.count():\n"
        "        if number == 5: print('ready', flush=True)\n"
        "        try:\n"
        f"            account = {ACCOUNTS!r}[number % {len(ACCOUNTS)}]\n"
        "            manager.replace(account, [f'7.7.{number % 250}.0/24', '8.8.8.8/32'])\n"
        "        except StoreError: pass\n"
    )
    with (
        RuleManager.open(url, lock_timeout=1.0) as one,
        RuleManager.open(url, lock_timeout=1.0) as other,
        no_stranger(ledger, one, other),
        writers(ledger, [one, other]),
    ):
        for _ in range(ROUNDS):
            with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE) as neighbour:
                assert neighbour.stdout is not None
                assert neighbour.stdout.readline()
                ledger.wait_for_more()
                if kind == "stopped":
                    neighbour.send_signal(signal.SIGSTOP)
                    answered = len(ledger.seconds)
                    eventually(lambda: len(ledger.seconds) > answered + 4)  # noqa: B023
                    neighbour.send_signal(signal.SIGCONT)
                    ledger.wait_for_more()
                neighbour.kill()
            ledger.wait_for_more()
    with RuleManager.open(url) as follower:
        check(url, ledger, [follower])
    report(f"another writer {kind}", ledger)
