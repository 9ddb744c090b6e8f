"""What a script learns from the exit status: one table for every error, and what each command ends with."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import new_class
from typing import TYPE_CHECKING, Any

import pytest

import cidrgate as package
from cidrgate import RuleManager
from cidrgate.cli.app import app, run
from cidrgate.cli.exit_statuses import STATUSES, ExitStatus, status_of
from cidrgate.errors import CidrgateError
from tests.command_line import typed
from tests.rows import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Cidrgate

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"

EXPECTED = {
    2: "CidrgateError CommandError InvalidAddressError MissingAccountError UnclearAccountError MissingExtraError "
    "ProxyProtocolError SnapshotError CredentialEndedError LogError",
    3: "RuleError UnconfirmedChangeError WouldDisableEnforcementError WouldLockOutCallerError WouldUseOtherListError "
    "WouldAddWideEntryError SubaccountError AccountHasSubaccountsError InvalidAccountError InvalidTextError "
    "InvalidExpiryError InvalidScopeError NotConfirmedError BadRowsError InvalidCopyError "
    "RecommendationError",
    4: "NotFoundError AccountNotFoundError EntryNotFoundError HistoryError TokenNotFoundError SessionNotFoundError "
    "NoTrafficError",
    5: "ConflictError AccountExistsError VersionConflictError UndoConflictError StoreNotEmptyError",
    6: "StoreError StoreNotFoundError StoreOutgrownError StoreConflictError StoreBusyError AccountsLockedError "
    "ChangeWithdrawnError OutcomeUnknownError ForkedError",
    7: "PartialImportError",
}
"""The status of every error that a command can end with: a promise to scripts."""

OF_OTHERS = {"cidrgate.service", "cidrgate.client"}
"""Parts whose own errors never reach a command: they become responses, or belong to programs."""


def kinds(kind: type[CidrgateError] = CidrgateError) -> Iterator[type[CidrgateError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def test_every_error_has_the_status_that_scripts_rely_on() -> None:
    for module in walk_packages(package.__path__, "cidrgate."):
        if not module.name.startswith(("cidrgate.middleware", "cidrgate.__main__", "cidrgate.stores.migrations")):
            import_module(module.name)
    found = {
        kind.__name__: int(status_of(kind.__new__(kind)))
        for kind in kinds()
        if kind.__module__.startswith("cidrgate.") and ".".join(kind.__module__.split(".")[:2]) not in OF_OTHERS
    }
    assert found == {name: status for status, names in EXPECTED.items() for name in names.split()}


def test_a_new_error_has_the_status_of_what_it_is() -> None:
    for kind, status in STATUSES.items():
        below: type[CidrgateError] = new_class("Below", (kind,))
        assert status_of(below.__new__(below)) == status


def test_the_page_and_the_help_say_what_each_status_means() -> None:
    [table] = re.findall(r"^\| status \| meaning \|\n(.*?)\n\n", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    rows = dict(re.findall(r"^\| (\d+) \| (.*?) \|$", table, re.MULTILINE))
    assert rows.keys() == {*(str(one.value) for one in ExitStatus), "130"}
    shown = " ".join(typed(["--help"], environment={"COLUMNS": "200"}).stdout.split())
    for one in ExitStatus:
        assert rows[str(one.value)].startswith(one.meaning), one
        assert f"{one.value} {one.meaning}" in shown


UNKNOWN = {
    "list": ["nobody"],
    "explain": ["nobody", "8.8.8.8"],
    "add": ["nobody", "8.8.8.0/24"],
    "edit": ["nobody", "8.8.8.0/24", "8.8.4.0/24"],
    "remove": ["nobody", "8.8.8.0/24"],
    "replace": ["nobody", "8.8.8.0/24"],
    "restore": ["nobody", "--to-sequence", "1"],
    "mode": ["nobody", "off"],
    "pause": ["nobody", "--for", "1h"],
    "resume": ["nobody"],
    "undo": ["nobody", "1"],
    "history": ["nobody"],
    "erase": ["--older-than", "1d", "--account", "nobody", "--yes"],
    "export": ["nobody"],
    "account create": ["new", "--parent", "nobody"],
    "account rename": ["nobody", "new"],
    "account edit": ["nobody", "--display-name", "x"],
    "account delete": ["nobody"],
    "policy show": ["--account", "nobody"],
    "policy set": ["--account", "nobody", "--max-entries", "9"],
    "token revoke": ["9"],
    "session end": ["nobody"],
    "account show": ["nobody"],
    "recommend": ["--account", "nobody"],
    "entry list": ["nobody"],
    "entry show": ["nobody", "8.8.8.0/24"],
    "entry add": ["nobody", "8.8.8.0/24"],
    "entry edit": ["nobody", "8.8.8.0/24", "8.8.4.0/24"],
    "entry remove": ["nobody", "--id", "7"],
    "entry replace": ["nobody", "8.8.8.0/24"],
}
"""How each command names something that does not exist."""

NAMES_NOTHING = {
    *("account list", "token list", "session list", "token create", "version", "find"),
    *("import", "prune", "compile", "migrate", "serve", "authorize", "backup", "restore-backup", "apply"),
    "replay",
}
"""Commands that name nothing which could be missing. `check` and `plan` have statuses of their own."""


def commands(group: Any = None, path: str = "") -> Iterator[str]:
    import typer.main

    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        below = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, below)
        else:
            yield below


def test_what_does_not_exist_is_4_for_every_command(cidrgate: Cidrgate) -> None:
    assert {*UNKNOWN, *NAMES_NOTHING, "check", "plan"} == set(commands())
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    for command, arguments in UNKNOWN.items():
        assert cidrgate(*command.split(), *arguments, "--json", status=4).error["code"].endswith("_not_found")
    assert (
        cidrgate("account", "edit", "a", "--parent", "nobody", "--json", status=4).error["data"]["account"] == "nobody"
    )
    cidrgate("import", "-", "--format", "csv", "--no-create", stdin="account,cidr\nnobody,8.8.8.0/24\n", status=3)


def test_an_error_names_the_command_that_shows_what_exists(cidrgate: Cidrgate) -> None:
    """The advice is made here, of the error's data: in Python and over HTTP other advice helps."""
    cidrgate("add", "an account", "8.8.8.0/24", "--create")
    for command, advice in (
        (["list", "no body"], "`cidrgate account create 'no body'`"),
        (["token", "revoke", "9"], "`cidrgate token list`"),
        (["session", "end", "x"], "`cidrgate session list`"),
        (["restore", "an account", "--to-sequence", "99"], "`cidrgate history ACCOUNT`"),
    ):
        assert advice in cidrgate(*command, status=4).err
        assert advice in cidrgate(*command, "--json", status=4).error["detail"]


