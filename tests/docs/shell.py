"""Types what the pages say to type, and compares what comes back: the blocks that are marked `<!-- run -->`.

The marked blocks of a page are one session in an empty folder. `cidrgate serve` and `cidrgate authorize` run until the
page ends, on free ports. In an expected line `…` stands for anything, and times may differ.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.servers.running import free_port
from tests.waiting import eventually
from tests.warm_starts import programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Block", "Typed", "blocks_of", "commands_of", "environment_of", "matches", "run", "type_page"]

_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>(?:not )?run\b[^\n]*?) -->\n)?^(?P<indent> *)```(?P<kind>console|sh|shell|bash)\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?")
_PORTS = {"serve": "8080", "authorize": "8081"}
_SERVER = re.compile(r"\bcidrgate\b(?:\s+-\S+\s+\S+)*\s+(serve|authorize)\b")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of shell commands, where it is, and how it is marked."""

    mark: str | None
    kind: str
    text: str
    line: int


@dataclass(slots=True)
class Typed:
    """A command with the output that the page shows for it."""

    command: str
    expected: list[str] = field(default_factory=list)

    @property
    def fails(self) -> bool:
        """Whether such an output goes with an exit status other than 0."""
        denied = "denied for" in "".join(self.expected[:1]) and " check " in self.command
        return denied or any(line.startswith(("error:", '{"error"')) for line in self.expected)


def blocks_of(text: str) -> Iterator[Block]:
    """The shell blocks of a page."""
    for match in _BLOCK.finditer(text):
        yield Block(match["mark"], match["kind"], match["text"], text.count("\n", 0, match.start()) + 1)


def commands_of(block: Block) -> list[Typed]:
    """The commands of a block with their outputs."""
    commands: list[Typed] = []
    for line in block.text.splitlines():
        if commands and commands[-1].command.endswith("\\") and not commands[-1].expected:
            commands[-1].command += "\n" + line
        elif line.startswith("$ "):
            commands.append(Typed(line.removeprefix("$ ")))
        else:
            commands[-1].expected.append(line)
    return commands


def matches(expected: list[str], said: str) -> bool:
    """Whether an output is the one that a page shows."""
    shown = re.escape(_TIME.sub("TIME", "\n".join(expected).strip())).replace(re.escape("…"), ".*?")
    return re.fullmatch(shown, _TIME.sub("TIME", said.strip()), re.DOTALL) is not None


def type_page(text: str, folder: Path) -> Iterator[tuple[Typed, str]]:
    """Run the marked blocks of a page, and yield each command with what it said.

    Raises:
        AssertionError: If a command ends with another status than its output goes with.
    """
    ports = {port: str(free_port()) for port in _PORTS.values()}
    environment = environment_of(programs(), folder)
    with ExitStack() as servers:
        for block in blocks_of(text):
            if block.mark != "run":
                continue
            for typed in commands_of(block):
                command = typed.command
                for shown, taken in ports.items():
                    command = re.sub(rf"\b{shown}\b", taken, command)
                server = _SERVER.search(command)
                if server and "--port" not in command:
                    command = command.replace(server[0], f"{server[0]} --port {ports[_PORTS[server[1]]]}")
                said = (
                    _start(command, int(ports[_PORTS[server[1]]]), typed, folder, environment, servers, ports)
                    if server
                    else run(command, typed, folder, environment)
                )
                yield typed, _shown(said, ports, folder)


def environment_of(programs: str, folder: Path) -> dict[str, str]:
    """The variables with which commands are typed in a folder, and with these folders first in `PATH`."""
    # On a terminal curl shows no progress.
    (folder / ".curlrc").write_text("silent\n")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CIDRGATE_")},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CIDRGATE_ACTOR": "alice",
        "COLUMNS": "400",
        "CURL_HOME": str(folder),
        "PYTHONUNBUFFERED": "1",
    }


def _shown(said: str, ports: dict[str, str], folder: Path) -> str:
    """The output with the ports and the folder that a page shows."""
    for shown, taken in ports.items():
        said = re.sub(rf"\b{taken}\b", shown, said)
    return said.replace(str(folder.resolve()), "/srv/app")


def run(command: str, typed: Typed, folder: Path, environment: dict[str, str]) -> str:
    """What a command says.

    Raises:
        AssertionError: If it ends with another status than its output goes with.
    """
    done = subprocess.run(
        ["sh", "-c", f"exec 2>&1; umask 022; {command}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert bool(done.returncode) is typed.fails, f"{command}\nended with {done.returncode}\n{done.stdout}"
    return done.stdout


def _start(
    command: str,
    port: int,
    typed: Typed,
    folder: Path,
    environment: dict[str, str],
    servers: ExitStack,
    ports: dict[str, str],
) -> str:
    process = subprocess.Popen(
        ["sh", "-c", f"exec 2>&1; exec {command}"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    lines: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)

    reader = threading.Thread(target=read)
    reader.start()

    def end() -> None:
        process.terminate()
        process.wait(timeout=30)
        reader.join(timeout=30)
        if process.stdout is not None:
            process.stdout.close()

    servers.callback(end)

    def ready() -> bool:
        assert process.poll() is None, f"{command}\nended\n{''.join(lines)}"
        if not matches(typed.expected, _shown("".join(lines[: len(typed.expected)]), ports, folder)):
            return False
        with socket.socket() as attempt:
            return attempt.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(ready)
    except AssertionError:
        raise AssertionError(f"{command}\nsaid\n{''.join(lines)}") from None
    return "".join(lines[: len(typed.expected)])
