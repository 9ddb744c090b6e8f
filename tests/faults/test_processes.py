"""Processes that are told to end, or are killed, while writers are at work; those that are left go on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from cidrgate import RuleManager
from tests.faults.invariants import ACCOUNTS, SECONDS, STRANGER, Ledger, check, no_stranger, prepare, report, writers
from tests.faults.other_process import other_process
from tests.faults.over_http import admin_token, http_writers
from tests.faults.written_elsewhere import writer_process
from tests.servers.running import free_port, program, running
from tests.service.a_server import a_server
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
WORKERS = 3

ONE_QUESTION = httpx.Limits(max_keepalive_connections=0)
"""For each, so that each worker gets some."""

ROUNDS = max(1, round(SECONDS / 6))
"""How many processes are ended: each takes its time to start."""


@pytest.fixture
def url(shared_store_url: str) -> str:
    """A store of each kind, with enforced accounts."""
    prepare(shared_store_url)
    return shared_store_url


def stored(url: str) -> set[str | None]:
    """The labels of all changes that the log knows."""
    with RuleManager.open(url, load=False) as manager:
        return {entry.label for change in manager.history() for entry in change.after}


@pytest.mark.fault("`serve`, or a program with a manager in it, is ended or killed under load")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_told_to_end_under_load(number: signal.Signals, url: str) -> None:
    """What was under way is answered, what came later is not stored; nothing is stored after an error."""
    ledger = Ledger()
    token = admin_token(url)
    exits = []
    with RuleManager.open(url) as follower, no_stranger(ledger, follower):
        for turn in range(ROUNDS):
            with (
                a_server(url) as server,
                http_writers(server.url, token, ledger, threads=8, pause=0.02, name=f"t{turn}-"),
            ):
                ledger.wait_for_more(20)
                began = time.monotonic()
                server.process.send_signal(number)
                assert server.process.wait(30) == 0
                exits.append(time.monotonic() - began)
        check(url, ledger, [follower])
    known = stored(url)
    report(
        f"{url.partition(':')[0]}, service told to end by {number.name}",
        ledger,
        unreached=len(ledger.unreached),
        exit=f"{max(exits):.1f} s",
        stored_of_unknown=len(ledger.unknown & known),
    )
    assert ledger.unreached


@pytest.mark.fault("`serve`, or a program with a manager in it, is ended or killed under load")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_program_with_a_manager_in_it_that_is_ended_under_load(number: signal.Signals, url: str) -> None:
    ledger = Ledger()
    with RuleManager.open(url) as follower, no_stranger(ledger, follower):
        for turn in range(ROUNDS):
            with writer_process(url, ledger, f"e{turn}") as writer:
                ledger.wait_for_more(20)
                writer.process.send_signal(number)
                assert writer.process.wait(30) == (0 if number is signal.SIGINT else -number)
        check(url, ledger, [follower])
    known = stored(url)
    report(
        f"{url.partition(':')[0]}, program ended by {number.name}",
        ledger,
        stored_of_unknown=len(ledger.unknown & known),
    )


@pytest.mark.fault("a node that follows is stopped for a while (SIGSTOP)")
def test_a_node_that_is_stopped_for_a_while(url: str, tmp_path: Path) -> None:
    """It answers nobody, then from the lists of before for a moment, and then it has caught up."""
    ledger = Ledger()
    with other_process(url, tmp_path / "lists.snapshot") as node, RuleManager.open(url) as one:
        with writers(ledger, [one]), no_stranger(ledger, one):
            for _ in range(2 * ROUNDS):
                ledger.wait_for_more()
                node.process.send_signal(signal.SIGSTOP)
                ledger.wait_for_more(20)
                node.process.send_signal(signal.SIGCONT)
                assert node.allows(ACCOUNTS[0], "8.8.8.8")
                assert not node.allows(ACCOUNTS[0], STRANGER)
        check(url, ledger, [one, node])
    report(f"{url.partition(':')[0]}, node stopped", ledger)
    assert not ledger.refused
    assert not ledger.unknown


def children(pid: int) -> set[int]:
    """Python processes that a process started and that live; not multiprocessing's own."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if int(rest[1]) == pid and rest[0] != "Z" and b"resource_tracker" not in command:
            found.add(int(stat.parent.name))
    return found


