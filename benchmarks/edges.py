"""What the middlewares cost, in process and under `wrk`: `python -m benchmarks.edges [--smoke]`.

Writes `benchmarks/results/edges.md`. A bare application, one behind an empty middleware (the floor for every other) and
guarded ones are measured in turns, so that a machine with other work to do is as unfair to one as to the other. Under
`wrk` (Debian: `apt-get install wrk`) they are side by side in one server process with one worker; beside the rates
stands the processor time of the server a request, which other work changes less; of each the best round counts, as
other work only ever slows down. The guard is a `Gate` over a list of 50 entries, with the account from a header; its
log, on by default, has nothing to say about requests that are allowed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from prometheus_client import CollectorRegistry

from benchmarks.edge_apps import (
    CLIENT,
    PROXY_VARIABLE,
    WAYS,
    a_gate,
    asgi_on_the_way,
    wsgi_on_the_way,
)
from benchmarks.report import machine
from cidrgate.gate.metrics import GateMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate import Gate

__all__ = ["main"]

SMOKE = "--smoke" in sys.argv[1:]
PAGE = Path(__file__).parent / "results" / "edges.md"

REQUESTS, TURNS = (200, 3) if SMOKE else (10_000, 25)
MOST_MICROSECONDS = 3.0
MOST_PLAIN_ASGI = 0.9
"""The bar for the plain ASGI middleware, without a proxy in front."""
HEADERS = [
    (b"host", b"api.example"),
    (b"user-agent", b"python-httpx/0.28.1"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b"en"),
    (b"x-account", b"acct-1"),
]
FORWARDED = [*HEADERS[:-2], (b"x-forwarded-for", CLIENT.encode()), HEADERS[-1]]
"""As many headers, one of them by a proxy."""

ROUNDS, SECONDS = (1, 1) if SMOKE else (8, 1)
CONNECTIONS = 32
LEAST_KEPT = 0.97
RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
SERVED = re.compile(r"(\d+) requests in")
UVICORN = ["uvicorn", "--no-access-log", "--no-proxy-headers", "--log-level", "critical", "--factory", "--port"]
GUNICORN = ["gunicorn", "--log-level", "critical", "--threads", "4", "--keep-alive", "30", "--bind"]


def met(holds: bool) -> str:
    """How a bar was met."""
    return "met" if holds else "falls short"


def time_asgi(app: Any, headers: list[tuple[bytes, bytes]]) -> float:
    """Microseconds of processor time a request, one after the other in one event loop."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": (CLIENT, 4711)}

    async def send(message: Any) -> None:
        pass

    async def ask() -> float:
        start = time.thread_time()
        for _ in range(REQUESTS):
            await app(scope, None, send)
        return (time.thread_time() - start) / REQUESTS * 1e6

    return asyncio.run(ask())


def time_wsgi(app: Any, headers: list[tuple[bytes, bytes]]) -> float:
    """Microseconds of processor time a request, one after the other."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "REMOTE_ADDR": CLIENT,
        "REMOTE_PORT": "4711",
        **{f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode() for name, value in headers},
    }

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        pass

    start = time.thread_time()
    for _ in range(REQUESTS):
        app(environ, start_response)
    return (time.thread_time() - start) / REQUESTS * 1e6


def in_process() -> Iterator[str]:
    """The table of what is added to a request."""
    yield "## In process"
    yield ""
    yield f"Processor time, medians of {TURNS} turns of {REQUESTS:,} requests, one after the other."
    yield ""
    yield f"| middleware | added to an ASGI request, µs | bar | to a WSGI request, µs | ≤ {MOST_MICROSECONDS:g} |"
    yield "|---|---|---|---|---|"
    gates: dict[str, tuple[str, Gate]] = {
        "none, the bare application takes": ("bare", a_gate()),
        "an empty one": ("empty", a_gate()),
        "`AllowlistMiddleware`": ("guarded", a_gate()),
        '`AllowlistMiddleware`, `unlisted="allow"`': ("guarded", a_gate(unlisted="allow")),
        "`AllowlistMiddleware` behind a trusted proxy": ("guarded", a_gate(proxied=True)),
        "`AllowlistMiddleware` with `note_matches`": ("guarded", a_gate(note_matches=True)),
        "`AllowlistMiddleware` with `GateMetrics`": ("guarded", a_gate(hooks=[GateMetrics(CollectorRegistry())])),
    }
    added: dict[str, list[float]] = {}
    kinds: list[tuple[Callable[[Any, list[tuple[bytes, bytes]]], float], Callable[..., Any]]] = [
        (time_asgi, asgi_on_the_way),
        (time_wsgi, wsgi_on_the_way),
    ]
    for timed, on_the_way in kinds:
        apps = {name: on_the_way(*given) for name, given in gates.items()}
        turns: dict[str, list[float]] = {name: [] for name in apps}
        for _ in range(TURNS):
            for name, app in apps.items():
                turns[name].append(timed(app, FORWARDED if gates[name][1].resolver.client_header else HEADERS))
        bare = turns["none, the bare application takes"]
        for name, times in turns.items():
            own = times if times is bare else [one - before for one, before in zip(times, bare, strict=True)]
            added.setdefault(name, []).append(statistics.median(own))
    for name, (of_asgi, of_wsgi) in added.items():
        if "`" not in name:
            yield f"| {name} | {of_asgi:.2f} | | {of_wsgi:.2f} | |"
            continue
        most = MOST_PLAIN_ASGI if name == "`AllowlistMiddleware`" else MOST_MICROSECONDS
        asgi_bar = f"≤ {most:g}: {met(of_asgi <= most)}"
        yield f"| {name} | {of_asgi:.2f} | {asgi_bar} | {of_wsgi:.2f} | {met(of_wsgi <= MOST_MICROSECONDS)} |"


@dataclass(frozen=True, slots=True)
class Case:
    """An application on a server."""

    name: str
    kind: str
    server: str
    proxied: bool = False


CASES = [
    Case("FastAPI route, uvicorn with uvloop and httptools", "fastapi", "uvicorn"),
    Case("FastAPI route behind a trusted proxy", "fastapi", "uvicorn", proxied=True),
    Case("smallest ASGI application, uvicorn with uvloop and httptools", "asgi", "uvicorn"),
    Case("smallest ASGI application behind a trusted proxy", "asgi", "uvicorn", proxied=True),
    Case("smallest WSGI application, gunicorn with threads", "wsgi", "gunicorn"),
]


@contextmanager
def served(case: Case) -> Iterator[tuple[int, int]]:
    """The port and the process that serves requests."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    factory = f"benchmarks.edge_apps:{case.kind}_application"
    if case.server == "uvicorn":
        command = [sys.executable, "-m", *UVICORN, str(port), factory]
    else:
        command = [sys.executable, "-m", *GUNICORN, f"127.0.0.1:{port}", f"{factory}()"]
    environment = os.environ | ({PROXY_VARIABLE: "yes"} if case.proxied else {})
    with subprocess.Popen(command, env=environment) as process:
        try:
            wait_for(port)
            yield port, worker_of(process.pid) if case.server == "gunicorn" else process.pid
        finally:
            process.terminate()


