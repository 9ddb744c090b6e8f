"""The command as a whole: databases, errors of use, streams and exit statuses as a shell sees them."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from cidrgate.cli.output import visible
from tests.warm_starts import output_of

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.cli.conftest import Cidrgate


def shell(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cidrgate", *arguments]
    return output_of(command, cwd=cwd, env={**os.environ, **environment}, encoding="utf-8")


def test_exit_statuses_and_streams_of_the_real_command(tmp_path: Path) -> None:
    added = shell("add", "a", "8.8.8.0/24", "--create", "--label", "数", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (added.returncode, added.stderr) == (0, "")
    assert r"\u6570" in added.stdout
    assert (tmp_path / "cidrgate.db").is_file()
    assert shell("check", "a", "8.8.8.8", cwd=tmp_path).returncode == 0
    denied = shell("check", "a", "9.9.9.9", "--json", cwd=tmp_path)
    assert (denied.returncode, denied.stderr, json.loads(denied.stdout)["allowed"]) == (1, "", False)
    failed = shell("add", "a", "10.0.0.0/8", "--json", cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (3, "")
    assert json.loads(failed.stderr)["error"]["errors"][0]["code"] == "special_range"
    misused = shell("add", "--json", cwd=tmp_path)
    assert (misused.returncode, misused.stdout) == (2, "")
    assert json.loads(misused.stderr)["error"]["code"] == "usage"
    assert shell("add", cwd=tmp_path).returncode == 2


def test_a_long_row_is_one_line_in_a_pipe(tmp_path: Path) -> None:
    shell("add", "a" * 200, "8.8.8.0/24", "--create", "--label", "l" * 255, cwd=tmp_path)
    listed = shell("list", "a" * 200, cwd=tmp_path, COLUMNS="40")
    assert "l" * 255 in listed.stdout
    assert len(listed.stdout.splitlines()) == 3


def test_an_argument_that_is_no_text_ends_in_an_error_not_a_traceback(tmp_path: Path) -> None:
    shell("account", "create", "a", cwd=tmp_path)
    # A byte that is not UTF-8 reaches the command as a lone surrogate.
    for arguments, status in (
        (["add", "a", "8.8.8.0/24", "--label", "\udcff"], 3),
        (["add", "a", "\udcff"], 3),
        (["list", "\udcff"], 4),
    ):
        failed = output_of([sys.executable, "-m", "cidrgate", *arguments], cwd=tmp_path)
        assert failed.returncode == status
        assert b"Traceback" not in failed.stderr
        assert failed.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["list", "a"],
        ["check", "a", "8.8.8.8"],
        ["explain", "a", "8.8.8.8"],
        ["history", "a"],
        ["account", "list"],
        ["export"],
        ["add", "a", "8.8.8.0/24"],
        ["edit", "a", "8.8.8.0/24", "8.8.4.0/24"],
        ["remove", "a", "8.8.8.0/24"],
        ["replace", "a", "8.8.8.0/24"],
        ["restore", "a", "--to-sequence", "1"],
        ["undo", "a", "1"],
        ["prune", "--older-than", "1d", "--yes"],
        ["erase", "--older-than", "1d", "--yes"],
        ["import", "-", "--format", "csv", "--no-create"],
        ["compile", "lists.snapshot"],
        ["token", "list"],
        ["token", "revoke", "1"],
        ["authorize"],
        ["serve", "--authorize", "--port", "0"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("found", [None, b"", b"some text"])
@pytest.mark.usefixtures("no_database")
def test_a_database_that_is_not_there_is_not_created_by_looking_at_it(
    cidrgate: Cidrgate, command: list[str], found: bytes | None
) -> None:
    folder = cidrgate.database.parent
    if found is not None:
        cidrgate.database.write_bytes(found)
    before = list(folder.iterdir())
    for form in ([], ["--json"]):
        answer = cidrgate(*command, *form, status=2 if command[0] == "check" else 6, stdin="account,cidr,label\n")
        assert str(cidrgate.database) in answer.err
        if found != b"some text":
            assert "`cidrgate migrate`" in answer.err
        assert answer.out == ""
    assert list(folder.iterdir()) == before
    if found is not None:
        assert cidrgate.database.read_bytes() == found


@pytest.mark.parametrize(
    "command",
    [
        ["account", "create", "a"],
        ["add", "a", "8.8.8.0/24", "--create"],
        ["import", "-", "--format", "csv"],
        ["migrate"],
        ["token", "create", "ops", "--scope", "admin"],
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("no_database")
def test_a_database_is_created_by_what_fills_it(cidrgate: Cidrgate, command: list[str]) -> None:
    assert not cidrgate.database.exists()
    cidrgate(*command, stdin="account,cidr,label\na,8.8.8.0/24,\n")
    assert cidrgate.database.stat().st_mode & 0o777 == 0o600
    cidrgate("account", "list")


@pytest.mark.parametrize("name", ["localhost", "-", "db.internal", "10.0.0.5", "platform", "postgres"])
@pytest.mark.usefixtures("no_database")
def test_a_database_whose_name_looks_like_a_mistake_is_not_created(cidrgate: Cidrgate, name: str) -> None:
    """It would be a new file, and everything that asks the right database would not know of it."""
    folder = cidrgate.database.parent
    for command in (
        ["account", "create", "a"],
        ["add", "a", "8.8.8.0/24", "--create"],
        ["import", "-", "--format", "csv"],
        ["migrate"],
        ["token", "create", "ops", "--scope", "admin"],
        ["serve", "--port", "0"],
    ):
        answer = cidrgate(*command, f"--database={name}", status=2, stdin="account,cidr\na,8.8.8.0/24\n")
        assert f"./{name}" in answer.err
        assert "postgresql://" in answer.err
    assert list(folder.iterdir()) == []
    cidrgate("account", "create", "a", "-d", f"./{name}")
    cidrgate("account", "create", "b", f"--database={name}")  # it is there now


@pytest.mark.usefixtures("no_database")
def test_the_database_of_an_option_wins_the_nearer_the_more(cidrgate: Cidrgate, tmp_path: Path) -> None:
    near, far = tmp_path / "near.db", tmp_path / "far.db"
    cidrgate("-d", str(far), "account", "create", "a")
    cidrgate("-d", str(far), "account", "create", "b", "--database", f"sqlite:///{near}")
    assert (far.exists(), near.exists(), cidrgate.database.exists()) == (True, True, False)
    assert [each["name"] for each in cidrgate("-d", str(far), "account", "list", "--json").record["items"]] == ["a"]


@pytest.mark.usefixtures("no_database")
def test_the_database_is_a_file_of_the_directory_unless_named(cidrgate: Cidrgate, tmp_path: Path) -> None:
    for named in (None, "sqlite:///named.db"):
        cidrgate.environment["CIDRGATE_DATABASE"] = named
        cidrgate("account", "create", "a")
    assert {path.name for path in tmp_path.glob("*.db")} == {"cidrgate.db", "named.db"}


def test_a_password_in_a_url_is_not_repeated(cidrgate: Cidrgate) -> None:
    answer = cidrgate("account", "list", "-d", "oracle://me:secret@host/lists", status=2)
    assert "names no store" in answer.err
    assert "secret" not in answer.err


def test_a_store_that_cannot_be_opened_is_an_error(cidrgate: Cidrgate, tmp_path: Path) -> None:
    file = tmp_path / "text.db"
    file.write_text("no database, only some text that is long enough to be looked at\n" * 20)
    for database in (str(file), str(tmp_path), str(tmp_path / "no" / "where.db")):
        error = cidrgate("account", "create", "a", "-d", database, "--json", status=6).error
        assert error["code"] == "store_not_found"
    assert cidrgate("account", "list", "-d", "oracle://somewhere", "--json", status=2).error["code"] == "command"


def test_accounts(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    assert cidrgate("account", "create", "sub-1", "-p", "acct-1", "--json").record["entry_count"] == 1
    lines = cidrgate("account", "list").out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["acct-1", "1", "yes"],
        ["sub-1", "acct-1", "1"],
        ["2", "accounts", "(2"],
    ]
    assert lines[-1] == "2 accounts (2 enforced)"
    for name, code, status in (
        ("acct-1", "account_exists", 5),
        (" x", "invalid_account", 3),
        ("", "invalid_account", 3),
    ):
        assert cidrgate("account", "create", name, "--json", status=status).error["code"] == code
    assert cidrgate("account", "create", "x", "-p", "sub-1", "--json", status=3).error["code"] == "list_inherited"


def test_version(cidrgate: Cidrgate) -> None:
    assert cidrgate("--version").out == cidrgate("version").out == f"cidrgate {version('cidrgate')}\n"
    for words in (["version", "--json"], ["--json", "version"], ["--json", "--version"], ["--version", "--json"]):
        assert cidrgate(*words).record == {"version": version("cidrgate")}, words
    cidrgate.environment |= {"CIDRGATE_JSON": "1"}
    assert cidrgate("--version").record == {"version": version("cidrgate")}


@pytest.mark.parametrize(("columns", "boxed"), [("200", True), ("60", False)])
def test_a_table_is_boxed_where_it_fits_the_terminal(cidrgate: Cidrgate, columns: str, boxed: bool) -> None:
    cidrgate("add", "a", "2606:4700:1234:5678::/64", "--create", "--label", "office")
    cidrgate.environment |= {"FORCE_COLOR": "1", "COLUMNS": columns}
    out = cidrgate("list", "a").out
    assert ("╭" in out) is boxed
    assert "2606:4700:1234:5678::/64" in out


def test_what_was_typed_is_escaped_in_errors(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "a")
    for arguments, status in ((["list", "\x1b[31m"], 4), (["add", "a", "\x1b[31m\n8.8.8.8", "\u202e"], 3)):
        said = cidrgate(*arguments, status=status).err
        assert not {"\x1b", "\u202e"} & set(said)
        assert r"\x1b[31m" in said


def test_what_steers_a_terminal_is_shown_as_its_escape() -> None:
    assert visible("plain [red] text\\") == "plain [red] text\\"
    assert visible("\x1b]0;title\x07\u2028\x85\u200b\udcff") == r"\x1b]0;title\x07\u2028\x85\u200b\udcff"
    assert visible("👩\u200d🚀 é") == "👩\u200d🚀 é"
