"""How long a committed change takes to be seen by `allows` in another process, while changes go on at a steady rate.

    python -m benchmarks.propagation sqlite:///FILE | postgresql://…   [--rate 200] [--seconds 20]

A process writes, at the given rate, and notes when each commit returned; another one opens a manager, asks it again and
again, and notes when it first allowed what a change listed. Both read the machine's one monotonic clock. The second
looks about five times a millisecond, which is part of the figures. `benchmarks.cluster` measures both stores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np

from cidrgate import Entry, RuleManager
from cidrgate.stores import StoredChange, open_store

Milliseconds: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]

RATE = 200.0
ACCOUNTS = 100
LOOK = 0.000_2
BAR = 50
PATIENCE = 600.0


def account(change: int) -> str:
    """The account a change is about."""
    return f"acct-{change % ACCOUNTS}"


def address(change: int) -> str:
    """The address a change lists, which no change before it did."""
    number = change + 1
    return f"9.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def write(url: str, rate: float, count: int) -> None:
    """Make changes at a rate; print when each commit returned, in nanoseconds."""
    store = open_store(url)
    commits = []
    for _ in sys.stdin:  # the reader is ready
        break
    start = time.monotonic()
    for change in range(count):
        time.sleep(max(0.0, start + change / rate - time.monotonic()))
        with store.write() as transaction:
            owner = transaction.account(account(change))
            if owner is None:
                raise SystemExit(f"there is no account {account(change)}")
            at = datetime.now(UTC)
            entry = Entry(
                id=next(transaction.new_entry_ids()),
                account=owner.name,
                cidr=f"{address(change)}/32",
                label=None,
                created_at=at,
                created_by=None,
            )
            before = tuple(transaction.entries(owner))
            transaction.apply([StoredChange(owner, "replace", before, (entry,))], at=at)
        commits.append(time.monotonic_ns())
    store.close()
    print(json.dumps(commits))


def read(url: str, count: int) -> None:
    """Follow; print when each change was first seen, in nanoseconds.

    One that the next change of its account overtook counts until that one was seen.
    """
    with RuleManager.open(url) as manager:
        print("ready", flush=True)
        allows = manager.matcher.allows
        seen = [0] * count
        pending = list(range(count))
        end = time.monotonic() + PATIENCE
        while pending and time.monotonic() < end:
            # Only the next change of each account can be there.
            for change in pending[: 2 * ACCOUNTS]:
                if allows(account(change), address(change)):
                    now = time.monotonic_ns()
                    for overtaken in range(change, -1, -ACCOUNTS):
                        if seen[overtaken]:
                            break
                        seen[overtaken] = now
            pending = [change for change in pending if not seen[change]]
            time.sleep(LOOK)
    print(json.dumps(seen))


def measure(url: str, rate: float, seconds: float) -> tuple[Milliseconds, float]:
    """Milliseconds from commit to sight, a change each; and the rate that was kept, lower on a machine that is busy."""
    with RuleManager.open(url, follow=False, create=True) as manager:
        for number in range(ACCOUNTS):
            manager.create_account(account(number))
            manager.add(account(number), "8.8.8.0/24")  # so that it is enforced
    command = [sys.executable, "-m", "benchmarks.propagation", url, "--rate", str(rate), "--seconds", str(seconds)]
    with (
        subprocess.Popen([*command, "--role", "read"], stdout=subprocess.PIPE, text=True) as reader,
        subprocess.Popen(
            [*command, "--role", "write"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as writer,
    ):
        if reader.stdout is None or writer.stdin is None or writer.stdout is None:
            raise AssertionError
        reader.stdout.readline()
        print(file=writer.stdin, flush=True)
        commits = np.array(json.loads(writer.stdout.readline()))
        seen = np.array(json.loads(reader.stdout.readline()))
    if not seen.all():
        raise SystemExit(f"{np.count_nonzero(seen == 0)} changes were never seen")
    # Seen before the call that commits has returned is seen at once.
    late: Milliseconds = np.maximum(seen - commits, 0) / 1e6
    return late, (len(commits) - 1) / max(commits[-1] - commits[0], 1) * 1e9


def quantiles(milliseconds: Milliseconds, *percents: float) -> list[float]:
    """The times within which so many percent of the changes were seen."""
    return [float(value) for value in np.percentile(milliseconds, percents)]


def described(name: str, milliseconds: Milliseconds, rate: float) -> str:
    """The quantiles and a histogram."""
    p50, p90, p99 = quantiles(milliseconds, 50, 90, 99)
    lines = [
        f"{name}: {len(milliseconds)} changes at {rate:.0f}/s, commit to sight in another process",
        f"  p50 {p50:.2f} ms   p90 {p90:.2f} ms   p99 {p99:.2f} ms   max {milliseconds.max():.2f} ms",
    ]
    edges = np.array([0, 0.5, 1, 2, 3, 5, 10, 20, 50, 100, 150, 200, np.inf])
    counts, _ = np.histogram(milliseconds, edges)
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        lines.append(f"  {low:6g} to {high:6g} ms {count:7d} {'#' * round(BAR * count / counts.max())}")
    return "\n".join(lines)


def main() -> None:
    """Measure a store."""
    parser = argparse.ArgumentParser(description="How long a change takes to be seen in another process.")
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=RATE, help="changes a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--role", choices=["measure", "write", "read"], default="measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    count = round(arguments.rate * arguments.seconds)
    if arguments.role == "write":
        write(arguments.url, arguments.rate, count)
    elif arguments.role == "read":
        read(arguments.url, count)
    else:
        name = arguments.url.partition(":")[0]
        print(described(name, *measure(arguments.url, arguments.rate, arguments.seconds)))


if __name__ == "__main__":
    main()
