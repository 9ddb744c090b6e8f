"""How often the tests repeat what only shows after many repetitions: few times usually, many under `make test-long`."""

from __future__ import annotations

import os

__all__ = ["length"]


def length(usual: int, long: int) -> int:
    """One of two numbers of repetitions: the second where `CIDRGATE_LONG` is set."""
    return long if os.environ.get("CIDRGATE_LONG") else usual