def test_a_command_line_that_is_wrong_is_2_for_every_command(
    cidrgate: Cidrgate, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in commands():
        wrong = 1 if command == "plan" else 2  # with 2 it says that there is a difference
        cidrgate(*command.split(), "--no-such-option", status=wrong)
        assert run([*command.split(), "--no-such-option", "--json"]) == wrong
        assert json.loads(capsys.readouterr().err)["error"]["code"] == "usage"


def test_what_was_refused_is_3_and_a_conflict_is_5(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    cidrgate("account", "create", "s", "--parent", "a")
    for arguments in (
        ["add", "a", "10.0.0.0/8"],
        ["add", "s", "9.9.9.9/32"],
        ["add", "a", "9.9.9.9/32", "--label", "\u200b"],
        ["edit", "a", "8.8.8.0/24", "8.8.8.8"],
        ["remove", "a", "8.8.8.0/24"],
        ["replace", "a"],
        ["restore", "a", "--to-sequence", "1"],
        ["account", "create", " a"],
        ["account", "rename", "a", "b"],
        ["account", "rename", "s", " b"],
        ["account", "edit", "s", "--no-parent"],
        ["account", "edit", "s", "--parent", "s"],
        ["account", "delete", "a", "--confirm", "disable_enforcement"],
        ["add", "a", "8.0.0.0/7"],
        ["mode", "a", "off"],
        ["pause", "a", "--for", "1h"],
        ["mode", "s", "off"],
        ["policy", "set", "--account", "s", "--max-entries", "9"],
        ["token", "create", "ops", "--scope", "everything"],
    ):
        cidrgate(*arguments, status=3)
    cidrgate("account", "create", "a", status=5)
    cidrgate("account", "rename", "s", "a", status=5)
    cidrgate("undo", "a", "1", status=5)
    for arguments in (
        ["add", "a", "9.9.9.9/32"],
        ["edit", "a", "8.8.8.0/24", "9.9.9.9/32"],
        ["remove", "a", "8.8.8.0/24"],
        ["replace", "a", "9.9.9.9/32"],
        ["restore", "a", "--to-sequence", "1"],
        ["undo", "a", "2"],
        ["mode", "a", "off"],
        ["pause", "a", "--for", "1h"],
        ["resume", "a"],
        ["account", "rename", "a", "b"],
        ["account", "edit", "a", "--display-name", "x"],
        ["account", "delete", "a", "--recursive"],
        ["policy", "set", "--account", "a", "--max-entries", "9"],
    ):
        cidrgate(*arguments, "--expect-version", "7", status=5)


def test_an_import_says_whether_anything_was_stored(cidrgate: Cidrgate) -> None:
    head = "account,cidr\n"
    for table, options, status in (
        ("a,8.8.8.0/24\n", (), 0),
        ("b,8.8.8.0/24\nc,junk\n", (), 7),
        ("d,8.8.8.0/24\nc,junk\n", ("--strict",), 3),
        ("c,junk\n", (), 3),
    ):
        answer = cidrgate("import", "-", "--format", "csv", *options, "--json", stdin=head + table, status=status)
        assert answer.record["account_count"] == (1 if status in (0, 7) else 0)
        if status:
            assert answer.error["code"] == ("partial_import" if status == 7 else "bad_rows")
    assert cidrgate.accounts() == ["a", "b"]


@pytest.mark.parametrize(
    "command", [["add", "a", "9.9.9.9/32"], ["account", "create", "b"], ["prune", "--older-than", "9w", "--yes"]]
)
def test_a_store_that_is_busy_is_6(cidrgate: Cidrgate, command: list[str]) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    with RuleManager.open(cidrgate.database, load=False) as manager, manager._store.write():
        error = cidrgate(*command, "--lock-timeout", "0.05", "--json", status=6).error
    assert error["code"] == "store_busy"


def test_check_ends_as_grep_does(cidrgate: Cidrgate) -> None:
    cidrgate("check", "a", "8.8.8.8", status=2)
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    cidrgate("check", "a", "8.8.8.8", status=0)
    cidrgate("check", "a", "9.9.9.9", status=1)
    cidrgate("check", "b", "9.9.9.9", status=2)
    cidrgate("check", "a", status=2)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_fault_of_the_program_is_no_denial(
    form: list[str], cidrgate: Cidrgate, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python would end with 1, which says of `check` that the address is denied."""

    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(RuleManager, "explain", broken)
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    assert run(["check", "a", "8.8.8.8", "-d", str(cidrgate.database), *form]) == 2
    assert "by zero" in capsys.readouterr().err


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_an_answer_that_cannot_be_written_is_an_error_and_no_denial(
    cidrgate: Cidrgate, form: list[str], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    command = [sys.executable, "-m", "cidrgate", "-d", str(cidrgate.database), "check", "a", "8.8.8.8", *form]
    with Path("/dev/full").open("w") as full:
        # Started by itself: a fork would have the buffers of the process that it is forked from.
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, "No space left on device" in done.stderr) == (2, True), done.stderr
    gone = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert gone.stdout is not None
    gone.stdout.close()
    _, error = gone.communicate(timeout=60)
    assert (gone.returncode, error) == (2, "")


WRITING = [
    "export",
    "export --csv",
    "export --format nginx",
    "recommend - --plot -",
    "history a",
    "version",
    "--version",
    "--help",
    "list --help",
    "--json list a",
    "--json export",
]


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@rows("words", WRITING)
def test_whatever_a_command_writes_to_a_full_disk_is_an_error(
    cidrgate: Cidrgate, words: str, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    if "a" not in cidrgate.accounts():
        cidrgate("add", "a", "8.8.8.0/24", "--create")
    command = [sys.executable, "-m", "cidrgate", "-d", str(cidrgate.database), *words.split()]
    with Path("/dev/full").open("w") as full:
        # Started by itself: a fork would have the buffers of the process that it is forked from.
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, input="8.8.8.8\n9.9.9.9\n", text=True, timeout=60, check=False
        )
    assert done.returncode == 2, done.stderr
    assert "could not be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


TOLD = {"list nobody": 4, "check a 9.9.9.9": 1, "check a 8.8.8.8": 0, "nonsense": 2, "add a 8.8.8.0/24": 3}


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@rows("words", TOLD)
def test_an_error_that_cannot_be_written_has_its_status(cidrgate: Cidrgate, words: str, form: list[str]) -> None:
    if "a" not in cidrgate.accounts():
        cidrgate("add", "a", "8.8.8.0/24", "--create")
    command = [sys.executable, "-m", "cidrgate", "-d", str(cidrgate.database), *form, *words.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, timeout=60, check=False)
    assert done.returncode == TOLD[words]


BEGUN = """
import builtins, cidrgate.cli
original = builtins.__import__
def begun(name, *more):
    if name == "cidrgate.cli.exit_statuses":
        builtins.__import__ = original
        print("begun", flush=True)
    return original(name, *more)
builtins.__import__ = begun
cidrgate.cli.main()
"""
"""Runs the command, and says when it begins to load its libraries."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["account", "list"], ["serve", "--port", "0"], ["authorize", "--unlisted", "deny"]]
)
def test_an_interrupt_at_any_moment_leaves_no_traceback(cidrgate: Cidrgate, command: list[str]) -> None:
    """Ctrl-C while libraries are loaded, too: that is where a command spends most of its time."""
    cidrgate("account", "create", "a")
    for moment in (0.0, 0.1, 0.3, 0.6, 1.0):
        process = subprocess.Popen(
            [sys.executable, "-c", BEGUN, "-d", str(cidrgate.database), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert "Traceback" not in error
        assert process.returncode in (0, 130, -signal.SIGINT)  # the last one while libraries are loaded
