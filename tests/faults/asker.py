"""Asks a service until a second line comes on its input, and tells how long the answers took. Begins at the first one.

Usage: python -m tests.faults.asker URL TOKEN PATH...
"""

from __future__ import annotations

import json
import sys
import threading
import time

import httpx


def main(url: str, token: str, *paths: str) -> None:
    """Ask each path in a thread of its own, once at least."""
    print("ready", flush=True)
    sys.stdin.readline()
    ended = threading.Event()
    figures: dict[str, dict[str, float]] = {}

    def ask(path: str) -> None:
        taken: list[float] = []
        failed = 0
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
            while not (taken and ended.wait(0.1)):
                began = time.perf_counter()
                answer = client.get(path)
                taken.append(time.perf_counter() - began)
                failed += answer.status_code != httpx.codes.OK
        taken.sort()
        p99 = taken[int(len(taken) * 0.99)]
        figures[path] = {"answers": len(taken), "failed": failed, "p99_ms": round(p99 * 1000, 1)}

    asking = [threading.Thread(target=ask, args=(path,)) for path in paths]
    for thread in asking:
        thread.start()
    sys.stdin.readline()
    ended.set()
    for thread in asking:
        thread.join()
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
