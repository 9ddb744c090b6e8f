"""Forked children in tests: what a function makes in one, and what it raises there."""

from __future__ import annotations

import _thread
import ctypes
import faulthandler
import json
import logging
import os
import select
import signal
import sys
import tempfile
import threading
import time
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from cidrgate.process import forking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FOREIGN_FORKS", "in_child", "report_of", "start_child"]

PATIENCE = 60.0
_BEGINS = 20.0
"""Seconds in which a child that was forked without hooks begins, or does not count."""
_TURNS = 0.1
_FORKS = 10


def fork_without_hooks() -> int:
    """Fork as a server written in C does that tells Python nothing, such as uWSGI."""
    return _fork_in_c([], [], [])


def fork_with_half_of_the_hooks() -> int:
    """Fork as uWSGI does with `py-call-osafterfork`: Python learns of it afterwards, in the child."""
    return _fork_in_c([], [ctypes.pythonapi.PyOS_AfterFork_Child], [])


def fork_with_hooks() -> int:
    """Fork as a server written in C must, and as uWSGI does with `py-call-uwsgi-fork-hooks` from Python 3.13 on."""
    calls = ctypes.pythonapi
    return _fork_in_c([calls.PyOS_BeforeFork], [calls.PyOS_AfterFork_Child], [calls.PyOS_AfterFork_Parent])


FOREIGN_FORKS: dict[str, Callable[[], int]] = {"no hooks": fork_without_hooks, "hooks": fork_with_hooks}
if sys.version_info < (3, 13):  # from then on the interpreter ends a child that runs half of them
    FOREIGN_FORKS["half of the hooks"] = fork_with_half_of_the_hooks


@contextmanager
def _others_outside() -> Iterator[None]:
    """Let other threads that want to use a store wait, without the interpreter's lock."""
    me, enter, inside = threading.get_ident(), forking._gate.enter, threading.Lock()

    def wait_and_enter(work: forking.Work) -> None:
        if threading.get_ident() != me:
            with inside:
                pass
        enter(work)

    with inside, patch.object(forking._gate, "enter", wait_and_enter):
        yield


def _fork_in_c(
    before: list[Callable[[], object]], in_child: list[Callable[[], object]], in_parent: list[Callable[[], object]]
) -> int:
    interval = sys.getswitchinterval()
    # Between the calls the child must not be asked to let other threads run, as it has none. Without the hooks it would
    # wait for ever if another thread were just taking the interpreter's lock, so these threads wait for ours.
    sys.setswitchinterval(3600)
    with ExitStack() as held:
        held.enter_context(_others_outside())
        if not in_child:
            # Nor may another thread hold a lock that each new thread and each line of a log takes: only the hooks of
            # Python make these anew in the child.
            for lock in (vars(threading)["_active_limbo_lock"], vars(logging)["_lock"]):
                held.enter_context(lock)
        time.sleep(0.1)
        try:
            for call in before:
                call()
            pid: int = ctypes.PyDLL(None).fork()
            for call in in_parent if pid else in_child:
                call()
        finally:
            sys.setswitchinterval(interval)
    return pid


def start_child(do: Callable[[], object], fork: Callable[[], int] = os.fork) -> tuple[int, int]:
    """Fork; the child's process id, and where it will say what the function made.

    If another thread waits for the interpreter's lock at a fork without hooks, the child hangs as soon as two threads
    take turns there, whatever they run: glibc waits for all who wait on a condition variable, and the child does not
    have that thread. Such a child does not begin and does not count, and there is another fork. After any other fork,
    a child that does not begin is a failure.
    """
    forks, patience = (_FORKS, _BEGINS) if fork is fork_without_hooks else (1, PATIENCE)
    for _ in range(forks):
        pid, said = _forked(do, fork)
        if select.select([said], [], [], patience)[0]:
            os.read(said, 1)
            return pid, said
        os.kill(pid, signal.SIGKILL)
        os.close(said)
        os.waitpid(pid, 0)
    raise AssertionError(f"the child hangs at its beginning, beside these threads of its parent:\n{_stacks()}")


def _stacks() -> str:
    """What all threads do."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read().decode()


def _forked(do: Callable[[], object], fork: Callable[[], int]) -> tuple[int, int]:
    said, saying = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks is the point
        pid = fork()
    if pid == 0:
        _take_turns()
        os.write(saying, b" ")
        faulthandler.register(signal.SIGUSR1, saying)
        try:
            made: object = {"made": do()}
        except BaseException as error:  # noqa: BLE001 - nothing of the child may get into the test's own frames
            made = {"raised": type(error).__name__, "text": str(error)}
        os.write(saying, json.dumps(made).encode())
        os._exit(0)
    os.close(saying)
    return pid, said


def _take_turns() -> None:
    """Let two threads take the interpreter's lock from each other for a while."""
    ended: list[bool] = []

    def other() -> None:
        end = time.monotonic() + _TURNS
        while time.monotonic() < end:
            pass
        ended.append(True)

    time.sleep(0)
    _thread.start_new_thread(other, ())  # a thread of `threading` waits for its beginning
    while not ended:
        pass


def report_of(child: tuple[int, int]) -> dict[str, Any]:
    """What a child says at its end; a failure if it hangs."""
    pid, said = child
    ready, _, _ = select.select([said], [], [], PATIENCE)
    if not ready:
        os.kill(pid, signal.SIGUSR1)  # it says where
        time.sleep(1)  # line by line
        os.kill(pid, signal.SIGKILL)
    text = os.read(said, 1 << 16)
    os.close(said)
    os.waitpid(pid, 0)
    assert ready, f"the child hangs: {text.decode()}"
    found: dict[str, Any] = json.loads(text)
    return found


def in_child(do: Callable[[], object], fork: Callable[[], int] = os.fork) -> dict[str, Any]:
    """What a function makes in a forked child (`made`), or what it raises there (`raised`, `text`)."""
    return report_of(start_child(do, fork))
