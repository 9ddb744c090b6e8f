"""What an application keeps of its request rate when it is guarded, under `wrk`: `python -m benchmarks.load [--smoke]`.

Each application runs bare and guarded, in a process of its own with one worker; `wrk` (Debian: `apt-get install wrk`)
asks the two in turns, so that a machine with other work to do is as unfair to one as to the other. Beside the rates
stands the processor time of the server a request, which other work changes less, and a middleware that does nothing,
the floor for every other. The guard is a `Gate` over a list of 50 entries, with the account from a header; its log, on
by default, has nothing to say about requests that are allowed.
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from benchmarks.bench_edges import asgi_app, wsgi_app
from cidrgate import ClientIPResolver, Gate, Matcher
from cidrgate.account_sources import FromHeader
from cidrgate.middleware import asgi, wsgi

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

SMOKE = "--smoke" in sys.argv[1:]
ROUNDS, SECONDS = (2, 1) if SMOKE else (12, 3)
CONNECTIONS = 32
BAR = 0.97
WAYS = ("bare", "passing", "guarded")
WAY = os.environ.get("CIDRGATE_BENCH_WAY", "bare")
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


class PassingASGI:
    """A middleware that does nothing."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Run the application."""
        await self.app(scope, receive, send)


class PassingWSGI:
    """A middleware that does nothing."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Run the application."""
        return self.app(environ, start_response)


def asgi_application() -> Any:
    """The smallest ASGI application, as `CIDRGATE_BENCH_WAY` says."""
    if WAY == "guarded":
        return asgi.AllowlistMiddleware(asgi_app, a_gate(), FromHeader("x-account"))
    return PassingASGI(asgi_app) if WAY == "passing" else asgi_app


def fastapi_application() -> Any:
    """One route of FastAPI, as `CIDRGATE_BENCH_WAY` says."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/")
    async def answer() -> dict[str, str]:
        return {"answer": "ok"}

    if WAY == "guarded":
        app.add_middleware(asgi.AllowlistMiddleware, gate=a_gate(), account=FromHeader("x-account"))
    elif WAY == "passing":
        app.add_middleware(PassingASGI)
    return app


def wsgi_application() -> Any:
    """The smallest WSGI application, as `CIDRGATE_BENCH_WAY` says."""
    if WAY == "guarded":
        return wsgi.AllowlistMiddleware(wsgi_app, a_gate(), FromHeader("x-account"))
    return PassingWSGI(wsgi_app) if WAY == "passing" else wsgi_app


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
def served(case: Case, way: str) -> Iterator[tuple[int, int]]:
    """The port and the process that serves requests."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    factory = f"benchmarks.load:{case.kind}_application"
    if case.server == "uvicorn":
        command = [sys.executable, "-m", *UVICORN, str(port), factory]
    else:
        command = [sys.executable, "-m", *GUNICORN, f"127.0.0.1:{port}", f"{factory}()"]
    environment = os.environ | {"CIDRGATE_BENCH_WAY": way}
    environment |= {"CIDRGATE_BENCH_PROXY": "127.0.0.1/32"} if case.proxied else {}
    with subprocess.Popen(command, env=environment) as process:
        try:
            wait_for(port)
            yield port, worker_of(process.pid) if case.server == "gunicorn" else process.pid
        finally:
            process.terminate()


def wait_for(port: int) -> None:
    """Wait for the first answer."""
    for _ in range(600):
        with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/", timeout=30):
            return
        time.sleep(0.05)
    raise SystemExit("the server does not answer")


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
    results: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        servers = {way: stack.enter_context(served(case, way)) for way in WAYS}
        for server in servers.values():
            asked(*server)
        for number in range(ROUNDS):
            for way in (*WAYS[number % 3 :], *WAYS[: number % 3]):
                results[way].append(asked(*servers[way]))

    def kept(way: str) -> float:
        pairs = zip(results["bare"], results[way], strict=True)
        return statistics.median(after[0] / before[0] for before, after in pairs)

    times = {way: statistics.median(one[1] for one in results[way]) for way in WAYS}
    rate = statistics.median(one[0] for one in results["bare"])
    met = "met" if kept("guarded") >= BAR else "falls short"
    return (
        f"| {case.name} | {rate:,.0f} | {kept('passing'):.1%} | {kept('guarded'):.1%} | {met} "
        f"| {times['bare']:.1f} | {times['passing']:.1f} | {times['guarded']:.1f} |"
    )


def main() -> None:
    """Measure and print."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed, on Debian: apt-get install wrk")
    print("## Under load")
    print()
    print(f"`wrk`, {CONNECTIONS} connections, one worker, medians of {ROUNDS} rounds of {SECONDS} s in turns.")
    print()
    print(f"| application | bare, requests/s | kept, empty middleware | kept, guarded | ≥ {BAR:.0%} ", end="")
    print("| µs of CPU, bare | empty middleware | guarded |")
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        print(measured(case), flush=True)


if __name__ == "__main__":
    main()
