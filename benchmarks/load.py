"""What an application keeps of its request rate when it is guarded, under `wrk`: `python -m benchmarks.load [--smoke]`.

Each application runs bare and guarded, in a process of its own with one worker; `wrk` (Debian: `apt-get install wrk`)
asks the two in turns, so that a machine with other work to do is as unfair to one as to the other. Beside the rates
stands the processor time of the server a request, which other work changes less. The guard is a `Gate` over a list of
50 entries, with the account from a header; its log, on by default, has nothing to say about requests that are allowed.
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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.bench_edges import asgi_app, wsgi_app
from cidrgate import ClientIPResolver, Gate, Matcher
from cidrgate.account_sources import FromHeader
from cidrgate.middleware import asgi, wsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

SMOKE = "--smoke" in sys.argv[1:]
ROUNDS, SECONDS = (2, 1) if SMOKE else (15, 3)
CONNECTIONS = 32
BAR = 0.97
RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
SERVED = re.compile(r"(\d+) requests in")
UVICORN = ["uvicorn", "--no-access-log", "--no-proxy-headers", "--log-level", "critical", "--factory", "--port"]
GUNICORN = ["gunicorn", "--log-level", "critical", "--threads", "4", "--keep-alive", "30", "--bind"]


def a_gate() -> Gate:
    """A gate whose list the load generator is on."""
    matcher = Matcher()
    matcher.publish("acct-1", ["127.0.0.1/32", *(f"8.8.{number}.0/24" for number in range(49))])
    proxies = os.environ.get("CIDRGATE_BENCH_PROXY")
    return Gate(matcher, resolver=ClientIPResolver(trusted_proxies=[proxies]) if proxies else None)


def bare_asgi() -> Any:
    """The smallest ASGI application."""
    return asgi_app


def guarded_asgi() -> Any:
    """The same, guarded."""
    return asgi.AllowlistMiddleware(asgi_app, a_gate(), FromHeader("x-account"))


def bare_fastapi() -> Any:
    """One route of FastAPI."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/")
    async def answer() -> dict[str, str]:
        return {"answer": "ok"}

    return app


def guarded_fastapi() -> Any:
    """The same, guarded by the ASGI middleware."""
    app = bare_fastapi()
    app.add_middleware(asgi.AllowlistMiddleware, gate=a_gate(), account=FromHeader("x-account"))
    return app


def bare_wsgi() -> Any:
    """The smallest WSGI application."""
    return wsgi_app


def guarded_wsgi() -> Any:
    """The same, guarded."""
    return wsgi.AllowlistMiddleware(wsgi_app, a_gate(), FromHeader("x-account"))


@dataclass(frozen=True, slots=True)
class Case:
    """An application on a server."""

    name: str
    kind: str
    server: str
    proxied: bool = False


CASES = [
    Case("smallest ASGI application, uvicorn with uvloop and httptools", "asgi", "uvicorn"),
    Case("the same behind a trusted proxy", "asgi", "uvicorn", proxied=True),
    Case("FastAPI route, uvicorn with uvloop and httptools", "fastapi", "uvicorn"),
    Case("smallest WSGI application, gunicorn with threads", "wsgi", "gunicorn"),
]


@contextmanager
def served(case: Case, which: str) -> Iterator[tuple[int, int]]:
    """The port and the process that serves requests."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    factory = f"benchmarks.load:{which}_{case.kind}"
    if case.server == "uvicorn":
        command = [sys.executable, "-m", *UVICORN, str(port), factory]
    else:
        command = [sys.executable, "-m", *GUNICORN, f"127.0.0.1:{port}", f"{factory}()"]
    environment = os.environ | ({"CIDRGATE_BENCH_PROXY": "127.0.0.1/32"} if case.proxied else {})
    with subprocess.Popen(command, env=environment) as process:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield port, worker_of(process.pid) if case.server == "gunicorn" else process.pid
        finally:
            process.terminate()


def worker_of(pid: int) -> int:
    """The process that a server forked."""
    for _ in range(200):
        with open(f"/proc/{pid}/task/{pid}/children") as children:  # noqa: PTH123 - no file of a path
            pids = children.read().split()
        if pids:
            return int(pids[0])
        time.sleep(0.05)
    raise SystemExit("the server forked no worker")


def processor_seconds(pid: int) -> float:
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - no file of a path
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asked(port: int, pid: int) -> tuple[float, float]:
    """Requests a second, and microseconds of processor time a request, of one round."""
    before = processor_seconds(pid)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", "x-account: acct-1"]
    command += ["-H", "x-forwarded-for: 8.8.8.8", f"http://127.0.0.1:{port}/"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output:
        raise SystemExit(f"not every answer was a success:\n{output}")
    rate, count = RATE.search(output), SERVED.search(output)
    if rate is None or count is None:
        raise SystemExit(f"wrk said something else:\n{output}")
    return float(rate[1]), (processor_seconds(pid) - before) / int(count[1]) * 1e6


def measured(case: Case) -> str:
    """A row of the table."""
    bare: list[tuple[float, float]] = []
    guarded: list[tuple[float, float]] = []
    with ExitStack() as stack:
        of_bare = stack.enter_context(served(case, "bare"))
        of_guarded = stack.enter_context(served(case, "guarded"))
        asked(*of_bare), asked(*of_guarded)
        for number in range(ROUNDS):
            turns = [(bare, of_bare), (guarded, of_guarded)]
            for results, server in turns if number % 2 else reversed(turns):
                results.append(asked(*server))
    kept = statistics.median(after[0] / before[0] for before, after in zip(bare, guarded, strict=True))
    rates = [statistics.median(one[0] for one in results) for results in (bare, guarded)]
    times = [statistics.median(one[1] for one in results) for results in (bare, guarded)]
    met = "met" if kept >= BAR else "falls short"
    return (
        f"| {case.name} | {rates[0]:,.0f} | {rates[1]:,.0f} | {kept:.1%} | {met} "
        f"| {times[0]:.1f} | {times[1]:.1f} | {times[0] / times[1]:.1%} |"
    )


def main() -> None:
    """Measure and print."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed, on Debian: apt-get install wrk")
    print("## Under load")
    print()
    print(f"`wrk`, {CONNECTIONS} connections, one worker, medians of {ROUNDS} rounds of {SECONDS} s in turns.")
    print()
    print(f"| application | bare, requests/s | guarded | kept (≥ {BAR:.0%}) | | bare, µs of CPU | guarded | kept |")
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        print(measured(case), flush=True)


if __name__ == "__main__":
    main()
