"""Commands that start without stdin, stdout or stderr, as with `>&-` in a shell, or whose readers have gone away."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from cidrgate.cli.confirming import confirm
from cidrgate.cli.errors import NotConfirmedError
from cidrgate.cli.output import Output
from cidrgate.errors import StoreBusyError
from cidrgate.process import streams
from cidrgate.service.auth.credentials import Credentials
from tests.cli.test_exit_statuses import commands
from tests.rows import rows

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

CLOSED = "stdout is closed, so there can be no answer, and nothing was done"

COMMANDS = {
    "list": "a",
    "check": "a 8.8.8.8",
    "explain": "a 9.9.9.9",
    "find": "8.8.8.8",
    "add": "a 9.9.9.9/32",
    "edit": "a 8.8.8.0/24 8.8.4.0/24",
    "remove": "a 8.8.8.0/24 --empty",
    "replace": "a --file -",
    "restore": "a --to-sequence 2",
    "mode": "a report_only",
    "pause": "a --for 1h",
    "resume": "a",
    "undo": "a 2",
    "history": "a",
    "prune": "--older-than 1d",
    "erase": "--older-than 1d --account a",
    "import": "- --format csv",
    "export": "",
    "backup": "-",
    "restore-backup": "-",
    "plan": "-",
    "apply": "-",
    "recommend": "-",
    "replay": "- --format combined",
    "compile": "lists.snapshot",
    "migrate": "",
    "serve": "--port 0 --tls-key no.pem",
    "authorize": "--port 0",
    "version": "",
    "account list": "",
    "account show": "a",
    "account create": "b",
    "account edit": "a --display-name x",
    "account rename": "a b",
    "account delete": "a",
    "policy show": "",
    "policy set": "--max-entries 9",
    "token create": "ops --scope admin",
    "token list": "",
    "token revoke": "1",
    "session list": "",
    "session end": "--all",
    "entry list": "a",
    "entry show": "a 8.8.8.0/24",
    "entry add": "a 9.9.9.9/32",
    "entry edit": "a 8.8.8.0/24 --label x",
    "entry remove": "a 8.8.8.0/24 --empty",
    "entry replace": "a --file -",
}
"""Each command with arguments; those that would run for ever end with an error, and so does what asks somebody."""

FROM_STDIN = {command for command, arguments in COMMANDS.items() if "-" in arguments.split()} - {"backup"}

STREAMS = ("stdin", "stdout", "stderr")
CASES = ((), ("stdin",), ("stdout",), ("stdin", "stderr"), STREAMS)

RUN_EACH = """
import functools, json, os, signal, sys
import typer.main
import cidrgate.authorize.server, cidrgate.replay.reading, cidrgate.service.app
from cidrgate.cli import main
from cidrgate.cli.app import app
typer.main.get_command = functools.cache(typer.main.get_command)  # it takes longer than most of the commands
typer.main.get_command(app)
for case in json.load(sys.stdin):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        os.chdir(case["folder"])
        files = [os.open("in", os.O_RDONLY), os.open("out", os.O_WRONLY), os.open("err", os.O_WRONLY)]
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            os.dup2(files[number], number)
            if name in case["closed"]:
                setattr(sys, name, None)
                os.close(number)
        os.closerange(3, 64)
        sys.argv = ["cidrgate", *case["arguments"]]
        status = 99
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Runs commands in forks, each with some of its streams closed, as Python starts then, and prints their statuses."""


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it left."""

    status: int
    out: str
    err: str
    files: list[str]
    same: bool


Results: TypeAlias = "dict[tuple[str, tuple[str, ...]], Result]"


