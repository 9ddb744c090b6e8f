"""Files are their owner's alone, and no link that somebody has put in the way is followed."""

from __future__ import annotations

import errno
import logging
import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from cidrgate import Matcher, NewEntry, RuleManager
from cidrgate.process import private_files
from cidrgate.process.private_files import create_empty, open_lock, replacement
from cidrgate.replica.snapshots import SharedSnapshot
from cidrgate.stores import migrate_store, open_store
from tests.command_line import typed
from tests.ordinary_user import an_ordinary_user, hand_over
from tests.waiting import eventually
from tests.warm_starts import Program, output_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: mode(path) for path in folder.iterdir()}


def command(*arguments: str) -> None:
    result = typed(["-d", "lists.db", *arguments])
    assert result.exit_code == 0, result.stderr


def shared_snapshot(folder: Path) -> None:
    with RuleManager.open(folder / "lists.db", create=True, follow=False) as manager:
        manager._replica.published.shared = SharedSnapshot(folder / "lists.snapshot", 0.001)
        manager._replica.published.shared._write_at = 0
        manager._replica.published.write_shared_snapshot()
        assert sorted(path.name for path in folder.glob("*.snapshot*")) == ["lists.snapshot", "lists.snapshot.lock"]


def exported(folder: Path, form: str) -> None:
    command("add", "a", "8.8.8.0/24", "--create")
    command("export", "-o", str(folder / f"lists.{form}"))


