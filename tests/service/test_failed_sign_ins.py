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
