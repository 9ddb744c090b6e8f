"""What many processes and machines cost: importing, starting, and how long a change takes to be seen elsewhere.

    python -m benchmarks.cluster [--accounts 1000000] [--stores SQLite PostgreSQL] [--smoke]

Prints the figures beside what is asked for; a page of them is written to `benchmarks/results` but for a smoke run. Each
step is a process of its own, so that its memory is its own. The lists to import are made while they are imported, in
the same process and the time that is measured. The PostgreSQL server is started for the purpose, on the same machine
and the same processors, with its files on the disk and a commit as durable as in production. Times depend on what else
the machine does; processor time hardly does, and is measured beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import propagation
from cidrgate import NewEntry, RuleManager
from tests.postgres import PostgresServer, find_binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STORES = ["SQLite", "PostgreSQL"]
ENTRIES = 10
RESULTS = Path(__file__).parent / "results"
GIB = 1 << 30

SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
"""What one would give a server with so many entries."""

OCTETS = [str(number) for number in range(256)]


def lists(accounts: int) -> Iterator[tuple[str, list[NewEntry]]]:
    """Ten entries for each account, seven IPv4 and three IPv6, all public and no two the same."""
    for account in range(accounts):
        high, low = OCTETS[account >> 8 & 255], OCTETS[account & 255]
        middle = f".{OCTETS[account >> 16 & 255]}.{high}.{low}/32"
        groups = f"::{account >> 16:x}:{account & 65535:x}:"
        yield (
            f"acct-{account}",
            [NewEntry(f"{first}{middle}") for first in range(20, 27)]
            + [NewEntry(f"2606:4700{groups}{last}/128") for last in range(1, 4)],
        )


def import_lists(url: str, accounts: int, _: str) -> dict[str, float]:
    """Import into an empty store."""
    with RuleManager.open(url, create=True, load=False) as manager:
        began = time.perf_counter()
        report = manager.import_accounts(lists(accounts), actor="bench")
        seconds = time.perf_counter() - began
    if report.problems or report.entries != accounts * ENTRIES:
        raise SystemExit(f"not everything was imported: {next(iter(report.problems.items()), report)}")
    return {"seconds": seconds, "entries": report.entries}


def compile_snapshot(url: str, _: int, snapshot: str) -> dict[str, float]:
    """Start by reading the store, and write a snapshot."""
    began = time.perf_counter()
    with RuleManager.open(url, follow=False) as manager:
        seconds = time.perf_counter() - began
        manager.save_snapshot(snapshot)
    return {"seconds": seconds}


def start(url: str, accounts: int, snapshot: str) -> dict[str, float]:
    """Start from a snapshot, and answer."""
    began = time.perf_counter()
    with RuleManager.open(url, follow=False, snapshot=snapshot) as manager:
        if manager.allows(f"acct-{accounts - 1}", "9.9.9.9"):
            raise SystemExit("this is not what was imported")
        return {"seconds": time.perf_counter() - began}


STEPS = {"import": import_lists, "compile": compile_snapshot, "start": start}


def run(step: str, url: str, accounts: int, snapshot: Path) -> dict[str, float]:
    """A step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.cluster", "--step", step, url, str(accounts), str(snapshot)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures: dict[str, float] = json.loads(done.stdout)
    return figures | {"cpu": used}


@dataclass
class Report:
    """Rows of figures with what is asked for, and the histograms.

    Attributes:
        judges: Whether what is asked for is compared; not where too little is measured to tell.
    """

    judges: bool
    rows: list[tuple[str, str, str, bool | None]] = field(default_factory=list)
    histograms: list[str] = field(default_factory=list)

    def add(self, what: str, figure: str, wanted: str = "", *, met: bool | None = None) -> None:
        """Note and print a figure."""
        met = met if self.judges else None
        self.rows.append((what, figure, wanted, met))
        verdict = {None: "", True: f"  ({wanted}: met)", False: f"  ({wanted}: MISSED)"}[met]
        print(f"{what}: {figure}{verdict}", flush=True)

    def text(self, store: str, accounts: int, load: float) -> str:
        """The page of results of a store."""
        marks = {None: "", True: "met", False: "missed"}
        lines = [
            f"# Many processes and machines on {store}: measured",
            "",
            f"`python -m benchmarks.cluster`: {accounts:,} accounts of {ENTRIES} entries, Python "
            f"{platform.python_version()}, {os.cpu_count()} processors for everything, the server too; "
            f"the load average of the machine before the run, without it, was {load:.1f}.",
            "",
            "| what | measured | asked for | |",
            "|---|---|---|---|",
            *(f"| {what} | {figure} | {wanted} | {marks[met]} |" for what, figure, wanted, met in self.rows),
            *(f"\n```\n{histogram}\n```" for histogram in self.histograms),
        ]
        return "\n".join(lines) + "\n"


