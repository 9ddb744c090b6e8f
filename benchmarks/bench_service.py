"""What the management API sustains, and what `allows` in the same process keeps meanwhile.

    python -m benchmarks.bench_service [--rate 330] [--seconds 20] [--smoke]

A server and a client in processes of their own, on SQLite and on PostgreSQL. The client sends additions of one entry
to random accounts at a steady rate, each over HTTP with a token, validated against a list of twenty and more, stored
and published before it is answered. Latency counts from when a request was due, so a server that falls behind cannot
hide it. In the server a thread asks `allows` a hundred times in a row, again and again: with the service idle, and
under the load. Then the client sends as fast as answers come. A page of the figures is written to `benchmarks/results`
but for a smoke run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import uvicorn

from benchmarks.report import machine
from cidrgate import NewEntry, RuleManager
from cidrgate.service import create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.postgres import PostgresServer, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS, LISTED = 800, 20
CONNECTIONS = 16
CALLS = 100
PAUSE = 0.01
RATE_BAR, P99_BAR = 300, 100.0
PAGE = Path(__file__).parent / "results" / "service.md"


def account(number: int) -> str:
    """The name of an account."""
    return f"acct-{number % ACCOUNTS}"


def prepare(url: str) -> str:
    """Fill a new store; a token for the client."""
    with RuleManager.open(url, follow=False, create=True) as manager:
        lists = {account(number): [f"8.8.{entry}.0/24" for entry in range(LISTED)] for number in range(ACCOUNTS)}
        manager.import_accounts({name: [NewEntry(cidr) for cidr in held] for name, held in lists.items()})
        return Credentials(manager._store).create_token("load", [Scope("admin")]).secret


def serve(url: str) -> None:
    """The server's process: answers, and on a line of standard input tells how `allows` did since the last one."""
    with RuleManager.open(url) as manager:
        server = uvicorn.Server(uvicorn.Config(create_app(manager), port=0, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        samples: list[float] = []
        threading.Thread(target=ask, args=(manager, samples), daemon=True).start()
        for _ in sys.stdin:
            taken, samples[:] = list(samples), []
            print(json.dumps([taken, time.process_time()]), flush=True)
        server.should_exit = True
        thread.join()


def ask(manager: RuleManager, samples: list[float]) -> None:
    """Nanoseconds of a call of `allows`, over some calls in a row, again and again."""
    allows, calls = manager.matcher.allows, range(CALLS)
    while True:
        began = time.perf_counter()
        for _ in calls:
            allows("acct-7", "8.8.8.8")
        samples.append((time.perf_counter() - began) / CALLS * 1e9)
        time.sleep(PAUSE)


class Load:
    """Sends additions over some connections that stay open.

    Args:
        port: The server's.
        token: What lets the client in.
    """

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._numbers = self._requests()
        self.failed: list[bytes] = []
        self.answered = 0

    def run(self, seconds: float, rate: float | None) -> list[float]:
        """Milliseconds an addition took, in the order they were due.

        Args:
            seconds: For how long they are sent.
            rate: Additions a second; None for as many as are answered.
        """
        return asyncio.run(self._run(seconds, rate))

    async def _run(self, seconds: float, rate: float | None) -> list[float]:
        began = time.perf_counter()
        due: Iterator[float] = iter(
            (began + number / rate for number in range(round(rate * seconds)))
            if rate
            else iter(time.perf_counter, None)
        )
        taken: list[float] = []

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            for at in due:
                await asyncio.sleep(at - time.perf_counter())
                if rate is None and at - began > seconds:
                    break
                writer.write(next(self._numbers))
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                taken.append((time.perf_counter() - at) * 1e3)
                self.answered += 1
                if not head.startswith(b"HTTP/1.1 201"):
                    self.failed.append(head + body)
            writer.close()

        await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
        return taken

    def _requests(self) -> Iterator[bytes]:
        order = list(range(ACCOUNTS))
        random.Random(7).shuffle(order)
        for number in range(1 << 24):
            cidr = f"9.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/32"
            body = json.dumps({"cidrs": cidr, "label": "load"}).encode()
            path = f"/v1/accounts/{account(order[number % ACCOUNTS])}/entries?confirm=lock_out"
            yield f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def measure(name: str, url: str, rate: float, seconds: float) -> Iterator[str]:
    """Rows of the table about one store."""
    token = prepare(url)
    command = [sys.executable, "-m", "benchmarks.bench_service", "--serve", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        if server.stdin is None or server.stdout is None:
            raise AssertionError
        load = Load(int(server.stdout.readline()), token)

        def told() -> Any:
            print(file=server.stdin, flush=True)
            return json.loads(server.stdout.readline()) if server.stdout else None

        load.run(min(seconds, 1.0), rate / 4)  # what is done once is done now
        told()
        time.sleep(min(seconds, 5.0))
        idle, used_before = told()
        began = time.perf_counter()
        steady = np.array(load.run(seconds, rate))
        achieved = len(steady) / (time.perf_counter() - began)
        busy, used_after = told()
        most = len(load.run(seconds / 4, None)) / (seconds / 4)
        server.stdin.close()
    if load.failed:
        raise SystemExit(f"{len(load.failed)} additions failed: {load.failed[0].decode()}")
    with RuleManager.open(url, load=False) as manager:
        stored = sum(manager.counts().values()) - ACCOUNTS * LISTED
    p50, p99 = np.percentile(steady, [50, 99])
    met = "met" if achieved >= RATE_BAR and p99 <= P99_BAR else "missed"
    calls = [np.percentile(sample, [50, 90]) for sample in (idle, busy)]
    bar = f"≥ {RATE_BAR}/s with p99 ≤ {P99_BAR:g} ms"
    times = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    yield f"| {name}: additions, {rate:g}/s sent | {achieved:.0f}/s, {times} | {bar} | {met} |"
    yield f"| {name}: as fast as {CONNECTIONS} connections get answers | {most:.0f}/s | | |"
    yield f"| {name}: processor time of the server | {(used_after - used_before) / len(steady) * 1e3:.2f} ms each | | |"
    kept = "met" if stored == load.answered else "missed"
    yield f"| {name}: stored of {load.answered:,} that were answered | {stored:,} | all | {kept} |"
    yield (
        f"| {name}: `allows` idle, and under that load | median {calls[0][0]:.0f} and {calls[1][0]:.0f} ns, "
        f"p90 {calls[0][1]:.0f} and {calls[1][1]:.0f} ns | | |"
    )


def main() -> None:
    """Measure both stores."""
    parser = argparse.ArgumentParser(description="What the management API sustains.")
    parser.add_argument("--rate", type=float, default=330.0, help="additions a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--smoke", action="store_true", help="for a blink only")
    parser.add_argument("--serve", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    rate, seconds = (50.0, 1.0) if arguments.smoke else (arguments.rate, arguments.seconds)
    lines = ["# What the management service sustains", "", "Written by `python -m benchmarks.bench_service`.", ""]
    lines += [f"- {name}: {value}" for name, value in machine(["cidrgate", "uvicorn", "fastapi"]).items()]
    lines += [
        f"- load average when it began: {os.getloadavg()[0]:.1f}; server, client and PostgreSQL share the processors",
        f"- an addition: a token, one entry, a list of {LISTED} and more; validated, stored, published, then answered",
        "",
        "| what | measured | asked for | |",
        "|---|---|---|---|",
    ]
    print(*lines, sep="\n")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=Path.cwd())))
        stores = [("SQLite", f"sqlite:///{folder}/lists.db")]
        binaries = find_binaries()
        if binaries is None:
            print("PostgreSQL is not measured: on Debian, apt-get install postgresql")
        else:
            stores.append(("PostgreSQL", stack.enter_context(PostgresServer(binaries)).new_database()))
        for name, url in stores:
            for line in measure(name, url, rate, seconds):
                lines.append(line)
                print(line, flush=True)
    if not arguments.smoke and len(stores) > 1:
        PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
