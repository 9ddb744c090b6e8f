"""Waiting in tests for what happens in other threads and processes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30.0


def eventually(condition: Callable[[], bool], patience: float = PATIENCE, pause: float = 0.002) -> None:
    """Wait until something is so; fail when it is not after a long time."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(pause)


def soon() -> datetime:
    """The end of an entry or a mode that a test waits for. It is later than the change that sets it, under load too."""
    return datetime.now(UTC) + timedelta(seconds=1)
