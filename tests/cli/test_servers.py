"""`serve` and `authorize` as processes: the options that both have mean the same on both."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from cidrgate.cli.app import app
from cidrgate.cli.server_options import ServerOptions
from cidrgate.manager import RuleManager
from tests.servers.endpoint import LISTED, database
from tests.waiting import eventually
from tests.warm_starts import Program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Cidrgate

ROOT: Any = get_command(app)
INSIDE = LISTED["acct-1"].partition("/")[0]
OUTSIDE = "127.0.0.4"
SERVERS = {
    "authorize": ["authorize", "--unlisted", "deny"],
    "serve": ["serve", "--authorize", "--unlisted", "deny", "--trusted-proxy", "127.0.0.1/32"],
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return database(tmp_path_factory.mktemp("lists"))


@contextmanager
def started(
    folder: Path, url: str, *arguments: str, group: bool = False
) -> Iterator[tuple[str, Path, subprocess.Popen[str]]]:
    """The address that a server names in its first line, its log, and its process."""
    log = folder / "log"
    with log.open("w") as errors:
        process = Program(
            [sys.executable, "-m", "cidrgate", "-d", url, *arguments, "--json"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=group,
        )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, log.read_text()
        yield json.loads(first)["url"].removesuffix("/v1/authorize"), log, process
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def asked(url: str, account: str | None, client: str, path: str = "/v1/authorize") -> int:
    """The status of an answer."""
    port = int(url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {} if account is None else {"X-Account": account}
    try:
        connection.request("GET", path, headers={**named, "X-Forwarded-For": client})
        return connection.getresponse().status
    finally:
        connection.close()


def answers(url: str) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


def recorded(url: str) -> Counter[tuple[str, bool]]:
    """How many requests of each network and verdict were recorded."""
    with RuleManager.open(url, load=False) as manager:
        return Counter({(one.network, one.allowed): one.requests for one in manager.traffic("acct-1")})


@pytest.mark.parametrize(
    ("server", "workers"), [("serve", []), ("authorize", []), ("authorize", ["--workers", "2"])], ids=str
)
def test_a_free_port_is_named_in_the_first_line(tmp_path: Path, url: str, server: str, workers: list[str]) -> None:
    with started(tmp_path, url, *SERVERS[server], "--port", "0", *workers) as (where, _, _):
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", where)
        eventually(lambda: answers(where))
        assert asked(where, "acct-1", INSIDE) == 200
        assert asked(where, "acct-1", OUTSIDE) == 403
        assert asked(where, None, INSIDE) == 403
        assert asked(where, None, INSIDE, "/healthz") == 200


@pytest.mark.parametrize("server", SERVERS)
def test_decisions_have_the_same_options(tmp_path: Path, url: str, server: str) -> None:
    options = ["--report-only", "--no-require-account", "--log", "all", "--note-matches", "--log-every", "0"]
    options += ["--traffic", "addresses", "--traffic-days", "7"]
    snapshot, before = tmp_path / "lists.snapshot", recorded(url)
    with started(tmp_path, url, *SERVERS[server], "-p", "0", *options, "--snapshot", str(snapshot)) as (where, log, _):
        eventually(lambda: answers(where))
        assert asked(where, "acct-1", OUTSIDE) == 200
        assert asked(where, "acct-1", INSIDE) == 200
        assert asked(where, None, OUTSIDE) == 200
    decisions = [line for line in map(json.loads, log.read_text().splitlines()) if "result" in line]
    assert [line["result"] for line in decisions if line.get("account") == "acct-1"] == ["would_deny", "allowed"]
    # What was seen is stored at the end, though the server ran for less than a minute.
    assert recorded(url) - before == Counter({(f"{address}/32", True): 1 for address in (INSIDE, OUTSIDE)})


def test_workers_add_up_what_they_saw_when_they_end(tmp_path: Path, url: str) -> None:
    options, before = ["--workers", "2", "--traffic", "addresses"], recorded(url)
    with started(tmp_path, url, *SERVERS["authorize"], "-p", "0", *options) as (where, _, _):
        eventually(lambda: answers(where))
        for _ in range(10):
            assert asked(where, "acct-1", INSIDE) == 200
            assert asked(where, "acct-1", OUTSIDE) == 403
    assert recorded(url) - before == Counter({(f"{INSIDE}/32", True): 10, (f"{OUTSIDE}/32", False): 10})


@contextmanager
def on_a_socket(path: Path) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
        yield connection
    finally:
        connection.close()


def listens(path: Path) -> bool:
    """Whether a server takes connections: the file of a socket is there a moment earlier."""
    try:
        with on_a_socket(path):
            return True
    except (FileNotFoundError, ConnectionRefusedError):
        return False


@pytest.mark.parametrize("server", SERVERS)
def test_both_listen_on_a_unix_socket(tmp_path: Path, url: str, server: str) -> None:
    path = tmp_path / "server.sock"
    command = [*SERVERS[server][:1], *(["--authorize"] if server == "serve" else []), "--unlisted", "deny"]
    with started(tmp_path, url, *command, "--uds", str(path), "--trusted-proxy", "unix:"):
        eventually(lambda: listens(path))
        for client, status in ((INSIDE, 200), (OUTSIDE, 403)):
            with on_a_socket(path) as connection:
                headers = {"X-Account": "acct-1", "X-Forwarded-For": client}
                connection.request("GET", "/v1/authorize", headers=headers)
                assert connection.getresponse().status == status


def test_serve_on_a_unix_socket_needs_to_know_its_proxy(cidrgate: Cidrgate) -> None:
    assert "--trusted-proxy unix:" in cidrgate("serve", "--uds", "serve.sock", status=2).err


def test_what_is_of_decisions_needs_decisions(cidrgate: Cidrgate) -> None:
    for option in ("--report-only", "--no-require-account", "--note-matches"):
        assert "/v1/authorize" in cidrgate("serve", "--port", "0", option, status=2).err
    assert "add --authorize" in cidrgate("serve", "--port", "0", "--traffic", "networks", status=2).err


def test_both_servers_have_every_common_option() -> None:
    for name in SERVERS:
        parameters = {parameter.name: parameter for parameter in ROOT.commands[name].params}
        assert {one.name for one in fields(ServerOptions)} <= parameters.keys()
    [serve, authorize] = [
        {parameter.name: parameter for parameter in ROOT.commands[name].params} for name in ("serve", "authorize")
    ]
    for one in fields(ServerOptions):
        same = [
            (each[one.name].opts, each[one.name].secondary_opts, each[one.name].metavar) for each in (serve, authorize)
        ]
        assert same[0] == same[1]
        if one.name != "port":
            assert serve[one.name].default == authorize[one.name].default


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("options", "stale", "on_stale"),
    [
        ([], {"serve": 15.0, "authorize": None}, "serve"),
        (["--max-staleness", "2m"], {"serve": 120.0, "authorize": 120.0}, "serve"),
        (["--max-staleness", "30", "--on-stale", "deny"], {"serve": 30.0, "authorize": 30.0}, "deny"),
    ],
)
def test_stale_lists_are_what_the_options_say(
    tmp_path: Path,
    url: str,
    server: str,
    options: list[str],
    stale: dict[str, float | None],
    on_stale: str,
    monkeypatch: pytest.MonkeyPatch,
    cidrgate: Cidrgate,
) -> None:
    opened: list[dict[str, Any]] = []
    real = RuleManager.open

    def noted(*arguments: Any, **said: Any) -> RuleManager:
        if said.get("load", True):
            opened.append(said)
            raise ZeroDivisionError
        return real(*arguments, **said)

    monkeypatch.setattr(RuleManager, "open", noted)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        cidrgate("-d", url, *SERVERS[server], "--port", "0", *options)
    assert [(one["max_staleness"], one["on_stale"]) for one in opened] == [(stale[server], on_stale)]


@pytest.mark.slow
def test_ctrl_c_while_workers_start_leaves_no_traceback(tmp_path: Path, url: str) -> None:
    """A terminal sends it to every process of the command."""
    for moment in (0.0, 0.3, 0.8, 1.5):
        with started(tmp_path, url, *SERVERS["authorize"], "--port", "0", "--workers", "2", group=True) as (
            _,
            log,
            process,
        ):
            time.sleep(moment)
            os.killpg(process.pid, signal.SIGINT)
            process.wait(30)
            assert "Traceback" not in log.read_text(), moment


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc, as on Linux")  # noqa: PTH112
def test_no_process_of_the_endpoint_has_the_database_in_its_environment(tmp_path: Path, url: str) -> None:
    """The workers get it by the pipe that starts them: a password in it is nowhere that can be read later."""
    with started(tmp_path, url, *SERVERS["authorize"], "--port", "0", "--workers", "2") as (where, _, process):
        eventually(lambda: answers(where))
        assert asked(where, "acct-1", INSIDE) == 200
        children = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert len(children) >= 2
        for number in children:
            with open(f"/proc/{number}/environ", "rb") as environment:  # noqa: PTH123
                assert url.partition("///")[2].encode() not in environment.read()
