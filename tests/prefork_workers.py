"""A service with forked workers: `python -m tests.prefork_workers URL SNAPSHOT WORKERS`.

The parent opens the store and forks. For each line on standard input it prints what every worker that lives serves.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TextIO

from cidrgate import RuleManager
from cidrgate.replica import replica


def state(manager: RuleManager, snapshot: str) -> dict[str, object]:
    """What a process serves, which inodes it maps the snapshot from, and whether it is the one that writes it."""
    maps = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines()]
    shared = manager._replica.published.shared
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "lists": {name: manager.matcher.prefixes(name) for name in ("acct-1", "acct-2")},
        "allows": manager.allows("acct-1", "8.8.8.8"),
        "inodes": sorted({int(line[4]) for line in maps if len(line) == 6 and line[5].split(" (")[0] == snapshot}),
        "writes": shared is not None and shared.leads,
    }


def worker(manager: RuleManager, snapshot: str, asked: int, answers: int) -> None:
    """Answer each byte on a pipe with a line on another."""
    while os.read(asked, 1):
        os.write(answers, json.dumps(state(manager, snapshot)).encode() + b"\n")


def main(url: str, snapshot: str, workers: int) -> None:
    """Fork workers, and pass on what they say until standard input ends."""
    replica._POLL = 0.2  # a look at the file every so often: less to wait for
    with RuleManager.open(url, snapshot=snapshot, refresh_snapshot=0.1) as manager:
        pipes: list[tuple[int, TextIO]] = []
        for _ in range(workers):
            (asked, ask), (answers, answer) = os.pipe(), os.pipe()
            if os.fork() == 0:
                os.close(ask)
                for others_ask, _ in pipes:
                    os.close(others_ask)
                worker(manager, snapshot, asked, answer)
                manager.close()
                os._exit(0)
            os.close(asked)
            os.close(answer)
            pipes.append((ask, os.fdopen(answers)))
        for _ in sys.stdin:
            found = [state(manager, snapshot)]
            for ask, lines in pipes:
                try:
                    os.write(ask, b"?")
                except BrokenPipeError:  # it was killed
                    continue
                if line := lines.readline():
                    found.append(json.loads(line))
            print(json.dumps(found), flush=True)
        for ask, _ in pipes:
            os.close(ask)
        for _ in pipes:
            os.wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
