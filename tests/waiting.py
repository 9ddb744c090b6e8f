"""Waiting in tests for what happens in other threads and processes."""

from __future__ import annotations

import time
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
