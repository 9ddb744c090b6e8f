"""A log from stdin is what is left on its descriptor, whatever stdin is: a file, a pipe, a socket or a device."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

import pytest

from cidrgate import Matcher
from cidrgate.process.streams import is_stdin
from cidrgate.replay import FORMATS, LogError, LogSource, replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Cidrgate

LINE = '8.8.8.8 - acct-1 [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1\n'
ROW = "acct-1,8.8.8.8,2026-01-01T00:00:00Z\n"
LOGS = {
    "combined": "first\n" + LINE * 3,
    "jsonl": "first\n" + '{"account": "acct-1", "address": "8.8.8.8", "time": "2026-01-01T00:00:00Z"}\n' * 3,
    "csv": "first\naccount,address,time\n" + ROW * 3,
}
"""Logs of three requests behind a line that another program reads."""

PROGRAM = """
import os, sys
from cidrgate import Matcher
from cidrgate.replay import FORMATS, LogSource, replay
while os.read(0, 1) != b"\\n": pass
form, name = sys.argv[1:]
columns = {"account": "remote_user"} if form == "combined" else {}
matcher = Matcher()
matcher.publish("acct-1", ["8.8.8.0/24"])
report = replay(LogSource(files=[name], form=FORMATS[form], columns=columns), matcher)
print(report.requests, report.bad, report.verdicts["allowed"])
"""


def as_file(text: bytes, folder: Path) -> Any:
    (folder / "log").write_bytes(text)
    return (folder / "log").open("rb")


def as_pipe(text: bytes, folder: Path) -> Any:
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    return os.fdopen(reading, "rb")


def as_socket(text: bytes, folder: Path) -> Any:
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(text)
    return theirs


def as_socket_that_does_not_wait(text: bytes, folder: Path) -> Any:
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    ours.sendall(text[:10])
    later = threading.Timer(1.0, lambda: (ours.sendall(text[10:]), ours.close()))  # type: ignore[func-returns-value]
    later.start()
    return theirs


@pytest.mark.parametrize("stream", [as_file, as_pipe, as_socket, as_socket_that_does_not_wait])
@pytest.mark.parametrize("form", LOGS)
def test_what_is_left_on_stdin_is_read(tmp_path: Path, form: str, stream: Callable[[bytes, Path], IO[bytes]]) -> None:
    names = ("-", "/dev/stdin") if stream is as_file else ("-",)
    for name in names:
        with stream(LOGS[form].encode(), tmp_path) as stdin:
            command = [sys.executable, "-c", PROGRAM, form, name]
            done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=120, check=False)
        assert (done.stdout, done.stderr) == ("3 0 3\n", "")


@pytest.mark.parametrize("names", [("-", "-"), ("-", "/dev/stdin"), ("/dev/fd/0", "/proc/self/fd/0")])
def test_a_log_from_stdin_is_named_once(names: tuple[str, ...]) -> None:
    assert all(map(is_stdin, names))
    with pytest.raises(LogError, match="stdin can be read once"):
        replay(LogSource(files=names, form=FORMATS["csv"]), Matcher())


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("plan /dev/stdin --from-log - --format csv", 1),
        ("apply - --planned /dev/stdin --yes", 2),
        ("replace a --file /dev/stdin --dry-run --from-log - --log-account a", 2),
    ],
)
def test_no_command_reads_stdin_twice(cidrgate: Cidrgate, command: str, status: int) -> None:
    cidrgate("account", "create", "a")
    assert "stdin can be read once" in cidrgate(*command.split(), stdin="", status=status).err


def test_the_lists_of_a_replay_are_a_file(cidrgate: Cidrgate, tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text("account,address,time\n" + ROW)
    said = cidrgate("replay", "calls.csv", "--rules", "/dev/stdin", stdin="", status=2).err
    assert "name the file with the lists" in said


def test_a_list_is_read_from_a_socket(cidrgate: Cidrgate, tmp_path: Path) -> None:
    cidrgate("account", "create", "a")
    for name in ("-", "/dev/stdin"):
        with as_socket(b"9.9.9.9/32\n", tmp_path) as stdin:
            command = [sys.executable, "-m", "cidrgate", "replace", "a", "--file", name]
            environment = {**os.environ, **{name: one for name, one in cidrgate.environment.items() if one is not None}}
            done = subprocess.run(
                command, stdin=stdin, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
            )
        assert (done.returncode, done.stderr) == (0, "")
