"""From the access log of a real nginx to an enforced list, typed as the page says, and what must be so at the end."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager
from cidrgate.replay import LogSource, format_of_template
from tests.docs.pages import ROOT
from tests.docs.shell import Typed, blocks_of, commands_of, environment_of, matches, run
from tests.servers.fronts import with_ports
from tests.servers.requests import ask
from tests.servers.running import free_port, program, running
from tests.waiting import eventually
from tests.warm_starts import programs

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "howto" / "from-log-to-list.md"
STRANGER = "9.9.9.9"
TEMPLATE = '$remote_addr [$time_local] "$request" $status "$account"'
SHOWN_PORTS = (8080, 8081, 9000)


class Walk:
    """One reader of the page, in an empty folder, with the servers that run."""

    def __init__(self, folder: Path, servers: ExitStack) -> None:
        self.folder = folder
        self.servers = servers
        self.ports = {port: free_port() for port in SHOWN_PORTS}
        self.authorize = servers.enter_context(ExitStack())
        self.recording = ""
        self.environment = environment_of(programs(), folder)
        [lines] = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        assert TEMPLATE in lines
        edits = {"    access_log off;\n": lines, "_timeout 1s": "_timeout 20s"}
        with_ports(ROOT / "examples" / "nginx", folder / "example", self.ports, edits)
        (folder / "example" / "nginx.conf").rename(folder / "nginx.conf")

    def type(self, typed: Typed) -> str:
        """What a command says: a server says nothing, and runs until the walk ends."""
        command = re.sub(r"\b(8080|8081|9000)\b", lambda port: str(self.ports[int(port[0])]), typed.command)
        if command.startswith("pip install"):
            return ""
        if "--dry-run" in command and self.recording:
            # Who does not wait for a minute restarts it: then it stores the traffic.
            self.start_authorize(self.recording)
            self.recording = ""
        if command.startswith("cidrgate authorize"):
            self.start_authorize(command)
            self.recording = command if "--traffic" in command else ""
        elif "http.server" in command:
            (self.folder / "api").mkdir()
            self.start([sys.executable, *command.partition("python3 ")[2].split()], 9000)
        elif command.startswith("nginx"):
            arguments = ["-g", "user root;"] if os.geteuid() == 0 else []
            path = program("nginx", "on Debian: apt-get install nginx-light")
            self.start([path, "-p", str(self.folder), "-c", "nginx.conf", *arguments], 8080)
        else:
            return self.say(command, typed)
        return ""

    def say(self, command: str, typed: Typed) -> str:
        """What a command says; a person is slower than logs are written and changes come to servers."""
        said = ""

        def as_shown() -> bool:
            nonlocal said
            try:
                said = run(command, typed, self.folder, self.environment)
            except AssertionError as error:
                said = f"{error}"
            return matches(typed.expected, said)

        if not command.startswith(("curl", "grep", "tail")):
            return run(command, typed, self.folder, self.environment)
        with suppress(AssertionError):
            eventually(as_shown, 10, 0.05)
        return said

    def start(self, command: list[str], port: int) -> None:
        self.servers.enter_context(running(command, self.folder, self.ports[port]))

    def start_authorize(self, command: str) -> None:
        """Start it, after the one that runs has ended."""
        self.authorize.close()
        arguments, _, errors = command.partition(" 2> ")
        port = self.ports[8081]
        self.authorize.enter_context(
            running(
                [sys.executable, "-m", *arguments.split(), "--port", str(port)],
                self.folder,
                port,
                errors=self.folder / errors if errors else None,
            )
        )

    def status(self, address: str) -> int:
        headers = [("X-Api-Key", "key-of-acct-1"), ("X-Forwarded-For", address)]
        return ask(self.ports[8080], headers=headers).status


def test_a_log_becomes_a_list_that_denies_a_stranger_alone(tmp_path: Path) -> None:
    program("curl", "on Debian: apt-get install curl")
    program("nginx", "on Debian: apt-get install nginx-light")
    pytest.importorskip("duckdb", reason="needs DuckDB: pip install 'cidrgate[replay]'")
    pytest.importorskip("datasketches", reason="needs DataSketches: pip install 'cidrgate[traffic]'")
    from cidrgate.replay.replaying import observations

    differ = []
    with ExitStack() as servers:
        walk = Walk(tmp_path, servers)
        for block in blocks_of(PAGE.read_text()):
            assert block.mark == "run by tests/docs/test_from_log_to_list.py"
            for typed in commands_of(block):
                said = walk.type(typed)
                if not matches(typed.expected, said):
                    differ.append((typed, said))
        assert not differ, "\n\n".join(f"$ {typed.command}\n{said}" for typed, said in differ)

        # The list and the log are what the page says of them, asked in another way.
        log = tmp_path / "access.log"
        denied = {line.split()[0] for line in log.read_text().splitlines() if '" 403 "' in line}
        assert denied == {STRANGER}
        listed = ["8.8.8.17", "8.8.8.23", "1.1.1.1", "2606:4700::a", "4.4.4.4"]
        forged = f"8.8.8.20, {STRANGER}"  # what the stranger wrote, and what the load balancer added
        others = [STRANGER, forged, "8.8.8.24", "1.1.1.2", "2606:4700::b", "4.4.4.5"]
        assert {walk.status(address) for address in listed} == {HTTPStatus.OK}
        assert {walk.status(address) for address in others} == {HTTPStatus.FORBIDDEN}
    source = LogSource(files=[str(log)], form=format_of_template(TEMPLATE), columns={"account": "account"})
    with RuleManager.open(f"sqlite:///{tmp_path / 'cidrgate.db'}") as manager:
        seen = list(observations(source, manager.matcher))
        found = manager.evaluate("acct-1", lambda dry: dry.remove("acct-1", "4.4.4.4/32"), observations=seen)
    calls = sum(line.startswith("4.4.4.4 ") for line in log.read_text().splitlines())
    assert [(one.network, one.requests) for one in found.newly_denied.named] == [("4.4.4.4/32", calls)]