def measure(
    name: str,
    url: str,
    accounts: int,
    seconds: float,
    report: Report,
    folder: Path,
    *,
    size_of: Callable[[], int],
    server_cpu: Callable[[], float] = lambda: 0.0,
) -> None:
    """Every figure of one store; propagation first, while it is empty."""
    if seconds:
        late, rate = propagation.measure(url, propagation.RATE, seconds)
        p50, p99 = propagation.quantiles(late, 50, 99)
        shown = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        wanted, met = "p99 ≤ 150 ms", p99 <= 150
        if name == "PostgreSQL":
            wanted, met = "p50 ≤ 5 ms, p99 ≤ 50 ms", p50 <= 5 and p99 <= 50
        report.add(f"{name}: commit to sight, {rate:.0f} changes/s", shown, wanted, met=met)
        report.histograms.append(propagation.described(name, late, rate))
        print(report.histograms[-1], flush=True)
    if not accounts:
        return
    before, used = size_of(), server_cpu()
    figures = run("import", url, accounts, folder)
    used = server_cpu() - used
    rate, least = figures["entries"] / figures["seconds"], 150_000 if name == "SQLite" else 100_000
    report.add(f"{name}: import", f"{rate:,.0f} entries/s", f"≥ {least:,} entries/s", met=rate >= least)
    spent = f"{figures['cpu'] / figures['entries'] * 1e6:.1f} µs an entry"
    spent += f", and the server {used / figures['entries'] * 1e6:.1f} µs" if used else ""
    report.add(f"{name}: processor time of the import", spent)
    peak = figures["peak"]
    report.add(f"{name}: memory of the import", gib(peak), "≤ 1.5 GiB", met=peak <= 1.5 * GIB)
    report.add(f"{name}: size of the store", f"{(size_of() - before) / figures['entries']:,.0f} bytes an entry")
    snapshot = folder / f"{name}.snapshot"
    figures = run("compile", url, accounts, snapshot)
    report.add(f"{name}: start by streaming", f"{figures['seconds']:.1f} s", "≤ 60 s", met=figures["seconds"] <= 60)
    report.add(f"{name}: memory of that start", gib(figures["peak"]))
    report.add(f"{name}: size of the snapshot", f"{snapshot.stat().st_size / accounts:,.0f} bytes an account")
    figures = run("start", url, accounts, snapshot)
    report.add(f"{name}: start from a snapshot", f"{figures['seconds']:.3f} s", "≤ 1 s", met=figures["seconds"] <= 1)


def gib(peak: float) -> str:
    """How the peak of a process is written."""
    return f"{peak / GIB:.2f} GiB at most"


def main() -> None:
    """Measure both stores, or run one step."""
    parser = argparse.ArgumentParser(description="What many processes and machines cost.")
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of changes for the propagation; 0 for none")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--smoke", action="store_true", help="run everything for a blink")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        url, accounts, snapshot = arguments.rest
        figures = STEPS[arguments.step](url, int(accounts), snapshot)
        print(json.dumps(figures | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
        return
    accounts, seconds = (500, 0.5) if arguments.smoke else (arguments.accounts, arguments.seconds)
    complete = not arguments.smoke and accounts and seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for name in arguments.stores:
            report, load = Report(judges=not arguments.smoke), os.getloadavg()[0]
            if name == "SQLite":
                file = folder / "lists.db"
                measure(name, f"sqlite:///{file}", accounts, seconds, report, folder, size_of=partial(size, file))
            elif (binaries := find_binaries()) is None:
                print("PostgreSQL is not measured: on Debian, apt-get install postgresql")
                continue
            else:
                server = stack.enter_context(PostgresServer(binaries, settings=SERVER))
                url = server.new_database()
                sizes = partial(server.size, url)
                cpu = server.cpu_seconds
                measure(name, url, accounts, seconds, report, folder, size_of=sizes, server_cpu=cpu)
            if complete:
                page = RESULTS / f"cluster-{name.lower()}.md"
                page.write_text(report.text(name, accounts, load))
                print(f"written to {page}")


def size(file: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return file.stat().st_size if file.exists() else 0


if __name__ == "__main__":
    main()
