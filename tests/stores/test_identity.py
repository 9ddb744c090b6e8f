"""A SQLite file that is replaced or deleted while it is in use fails loudly: no acknowledged change is lost."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from cidrgate import OutcomeUnknownError, RuleManager, StoreError
from tests.forks import in_child
from tests.ordinary_user import an_ordinary_user, hand_over
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def moved_over(path: Path, backup: Path) -> None:
    backup.replace(path)


def copied_anew(path: Path, backup: Path) -> None:
    path.unlink()
    shutil.copy(backup, path)


def deleted(path: Path, backup: Path) -> None:
    path.unlink()


def created_anew(path: Path, backup: Path) -> None:
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()
    RuleManager.open(f"sqlite:///{path}", create=True, follow=False).close()


def folder_moved(path: Path, backup: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def link_turned(path: Path, backup: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(backup)
    link.replace(path)


def moved_behind_a_link(path: Path, backup: Path) -> None:
    """The same file, and another log for whoever opens it by the link."""
    moved = path.rename(path.with_name("moved.db"))
    path.symlink_to(moved)


FAULTS = [moved_over, copied_anew, deleted, created_anew, folder_moved, link_turned, moved_behind_a_link]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store" / "lists.db"


@pytest.fixture
def backup(path: Path, tmp_path: Path) -> Path:
    """What the store was before the last change."""
    with RuleManager.open(f"sqlite:///{path}", create=True, follow=False) as manager:
        manager.create_account("acct-1")
    copy = tmp_path / "backup.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


@pytest.fixture
def manager(path: Path, backup: Path) -> Iterator[RuleManager]:
    with RuleManager.open(f"sqlite:///{path}") as manager:
        manager.add("acct-1", "8.8.8.0/24")
        yield manager


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_read_or_written_any_more(
    fault: Callable[[Path, Path], None], manager: RuleManager, path: Path, backup: Path
) -> None:
    fault(path, backup)
    for _ in range(3):
        with pytest.raises(StoreError, match="replaced or deleted while it was open: restart"):
            manager.add("acct-1", "1.1.1.1/32")
        with pytest.raises(StoreError, match="replaced or deleted"):
            manager.entries("acct-1")
        with pytest.raises(StoreError, match="replaced or deleted"):
            manager._store.watch()
    old = manager.staleness
    eventually(lambda: manager.staleness > old + 0.2)  # the follower is told by nothing that all is well
    assert manager.matcher.allows("acct-1", "8.8.8.8")
    assert not manager.matcher.allows("acct-1", "1.1.1.1")


@pytest.mark.fault("the directory of a SQLite file cannot be searched any more")
def test_a_file_that_cannot_be_looked_at_is_used_again_when_it_can(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="cidrgate")
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "lists.db"
        with RuleManager.open(path, create=True) as manager:
            manager.create_account("acct-1")
            hand_over(folder, *folder.iterdir())
            with an_ordinary_user():
                folder.chmod(0o000)
                for use in (
                    lambda: manager.entries("acct-1"),
                    lambda: manager.add("acct-1", "8.8.8.0/24"),
                    lambda: next(manager.follow_changes()),
                    manager._store.watch,
                ):
                    with pytest.raises(StoreError, match=r"cannot be searched.*give this user permission"):
                        use()
                eventually(lambda: "store_lost" in said(caplog))
                folder.chmod(0o700)
                manager.add("acct-1", "8.8.8.0/24")
                eventually(lambda: "store_back" in said(caplog))
        assert not {"follower_failed", "task_failed"} & set(said(caplog))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The names of the events in the log."""
    return [record.__dict__.get("cidrgate", {}).get("event", "").removeprefix("cidrgate.") for record in caplog.records]


def test_an_old_file_that_comes_back_is_used_again(manager: RuleManager, path: Path, tmp_path: Path) -> None:
    """No connection that was made to the file in between is kept."""
    aside = tmp_path / "aside"
    path.parent.rename(aside)
    path.parent.mkdir()
    RuleManager.open(f"sqlite:///{path}", create=True, follow=False).close()
    for _ in range(3):
        with pytest.raises(StoreError, match="replaced or deleted"):
            manager.entries("acct-1")
        with pytest.raises(StoreError, match="replaced or deleted"):
            manager.add("acct-1", "1.1.1.1/32")
    shutil.rmtree(path.parent)
    aside.rename(path.parent)
    assert manager.add("acct-1", "1.1.1.1/32").after
    with RuleManager.open(f"sqlite:///{path}", follow=False) as other:
        assert [entry.cidr for entry in other.entries("acct-1")] == ["1.1.1.1/32", "8.8.8.0/24"]
    eventually(lambda: manager.staleness < 0.2)


def log_deleted(log: Path) -> None:
    log.unlink()


def log_emptied(log: Path) -> None:
    """Deleted, and made anew by who comes next."""
    log.unlink()
    log.touch()


def log_moved(log: Path) -> None:
    log.rename(log.with_name("aside"))