def wait_for(port: int) -> None:
    """Wait for the first answer."""
    for _ in range(600):
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/bare", timeout=30):
            return
        time.sleep(0.05)
    raise SystemExit("the server does not answer")


def worker_of(pid: int) -> int:
    """The process that a server forked."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if not pids:
        raise SystemExit("the server forked no worker")
    return int(pids[0])


def processor_microseconds(pid: int) -> float:
    """Time that the threads of a process were on a processor."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e3


def asked(port: int, pid: int, way: str, *, proxied: bool) -> tuple[float, float]:
    """Requests a second, and microseconds of processor time a request, of one round."""
    before = processor_microseconds(pid)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", "x-account: acct-1"]
    command += ["-H", f"x-forwarded-for: {CLIENT}"] if proxied else []
    command.append(f"http://127.0.0.1:{port}/{way}")
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate, count = RATE.search(output), SERVED.search(output)
    if "Non-2xx" in output or rate is None or count is None or count[1] == "0":
        raise SystemExit(f"not every answer was a success:\n{output}")
    return float(rate[1]), (processor_microseconds(pid) - before) / int(count[1])


def measured(case: Case) -> str:
    """A row of the table."""
    results: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with served(case) as (port, pid):
        asked(port, pid, "bare", proxied=case.proxied)
        for number in range(ROUNDS):
            for way in (*WAYS[number % 3 :], *WAYS[: number % 3]):
                results[way].append(asked(port, pid, way, proxied=case.proxied))

    rates = {way: max(rate for rate, _ in results[way]) for way in WAYS}
    kept = {way: rate / rates["bare"] for way, rate in rates.items()}
    times = [f"{min(processor for _, processor in results[way]):.1f}" for way in WAYS]
    row = [case.name, f"{rates['bare']:,.0f}", f"{kept['empty']:.1%}", f"{kept['guarded']:.1%}"]
    return f"| {' | '.join([*row, met(kept['guarded'] >= LEAST_KEPT), *times])} |"


def under_load() -> Iterator[str]:
    """The table of what is kept of the request rate."""
    yield "## Under load"
    yield ""
    yield f"`wrk`, {CONNECTIONS} connections, one worker, the best of {ROUNDS} rounds of {SECONDS} s in turns."
    yield ""
    yield (
        f"| application | bare, requests/s | kept, empty middleware | kept, guarded | ≥ {LEAST_KEPT:.0%} "
        "| µs of CPU a request, bare | empty middleware | guarded |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    yield from map(measured, CASES)


def main() -> None:
    """Measure, print, and write the page unless this is only a smoke run."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed, on Debian: apt-get install wrk")
    lines = ["# What the middlewares cost", "", "Written by `python -m benchmarks.edges`.", ""]
    lines += [f"- {name}: {value}" for name, value in machine(["cidrgate", "uvicorn", "fastapi", "gunicorn"]).items()]
    lines.append(f"- load average when it began: {os.getloadavg()[0]:.1f}; above 1, look at processor time")
    for part in (in_process(), under_load()):
        lines.append("")
        for line in part:
            lines.append(line)
            print(line, flush=True)
    if not SMOKE:
        PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
