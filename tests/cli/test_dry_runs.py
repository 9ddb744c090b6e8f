"""`--dry-run` and `--yes`: what would happen, without that anything happens, and who has to agree."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from typer.main import get_command

from cidrgate import CidrgateError, RuleManager
from cidrgate.cli.app import app
from tests.cli.conftest import Cidrgate
from tests.command_line import typed
from tests.guards.operations import COMMANDS as CHANGING, LOG, POLICY
from tests.length import length
from tests.observed import store_observed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = "account,cidr,label\na,9.9.9.9/32,\nnew,8.8.8.0/24,x\nbad,junk,\n"
DECLARED = (
    '{"accounts": {"a": {"entries": ["9.9.9.9/32"]}, "new": {"entries": ["8.8.8.0/24"]}, "bad": {"entries": ["x"]}}}'
)


@pytest.fixture
def filled(cidrgate: Cidrgate) -> Cidrgate:
    cidrgate("add", "a", "8.8.8.0/24, 1.1.1.1/32", "--create", "--label", "office")
    cidrgate("account", "create", "s", "--parent", "a")
    return cidrgate


def everything(database: Path) -> Any:
    """All that a store holds, as far as a command could change it."""
    with RuleManager.open(database, load=False) as manager:
        return (
            manager.accounts(),
            manager.history(),
            [manager.policy_state(name).stored for name in (None, *(one.name for one in manager.accounts()))],
            {one.name: manager.entries(one.name) for one in manager.accounts()},
        )


def without_time_and_id(record: Any) -> Any:
    """A record without what differs each time: times, and the ids of new entries."""
    if isinstance(record, dict):
        left_out = {"id", "created_at", "dry_run", "enforcement_begins", "enforcement_ends"}
        left_out |= {"applied", "loses_access", "gains_access", "more_lose_access", "more_gain_access", "differences"}
        left_out |= {"evaluation", "evaluation_missing"}
        return {name: without_time_and_id(value) for name, value in record.items() if name not in left_out}
    return [without_time_and_id(one) for one in record] if isinstance(record, list) else record


COMMANDS = [
    (["add", "a", "9.9.9.9/32"], 0),
    (["add", "a", "8.8.8.8/32"], 3),
    (["add", "s", "9.9.9.9/32"], 3),
    (["add", "new", "9.9.9.9/32", "--create"], 0),
    (["add", "new", "10.0.0.0/8", "--create"], 3),
    (["add", "new", "9.9.9.9/32"], 4),
    (["entry", "edit", "a", "1.1.1.1/32", "1.1.1.0/24", "--label", ""], 0),
    (["edit", "a", "1.1.1.1/32", "1.1.1.1/32"], 0),
    (["edit", "a", "--id", "9", "1.1.1.0/24"], 4),
    (["remove", "a", "1.1.1.1/32"], 0),
    (["remove", "a", "1.1.1.1/32", "--expect-version", "9"], 5),
    (["remove", "a", "1.1.1.1/32", "8.8.8.0/24"], 3),
    (["remove", "a", "1.1.1.1/32", "8.8.8.0/24", "--empty"], 0),
    (["replace", "a", "8.8.8.0/24, 9.9.9.9/32"], 0),
    (["replace", "a"], 3),
    (["replace", "a", "--empty"], 0),
    (["restore", "a", "--to-sequence", "2"], 0),
    (["restore", "a", "--to-sequence", "1"], 3),
    (["restore", "a", "--to-sequence", "1", "--empty"], 0),
    (["restore", "a", "--to-sequence", "99"], 4),
    (["undo", "a", "2"], 3),
    (["undo", "a", "2", "--empty"], 0),
    (["undo", "a", "1"], 5),
    (["undo", "a", "99"], 4),
    (["account", "create", "b"], 0),
    (["account", "create", "b", "--parent", "a"], 0),
    (["account", "create", "b", "--parent", "s"], 3),
    (["account", "create", "a"], 5),
    (["account", "rename", "s", "b"], 3),
    (["account", "rename", "s", "b", "--confirm", "disable_enforcement"], 0),
    (["account", "rename", "s", "a"], 5),
    (["account", "rename", "a", "b"], 3),
    (["account", "rename", "a", "b", "--confirm", "disable_enforcement"], 0),
    (["account", "edit", "a", "--display-name", "Acme"], 0),
    (["account", "edit", "s", "--no-parent"], 3),
    (["account", "edit", "s", "--no-parent", "--confirm", "disable_enforcement"], 0),
    (["account", "edit", "a", "--parent", "s"], 3),
    (["account", "edit", "s", "--parent", "nobody"], 4),
    (["account", "delete", "a", "--confirm", "disable_enforcement"], 3),
    (["account", "delete", "a", "--recursive"], 3),
    (["account", "delete", "a", "--recursive", "--confirm", "disable_enforcement"], 0),
    (["mode", "a", "off"], 3),
    (["mode", "a", "report_only", "--confirm", "disable_enforcement"], 0),
    (["mode", "a", "enforce"], 0),
    (["mode", "s", "off"], 3),
    (["pause", "a", "--for", "1h"], 3),
    (["resume", "a"], 0),
    (["resume", "a", "--expect-version", "9"], 5),
    (["policy", "set", "--max-entries", "1"], 0),
    (["policy", "set", "--account", "a", "--allow-special"], 0),
    (["policy", "set", "--account", "s", "--max-entries", "9"], 3),
    (["policy", "set", "--account", "nobody", "--max-entries", "9"], 4),
    (["apply", "-"], 7),
    (["apply", "-", "--strict"], 3),
    (["apply", "-", "--no-create"], 7),
    (["apply", "--prune", "--yes", "-", "--no-create"], 7),
    (["import", "-", "--format", "csv"], 7),
    (["import", "-", "--format", "csv", "--strict"], 3),
    (["import", "-", "--format", "csv", "--replace", "--no-create"], 7),
]


@pytest.mark.parametrize(("command", "status"), COMMANDS, ids=[" ".join(command) for command, _ in COMMANDS])
def test_a_dry_run_says_what_the_command_would_and_changes_nothing(
    filled: Cidrgate, command: list[str], status: int
) -> None:
    before, stdin = everything(filled.database), DECLARED if command[0] == "apply" else ROWS
    person = filled(*command, "--dry-run", stdin=stdin, status=status)
    program = filled(*command, "--dry-run", "--json", stdin=stdin, status=status)
    assert everything(filled.database) == before
    made = filled(*command, "--json", stdin=stdin, status=status)
    if made.out:
        assert program.record["dry_run"] is True
        assert without_time_and_id(program.record) == without_time_and_id(made.record)
        assert "dry run" in person.out
        assert "would" in person.out
    else:
        assert program.out == ""
    if status not in (0, 7):
        told, done = program.error, made.error
        assert (told["code"], told["errors"]) == (done["code"], done["errors"])
    without_effect = command in (
        ["restore", "a", "--to-sequence", "2"],
        ["edit", "a", "1.1.1.1/32", "1.1.1.1/32"],
        ["mode", "a", "enforce"],
        ["resume", "a"],
    )
    assert (everything(filled.database) == before) is (status not in (0, 7) or without_effect)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "replace"]),
        st.lists(st.sampled_from(["8.8.8.0/24", "8.8.8.8/32", "1.1.1.1/32", "9.9.9.0/24"]), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=5,
)


@given(changes=CHANGES)
@settings(max_examples=length(8, 60))
def test_each_dry_run_ends_as_the_change_after_it(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, list[str]]]
) -> None:
    cidrgate = Cidrgate(tmp_path_factory.mktemp("dry") / "lists.db")
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    for verb, cidrs in changes:
        with RuleManager.open(cidrgate.database, load=False) as manager:
            dry = manager.with_hooks(dry_run=True)
            try:
                match verb:
                    case "add":
                        dry.add("a", cidrs)
                    case "remove":
                        dry.remove("a", *cidrs)
                    case _:
                        dry.replace("a", cidrs)
            except CidrgateError:
                refused = True
            else:
                refused = False
        before = everything(cidrgate.database)
        empty = [] if verb == "add" else ["--empty"]
        dry_run = typed([verb, "a", *cidrs, *empty, "--dry-run", "--json", "-d", str(cidrgate.database)])
        assert everything(cidrgate.database) == before
        made = typed([verb, "a", *cidrs, *empty, "--json", "-d", str(cidrgate.database)])
        assert (dry_run.exit_code, bool(dry_run.exit_code)) == (made.exit_code, refused)
        if made.stdout:
            told, done = json.loads(dry_run.stdout), json.loads(made.stdout)
            assert without_time_and_id(told) == without_time_and_id(done)


def test_a_dry_run_says_who_would_lose_access(filled: Cidrgate) -> None:
    record = filled("remove", "a", "1.1.1.1/32", "--dry-run", "--json").record
    assert (record["loses_access"], record["gains_access"]) == (["1.1.1.1/32"], [])
    assert "would lose access: 1.1.1.1/32" in filled("remove", "a", "1.1.1.1/32", "--dry-run").out
    assert "would gain access: 9.9.9.9/32" in filled("add", "a", "9.9.9.9/32", "--dry-run").out
    assert "enforcement would end" in filled("replace", "a", "--empty", "--dry-run").out
    filled("account", "create", "b")
    assert "enforcement would begin" in filled("add", "b", "9.9.9.9/32", "--dry-run").out


@pytest.mark.parametrize(
    "command",
    [
        ["add", "a", "8.8.8.0/24", "--create"],
        ["account", "create", "a"],
        ["import", "-", "--format", "csv"],
        ["apply", "-"],
    ],
    ids=" ".join,
)
def test_a_dry_run_creates_no_database(cidrgate: Cidrgate, command: list[str]) -> None:
    folder = cidrgate.database.parent
    before = list(folder.iterdir())
    rows = "account,cidr\na,8.8.8.0/24\n"
    if command[0] == "apply":
        rows = '{"accounts": {"a": {"entries": ["8.8.8.0/24"]}}}'
    assert "would" in cidrgate(*command, "--dry-run", stdin=rows).out
    assert list(folder.iterdir()) == before
    cidrgate(*command, stdin=rows)
    assert cidrgate.accounts() == ["a"]


def test_a_dry_run_of_pruning_counts_what_it_would_delete(filled: Cidrgate) -> None:
    before = everything(filled.database)
    assert filled("prune", "--older-than", "0d", "--dry-run", "--json").record == {"pruned": 3, "dry_run": True}
    assert "would delete 3 rows of the change log" in filled("prune", "--older-than", "0d", "--dry-run").out
    assert filled("prune", "--older-than", "9d", "--dry-run", "--json").record["pruned"] == 0
    assert everything(filled.database) == before


def test_erasing_counts_asks_and_erases(filled: Cidrgate) -> None:
    before = everything(filled.database)
    counted = filled("erase", "--older-than", "0d", "--dry-run", "--json").record
    assert counted == {"erased": counted["erased"], "dry_run": True}
    assert counted["erased"] > 0
    assert (
        f"would erase personal data in {counted['erased']} rows"
        in filled("erase", "--older-than", "0d", "--dry-run").out
    )
    assert "say --yes" in filled("erase", "--older-than", "0d", "--json", status=3).err
    assert "no account" in filled("erase", "--older-than", "0d", "--account", "nobody", "--yes", status=4).err
    assert everything(filled.database) == before
    assert filled("erase", "--older-than", "0d", "--yes", "--json").record == {"erased": counted["erased"]}
    assert filled("erase", "--older-than", "9d", "--yes").out.startswith("erased personal data in 0 rows")


def test_erasing_names_the_observations_that_it_counts(filled: Cidrgate) -> None:
    filled("erase", "--older-than", "0d", "--yes")
    with RuleManager.open(filled.database, load=False) as manager:
        store_observed(manager, ("a", "8.8.8.8/32", 7))
    said = filled("erase", "--older-than", "0d", "--dry-run").out
    assert "rows of the change log, entries and observations of traffic" in said
    with_traffic = filled("erase", "--older-than", "0d", "--account", "a", "--dry-run", "--json").record["erased"]
    filled("erase", "--older-than", "0d", "--account", "a", "--yes")
    without = filled("erase", "--older-than", "0d", "--account", "a", "--dry-run", "--json").record["erased"]
    assert with_traffic - without == 1
    assert "Observations of traffic are deleted if their last request is older" in filled("erase", "--help").out


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("age", ["0d", "90d"])
def test_where_nobody_can_be_asked_pruning_needs_yes(filled: Cidrgate, age: str, form: list[str]) -> None:
    """Whether anything would be deleted or not: otherwise a timer would begin to fail after ninety days."""
    before = everything(filled.database)
    for stdin in (None, "y\n"):
        answer = filled("prune", "--older-than", age, *form, stdin=stdin, status=3)
        assert "--yes" in answer.err
        if form:
            assert answer.error["code"] == "not_confirmed"
    assert everything(filled.database) == before
    filled("prune", "--older-than", age, "--yes", *form)


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"n\n", 3), (b"\n", 3), (b"\x04", 3)])
def test_a_person_at_a_terminal_is_asked(filled: Cidrgate, answer: bytes, status: int) -> None:
    before = everything(filled.database)
    mine, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "cidrgate", "-d", str(filled.database), "prune", "--older-than", "0d"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        os.write(mine, answer)
        out, error = process.communicate(timeout=60)
    finally:
        os.close(mine)
        os.close(theirs)
    assert "Delete 3 rows of the change log older than 0d of all accounts for good?" in error
    assert process.returncode == status
    assert (everything(filled.database) == before) is (status == 3)
    assert out == ("" if status else "deleted 3 rows of the change log\n")


def commands_with(option: str) -> Iterator[str]:
    root: Any = get_command(app)
    for name, command in root.commands.items():
        for below, one in getattr(command, "commands", {"": command}).items():
            if any(option in parameter.opts for parameter in one.params):
                yield f"{name} {below}".strip()


def test_every_command_that_changes_lists_can_be_tried() -> None:
    changing = {name for name, what in CHANGING.items() if isinstance(what, list) and name != "token create"}
    deleting = {name for name, what in CHANGING.items() if what == LOG}
    others = {name for name, what in CHANGING.items() if what == POLICY}
    assert set(commands_with("--dry-run")) == {*changing, *deleting, *others}
    # `apply --prune` removes what nobody has named, so it asks too.
    assert set(commands_with("--yes")) == {*deleting, "apply"}
