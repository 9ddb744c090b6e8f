"""The authorize endpoint beside an app that only says 200, on each server: `python -m benchmarks.authorize`.

`wrk` (Debian: `apt-get install wrk`) keeps 32 connections busy. The servers stay up for the whole run and are asked in
turns, so that other work on the machine is as unfair to one as to the other. Beside rates and latencies, which on two
processors are also those of wrk, stands the processor time of the server a request. With `--smoke` every pair is asked
for a second.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cidrgate import NewEntry, RuleManager
from cidrgate.authorize import AUTHORIZE_PATH, AuthorizeApp
from cidrgate.authorize.server import AuthorizeSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

SMOKE = "--smoke" in sys.argv[1:]
ROUNDS, SECONDS = (1, 1) if SMOKE else (7, 3)
CONNECTIONS = 32
ACCOUNTS = 1_000
_RESULT = Path(__file__).parent / "results" / "authorize.md"
DATABASE = "CIDRGATE_BENCH_DATABASE"

SERVERS = {
    "uvicorn": ["uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-proxy-headers",
                "--no-server-header", "--no-date-header", "--log-level", "critical", "--factory", "--port", "{port}",
                "benchmarks.authorize:{app}"],
    "granian": ["granian", "--interface", "asginl", "--loop", "uvloop", "--http", "1", "--no-ws", "--no-log",
                "--factory", "--port", "{port}", "benchmarks.authorize:{app}"],
    "hypercorn": ["hypercorn", "--worker-class", "uvloop", "--log-level", "critical", "--bind", "127.0.0.1:{port}",
                  "benchmarks.authorize:{app}()"],
}  # fmt: skip
APPS = {"bare": "bare 200", "authorize": "authorize"}


async def _bare(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def bare() -> Any:
    """The smallest application."""
    return _bare


def authorize() -> AuthorizeApp:
    """The endpoint as `cidrgate authorize` makes it."""
    settings = AuthorizeSettings(
        database=os.environ[DATABASE], unlisted="deny_unknown", trusted_proxies=("127.0.0.1/32",)
    )
    return settings.app(settings.open())


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of wrk said: requests a second, milliseconds, and microseconds of processor time a request."""

    rate: float
    p50: float
    p99: float
    processor: float


@contextmanager
def served(server: str, app: str) -> Iterator[tuple[int, int]]:
    """The port and the process of a server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *(part.format(port=port, app=app) for part in SERVERS[server])]
    with subprocess.Popen(command) as process:
        try:
            for _ in range(400):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            else:
                raise SystemExit(f"{server} did not start")
            yield port, process.pid
        finally:
            process.terminate()


def processor_seconds(pid: int) -> float:
    """User and system time of a process and those it started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    spent = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = [one for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()]
    return spent + sum(processor_seconds(int(child)) for child in children)


def asked(port: int, pid: int) -> Round:
    """One round."""
    before = processor_seconds(pid)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency"]
    command += ["-H", "X-Account: acct-7", "-H", "X-Forwarded-For: 8.8.7.7", f"http://127.0.0.1:{port}{AUTHORIZE_PATH}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said:
        raise SystemExit(f"not every answer was a success:\n{said}")
    count = float(_found(r"(\d+) requests in", said)[0])
    return Round(
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", said)[0]),
        p50=_milliseconds(said, "50"),
        p99=_milliseconds(said, "99"),
        processor=(processor_seconds(pid) - before) / count * 1e6,
    )


def _found(pattern: str, said: str) -> tuple[str, ...]:
    found = re.search(pattern, said)
    if found is None:
        raise SystemExit(f"wrk said something else:\n{said}")
    return found.groups()


def _milliseconds(said: str, percentile: str) -> float:
    number, unit = _found(rf"{percentile}%\s+([\d.]+)(us|ms|s)\b", said)
    return float(number) * {"us": 0.001, "ms": 1, "s": 1_000}[unit]


def fill(url: str) -> None:
    """A list of 50 entries for each of many accounts."""
    with RuleManager.open(url, follow=False, create=True) as manager:
        report = manager.import_accounts(
            {
                f"acct-{number}": [NewEntry(f"8.{8 + offset}.{number % 250}.0/24") for offset in range(50)]
                for number in range(ACCOUNTS)
            }
        )
        if report.problems:
            raise SystemExit(f"the lists cannot be made: {report.problems}")


def main() -> None:
    """Measure and print."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed, on Debian: apt-get install wrk")
    rounds: dict[tuple[str, str], list[Round]] = defaultdict(list)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        os.environ[DATABASE] = f"sqlite:///{folder}/lists.db"
        fill(os.environ[DATABASE])
        pairs = {(server, app): stack.enter_context(served(server, app)) for server in SERVERS for app in APPS}
        for _ in range(ROUNDS):
            for pair, (port, pid) in pairs.items():
                rounds[pair].append(asked(port, pid))
    page = _page(rounds)
    print(page)
    if not SMOKE:
        _RESULT.write_text(page + "\n", encoding="utf-8")


def _page(rounds: dict[tuple[str, str], list[Round]]) -> str:
    """The measurements, as people read them."""
    busy = os.getloadavg()[2]
    versions = ", ".join(f"{server} {version(server)}" for server in SERVERS)
    lines = [
        "# The authorize endpoint",
        "",
        f"Written by `python -m benchmarks.authorize`. One worker, `wrk` with {CONNECTIONS} connections, {ACCOUNTS:,}",
        "accounts of 50 entries, the address from `X-Forwarded-For` of a trusted proxy; medians of "
        f"{ROUNDS} rounds of {SECONDS} s in turns.",
        f"{versions}. {os.cpu_count()} processors, load average {busy:.1f} with this: above 3, other work went on,",
        "which is in the rates and latencies, and less so in the processor time.",
        "",
        "| server | app | requests/s | of bare | p50, ms | p99, ms | processor time a request, µs |",
        "|---|---|---|---|---|---|---|",
    ]
    spent = {}
    for (server, app), results in rounds.items():
        kept = statistics.median(
            mine.rate / bare.rate for mine, bare in zip(results, rounds[server, "bare"], strict=True)
        )
        rate, p50, p99, spent[server, app] = (
            statistics.median(getattr(one, figure) for one in results) for figure in ("rate", "p50", "p99", "processor")
        )
        times = f"{p50:.2f} | {p99:.2f} | {spent[server, app]:.1f}"
        lines.append(f"| {server} | {APPS[app]} | {rate:,.0f} | {kept:.0%} | {times} |")
    thriftiest = min(SERVERS, key=lambda server: spent[server, "authorize"])
    lines += [
        "",
        "The least processor time, which decides how many requests a machine with a worker for each processor can",
        f"answer: {thriftiest}. `cidrgate authorize` runs uvicorn.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