@pytest.mark.parametrize("log", ["-wal", "-shm"])
@pytest.mark.parametrize("fault", [log_deleted, log_emptied, log_moved])
def test_nothing_is_read_or_written_without_the_log(
    fault: Callable[[Path], None], log: str, manager: RuleManager, path: Path
) -> None:
    """Connections that are made later would write to another log: what was stored stays, and nothing is added."""
    manager._store.tidy()
    fault(path.with_name(f"lists.db{log}"))
    for _ in range(3):
        with pytest.raises(StoreError, match=r"write-ahead log of .* was deleted or replaced"):
            manager.add("acct-1", "1.1.1.1/32")
        with pytest.raises(StoreError, match="write-ahead log"):
            manager.entries("acct-1")
        with pytest.raises(StoreError, match="write-ahead log"):
            manager._store.watch()
    old = manager.staleness
    eventually(lambda: manager.staleness > old + 0.2)
    assert manager.matcher.allows("acct-1", "8.8.8.8")
    manager.close()
    with RuleManager.open(f"sqlite:///{path}") as after:
        assert [entry.cidr for entry in after.entries("acct-1")] == ["8.8.8.0/24"]
        after.add("acct-1", "1.1.1.1/32")


@pytest.mark.parametrize("fault", [log_deleted, log_emptied])
@pytest.mark.parametrize("log", ["-wal", "-shm"])
def test_the_log_of_a_store_that_was_opened_by_a_link_is_watched(
    fault: Callable[[Path], None], log: str, path: Path, backup: Path
) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with RuleManager.open(f"sqlite:///{link}", follow=False) as manager:
        manager.add("acct-1", "8.8.8.0/24")
        fault(path.with_name(f"lists.db{log}"))
        with pytest.raises(StoreError, match="write-ahead log"):
            manager.add("acct-1", "1.1.1.1/32")


def test_a_file_with_several_names_is_opened_by_none(manager: RuleManager, path: Path) -> None:
    """SQLite keeps a log for each name: what one process stores, another would not see, and overwrite."""
    other = path.with_name("other.db")
    other.hardlink_to(path)
    for name in (path, other):
        with pytest.raises(StoreError, match=r"more than one name.*find -samefile"):
            RuleManager.open(f"sqlite:///{name}")
    manager.add("acct-1", "1.1.1.1/32")  # nobody of ours is in the way
    other.unlink()
    with RuleManager.open(f"sqlite:///{path}", follow=False) as again:
        assert [entry.cidr for entry in again.entries("acct-1")] == ["1.1.1.1/32", "8.8.8.0/24"]


MOUNT = """
import subprocess, sys
from pathlib import Path
from cidrgate import RuleManager, StoreError
source, target, path = sys.argv[1:]
subprocess.run(["mount", "--bind", source, target], check=True)
try:
    RuleManager.open(f"sqlite:///{path}", create=True).close()
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["lists.db", "several words\\ and\tä.db"])
@pytest.mark.parametrize("what", ["file", "link to the file", "empty file", "folder"])
def test_a_file_that_is_mounted_alone_is_not_opened(what: str, name: str, tmp_path: Path) -> None:
    """Its log would be beside the place where it is mounted, as `docker -v ./lists.db:/data/lists.db` mounts it."""
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], timeout=60, check=False).returncode:
        pytest.skip("needs unshare (on Debian: apt-get install util-linux) and the right to mount")
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        folder.mkdir()
    if what == "empty file":
        (source / name).touch()
    else:
        RuleManager.open(f"sqlite:///{source / name}", create=True, load=False).close()
    path = target / name
    path.touch()
    used = path
    if what == "link to the file":
        used = tmp_path / "link"
        used.symlink_to(path)
    mounted = (source, target) if what == "folder" else (source / name, path)
    done = subprocess.run(
        [*command, sys.executable, "-c", MOUNT, *map(str, (*mounted, used))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ("is mounted as a single file" in done.stdout) == (what != "folder"), done.stdout + done.stderr


def test_a_log_that_sqlite_itself_has_made_anew_is_used(manager: RuleManager) -> None:
    """Where nobody had the file open, as while a process forks."""
    for number in range(3):
        assert in_child(lambda number=number: len(manager.add("acct-1", f"1.1.{number}.0/24").after)) == {"made": 1}  # type: ignore[misc]
        assert len(manager.entries("acct-1")) == number + 2
        manager.add("acct-1", f"9.9.{number}.0/24")
        manager.remove("acct-1", f"9.9.{number}.0/24")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_replaced_during_a_change_takes_it_back(
    fault: Callable[[Path, Path], None], manager: RuleManager, path: Path, backup: Path
) -> None:
    meddling = manager.with_hooks(before_store=lambda _: fault(path, backup))
    with pytest.raises(StoreError, match="replaced or deleted") as refusal:
        meddling.add("acct-1", "1.1.1.1/32")
    assert not isinstance(refusal.value, OutcomeUnknownError)


def test_a_file_that_is_replaced_during_the_commit_is_told_of(
    manager: RuleManager, path: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = manager._store
    commit = store._writes.commit  # type: ignore[attr-defined]

    def then_replaced(*arguments: object) -> None:
        commit(*arguments)
        moved_over(path, backup)

    monkeypatch.setattr(store._writes, "commit", then_replaced)  # type: ignore[attr-defined]
    with pytest.raises(OutcomeUnknownError, match="the file that is gone"):
        manager.add("acct-1", "1.1.1.1/32")
