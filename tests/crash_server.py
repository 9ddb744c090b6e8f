"""A warm process that forks writers and kills them: two hundred crashes without two hundred imports.

Reads lines `name seed changes milliseconds` from standard input; for each it forks a child that makes random changes,
waits until it has acknowledged so many and that time has passed, kills it with SIGKILL, and answers with a line.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import alembic.command  # noqa: F401 - loaded once, not by each of the forked

from tests.change_stream import run

PATIENCE_SECONDS = 60.0


def wait_for_lines(descriptor: int, start: int, count: int) -> None:
    """Wait until so many lines stand in a file after a place, or no longer."""
    end = time.monotonic() + PATIENCE_SECONDS
    while count and time.monotonic() < end:
        if os.pread(descriptor, os.fstat(descriptor).st_size - start, start).count(b"\n") >= count:
            return
        time.sleep(0.000_5)


def main(url: str, acknowledgements: str) -> None:
    """Crash writers of the store `url`; they acknowledge into the file `acknowledgements`."""
    descriptor = os.open(acknowledgements, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    print("ready", flush=True)
    for line in sys.stdin:
        name, seed, changes, milliseconds = line.split()
        start = os.fstat(descriptor).st_size
        child = os.fork()
        if child == 0:
            run(url, name, int(seed), None, descriptor)
            os._exit(1)
        wait_for_lines(descriptor, start, int(changes))
        time.sleep(float(milliseconds) / 1000)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"ended by itself with {status}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
