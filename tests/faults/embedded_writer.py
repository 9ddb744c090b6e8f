"""A program with a manager in it that changes lists in threads until a signal ends it.

Usage: python -m tests.faults.embedded_writer URL NAME

It says on its output what it asks for (`?`), what was stored (`+`), what was refused (`-`), and what nobody knows
(`~`), each with the label of the change.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from contextlib import suppress

from cidrgate import OutcomeUnknownError, RuleManager, StoreError
from tests.faults.invariants import ACCOUNTS

THREADS = 3


def say(sign: str, label: str) -> None:
    """Write a line at once; it is whole or not there."""
    os.write(1, f"{sign}{label}\n".encode())


def write(manager: RuleManager, name: str, number: int) -> None:
    """Change lists without end."""
    for step in itertools.count():
        label = f"{name}-{number}-{step}"
        say("?", label)
        try:
            cidr = f"9.{number}.{step >> 8 & 255}.{step & 255}/32"
            manager.replace(ACCOUNTS[(step + number) % len(ACCOUNTS)], [cidr, "8.8.8.8/32"], label=label)
        except OutcomeUnknownError:
            say("~", label)
        except StoreError:
            say("-", label)
            time.sleep(0.02)
        else:
            say("+", label)


def main(url: str, name: str) -> None:
    """Write until a signal ends it; SIGINT closes the manager under the writers."""
    with suppress(KeyboardInterrupt), RuleManager.open(url) as manager:
        for number in range(THREADS):
            threading.Thread(target=write, args=(manager, name, number), daemon=True).start()
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
