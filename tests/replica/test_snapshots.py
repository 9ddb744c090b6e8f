"""Starting from a file plus the log since, and workers of one host that share its pages."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import Matcher, RuleManager, SnapshotError
from cidrgate.replica.snapshots import read_snapshot
from tests.waiting import eventually, soon
from tests.warm_starts import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def url(shared_store_url: str) -> str:
    return shared_store_url


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return tmp_path / "lists.snapshot"


@pytest.fixture
def writer(url: str, snapshot: Path) -> Iterator[RuleManager]:
    """A manager on a store of which a snapshot was compiled."""
    with RuleManager.open(url, follow=False) as manager:
        manager.create_account("acct-1")
        manager.create_account("sub-1", parent="acct-1")
        manager.create_account("acct-2")
        manager.add("acct-1", "8.8.8.0/24")
        manager.save_snapshot(snapshot)
        yield manager


class Unread:
    """Fails the test when the store is read whole."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from cidrgate.stores import Transaction

        def read_whole(_: Transaction) -> Any:
            raise AssertionError("the store was read whole")

        monkeypatch.setattr(Transaction, "lists", read_whole)


def test_a_start_reads_only_what_changed_since(
    url: str, writer: RuleManager, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.add("acct-1", "1.1.1.1/32")
    writer.create_account("acct-3")
    writer.add("acct-3", "9.9.9.9/32")
    writer.create_account("sub-3", parent="acct-3")
    Unread(monkeypatch)
    with RuleManager.open(url, snapshot=snapshot) as manager:
        assert manager.matcher.prefixes("acct-1") == ["1.1.1.1/32", "8.8.8.0/24"]
        assert manager.allows("sub-1", "1.1.1.1")
        assert manager.matcher.prefixes("sub-3") == ["9.9.9.9/32"]
        assert manager.allows("acct-2", "7.7.7.7")


def test_a_start_without_changes_reads_nothing(
    url: str, writer: RuleManager, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Unread(monkeypatch)
    with RuleManager.open(url, snapshot=snapshot, follow=False) as manager:
        assert manager.allows("sub-1", "8.8.8.8")
        assert not manager.allows("acct-1", "9.9.9.9")


def test_entries_of_a_snapshot_end_in_time(url: str, writer: RuleManager, snapshot: Path) -> None:
    writer.add("acct-2", "9.9.9.9/32", expires_at=soon())
    writer.save_snapshot(snapshot)
    with RuleManager.open(url, snapshot=snapshot) as manager:
        eventually(lambda: not manager.allows("acct-2", "9.9.9.9"))
        assert not manager.allows("acct-2", "7.7.7.7")
    with RuleManager.open(url, snapshot=snapshot, follow=False) as manager:  # it ended before the start
        assert not manager.allows("acct-2", "9.9.9.9")


def damage(snapshot: Path, writer: RuleManager) -> None:
    snapshot.write_bytes(snapshot.read_bytes()[:-100])


def no_place(snapshot: Path, writer: RuleManager) -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["7.7.7.7/32"])
    matcher.save(snapshot)


def another_stores(snapshot: Path, writer: RuleManager) -> None:
    with RuleManager.open("memory://") as other:
        other.create_account("acct-1")
        other.add("acct-1", "7.7.7.7/32")
        other.save_snapshot(snapshot)


def forgotten(snapshot: Path, writer: RuleManager) -> None:
    """The log since the snapshot was pruned."""
    writer.add("acct-2", "1.1.1.1/32")
    writer.remove("acct-2", "1.1.1.1/32", allow_empty=True)
    writer.prune_history(timedelta(0))


def missing(snapshot: Path, writer: RuleManager) -> None:
    snapshot.unlink()


@pytest.mark.parametrize("spoil", [damage, no_place, another_stores, forgotten, missing])
def test_a_file_that_does_not_fit_is_left_aside(
    spoil: Callable[[Path, RuleManager], None], url: str, writer: RuleManager, snapshot: Path
) -> None:
    spoil(snapshot, writer)
    writer.add("acct-1", "1.1.1.1/32")
    with RuleManager.open(url, snapshot=snapshot) as manager:
        assert manager.matcher.prefixes("acct-1") == ["1.1.1.1/32", "8.8.8.0/24"]


def test_progress_is_told_while_the_store_is_read(
    url: str, writer: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.replica.published_store._PROGRESS", 2)
    told: list[int] = []
    RuleManager.open(url, follow=False, progress=told.append).close()
    assert told == [2]


class Workers:
    """The processes of `tests.prefork_workers`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def states(self) -> list[dict[str, Any]]:
        """What each serves, the parent first."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        found: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return found


@contextmanager
def prefork_workers(url: str, snapshot: Path, workers: int) -> Iterator[Workers]:
    command = [sys.executable, "-m", "tests.prefork_workers", url, str(snapshot), str(workers)]
    root = Path(__file__).parents[2]
    with Program(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Workers(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.fault("a worker of `authorize --workers`, or of a server that forks, is killed")
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/maps, of Linux")
def test_forked_workers_share_one_snapshot_that_one_of_them_writes(
    url: str, writer: RuleManager, snapshot: Path
) -> None:
    with prefork_workers(url, snapshot, 3) as workers:
        assert len({state["pid"] for state in workers.states()}) == 4

        def settled(*cidrs: str) -> bool:
            """All serve this, from the file as it is now, which one process alone writes."""
            states = workers.states()
            inode = snapshot.stat().st_ino
            readers = [state for state in states if not state["writes"]]
            return (
                all(state["lists"]["acct-1"] == list(cidrs) for state in states)
                and len(readers) == len(states) - 1
                and all(state["inodes"] == [inode] for state in readers)
            )

        eventually(lambda: all(state["lists"]["acct-1"] == ["8.8.8.0/24"] for state in workers.states()), pause=0.1)
        writer.add("acct-1", "1.1.1.1/32")
        eventually(lambda: settled("1.1.1.1/32", "8.8.8.0/24"), pause=0.1)
        eventually(lambda: snapshot_lists(snapshot) == ["1.1.1.1/32", "8.8.8.0/24"])

        for victim in workers.states()[1:]:  # the one that writes, if it is not the parent, and one that does not
            if victim["writes"] or victim["pid"] == workers.states()[-1]["pid"]:
                os.kill(victim["pid"], signal.SIGKILL)
        writer.replace("acct-1", "9.9.9.9/32")
        eventually(lambda: settled("9.9.9.9/32"), pause=0.1)


def test_the_turn_to_write_passes_on_when_a_process_ends(url: str, writer: RuleManager, snapshot: Path) -> None:
    with RuleManager.open(url, snapshot=snapshot, refresh_snapshot=0.05) as second:
        with RuleManager.open(url, snapshot=snapshot, refresh_snapshot=0.05) as first:
            writer.add("acct-1", "1.1.1.1/32")
            eventually(
                lambda: looks(first) and looks(second) and snapshot_lists(snapshot) == ["1.1.1.1/32", "8.8.8.0/24"]
            )
        writer.add("acct-1", "9.9.9.9/32")
        written = ["1.1.1.1/32", "8.8.8.0/24", "9.9.9.9/32"]
        eventually(lambda: looks(second) and snapshot_lists(snapshot) == written)
        assert second.matcher.prefixes("acct-1") == ["1.1.1.1/32", "8.8.8.0/24", "9.9.9.9/32"]


def looks(manager: RuleManager) -> bool:
    """True, once the thread that follows is told to look now at what it would look at by and by."""
    assert manager._replica.follower is not None
    manager._replica.follower.wake()
    return True


def snapshot_lists(snapshot: Path) -> list[str]:
    """What the file itself holds."""
    return Matcher.open(snapshot).prefixes("acct-1")


def test_a_snapshot_is_written_where_there_is_none(url: str, writer: RuleManager, tmp_path: Path) -> None:
    new = tmp_path / "new.snapshot"
    with RuleManager.open(url, snapshot=new, refresh_snapshot=60):
        eventually(new.exists)
        eventually(lambda: snapshot_lists(new) == ["8.8.8.0/24"])


def test_a_snapshot_that_was_deleted_is_written_again(url: str, writer: RuleManager, tmp_path: Path) -> None:
    new = tmp_path / "new.snapshot"
    with RuleManager.open(url, snapshot=new, refresh_snapshot=0.05) as manager:
        for _ in range(2):
            eventually(lambda: looks(manager) and new.exists())
            new.unlink()
        eventually(lambda: looks(manager) and new.exists())
        assert snapshot_lists(new) == ["8.8.8.0/24"]


def test_a_snapshot_that_cannot_be_written_stops_nothing(
    url: str, writer: RuleManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = tmp_path / "file" / "lists.snapshot"
    (tmp_path / "file").mkdir()
    with RuleManager.open(url, snapshot=nowhere, refresh_snapshot=0.05) as manager:
        eventually(nowhere.exists)
        for file in (tmp_path / "file").iterdir():
            file.unlink()
        (tmp_path / "file").rmdir()
        writer.add("acct-1", "1.1.1.1/32")
        eventually(lambda: looks(manager) and "cannot be written" in caplog.text)
        eventually(lambda: manager.allows("acct-1", "1.1.1.1"))


def no_lock_file(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a folder where this user may not write, or as root: something else is in the way."""
    Path(f"{snapshot}.lock").mkdir()


def no_locks(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system that has no locks."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)


def not_writable(code: int) -> Callable[[Path, pytest.MonkeyPatch], None]:
    def refuse(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def write(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr("cidrgate.replica.published_store.write_snapshot", write)

    return refuse


def a_bug(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def should_write(*_: object) -> bool:
        raise ZeroDivisionError("a bug in the writing of snapshots")

    monkeypatch.setattr("cidrgate.replica.snapshots.SharedSnapshot.should_write", should_write)


def no_memory(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cidrgate.replica.published_store.write_snapshot", write)


def not_readable(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the file is another user's: a snapshot that cannot be taken over."""

    def read(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("cidrgate.replica.published_store.read_snapshot", read)
    monkeypatch.setattr("cidrgate.replica.snapshots.SharedSnapshot.news", lambda _self: (1, 1))


FAULTS: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], None], str]] = {
    "lock": (no_lock_file, "cannot be locked"),
    "ENOLCK": (no_locks, "cannot be locked"),
    "EROFS": (not_writable(errno.EROFS), "cannot be written"),
    "ENOSPC": (not_writable(errno.ENOSPC), "cannot be written"),
    "EACCES": (not_writable(errno.EACCES), "cannot be written"),
    "EMFILE": (not_writable(errno.EMFILE), "cannot be written"),
    "memory": (no_memory, "MemoryError"),
    "bug": (a_bug, "a bug in the writing"),
    "unreadable": (not_readable, "shared snapshot cannot be used"),
}


@pytest.mark.fault(
    "the snapshot cannot be written or locked (a folder of another user, a file system without locks, no space)"
)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_snapshot_that_cannot_be_shared_is_said_once_and_keeps_no_change_waiting(
    fault: str,
    url: str,
    writer: RuleManager,
    snapshot: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The matcher follows on one and the same watch: every change is seen by its signal, and not by a new look."""
    spoil, said = FAULTS[fault]
    monkeypatch.setattr("cidrgate.replica.follower._FIRST_RETRY", 0.01)
    monkeypatch.setattr("cidrgate.replica.follower._LONGEST_RETRY", 0.02)
    spoil(snapshot, monkeypatch)
    with RuleManager.open(url, snapshot=snapshot, refresh_snapshot=0.001) as manager:
        eventually(lambda: looks(manager) and said in caplog.text)
        watch = manager._replica.follower._watch  # type: ignore[union-attr]
        writer.add("acct-2", "9.9.9.9/32", expires_at=soon())
        for number in range(10):
            cidr = f"1.1.{number}.0/24"
            writer.replace("acct-1", cidr)
            eventually(lambda cidr=cidr: manager.matcher.prefixes("acct-1") == [cidr])  # type: ignore[misc]
        eventually(lambda: not manager.allows("acct-2", "9.9.9.9"))
        assert watch is not None
        assert manager._replica.follower._watch is watch  # type: ignore[union-attr]
        assert len([record for record in caplog.records if said in record.getMessage()]) == 1
        monkeypatch.undo()
        if Path(f"{snapshot}.lock").is_dir():
            Path(f"{snapshot}.lock").rmdir()
        if fault != "unreadable":
            eventually(lambda: looks(manager) and snapshot_lists(snapshot) == ["1.1.9.0/24"])


@pytest.mark.fault("the snapshot cannot be read")
def test_a_snapshot_that_could_not_be_taken_over_is_tried_again(
    url: str, writer: RuleManager, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is not written anew meanwhile."""
    failing = iter([OSError("the disk was busy"), SnapshotError("cut"), MemoryError()])
    taken: list[Path] = []

    def sometimes(path: Path) -> object:
        for error in failing:
            raise error
        taken.append(path)
        return read_snapshot(path)

    monkeypatch.setattr("cidrgate.replica.follower._FIRST_RETRY", 0.01)
    with RuleManager.open(url, snapshot=snapshot) as manager:
        monkeypatch.setattr("cidrgate.replica.published_store.read_snapshot", sometimes)
        writer.add("acct-1", "1.1.1.1/32")
        writer.save_snapshot(snapshot)
        writer.add("acct-1", "9.9.9.9/32")
        # The signal of a change is what makes the follower look at the file.
        eventually(lambda: manager.allows("acct-1", "9.9.9.9"))
        for _ in range(1000):
            if taken:
                break
            manager._replica.follower.wake()  # type: ignore[union-attr]
            time.sleep(0.01)
        assert taken == [snapshot]
        assert manager.matcher.prefixes("acct-1") == ["1.1.1.1/32", "8.8.8.0/24", "9.9.9.9/32"]
