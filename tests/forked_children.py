"""A service that forks again and again: `python -m tests.forked_children URL SNAPSHOT FORKS`.

The parent follows the store, writes to it, writes a snapshot anew and opens the store again and again, all in threads
of its own, while it forks. Each child has to see that an entry is revoked which was listed when it was forked; every
other one makes a change itself, and some fork again. At the end the parent prints what became of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import warnings
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from cidrgate import RuleManager, StoreError
from cidrgate.replica import replica

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 4
"""Children that live at the same time."""

BOUND = 20.0
"""Seconds in which a child sees a revocation, on a machine however busy."""

SEEN, LATE, REFUSED, WRONG = 0, 3, 4, 5


@dataclass
class Report:
    """What became of the children.

    Attributes:
        forks: How many there were.
        hangs: Children that did not end by themselves.
        late: Children that did not see a revocation within the bound.
        refused: Children that could not use the store, and said so.
        wrong: Children that did anything else.
        lost: Changes that a child was told are stored, and are not.
        longest_fork: Seconds in `os.fork`, at most.
    """

    forks: int = 0
    hangs: int = 0
    late: int = 0
    refused: int = 0
    wrong: int = 0
    lost: int = 0
    longest_fork: float = 0.0
    changed: list[str] = field(default_factory=list)


def child(manager: RuleManager, name: str, number: int) -> int:
    """Wait for the revocation, change something, or let a child of its own do so."""
    end = time.monotonic() + BOUND
    while manager.allows(name, "8.8.8.8"):
        if time.monotonic() > end:
            return LATE
        time.sleep(0.002)
    if manager.staleness > BOUND:
        return LATE
    try:
        if number % 2:
            manager.add(name, "9.9.9.9/32", actor="child")
            if not manager.allows(name, "9.9.9.9"):
                return WRONG
    except StoreError as error:
        print(f"child {number}: {error}", file=sys.stderr)
        return REFUSED
    if number % 10 == 0:
        grandchild = os.fork()
        if grandchild == 0:
            return SEEN if not manager.allows(name, "8.8.8.8") and manager.entries(name) is not None else WRONG
        return os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])
    if number % 3 == 0:
        manager.close()
    return SEEN


def busy(stop: threading.Event, manager: RuleManager, url: str) -> Iterator[threading.Thread]:
    """Threads that keep the store in use."""

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            manager.replace("churn", f"9.9.{number % 256}.0/24")

    def load() -> None:
        while not stop.is_set():
            with RuleManager.open(url) as other:
                other.allows("churn", "8.8.8.8")

    yield threading.Thread(target=change)
    yield threading.Thread(target=load)


def ended(pid: int, patience: float) -> int | None:
    """How a child ended; None if it had to be killed."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def main(url: str, snapshot: str, forks: int) -> None:
    """Fork, and print the report."""
    warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks is what this is about
    replica._POLL = 0.2
    report = Report()
    with RuleManager.open(url, snapshot=snapshot, refresh_snapshot=0.05) as manager:
        manager.import_accounts({"churn": []})
        stop = threading.Event()
        threads = list(busy(stop, manager, url))
        for thread in threads:
            thread.start()
        living: list[tuple[int, int, str]] = []

        def wait_for_one() -> None:
            pid, number, name = living.pop(0)
            status = ended(pid, 2 * BOUND)
            report.hangs += status is None
            report.late += status == LATE
            report.refused += status == REFUSED
            report.wrong += status not in (None, SEEN, LATE, REFUSED)
            if status == SEEN and number % 2:
                report.changed.append(name)

        for number in range(forks):
            name = f"acct-{number}"
            manager.create_account(name)
            manager.add(name, "8.8.8.0/24, 1.1.1.1/32")
            began = time.monotonic()
            pid = os.fork()
            if pid == 0:
                try:
                    status = child(manager, name, number)
                except BaseException as error:  # noqa: BLE001
                    print(f"child {number}: {error!r}", file=sys.stderr)
                    status = WRONG
                os._exit(status)
            report.forks += 1
            report.longest_fork = max(report.longest_fork, time.monotonic() - began)
            manager.remove(name, "8.8.8.0/24")
            living.append((pid, number, name))
            if len(living) == AT_ONCE:
                wait_for_one()
        while living:
            wait_for_one()
        stop.set()
        for thread in threads:
            thread.join()
    with RuleManager.open(url, follow=False) as after:
        for name in report.changed:
            report.lost += "9.9.9.9/32" not in [entry.cidr for entry in after.entries(name)]
    record = asdict(report)
    del record["changed"]
    print(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