CREATORS: dict[str, Callable[[Path], object]] = {
    "open_store": lambda folder: open_store(folder / "lists.db", create=True).close(),
    "migrate_store": lambda folder: migrate_store(folder / "lists.db"),
    "connect": lambda folder: RuleManager.open(folder / "lists.db", create=True, load=False).close(),
    "open": lambda folder: RuleManager.open(folder / "lists.db", create=True).close(),
    "account create": lambda _: command("account", "create", "a"),
    "add --create": lambda _: command("add", "a", "8.8.8.0/24", "--create"),
    "migrate": lambda _: command("migrate"),
    "token create": lambda _: command("token", "create", "ops", "--scope", "admin"),
    "Matcher.save": lambda folder: Matcher().save(folder / "lists.snapshot"),
    "shared snapshot": shared_snapshot,
    "export csv": lambda folder: exported(folder, "csv"),
    "export jsonl": lambda folder: exported(folder, "jsonl"),
}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077, 0o177])
@pytest.mark.parametrize("creator", list(CREATORS))
def test_what_is_created_is_its_owners_alone(
    creator: str, mask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with umask(mask):
        CREATORS[creator](tmp_path)
    assert modes(tmp_path)
    assert set(modes(tmp_path).values()) == {0o600}


def test_a_umask_that_takes_everything_takes_nothing_from_the_owner(tmp_path: Path) -> None:
    with umask(0o777):
        create_empty(tmp_path / "empty")
        with replacement(tmp_path / "written") as file:
            file.write(b"x")
    assert modes(tmp_path) == {"empty": 0o600, "written": 0o600}


def test_the_files_beside_an_open_store_are_its_owners_alone(tmp_path: Path) -> None:
    with umask(0), RuleManager.open(tmp_path / "lists.db", create=True) as manager:
        manager.create_account("a")
        assert modes(tmp_path) == dict.fromkeys(["lists.db", "lists.db-wal", "lists.db-shm"], 0o600)


def test_files_that_are_there_keep_their_mode(tmp_path: Path) -> None:
    """So that what an operator has allowed to a group stays allowed."""
    for name, kept in {"a": 0o640, "b": 0o644, "c": 0o400}.items():
        path = tmp_path / name
        path.write_text("before")
        path.chmod(kept)
        Matcher().save(path)
        assert mode(path) == kept
        with replacement(path) as file:
            file.write(b"after")
        assert mode(path) == kept
    path = tmp_path / "lists.db"
    open_store(path, create=True).close()
    path.chmod(0o660)
    open_store(path).close()
    assert mode(path) == 0o660


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of others")
def test_the_group_is_handed_down_and_the_mode_of_a_strangers_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    path.touch(0o640)
    os.chown(path, 0, 4242)
    with replacement(path) as file:
        file.write(b"x")
    assert (path.stat().st_gid, mode(path)) == (4242, 0o640)
    path.chmod(0o666)
    os.chown(path, 65_534, 4242)
    with replacement(path) as file:
        file.write(b"x")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (0, os.getegid(), 0o600)


def test_a_store_that_others_may_read_is_told_once_by_who_follows_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lists.db"
    open_store(path, create=True).close()
    with caplog.at_level(logging.WARNING, "cidrgate"):
        with RuleManager.open(path, follow=False) as manager:
            manager._store.watch().close()
        assert not caplog.records
        path.chmod(0o644)
        RuleManager.open(path, load=False).close()
        assert not caplog.records
        for _ in range(2):
            with RuleManager.open(path, follow=False) as manager:
                manager._store.watch().close()
    [record] = caplog.records
    assert "chmod o=" in record.getMessage()


@pytest.fixture
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file that belongs to somebody who never asked for any of this."""
    path = tmp_path_factory.mktemp("victims") / "victim"
    path.write_text("precious")
    path.chmod(0o644)
    yield path
    assert path.read_text() == "precious"
    assert mode(path) == 0o644


def test_no_name_beside_a_file_can_be_guessed(tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links at the names that are usual for unfinished files lead nowhere."""
    monkeypatch.chdir(tmp_path)
    command("add", "a", "8.8.8.0/24", "--create")
    for name in ("lists.csv", "lists.snapshot"):
        for form in ("{}.tmp", ".{}.part", "{}.part", "{}~", ".{}", ".{}.{}.part", "{}.{}", ".{}.swp", "{}.new"):
            Path(form.format(name, os.getpid())).symlink_to(victim)
    planted = {path.name for path in tmp_path.iterdir() if path.is_symlink()}
    command("export", "-o", "lists.csv")
    command("compile", "lists.snapshot")
    assert {path.name for path in tmp_path.iterdir() if path.is_symlink()} == planted
    assert {path.name for path in tmp_path.iterdir()} - planted == {"lists.db", "lists.csv", "lists.snapshot"}


def test_the_names_of_unfinished_files_differ(tmp_path: Path) -> None:
    seen = set()
    for _ in range(3):
        with replacement(tmp_path / "lists.csv"):
            [unfinished] = [path for path in tmp_path.iterdir() if path.name != "lists.csv"]
            assert mode(unfinished) == 0o600
            seen.add(unfinished.name)
    assert len(seen) == 3


def test_an_export_through_a_link_is_refused_and_a_snapshot_replaces_it(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command("add", "a", "8.8.8.0/24", "--create")
    for target in (victim, tmp_path / "nowhere"):
        link = tmp_path / "lists.csv"
        link.symlink_to(target)
        result = typed(["-d", "lists.db", "export", "-o", "lists.csv"])
        assert (result.exit_code, "symbolic link" in result.stderr) == (2, True)
        assert link.is_symlink()
        link.unlink()
        link.symlink_to(target)
        command("compile", "lists.csv")
        assert not link.is_symlink()
        assert len(Matcher.open(link)) == 1
        link.unlink()
    assert not (tmp_path / "nowhere").exists()


def test_a_pipe_or_a_device_is_written_to(tmp_path: Path) -> None:
    with RuleManager.open(tmp_path / "lists.db", create=True, load=False) as manager:
        manager.import_accounts({"a": [NewEntry("8.8.8.0/24")]})
    os.mkfifo(tmp_path / "pipe")
    run = [sys.executable, "-m", "cidrgate", "-d", "lists.db", "export", "--csv", "-o"]
    with Program([*run, "pipe"], cwd=tmp_path) as writer:
        # Nobody might ever write to it.
        read = subprocess.run(["cat", tmp_path / "pipe"], capture_output=True, text=True, timeout=60, check=True)
        assert read.stdout.splitlines()[1].startswith("a,8.8.8.0/24,")
        assert writer.wait(60) == 0
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    for target in ("/dev/null", "/dev/stdout"):
        done = output_of([*run, target], timeout=60, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (b"8.8.8.0/24" in done.stdout) is (target == "/dev/stdout")


@pytest.mark.parametrize("link", [False, True], ids=["pipe", "link to a pipe"])
def test_no_file_takes_the_place_of_a_pipe_or_a_device(tmp_path: Path, link: bool) -> None:
    """Who is root and names /dev/null for a snapshot keeps /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    target = tmp_path / "pipe"
    if link:
        target = tmp_path / "link"
        target.symlink_to("pipe")
    with pytest.raises(FileExistsError, match="not a regular file"), replacement(target):
        pass
    with RuleManager.open(tmp_path / "lists.db", create=True, follow=False) as manager:
        manager.create_account("a")
        with pytest.raises(FileExistsError, match="not a regular file"):
            manager.save_snapshot(target)
    assert stat.S_ISFIFO(target.stat().st_mode)
    assert target.is_symlink() is link
    assert {path.name for path in tmp_path.iterdir()} <= {"pipe", "link", "lists.db", "lists.db-wal", "lists.db-shm"}


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "lists.csv").write_text("before")

    def fail(error: type[BaseException]) -> None:
        with replacement(tmp_path / "lists.csv") as file:
            file.write(b"half")
            raise error

    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(error)
    assert [path.name for path in tmp_path.iterdir()] == ["lists.csv"]
    assert (tmp_path / "lists.csv").read_text() == "before"


def test_a_folder_that_cannot_be_read_is_refused_before_the_file_is_replaced() -> None:
    """The new name could not be brought to the disk, and the caller would be told of a failure of what was done."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lists.csv"
        path.write_text("before")
        hand_over(path, path.parent)
        path.parent.chmod(0o300)
        with an_ordinary_user(), pytest.raises(PermissionError), replacement(path) as file:
            file.write(b"after")
        path.parent.chmod(0o700)
        assert [one.name for one in path.parent.iterdir()] == ["lists.csv"]
        assert path.read_text() == "before"


def unfinished(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith(".cidrgate-")}


def write(path: Path, content: bytes = b"x") -> None:
    with replacement(path) as file:
        file.write(content)


def grow_old(path: Path) -> None:
    os.utime(path, (0, 0))


def test_what_a_killed_process_left_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    """Otherwise a process that is killed again and again while it writes would fill the disk."""
    program = (
        "import os, pathlib, signal; from cidrgate.process.private_files import replacement\n"
        "with replacement(pathlib.Path('lists.csv')) as file: os.kill(os.getpid(), signal.SIGKILL)"
    )
    for _ in range(2):
        assert output_of([sys.executable, "-c", program], timeout=60, cwd=tmp_path).returncode == -signal.SIGKILL
    left = unfinished(tmp_path)
    assert len(left) == 2
    grow_old(tmp_path / min(left))
    write(tmp_path / "another")
    assert unfinished(tmp_path) == {max(left)}, "the other one may be of a machine whose locks are not seen here"


def test_what_a_living_process_writes_is_not_deleted(tmp_path: Path) -> None:
    """However long it takes, and in which order they end."""
    with replacement(tmp_path / "slow") as file:
        file.write(b"slow")
        file.flush()
        [name] = unfinished(tmp_path)
        grow_old(tmp_path / name)
        with replacement(tmp_path / "slow") as other:
            other.write(b"fast")
            assert name in unfinished(tmp_path)
        assert unfinished(tmp_path) == {name}
    assert (tmp_path / "slow").read_bytes() == b"slow"
    assert unfinished(tmp_path) == set()


def test_other_files_are_not_deleted(tmp_path: Path, victim: Path) -> None:
    """Nor are links followed, and pipes waited for."""
    token = "0123456789abcdef01234567"
    kept = [f".cidrgate-{token}.csv", f"cidrgate-{token}", f".cidrgate-{token[:-1]}", f".cidrgate-{token[:-1]}g"]
    for name in kept:
        (tmp_path / name).touch()
        grow_old(tmp_path / name)
    (tmp_path / f".cidrgate-{token}").symlink_to(victim)
    os.mkfifo(tmp_path / f".cidrgate-{token[::-1]}")
    (tmp_path / f".cidrgate-{token[1:]}0").mkdir()
    before = {path.name for path in tmp_path.iterdir()}
    write(tmp_path / "lists.csv")
    assert {path.name for path in tmp_path.iterdir()} == {*before, "lists.csv"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of others")
def test_the_files_of_other_users_are_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / ".cidrgate-0123456789abcdef01234567"
    path.touch()
    os.chown(path, 65_534, -1)
    grow_old(path)
    write(tmp_path / "lists.csv")
    assert path.exists()


def test_a_file_system_without_locks_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(private_files, "_lock", refuse)
    path = tmp_path / ".cidrgate-0123456789abcdef01234567"
    path.touch()
    grow_old(path)
    write(tmp_path / "lists.csv")
    assert path.exists()


def a_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def a_dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("created"))


def a_pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path, victim: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("put", [a_link, a_dangling_link, a_pipe, a_folder])
def test_what_stands_in_the_way_of_a_lock_is_left_alone(
    put: Callable[[Path, Path], None], tmp_path: Path, victim: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The process does not write the snapshot, says so once, and follows its store all the same."""
    snapshot = tmp_path / "lists.snapshot"
    put(Path(f"{snapshot}.lock"), victim)
    with pytest.raises(OSError, match="lock"):
        open_lock(Path(f"{snapshot}.lock"))
    with (
        caplog.at_level(logging.WARNING, "cidrgate"),
        RuleManager.open(tmp_path / "lists.db", create=True, snapshot=snapshot, refresh_snapshot=0.01) as manager,
        RuleManager.open(tmp_path / "lists.db", load=False) as other,
    ):
        for number in range(3):
            other.create_account(f"acct-{number}")
            eventually(lambda number=number: f"acct-{number}" in manager.matcher)  # type: ignore[misc]
    assert len([record for record in caplog.records if "cannot write the snapshot" in record.getMessage()]) == 1
    assert not snapshot.exists()
    assert not victim.with_name("created").exists()


def test_a_lock_file_keeps_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "lists.snapshot.lock"
    path.write_text("notes")
    os.close(open_lock(path))
    assert path.read_text() == "notes"


def test_a_store_is_not_created_through_a_link(tmp_path: Path, victim: Path) -> None:
    """Nor is one where a link was put between the look and the creation."""
    link = tmp_path / "lists.db"
    link.symlink_to(victim.with_name("created"))
    with pytest.raises(FileExistsError):
        create_empty(link)
    assert not victim.with_name("created").exists()


@pytest.mark.parametrize("name", ["lists.db", "lists.csv"])
@pytest.mark.parametrize("command", ["compile", "export"])
def test_a_store_is_replaced_by_nothing_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    """Who takes the file that a command writes for the one that it reads loses nothing."""
    monkeypatch.chdir(tmp_path)
    with RuleManager.open(tmp_path / name, create=True, follow=False) as manager:
        manager.create_account("a")
        manager.add("a", "8.8.8.0/24")
    arguments = ["compile", name] if command == "compile" else ["export", "-o", name, "--csv"]
    result = typed(["-d", str(tmp_path / name), *arguments])
    assert result.exit_code == 2
    assert "the file is a database" in result.stderr
    with RuleManager.open(tmp_path / name, follow=False) as manager:
        assert [entry.cidr for entry in manager.entries("a")] == ["8.8.8.0/24"]


def test_a_store_is_not_its_own_snapshot(tmp_path: Path) -> None:
    store = tmp_path / "lists.db"
    with RuleManager.open(store, create=True, follow=False) as manager:
        manager.create_account("a")
        for _ in range(3):
            with pytest.raises(FileExistsError, match="the file is a database"):
                manager.save_snapshot(store)
            manager.add("a", "8.8.8.0/24")
            manager.remove("a", "8.8.8.0/24", allow_empty=True)
    with RuleManager.open(store, follow=False) as manager:
        assert not manager.entries("a")
