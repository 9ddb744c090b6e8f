"""Faults of the place where a node keeps its snapshot, while writers are at work: no change waits for it."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from cidrgate import Matcher, RuleManager
from tests.faults.invariants import ROUNDS, Ledger, check, no_stranger, prepare, report, writers
from tests.faults.other_process import other_process
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.other_process import OtherProcess

pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit, of Linux")

SPACE = 256 << 10
"""Bytes of the file system that is filled; a snapshot of six lists takes some thousand."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store with enforced accounts, which whoever runs the node may write to."""
    if request.param == "sqlite":
        (tmp_path / "store").mkdir()
        made = f"sqlite:///{tmp_path}/store/lists.db"
    else:
        made = str(request.getfixturevalue("postgres_url"))
    prepare(made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the snapshot is."""
    (tmp_path / "snapshots").mkdir()
    return tmp_path / "snapshots"


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small file system there, where this user may; and say so."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path, node: OtherProcess, *, mounted: bool) -> Iterator[None]:
    """Take away the space, of the file system or else of the process."""
    if mounted:
        with (folder / "in the way").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        yield
        (folder / "in the way").unlink()
    else:
        before = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (512, before[1]))
        yield
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, before)


def complaints(node: OtherProcess) -> int:
    """How often the node said that it does not write the snapshot."""
    return sum("the shared snapshot cannot be written: " in line and "works again" not in line for line in node.said())


@pytest.mark.fault(
    "the snapshot cannot be written or locked (a folder of another user, a file system without locks, no space)"
)
@pytest.mark.parametrize("kind", ["file system", "process"])
def test_a_snapshot_for_which_there_is_no_space(kind: str, url: str, folder: Path) -> None:
    """The last one stays whole; the next one is written as soon as there is space."""
    ledger = Ledger()
    snapshot = folder / "lists.snapshot"
    with small_disk(folder) as mounted:
        mounted = mounted and kind == "file system"
        with other_process(url, snapshot) as node, RuleManager.open(url) as one, RuleManager.open(url) as other:
            with no_stranger(ledger, one, node), writers(ledger, [one, other]):
                for number in range(ROUNDS):
                    eventually(snapshot.exists)
                    before = snapshot.stat().st_mtime_ns
                    with full(folder, node, mounted=mounted):
                        eventually(lambda number=number: complaints(node) > number)  # type: ignore[misc]
                        ledger.wait_for_more(20)
                        assert Matcher.open(snapshot).enforced("acct-0")  # the last one is whole
                    eventually(lambda before=before: snapshot.stat().st_mtime_ns > before)  # type: ignore[misc]
            check(url, ledger, [one, other, node])
            assert len(list(folder.iterdir())) == 2, "parts of snapshots are left behind"
            # Said once each time, however often it was tried.
            report(f"no space for the snapshot, {kind}", ledger, complaints=complaints(node), mounted=mounted)
        assert not ledger.refused
        assert not ledger.unknown
        with RuleManager.open(url, snapshot=snapshot) as started:
            check(url, ledger, [started])


def somebody_else(folder: Path) -> list[str]:
    """Give the folder to another user; what runs the node as one who may only read there."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        return []
    nobody = pwd.getpwnam("nobody")
    for path in (folder, *folder.iterdir()):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # root, whom rights bind like everybody


def without_rights(folder: Path, url: str) -> tuple[list[str], list[str]]:
    return somebody_else(folder), []


def another_users(folder: Path, url: str) -> tuple[list[str], list[str]]:
    """Written by another user, who is gone: it may not even be read."""
    with RuleManager.open(url, follow=False) as manager:
        manager.save_snapshot(folder / "lists.snapshot")
    (folder / "lists.snapshot").chmod(0o000 if os.geteuid() else 0o600)
    return somebody_else(folder), []


def without_locks(folder: Path, url: str) -> tuple[list[str], list[str]]:
    return [], ["without-locks"]


@pytest.mark.fault(
    "the snapshot cannot be written or locked (a folder of another user, a file system without locks, no space)"
)
@pytest.mark.parametrize(
    "place",
    [
        without_rights,
        pytest.param(another_users, marks=pytest.mark.fault("the snapshot cannot be read")),
        without_locks,
    ],
)
def test_a_snapshot_that_cannot_be_shared(
    place: Callable[[Path, str], tuple[list[str], list[str]]], url: str, folder: Path
) -> None:
    ledger = Ledger()
    run_as, options = place(folder, url)
    with (
        other_process(url, folder / "lists.snapshot", *options, run_as=run_as) as node,
        RuleManager.open(url) as one,
    ):
        with no_stranger(ledger, one, node), writers(ledger, [one]):
            eventually(lambda: complaints(node) > 0)
            ledger.wait_for_more(20 * ROUNDS)
        check(url, ledger, [one, node])
        assert complaints(node) == 1
        report(f"snapshot {place.__name__.replace('_', ' ')}", ledger, said=node.said()[-1][:100])
    assert not ledger.refused
    assert not ledger.unknown
    folder.chmod(0o755)
