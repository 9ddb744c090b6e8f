"""A warm process that forks writers and kills them: two hundred crashes without two hundred imports.

Reads lines `name seed milliseconds` from standard input; for each it forks a child that makes random changes,
kills it after that time with SIGKILL, and answers with a line.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from tests.change_stream import run


def main(url: str, acknowledgements: str) -> None:
    """Crash writers of the store `url`; they acknowledge into the file `acknowledgements`."""
    descriptor = os.open(acknowledgements, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    print("ready", flush=True)
    for line in sys.stdin:
        name, seed, milliseconds = line.split()
        child = os.fork()
        if child == 0:
            run(url, name, int(seed), None, descriptor)
            os._exit(1)
        time.sleep(float(milliseconds) / 1000)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"ended by itself with {status}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
