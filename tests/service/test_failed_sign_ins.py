"""Failed sign-ins that wait for the store: none that was not stored is forgotten, also if there are too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.service.auth import failed_sign_ins
from cidrgate.service.auth.failed_sign_ins import FailedSignInLog, FailedSignIns
from cidrgate.values import Origin

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
