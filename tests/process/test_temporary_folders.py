"""Temporary folders of killed processes are deleted, and no others."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

import pytest

from cidrgate.process.temporary_folders import temporary_folder

if TYPE_CHECKING:
    from pathlib import Path

USES = ("authorize", "replay", "rules", "spark")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("use", USES)
def test_the_folder_of_a_killed_process_is_deleted_by_the_next_one(temporary: Path, use: str) -> None:
    """It may contain all lists. Nothing else is deleted, and no folder that a process uses."""
    victim = temporary / "victim"
    victim.mkdir()
    (victim / "lock").touch()
    (temporary / f"cidrgate-{use}-link").symlink_to(victim)
    (temporary / f"cidrgate-{use}-new").mkdir()
    (temporary / "cidrgate-other").mkdir()
    others = set(temporary.iterdir())
    unlocked = temporary / f"cidrgate-{use}-unlocked"  # of a process that was killed before it had the lock
    unlocked.mkdir()
    os.utime(unlocked, (0, time.time() - 100))
    left = temporary / f"cidrgate-{use}-left"
    left.mkdir()
    (left / "lock").touch()
    (left / "lists.snapshot").touch()
    held = os.open(left / "lock", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)  # as a worker holds it
    with temporary_folder(use) as first, temporary_folder(use) as second:
        assert left.exists()
        assert not unlocked.exists()
        os.close(held)
        with temporary_folder(use) as third:
            assert set(temporary.iterdir()) == {*others, first, second, third}
            assert third.stat().st_mode & 0o777 == 0o700
    assert set(temporary.iterdir()) == others
    assert (victim / "lock").exists()
