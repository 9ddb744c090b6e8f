"""How long a committed change takes to reach the subscribers of `/v1/changes/stream`.

    python -m benchmarks.feed [--stores SQLite PostgreSQL] [--rate 100] [--seconds 20] [--subscribers 5] [--smoke]

A process writes at a steady rate, with several threads, and notes when each commit returned. `cidrgate serve` is
another process. This one holds the streams open, and notes when each event arrived. All read the machine's one
monotonic clock.
Every subscriber must have got every change, once and in order. The target is a 99th percentile of 100 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from benchmarks.propagation import described, quantiles
from cidrgate import RuleManager
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.postgres import PostgresServer, find_binaries

STORES = ["SQLite", "PostgreSQL"]
RATE, SECONDS, SUBSCRIBERS = 100.0, 20.0, 5
TARGET_MS = 100.0
ACCOUNTS = 50
WRITERS = 4
PATIENCE = 30.0


def write(url: str, rate: float, count: int) -> None:
    """Make changes at a rate; print when the commit of each returned, in nanoseconds, by its label."""
    commits: dict[str, int] = {}
    with RuleManager.open(url, load=False) as manager, ThreadPoolExecutor(WRITERS) as pool:
        start = time.monotonic()

        def change(number: int) -> None:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            manager.edit(f"acct-{number % ACCOUNTS}", "8.8.8.0/24", label=f"{number}")
            commits[f"{number}"] = time.monotonic_ns()

        list(pool.map(change, range(count)))
    print(json.dumps(commits))


def subscribe(url: str, token: str, count: int, ready: threading.Barrier) -> list[tuple[int, str, int]]:
    """The sequence and the label of each change, and when it arrived, in nanoseconds."""
    seen: list[tuple[int, str, int]] = []
    with httpx.stream(
        "GET", f"{url}/v1/changes/stream", headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE
    ) as response:
        for line in response.iter_lines():
            if line.startswith("id:") and not seen and not ready.broken and ready.n_waiting < ready.parties:
                ready.wait(PATIENCE)
                ready = threading.Barrier(1)
            elif line.startswith("data:"):
                now = time.monotonic_ns()
                record = json.loads(line.removeprefix("data:"))
                seen.append((record["sequence"], record["after"][0]["label"], now))
                if len(seen) == count:
                    break
    return seen


def measure(
    url: str, rate: float, seconds: float, subscribers: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
    """Milliseconds from commit to each subscriber, and the rate that was kept."""
    count = round(rate * seconds)
    with RuleManager.open(url, create=True, load=False) as manager:
        manager.import_accounts({f"acct-{number}": "8.8.8.0/24" for number in range(ACCOUNTS)})
        token = Credentials(manager._store).create_token("feed", [Scope("admin")]).secret
    serve = [sys.executable, "-m", "cidrgate", "serve", "-d", url, "--port", "0", "--json"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            if server.stdout is None:
                raise AssertionError
            address = json.loads(server.stdout.readline())["url"]
            ready = threading.Barrier(subscribers + 1)
            with ThreadPoolExecutor(subscribers) as pool:
                streams = [pool.submit(subscribe, address, token, count, ready) for _ in range(subscribers)]
                ready.wait(PATIENCE)
                command = [sys.executable, "-m", "benchmarks.feed", "--write", url, str(rate), str(count)]
                commits: dict[str, int] = json.loads(subprocess.check_output(command))
                found = [stream.result(PATIENCE + seconds) for stream in streams]
        finally:
            server.terminate()
    for seen in found:
        sequences = [sequence for sequence, _, _ in seen]
        if sequences != sorted(set(sequences)) or {label for _, label, _ in seen} != commits.keys():
            raise SystemExit("a subscriber did not get each change once and in order")
    late = np.array([max(now - commits[label], 0) for seen in found for _, label, now in seen]) / 1e6
    ended = sorted(commits.values())
    return late, (count - 1) / max(ended[-1] - ended[0], 1) * 1e9


def main() -> None:
    """Measure the stores."""
    parser = argparse.ArgumentParser(description="How long a change takes to reach the subscribers of the feed.")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--rate", type=float, default=RATE, help="changes a second")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--subscribers", type=int, default=SUBSCRIBERS)
    parser.add_argument("--smoke", action="store_true", help="run everything for a blink, without a target")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        url, rate, count = arguments.write
        write(url, float(rate), int(count))
        return
    seconds = 0.5 if arguments.smoke else arguments.seconds
    late = False
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for name in arguments.stores:
            if name == "SQLite":
                url = f"sqlite:///{folder}/lists.db"
            elif (binaries := find_binaries()) is None:
                print("PostgreSQL is not measured: on Debian, apt-get install postgresql")
                continue
            else:
                url = stack.enter_context(PostgresServer(binaries)).new_database()
            times, rate = measure(url, arguments.rate, seconds, arguments.subscribers)
            print(described(f"{name}, {arguments.subscribers} subscribers", times, rate))
            [p99] = quantiles(times, 99)
            late = late or p99 > TARGET_MS
    if late and not arguments.smoke:
        raise SystemExit(f"the 99th percentile is above {TARGET_MS:.0f} ms")


if __name__ == "__main__":
    main()
