"""Failed sign-ins that wait for the store: none that was not stored is forgotten, also if there are too many."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest

from cidrgate import OutcomeUnknownError
from cidrgate.service.auth import failed_sign_ins
from cidrgate.service.auth.failed_sign_ins import FailedSignInLog, FailedSignIns
from cidrgate.values import Origin
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_what_comes_while_the_store_writes_is_not_lost() -> None:
    stored: list[FailedSignIns] = []
    late = [FailedSignIns(Origin(kind="token", address=f"192.0.2.{number}"), 1) for number in range(5)]

    def write(rows: Sequence[FailedSignIns]) -> None:
        stored.extend(rows)
        while late and len(stored) == failed_sign_ins._MOST_WAITING:
            log._waiting.append(late.pop(0))

    log = FailedSignInLog(write)
    wanted = set(late)
    log._waiting.extend(
        FailedSignIns(Origin(kind="token", address=f"198.51.100.{number}"), 1)
        for number in range(failed_sign_ins._MOST_WAITING)
    )
    assert log._store()
    assert set(log._waiting) == wanted
    assert log._store()
    assert wanted <= set(stored)
    assert len(log._waiting) == 0


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for another attempt."""
    monkeypatch.setattr(failed_sign_ins, "_RETRY", 0.01)


def failure(last: int = 7) -> Origin:
    return Origin(kind="token", address=f"198.51.100.{last}")


@pytest.mark.usefixtures("at_once")
def test_any_error_is_told_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    stored: list[FailedSignIns] = []
    errors: list[Exception] = [MemoryError(), OSError(24, "Too many open files"), OSError(24, "Too many open files")]

    def write(rows: Sequence[FailedSignIns]) -> None:
        if errors:
            raise errors.pop()
        stored.extend(rows)

    log = FailedSignInLog(write)
    with caplog.at_level(logging.INFO, "cidrgate"):
        log.add(failure())
        eventually(lambda: [row.count for row in stored] == [1])
        log.close()
    told = [record.getMessage() for record in caplog.records]
    for part in ("Too many open files", "MemoryError", "works again"):
        assert len([one for one in told if part in one]) == 1, part


def test_what_may_be_stored_is_not_stored_again(caplog: pytest.LogCaptureFixture) -> None:
    """It would be counted twice."""
    stored: list[FailedSignIns] = []

    def write(rows: Sequence[FailedSignIns]) -> None:
        stored.extend(rows)
        raise OutcomeUnknownError("the answer to the commit was lost")

    log = FailedSignInLog(write)
    log.add(failure())
    eventually(lambda: len(stored) == 1 and not log._waiting)
    log.close()
    assert len(stored) == 1
    assert "1 failed sign-ins may be missing from the change log" in caplog.text


def test_a_thread_that_has_died_gets_a_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[FailedSignIns] = []
    log = FailedSignInLog(stored.extend)
    with monkeypatch.context() as patch:
        patch.setattr(log, "_run", lambda: None)
        log.add(failure(1))
        assert isinstance(log._writer, threading.Thread)
        log._writer.join(10)
    log.add(failure(2))
    eventually(lambda: len(stored) == 2)
    log.close()


def missing(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of failures that are in no row."""
    told = [record.getMessage() for record in caplog.records]
    return [one for one in told if "missing from the change log" in one]


def test_the_last_rows_are_stored_also_if_the_writer_is_at_work() -> None:
    stored: list[FailedSignIns] = []
    entered, leave = threading.Event(), threading.Event()

    def write(rows: Sequence[FailedSignIns]) -> None:
        entered.set()
        assert leave.wait(10)
        stored.extend(rows)

    log = FailedSignInLog(write)
    for _ in range(1000):
        log.add(failure())
    assert entered.wait(10)
    closing = threading.Thread(target=log.close)
    closing.start()
    eventually(log._closed.is_set)
    leave.set()
    closing.join(10)
    assert [row.count for row in stored] == [1, 999]


@pytest.mark.usefixtures("at_once")
def test_what_is_lost_at_the_end_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    def write(_: object) -> None:
        raise OSError(24, "Too many open files")

    log = FailedSignInLog(write)
    for last in (7, 7, 7, 8):
        log.add(failure(last))
    log.close()
    log.close()
    [told] = missing(caplog)
    assert told.startswith("4 failed sign-ins are missing")


def test_what_a_silent_store_may_lose_at_the_end_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(failed_sign_ins, "_FAREWELL", 0.05)
    entered, leave = threading.Event(), threading.Event()

    def write(_: object) -> None:
        entered.set()
        assert leave.wait(10)

    log = FailedSignInLog(write)
    for _ in range(5):
        log.add(failure())
    assert entered.wait(10)
    log.close()
    leave.set()
    [told] = missing(caplog)
    assert told.startswith("5 failed sign-ins may be missing")


@pytest.mark.usefixtures("at_once")
def test_rows_that_were_dropped_to_make_room_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(failed_sign_ins, "_MOST_WAITING", 2)
    stored: list[FailedSignIns] = []
    fails = threading.Event()
    fails.set()

    def write(rows: Sequence[FailedSignIns]) -> None:
        if fails.is_set():
            raise OSError(24, "Too many open files")
        stored.extend(rows)

    log = FailedSignInLog(write)
    for last in range(5):
        log.add(failure(last))
    fails.clear()
    eventually(lambda: len(stored) == 2)
    log.close()
    [told] = missing(caplog)
    assert told.startswith("3 failed sign-ins are missing")


def test_new_failures_make_nobody_try_again_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood would be as many writes to a store that does not work."""
    monkeypatch.setattr(failed_sign_ins, "_RETRY", 60.0)
    attempts: list[object] = []

    def write(rows: object) -> None:
        attempts.append(rows)
        raise OSError(24, "Too many open files")

    log = FailedSignInLog(write)
    log.add(failure())
    eventually(lambda: len(attempts) == 1)
    for last in range(20):
        log.add(failure(last))
    [writer] = [one for one in threading.enumerate() if one is log._writer]
    writer.join(0.3)
    assert len(attempts) == 1
    log.close()
    assert not writer.is_alive()