@pytest.fixture
def found(filled: Cidrgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    """Run each command with each choice of closed streams, on a database for each."""
    monkeypatch.delenv("CIDRGATE_DATABASE", raising=False)
    database = filled.database
    chosen = [(command, closed) for command in COMMANDS for closed in CASES]
    cases = []
    for number, (command, closed) in enumerate(chosen):
        place = tmp_path / str(number)
        place.mkdir()
        shutil.copy(database, place / "lists.db")
        for name in ("in", "out", "err"):
            (place / name).touch()
        arguments = ["-d", "lists.db", *command.split(), *COMMANDS[command].split()]
        cases.append({"folder": str(place), "arguments": arguments, "closed": closed})
    begun = [sys.executable, "-c", RUN_EACH]
    done = subprocess.run(begun, input=json.dumps(cases), capture_output=True, text=True, timeout=400, check=True)
    made: Results = {}
    for number, status in enumerate(done.stdout.split()):
        place = tmp_path / str(number)
        with closing(sqlite3.connect(place / "lists.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        made[chosen[number]] = Result(
            int(status),
            (place / "out").read_text(),
            (place / "err").read_text(),
            sorted(one.name for one in place.iterdir()),
            (place / "lists.db").read_bytes() == database.read_bytes(),
        )
    return made


@pytest.fixture
def filled(cidrgate: Cidrgate) -> Cidrgate:
    if not cidrgate.accounts():
        cidrgate("add", "a", "8.8.8.0/24", "--create")
        with closing(sqlite3.connect(cidrgate.database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return cidrgate


def test_the_table_has_every_command() -> None:
    assert set(COMMANDS) == set(commands())


@rows("command", COMMANDS)
def test_a_command_without_a_stream_ends_with_a_status_and_one_message(found: Results, command: str) -> None:
    usual = found[command, ()]
    failed = 1 if command == "plan" else 2
    for closed in CASES:
        result = found[command, closed]
        assert "Traceback" not in result.err + result.out, closed
        assert "stderr" not in closed or result.err == "", closed
        if "stdout" in closed:
            assert (result.status, result.out) == (failed, ""), closed
            assert (result.same, result.files) == (True, ["err", "in", "lists.db", "out"]), closed
            assert "stderr" in closed or result.err.startswith(f"error: {CLOSED}"), closed
        elif "stdin" in closed and command in FROM_STDIN:
            assert (result.status, result.out, result.same) == (failed, "", True), closed
            assert "stderr" in closed or result.err == "error: cannot read stdin: it is closed\n", closed
        else:
            assert result.status == usual.status, closed
            assert bool(result.out) == bool(usual.out), closed


def started(cidrgate: Cidrgate, words: str, redirection: str) -> tuple[int, str, str]:
    """Start a command by a shell, with a redirection; return its status, its answer and its errors."""
    line = f'exec "$0" -m cidrgate -d "$1" {words} {redirection}'
    done = subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, str(cidrgate.database)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


STARTED = {
    "check a 8.8.8.8 >&-": (2, CLOSED),
    "check a 8.8.8.8 >&- 2>&-": (2, ""),
    "check a 8.8.8.8 <&- 2>&-": (0, ""),
    "check a 8.8.8.8 1</dev/null": (2, CLOSED),
    "check --help >&-": (2, "stdout is closed"),
    "--version >&-": (2, "stdout is closed"),
    "no-such-command <&- >&- 2>&-": (2, ""),
    "--json plan - <&- >&- 2>&-": (1, ""),
    "export -o - >&-": (2, CLOSED),
    "token create ops --scope admin >&-": (2, CLOSED),
    "serve --port 0 >&-": (2, CLOSED),
    "authorize --port 0 --unlisted deny >&-": (2, CLOSED),
    "serve --port 0 >/dev/full": (2, "could not be written: No space left on device"),
    "authorize --port 0 --unlisted deny >/dev/full": (2, "could not be written: No space left on device"),
    "import /dev/stdin --format csv <&-": (2, "cannot read /dev/stdin: it is closed"),
    "replay - --format combined <&-": (2, "cannot read stdin: it is closed"),
    "add a 9.9.9.9/32 <&- 2>&-": (0, ""),
}
"""Commands in a shell; the status, and what the one message contains."""


@rows("line", STARTED)
def test_a_shell_closes_streams_in_the_same_way(filled: Cidrgate, line: str) -> None:
    words, mark, redirection = line.partition(next(one for one in ("<&-", "1<", ">") if one in line))
    status, said = STARTED[line]
    result, _, err = started(filled, words, mark + redirection)
    assert result == status
    assert said in err
    assert len(err.splitlines()) == bool(said), err
    assert filled("token", "list", "--json").record["items"] == []


@pytest.mark.parametrize("form", ["", "--json"])
def test_a_token_that_could_not_be_shown_is_revoked(filled: Cidrgate, form: str) -> None:
    status, _, err = started(filled, f"token create ops --scope admin {form}", ">/dev/full")
    assert status == 2
    assert "token 1 was revoked again, because it could not be shown" in err
    [token] = filled("token", "list", "--json").record["items"]
    assert token["revoked_at"] is not None


@pytest.mark.parametrize("words", ["check a 8.8.8.8", "check --help", "--help", "--version", "--help --json", "check"])
def test_a_pipe_that_nobody_reads_is_no_denial(filled: Cidrgate, words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cidrgate", "-d", str(filled.database), *words.split()]
    done = subprocess.run(command, stdout=writing, stderr=writing, timeout=60, check=False)
    os.close(writing)
    assert done.returncode == 2


@pytest.mark.parametrize("words", ["serve --port 0", "authorize --port 0 --unlisted deny", "import - --replace"])
def test_a_pipe_that_nobody_reads_ends_a_command_without_a_message(filled: Cidrgate, words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cidrgate", "-d", str(filled.database), *words.split()]
    exported = filled("export").out
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, input=exported, text=True, timeout=60, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (2, "")


def test_a_token_that_can_be_neither_shown_nor_revoked_is_named(
    filled: Cidrgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def busy(*_arguments: object, **_named: object) -> None:
        raise StoreBusyError("the store is locked")

    monkeypatch.setattr(Output, "_answer", full)
    monkeypatch.setattr(Credentials, "revoke_token", busy)
    err = filled("token", "create", "ops", "--scope", "admin", status=2).err
    assert "token 1 was created but not shown, and could not be revoked: the store is locked" in err
    assert "`cidrgate token revoke 1`" in err


def test_a_question_that_nobody_can_have_seen_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = StringIO("y\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    for errors in ("/dev/full", None):
        with nullcontext() if errors is None else Path(errors).open("w") as stream:
            monkeypatch.setattr(sys, "stderr", stream or StringIO())
            monkeypatch.setattr(streams, "_missing", {"stderr"} if errors is None else set())
            with pytest.raises(NotConfirmedError, match="say --yes"):
                confirm(Output(json=False), lambda: "delete it?", "it would be deleted", yes=False)
