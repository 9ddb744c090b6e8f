"""Forks processes that open the same new stores at the same time; the exit status says whether all could."""

from __future__ import annotations

import os
import sys
import time

import alembic.command  # noqa: F401 - loaded once, not by each of the forked

from cidrgate.stores import open_store
from tests.length import length

OPENERS = 6
ROUNDS = length(15, 60)


def failures(url: str) -> int:
    """How many of `OPENERS` processes could not open the new store `url`."""
    start = time.monotonic() + 0.01
    openers = []
    for _ in range(OPENERS):
        opener = os.fork()
        if opener == 0:
            while time.monotonic() < start:
                pass
            open_store(url, create=True).close()
            os._exit(0)
        openers.append(opener)
    return sum(os.waitpid(opener, 0)[1] != 0 for opener in openers)


if __name__ == "__main__":
    sys.exit(sum(failures(f"sqlite:///{sys.argv[1]}/{number}.db") for number in range(ROUNDS)))
