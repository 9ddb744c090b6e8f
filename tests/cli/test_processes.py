"""The command as a process: exit statuses, the two streams, a closed pipe, a missing extra."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from cidrgate import NewEntry, RuleManager
from tests.servers.running import free_port
from tests.warm_starts import Program, output_of

if TYPE_CHECKING:
    from pathlib import Path

ASCII = {"PYTHONIOENCODING": "ascii", "COLUMNS": "20"}


def run(
    folder: Path, *arguments: str, stdin: bytes = b"", environment: dict[str, str] | None = None
) -> tuple[int, bytes, bytes]:
    variables = {**os.environ, **(environment or {})}
    done = output_of([sys.executable, "-m", "cidrgate", *arguments], stdin, 60, cwd=folder, env=variables)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATABASE", "ACTOR", "MAX_ENTRIES", "ALLOW_SPECIAL"):
        monkeypatch.delenv(f"CIDRGATE_{name}", raising=False)
    with RuleManager.open(f"sqlite:///{tmp_path / 'cidrgate.db'}", create=True, load=False) as manager:
        manager.import_accounts({"a": [NewEntry("8.8.8.0/24", label="wörd")]})
    return tmp_path


def test_json_on_both_streams(folder: Path) -> None:
    for arguments in (("check", "a", "9.9.9.9", "--json"), ("--json", "check", "a", "9.9.9.9")):
        status, told, error = run(folder, *arguments)
        assert (status, json.loads(told)["allowed"], error) == (1, False, b"")
    status, told, error = run(folder, "add", "a", "8.8.8.8", "--json")
    assert (status, told) == (3, b"")
    assert json.loads(error)["error"]["errors"][0]["code"] == "invalid_format"


def test_a_command_that_is_none_is_an_error_in_both_forms(folder: Path) -> None:
    status, told, error = run(folder, "bogus")
    assert (status, told) == (2, b"")
    assert b"bogus" in error
    status, told, error = run(folder, "bogus", "--json")
    assert (status, told) == (2, b"")
    assert json.loads(error)["error"]["code"] == "usage"


def test_a_terminal_of_few_characters_and_columns_ends_no_command(folder: Path) -> None:
    status, told, _ = run(folder, "list", "a", environment=ASCII)
    assert status == 0
    assert b"255.255.255.0" in told
    assert rb"w\xf6rd" in told


def test_files_are_utf8_whatever_the_terminal(folder: Path) -> None:
    rows = "account,cidr,label\r\nb,8.8.8.0/24,é\r\n".encode()
    assert run(folder, "import", "-", "--format", "csv", stdin=rows, environment=ASCII)[0] == 0
    status, told, _ = run(folder, "export", "b", "--csv", environment=ASCII)
    assert (status, told[:18]) == (0, b"account,cidr,label")
    assert "\r\nb,8.8.8.0/24,é,".encode() in told


@pytest.mark.parametrize("arguments", ["account list", "account list --json", "export"])
def test_a_reader_that_goes_away_is_no_crash(folder: Path, arguments: str) -> None:
    with RuleManager.open(f"sqlite:///{folder / 'cidrgate.db'}", load=False) as manager:
        manager.import_accounts({f"account-{number}": [NewEntry("8.8.8.0/24")] for number in range(3_000)})
    process = Program(
        [sys.executable, "-m", "cidrgate", *arguments.split()],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert b"Traceback" not in error
    assert b"Exception ignored" not in error


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("command", ["serve", "authorize"])
def test_a_server_says_at_once_where_it_is(folder: Path, command: str, form: list[str]) -> None:
    """Also to a pipe, which Python writes to when much has come together: the log of a container, or a journal."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    port = free_port()
    started = [sys.executable, "-m", "cidrgate", command, "--port", str(port), *form]
    unlisted = ["--unlisted", "deny"] if command == "authorize" else []
    with Program(
        [*started, *unlisted], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watch = threading.Timer(60, process.kill)
        watch.start()
        try:
            assert process.stdout is not None
            assert f":{port}" in process.stdout.readline()
            assert process.poll() is None
        finally:
            watch.cancel()
            process.terminate()
            process.wait(20)