class Workers:
    """Several processes that answer on one port, asked until each must have been.

    Args:
        client: Makes a connection for each question.
        ask: Whether an address is allowed.
    """

    def __init__(self, client: httpx.Client, ask: Callable[[httpx.Client, str, str], bool]) -> None:
        self._client = client
        self._ask = ask
        self.answers = self.closed = 0

    def allows(self, account: str, address: str) -> bool:
        """What one of them says; a connection to one that is killed is no answer."""
        try:
            allowed = self._ask(self._client, account, address)
        except httpx.TransportError:
            self.closed += 1
            return False
        self.answers += 1
        return allowed

    def agree_with(self, manager: RuleManager) -> bool:
        """Whether each says what a manager says, by as many questions as reach all of them."""
        return all(
            self.allows(account, prefix.partition("/")[0])
            for account in ACCOUNTS
            for prefix in manager.matcher.prefixes(account)
            for _ in range(2 * WORKERS)
        ) and not any(self.allows(account, STRANGER) for account in ACCOUNTS for _ in range(2 * WORKERS))


def ask_endpoint(client: httpx.Client, account: str, address: str) -> bool:
    headers = {"X-Account": account, "X-Forwarded-For": address}
    answer = client.get("/v1/authorize", headers=headers)
    assert answer.status_code in (200, 403), answer.text
    return answer.status_code == 200


def ask_preloaded(client: httpx.Client, account: str, address: str) -> bool:
    answer = client.get("/", params={"account": account, "address": address})
    assert answer.status_code == 200, answer.text
    return answer.text.endswith("True")


def endpoint(url: str, port: int) -> list[str]:
    command = [sys.executable, "-m", "cidrgate", "-d", url, "authorize", "--unlisted", "allow", "--log", "none"]
    return [*command, "--port", str(port), "--workers", str(WORKERS)]


def preloaded(url: str, port: int) -> list[str]:
    """Workers that a process with an open store forks anew, while it follows."""
    program("gunicorn", "pip install gunicorn")
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", str(WORKERS), "--bind", f"127.0.0.1:{port}"]
    return [*command, "tests.preloaded_service:app"]


@contextmanager
def asking(ledger: Ledger, workers: Workers) -> Iterator[None]:
    """Ask all the while, whether a stranger is allowed and the address that is on every list is not."""
    ended = threading.Event()
    wrong: list[str] = []

    def ask() -> None:
        while not ended.wait(0.02):
            for account in ACCOUNTS:
                if workers.allows(account, STRANGER):
                    ledger.strangers.append(f"{time.time()} {account}")
                closed = workers.closed
                if not workers.allows(account, "8.8.8.8") and workers.closed == closed:
                    wrong.append(f"{time.time()} {account}")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert wrong == []


@pytest.mark.fault("a worker of `authorize --workers`, or of a server that forks, is killed")
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, of Linux")
@pytest.mark.parametrize(
    ("command", "ask"), [(endpoint, ask_endpoint), (preloaded, ask_preloaded)], ids=["authorize", "gunicorn"]
)
def test_workers_that_are_killed(
    command: Callable[[str, int], list[str]], ask: Callable[[httpx.Client, str, str], bool], url: str, tmp_path: Path
) -> None:
    """The others go on, and a new one takes the place of each; nobody is answered from old lists in the end."""
    ledger = Ledger()
    port = free_port()
    killed = 0
    environment = {"PYTHONPATH": str(ROOT), "LISTS": url}
    with (
        RuleManager.open(url) as one,
        running(command(url, port), tmp_path, port, environment) as supervisor,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", limits=ONE_QUESTION, timeout=30) as client,
    ):
        workers = Workers(client, ask)
        eventually(lambda: len(children(supervisor.pid)) == WORKERS)
        eventually(lambda: workers.agree_with(one), pause=0.1)
        with no_stranger(ledger, one), writers(ledger, [one], threads=2), asking(ledger, workers):
            for _ in range(ROUNDS):
                ledger.wait_for_more()
                living = children(supervisor.pid)
                victim = min(living)
                os.kill(victim, signal.SIGKILL)
                killed += 1
                eventually(
                    lambda victim=victim: victim not in (now := children(supervisor.pid)) and len(now) == WORKERS,  # type: ignore[misc]
                    patience=60,
                    pause=0.05,
                )
                ledger.wait_for_more()
        eventually(lambda: workers.agree_with(one), pause=0.1)
        check(url, ledger, [one])
        name = f"{url.partition(':')[0]}, workers of {command.__name__} killed"
        report(name, ledger, killed=killed, answers=workers.answers, closed_connections=workers.closed)
    assert not ledger.refused
    assert not ledger.unknown
