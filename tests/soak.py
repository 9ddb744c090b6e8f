"""`cidrgate serve` under mixed load for a long time: it answers without errors, and what it holds does not grow.

    python -m tests.soak [STORE] [--minutes 10] [--rate 100]

STORE is `sqlite` or `postgresql`, for a new one that is gone afterwards, or the URL of a store; its accounts whose
names begin with `soak-` are changed. Writers replace lists, add and remove entries; readers ask for lists, accounts and
the history; others check addresses, ask as a proxy does, sign in to the console and out again, and make tokens and
revoke them. Each minute a line says what the server's process holds and how it answered. The first third is warm-up. It
fails on any answer that is not as it must be, on a traceback in the server's log, and on growth beyond `BOUNDS`; the
last line is the verdict, and the exit status 0 or 1.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING

import httpx

from cidrgate import RuleManager
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.postgres import PostgresServer, find_binaries
from tests.service.a_server import a_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["BOUNDS", "Held", "Soak", "growth"]

BOUNDS = {"rss": 16 << 20, "descriptors": 8, "threads": 4}
"""By how much the median of the last quarter may be above that of the first one after the warm-up; `rss` in bytes."""

WARM_UP = 1 / 3
"""Part of the time in which pools and caches fill, and growth is no leak."""

LOOKS = 200
"""How often at least, in all the time, it is looked at what the server holds."""

WRITERS, READERS, CHECKERS, VISITORS = 3, 2, 3, 1
ACCOUNTS_EACH = 8
LISTED, STRANGER, OPERATOR = "8.8.8.8", "203.0.114.9", "8.8.4.4"

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


@dataclass(frozen=True)
class Held:
    """What a process holds at one moment.

    Attributes:
        at: Seconds since the load began.
        rss: Bytes of memory.
        descriptors: Files and sockets.
        threads: Threads.
        connections: Connections to its port.
    """

    at: float
    rss: int
    descriptors: int
    threads: int
    connections: int

    @classmethod
    def of(cls, pid: int, port: int, at: float) -> Held:
        """Look at a process, on Linux."""
        process = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        sockets = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return cls(
            at,
            int(status["VmRSS"].split()[0]) << 10,
            len(list((process / "fd").iterdir())),
            int(status["Threads"]),
            sum(line[1].endswith(f":{port:04X}") and line[3] == "01" for line in sockets),
        )


def growth(looks: Sequence[Held]) -> dict[str, float]:
    """By how much each figure of `BOUNDS` grew after the warm-up, quarter against quarter."""
    steady = [look for look in looks if look.at >= looks[-1].at * WARM_UP]
    quarter = max(1, len(steady) // 4)

    def grew(name: str) -> float:
        first, last = ([getattr(look, name) for look in part] for part in (steady[:quarter], steady[-quarter:]))
        return float(statistics.median(last) - statistics.median(first))

    return {name: grew(name) for name in BOUNDS}


@dataclass
class Soak:
    """Load on a service, and what became of it.

    Args:
        url: Of the service.
        token: An admin's.
        rate: Requests a second, about.
    """

    url: str
    token: str
    rate: float
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._threads = WRITERS + READERS + CHECKERS + VISITORS

    @contextmanager
    def load(self) -> Iterator[None]:
        """Ask and change all the while."""
        kinds: list[tuple[Callable[[httpx.Client, int], Iterator[None]], int]] = [
            (self._write, WRITERS),
            (self._read, READERS),
            (self._check, CHECKERS),
            (self._visit, VISITORS),
        ]
        running = [
            threading.Thread(target=self._go_on, args=(rounds, number))
            for rounds, count in kinds
            for number in range(count)
        ]
        for thread in running:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in running:
                thread.join()

    def _go_on(self, rounds: Callable[[httpx.Client, int], Iterator[None]], number: int) -> None:
        """Make one request after another at a steady pace, on a new connection every so many."""
        pause = self._threads / self.rate
        headers = {"Authorization": f"Bearer {self.token}", "X-Forwarded-For": OPERATOR}
        while not self._ended.is_set():
            with httpx.Client(base_url=self.url, headers=headers, timeout=30) as client:
                requests = rounds(client, number)
                for _ in range(200):
                    if self._ended.wait(pause):
                        return
                    try:
                        next(requests)
                    except Exception as error:  # noqa: BLE001 - whatever it is, it must not be
                        self.wrong.append(f"{rounds.__name__.strip('_')}: {type(error).__name__}: {error}")
                        break

    def _ask(self, client: httpx.Client, status: int, method: str, path: str, **options: object) -> httpx.Response:
        began = time.perf_counter()
        answer: httpx.Response = client.request(method, path, **options)  # type: ignore[arg-type]
        self.seconds.append(time.perf_counter() - began)
        self.statuses[answer.status_code] += 1
        if answer.status_code != status:
            raise ValueError(f"{method} {path}: {answer.status_code} in the place of {status}: {answer.text[:200]}")
        return answer

    def _write(self, client: httpx.Client, number: int) -> Iterator[None]:
        accounts = itertools.cycle(f"soak-{number * ACCOUNTS_EACH + one}" for one in range(ACCOUNTS_EACH))
        for step in itertools.count():
            entries = f"/v1/accounts/{next(accounts)}/entries"
            cidr = f"9.{number}.{step >> 8 & 255}.{step & 255}/32"
            every = {"params": {"confirm": "lock_out"}}
            self._ask(client, 200, "PUT", entries, json={"cidrs": f"{LISTED}/32, {cidr}", "label": "soak"}, **every)
            yield
            body = {"cidrs": "1.1.1.0/24, 2606:4700::/32"}
            key = {"Idempotency-Key": f"soak-{time.time_ns()}-{number}"}
            made = self._ask(client, 201, "POST", entries, json=body, headers=key, **every)
            yield
            again = self._ask(client, 201, "POST", entries, json=body, headers=key, **every)
            if again.json() != made.json():
                raise ValueError("a request that was repeated got another answer")
            yield
            entry = self._ask(client, 200, "GET", entries).json()["items"][0]["id"]
            yield
            self._ask(client, 200, "DELETE", f"{entries}/{entry}", **every)
            yield
            self._ask(client, 422, "PUT", entries, json={"cidrs": "10.0.0.1/8"}, **every)
            yield

    def _read(self, client: httpx.Client, number: int) -> Iterator[None]:
        for step in itertools.count():
            account = f"/v1/accounts/soak-{step % (WRITERS * ACCOUNTS_EACH)}"
            for path in (account, f"{account}/entries", "/v1/accounts", f"{account}/history", "/readyz", "/metrics"):
                self._ask(client, 200, "GET", path, params={"limit": 50} if path.endswith("history") else {})
                yield

    def _check(self, client: httpx.Client, number: int) -> Iterator[None]:
        for step in itertools.count():
            account = f"soak-{WRITERS * ACCOUNTS_EACH}"  # nobody changes its list
            for address, status in ((LISTED, 200), (STRANGER, 403)):
                headers = {"X-Account": account, "X-Forwarded-For": address}
                self._ask(client, status, "GET", "/v1/authorize", headers=headers)
                yield
            changing = f"/v1/accounts/soak-{step % (WRITERS * ACCOUNTS_EACH)}"
            for how in ("check", "explain"):
                answer = self._ask(client, 200, "GET", f"{changing}/{how}", params={"address": STRANGER})
                if answer.json()["allowed"]:
                    raise ValueError(f"a stranger is allowed to act for {changing}")
                yield
            preview = {"change": "add", "cidrs": "1.0.0.0/24"}
            self._ask(client, 200, "POST", f"{changing}/preview", json=preview)
            yield

    def _visit(self, client: httpx.Client, number: int) -> Iterator[None]:
        """Make a token, use the console with it in a browser, and revoke it."""
        own = {"Sec-Fetch-Site": "same-origin"}
        for step in itertools.count():
            address = f"8.8.{number}.{step % 250}"  # who fails too often from one address has to wait
            made = self._ask(client, 201, "POST", "/v1/tokens", json={"name": "soak", "scopes": ["admin"]}).json()
            yield
            with httpx.Client(base_url=self.url, headers={"X-Forwarded-For": address}, timeout=30) as browser:
                self._ask(browser, 401, "POST", "/console/sign-in", data={"token": "nonsense"}, headers=own)
                yield
                self._ask(browser, 303, "POST", "/console/sign-in", data={"token": made["token"]}, headers=own)
                yield
                for path in ("/console/accounts", "/console/list?account=soak-0"):
                    page = self._ask(browser, 200, "GET", path)
                    yield
                found = _CSRF.search(page.text)
                if found is None:
                    raise ValueError("the page has no proof for a form")
                self._ask(browser, 303, "POST", "/console/sign-out", data={"csrf": found[1]}, headers=own)
                yield
            self._ask(client, 200, "DELETE", f"/v1/tokens/{made['id']}")
            yield


def prepare(url: str) -> str:
    """Create the accounts that are missing, each enforced; the secret of a new token."""
    with RuleManager.open(url, create=True, follow=False) as manager:
        known = {account.name for account in manager.accounts()}
        for number in range(WRITERS * ACCOUNTS_EACH + 1):
            if f"soak-{number}" not in known:
                manager.create_account(f"soak-{number}")
            manager.replace(f"soak-{number}", f"{LISTED}/32")
        return Credentials(manager._store).create_token("soak", [Scope("admin")]).secret


def run(url: str, minutes: float, rate: float) -> tuple[Soak, list[Held]]:
    """Put a service under load, and print a line a minute.

    Args:
        url: The store.
        minutes: How long.
        rate: Requests a second.
    """
    token = prepare(url)
    total = minutes * 60
    looks: list[Held] = []
    print("  minute  rss MiB  descriptors  threads  connections  requests  wrong   p50 ms   p99 ms", flush=True)
    options = ["--authorize", "--unlisted", "deny", "--note-matches", "--trusted-proxy", "127.0.0.1/32"]
    with TemporaryFile("w+") as log, a_server(url, *options, log=log) as server:
        port = int(server.url.rpartition(":")[2])
        soak = Soak(server.url, token, rate)
        began = time.monotonic()
        with soak.load():
            told, counted, at = 0, 0, 0.0
            while at < total:
                time.sleep(min(1.0, total / LOOKS, total - at))
                at = time.monotonic() - began
                looks.append(Held.of(server.process.pid, port, at))
                if at >= min(60.0 * (told + 1), total):
                    told += 1
                    taken = sorted(soak.seconds[counted:]) or [0.0]
                    print(_line(looks[-1], taken, len(soak.wrong)), flush=True)
                    counted += len(taken)
        log.seek(0)
        soak.wrong += [f"the server's log: {line.strip()}" for line in log if line.startswith("Traceback")]
    return soak, looks


def _line(look: Held, taken: Sequence[float], wrong: int) -> str:
    p50, p99 = (taken[int(len(taken) * part)] * 1000 for part in (0.5, 0.99))
    return (
        f"{look.at / 60:8.1f} {look.rss / (1 << 20):8.1f} {look.descriptors:12} {look.threads:8} {look.connections:12}"
        f" {len(taken):9} {wrong:6} {p50:8.1f} {p99:8.1f}"
    )


def verdict(soak: Soak, grew: dict[str, float]) -> tuple[bool, str]:
    """Whether it passed, and a line that says why."""
    failed = sum(count for status, count in soak.statuses.items() if status >= 500)
    over = [name for name, by in grew.items() if by > BOUNDS[name]]
    passed = not soak.wrong and not failed and not over
    grown = f"rss {grew['rss'] / (1 << 20):+.1f} MiB, descriptors {grew['descriptors']:+.0f}"
    return passed, (
        f"{'passed' if passed else 'FAILED'}: {len(soak.seconds)} requests, {failed} answers of 5xx, "
        f"{len(soak.wrong)} wrong; after the warm-up {grown}, threads {grew['threads']:+.0f}"
        + (f"; too much of {', '.join(over)}" if over else "")
        + (f"; the first wrong one: {soak.wrong[0]}" if soak.wrong else "")
    )


def main() -> int:
    """Soak a service as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Put `cidrgate serve` under load.")
    parser.add_argument("store", nargs="?", default="sqlite", help="sqlite, postgresql, or a URL")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        url = arguments.store
        if url == "sqlite":
            url = f"sqlite:///{stack.enter_context(TemporaryDirectory())}/lists.db"
        elif url == "postgresql":
            binaries = find_binaries()
            if binaries is None:
                parser.error("needs a PostgreSQL server's programs, on Debian: apt-get install postgresql")
            url = stack.enter_context(PostgresServer(binaries)).new_database()
        soak, looks = run(url, arguments.minutes, arguments.rate)
    passed, line = verdict(soak, growth(looks))
    print(line)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
