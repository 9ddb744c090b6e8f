"""One process of a race: threads that share a manager and change the same few lists; then it tells what it serves.

Prints a line when all threads are done; then answers each line on standard input with what its matcher holds.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter

from tests.change_stream import change_accounts, change_something, open_manager, served


def main(url: str, name: str, threads: int, seconds: float, *, accounts: bool = False) -> None:
    """Change lists of the store `url` for some seconds, and with `accounts` their names and parents too."""
    change = change_accounts if accounts else change_something
    with open_manager(url) as manager:
        end = time.monotonic() + seconds
        done: Counter[int] = Counter()

        def work(thread: int) -> None:
            rng = random.Random(f"{name}-{thread}")
            while time.monotonic() < end:
                done[thread] += change(manager, rng, f"{name}-{thread}-{done[thread]}") is not None

        workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(json.dumps([done[thread] for thread in range(threads)]), flush=True)
        for _ in sys.stdin:
            print(json.dumps(served(manager)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), accounts="accounts" in sys.argv[5:])
