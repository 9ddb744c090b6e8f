"""A manager that is closed leaves nothing open, whatever interrupts its steps."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import RuleManager
from cidrgate.replica.follower import Follower
from cidrgate.traffic import Traffic
from cidrgate.traffic.recorder import Recorder
from tests.interruptions import ERRORS
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a system that lists open files")


def left(folder: Path, before: set[threading.Thread]) -> list[str]:
    """The files in a folder that this process has open, and the threads that run since."""
    files = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:  # of the iteration
            continue
        if target.startswith(str(folder)):
            files.append(target)
    return files + [thread.name for thread in threading.enumerate() if thread not in before]


STEPS: dict[str, tuple[type, str]] = {
    "the traffic is stored": (Recorder, "stop"),
    "matches are stored": (RuleManager, "store_matches"),
    "the threads are waited for": (Follower, "join"),
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_the_steps_after_an_interrupted_one_are_taken(
    step: tuple[type, str], error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    manager = RuleManager.open(
        tmp_path / "lists.db",
        create=True,
        snapshot=tmp_path / "lists.snapshot",
        refresh_snapshot=0.05,
        traffic=Traffic(),
    )
    eventually((tmp_path / "lists.snapshot").exists)
    do: Callable[..., Any] = getattr(*step)

    def interrupted(*arguments: Any) -> None:
        do(*arguments)
        raise error

    monkeypatch.setattr(*step, interrupted)
    with pytest.raises(error):
        manager.close()
    eventually(lambda: not left(tmp_path, before))
    monkeypatch.undo()
    manager.close()
    assert not left(tmp_path, before)
