"""A program with a manager in it that changes lists in threads until a signal ends it.

Usage: python tests/faults/embedded_writer.py URL NAME ACCOUNT,... [REVISION]

It says on its output what it asks for (`?`), what was stored (`+`), what was refused (`-`), and what nobody knows
(`~`), each with the label of the change. For each line of input it says which lists it serves (`=`); from the first one
on it changes nothing any more.

With a revision it takes itself for the cidrgate of that schema. It imports nothing but cidrgate, so that a real one of
then can be used as well.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from contextlib import suppress

import cidrgate
from cidrgate import RuleManager, StoreError
from cidrgate.stores import migrations

THREADS = 3

Unknown: type[Exception] = getattr(cidrgate, "OutcomeUnknownError", ZeroDivisionError)
"""Older ones have no such error."""


def say(sign: str, text: str) -> None:
    """Write a line at once; it is whole or not there."""
    os.write(1, f"{sign}{text}\n".encode())


def write(manager: RuleManager, name: str, accounts: list[str], number: int, ended: threading.Event) -> None:
    """Change lists until it shall not."""
    for step in itertools.count():
        if ended.is_set():
            return
        label = f"{name}-{number}-{step}"
        say("?", label)
        try:
            cidr = f"9.{number}.{step >> 8 & 255}.{step & 255}/32"
            manager.replace(accounts[(step + number) % len(accounts)], [cidr, "8.8.8.8/32"], label=label)
        except Unknown:
            say("~", label)
        except StoreError as error:
            say("-", label)
            print(error, file=sys.stderr, flush=True)
            time.sleep(0.02)
        else:
            say("+", label)


def main(url: str, name: str, accounts: list[str], revision: str = migrations.HEAD) -> None:
    """Write until a signal ends it; SIGINT closes the manager under the writers."""
    migrations.HEAD = revision
    ended = threading.Event()
    with suppress(KeyboardInterrupt), RuleManager.open(url) as manager:
        threads = [
            threading.Thread(target=write, args=(manager, name, accounts, number, ended), daemon=True)
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for _ in sys.stdin:
            ended.set()
            for thread in threads:
                thread.join()
            say("=", json.dumps({account: manager.matcher.prefixes(account) for account in accounts}))
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3].split(","), *sys.argv[4:])
