"""Sections that a signal handler may interrupt: no lock stays taken, nothing stays counted, and nobody is stuck."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from cidrgate.process import forking
from cidrgate.process.forking import work
from tests.forks import in_child
from tests.interruptions import ERRORS, Alarm, in_another_thread, interruptions

if TYPE_CHECKING:
    from collections.abc import Callable


def use_stores() -> None:
    with work(), work(sqlite=True):
        pass


def gate_is_free() -> bool:
    """Whether no thread is inside or forks, as another thread sees it, and that thread can enter."""

    def look() -> bool:
        free = not forking._gate._others() and not forking._gate._forks()
        use_stores()
        return free

    return bool(in_another_thread(look))


@pytest.mark.parametrize("error", ERRORS)
def test_nobody_stays_inside_the_gate_of_forks(error: type[BaseException]) -> None:
    count = 0
    for where in interruptions(use_stores, error):
        count += 1
        assert gate_is_free(), where
    assert count > 20
    assert not forking._gate._inside


@pytest.mark.parametrize("error", ERRORS)
def test_the_steps_around_a_fork_can_be_interrupted(error: type[BaseException]) -> None:
    """What is raised in a hook of a fork is printed, and the fork goes on with the next hook."""

    def fork() -> None:
        try:
            forking._gate.before()
        finally:
            forking._gate.after_in_parent()

    for where in interruptions(fork, error):
        forking._gate.after_in_parent()  # it is registered twice
        assert gate_is_free(), where


def test_an_end_of_a_fork_that_never_came_blocks_others_for_a_limited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_LONGEST_WAIT", 0.2)
    forking._gate.before()
    try:
        in_another_thread(use_stores)  # waits
        assert gate_is_free()
    finally:
        forking._gate.after_in_parent()


@pytest.mark.parametrize("error", ERRORS)
def test_a_child_whose_first_steps_were_interrupted_repeats_them(error: type[BaseException]) -> None:
    def become_child() -> list[str]:
        bad = []

        def become() -> None:
            forking._gate._process = 0  # as after a fork without hooks
            forking._gate._noticing = {}
            use_stores()

        for where in interruptions(become, error):
            use_stores()
            if forking._gate._process == 0 or not gate_is_free():
                bad.append(where)
        return bad

    assert in_child(become_child) == {"made": []}


def interrupted_by_alarms(operation: Callable[[], object], seconds: float, pause: float) -> int:
    """Call an operation all the time, while a signal handler raises again and again."""
    done, count, end = False, 0, time.monotonic() + seconds

    def handle(*_: object) -> None:
        if not done:
            raise Alarm

    before = signal.signal(signal.SIGALRM, handle)
    while not done:
        try:
            signal.setitimer(signal.ITIMER_REAL, pause * (0.2 + count % 17 / 10))
            again = time.monotonic() + 0.05  # an exception in a callback of the interpreter is lost
            while time.monotonic() < min(again, end):
                operation()
            done = time.monotonic() >= end
        except Alarm:
            count += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    return count


def test_alarms_leave_the_gate_of_forks_free() -> None:
    assert interrupted_by_alarms(use_stores, 1.0, 0.0007) > 100
    assert gate_is_free()
    assert in_child(forking.sqlite_is_lost) == {"made": False}
