"""How often the tests repeat what only shows after many repetitions: few times usually, many under `make test-long`."""

from __future__ import annotations

import os
from typing import TypeVar

__all__ = ["length"]

_Number = TypeVar("_Number", int, float)


def length(usual: _Number, long: _Number) -> _Number:
    """One of two numbers of repetitions: the second where `CIDRGATE_LONG` is set."""
    return long if os.environ.get("CIDRGATE_LONG") else usual
