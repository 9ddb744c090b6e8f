"""Forked children in tests: what a function makes in one, and what it raises there."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fork_without_python", "in_child", "report_of", "start_child"]

PATIENCE = 60.0


def fork_without_python() -> int:
    """Fork as a server written in C does, which tells Python afterwards, in the child."""
    before = sys.getswitchinterval()
    # Between the two calls the child must not be asked to let other threads run, as it has none.
    sys.setswitchinterval(3600)
    time.sleep(0.05)
    try:
        pid: int = ctypes.PyDLL(None).fork()
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
    finally:
        sys.setswitchinterval(before)
    return pid


def start_child(do: Callable[[], object], fork: Callable[[], int] = os.fork) -> tuple[int, int]:
    """Fork; the child's process id, and where it will say what the function made."""
    said, saying = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks is the point
        pid = fork()
    if pid == 0:
        try:
            made: object = {"made": do()}
        except BaseException as error:  # noqa: BLE001 - nothing of the child may get into the test's own frames
            made = {"raised": type(error).__name__, "text": str(error)}
        os.write(saying, json.dumps(made).encode())
        os._exit(0)
    os.close(saying)
    return pid, said


def report_of(child: tuple[int, int]) -> dict[str, Any]:
    """What a child says at its end; a failure if it hangs."""
    pid, said = child
    ready, _, _ = select.select([said], [], [], PATIENCE)
    if not ready:
        os.kill(pid, signal.SIGKILL)
    text = os.read(said, 1 << 16)
    os.close(said)
    os.waitpid(pid, 0)
    assert ready, "the child hangs"
    found: dict[str, Any] = json.loads(text)
    return found


def in_child(do: Callable[[], object], fork: Callable[[], int] = os.fork) -> dict[str, Any]:
    """What a function makes in a forked child (`made`), or what it raises there (`raised`, `text`)."""
    return report_of(start_child(do, fork))
