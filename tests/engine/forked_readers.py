"""A process that forks while a thread reads an array: `python -m tests.engine.forked_readers FORKS`.

Each child publishes and adopts, which waits for readers. Prints how many of them did not end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings

import numpy as np

from cidrgate import Matcher

BOUND = 20.0


def ended(pid: int) -> bool:
    """Whether a child ends by itself, and well."""
    end = time.monotonic() + BOUND
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def main(forks: int) -> None:
    """Fork, and print what became of it."""
    warnings.simplefilter("ignore", DeprecationWarning)
    matcher = Matcher()
    matcher.publish("acct-1", [f"8.{number >> 8}.{number & 255}.0/24" for number in range(20_000)])
    addresses = np.arange(3_000_000, dtype=np.uint32) * np.uint32(1_431)
    reading, stop = threading.Event(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            reading.set()
            matcher.allows_many("acct-1", addresses)

    thread = threading.Thread(target=read)
    thread.start()
    reading.wait()
    failed = 0
    for _ in range(forks):
        pid = os.fork()
        if pid == 0:
            matcher.publish("acct-2", ["9.9.9.9/32"])
            other = Matcher()
            other.publish("acct-3", ["1.1.1.1/32"])
            matcher.adopt(other)
            good = matcher.prefixes("acct-3") == ["1.1.1.1/32"] and "acct-1" not in matcher
            os._exit(0 if good else 1)
        failed += not ended(pid)
    stop.set()
    thread.join()
    print(failed)


if __name__ == "__main__":
    main(int(sys.argv[1]))
