"""A program that starts as a fork has what one has that starts by itself, and ends like it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.warm_starts import Program, output_of, possible, programs

pytestmark = pytest.mark.skipif(not possible(), reason="programs start by themselves here")

STARTED = [sys.executable, "-m", "tests.started"]
CODE = [sys.executable, "-c", "from tests import started; started.main()"]


def told_of(done: subprocess.CompletedProcess[str]) -> tuple[dict[str, Any], int, list[str]]:
    return json.loads(done.stdout), done.returncode, done.stderr.splitlines()[-1:]


@pytest.mark.parametrize("started", [STARTED, CODE], ids=["module", "code"])
@pytest.mark.parametrize("kind", ["return", "exit", "raise", "signal"])
@pytest.mark.parametrize("session", [True, False])
@pytest.mark.parametrize(
    "more", [{"PYTHONUNBUFFERED": ""}, {"PYTHONUNBUFFERED": "1"}, {"EMPTY": "", "ANOTHER": "ä\udcff"}], ids=str
)
def test_a_program_is_started_as_by_itself(
    started: list[str], kind: str, session: bool, more: dict[str, str], tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}:/nowhere", **more}
    command = [*started, kind, "", "ä", "--json"]
    given: dict[str, Any] = {
        "cwd": tmp_path,
        "env": environment,
        "text": True,
        "start_new_session": session,
    }
    umask = os.umask(0o027)
    try:
        with (tmp_path / "read").open("w+") as read:
            read.write("some\nlines")
            read.flush()
            read.seek(0)
            cold = told_of(subprocess.run(command, stdin=read, capture_output=True, check=False, **given))
            read.seek(0)
            warm = told_of(output_of(command, stdin=read, **given))
    finally:
        os.umask(umask)
    assert {name: (warm[0][name], cold[0][name]) for name in cold[0] if warm[0][name] != cold[0][name]} == {}
    assert warm == cold
    assert warm[0]["parent"] == os.getpid()


def test_a_program_is_signalled_and_waited_for_as_a_child(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
        with Program([*STARTED, "wait"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            assert json.loads(program.stdout.readline())["variables"] == dict(os.environ)
            assert program.poll() is None
            program.send_signal(number)
            # An interrupt is an exception, after which Python ends by the signal.
            assert program.wait(20) == -number


def test_the_command_of_shells_is_the_command(tmp_path: Path) -> None:
    def said(path: object, command: str) -> tuple[int, bytes, bytes]:
        environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr

    for command in (
        "cidrgate nonsense",
        "printf '8.8.8.0/24' | cidrgate -d lists.db add a --file - --create | sed 's/ at .*//'",
        "CIDRGATE_JSON=1 cidrgate -d missing.db list a",
    ):
        cold = said(Path(sys.executable).parent, command)
        (tmp_path / "lists.db").unlink(missing_ok=True)
        assert said(programs(), command) == cold, command
        (tmp_path / "lists.db").unlink(missing_ok=True)


def test_a_server_of_a_shell_ends_when_the_shell_is_told_to(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{programs()}:{os.environ['PATH']}"}
    command = ["sh", "-c", "exec cidrgate -d lists.db serve --port 0 --json"]
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as shell:
            assert shell.stdout is not None
            assert "url" in json.loads(shell.stdout.readline())
            shell.send_signal(number)
            assert shell.wait(30) == 0


def test_what_reads_other_variables_of_python_starts_by_itself() -> None:
    """They count when an interpreter starts."""
    environment = {**os.environ, "PYTHONIOENCODING": "iso8859-1"}
    done = output_of([*STARTED, "return"], env=environment, stdin=subprocess.DEVNULL)
    assert json.loads(done.stdout)["streams"][1][0] == "iso8859-1"
