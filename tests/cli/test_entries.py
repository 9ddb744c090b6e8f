"""`entry` and `account show`: the same code under two names, one entry, and how an entry is named."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from cidrgate.cli.app import app

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

ROOT: Any = get_command(app)


@pytest.fixture
def filled(cidrgate: Cidrgate) -> Cidrgate:
    cidrgate("add", "a", "8.8.8.0/24, 1.1.1.1/32", "--create", "--label", "office")
    cidrgate("account", "create", "s", "--parent", "a")
    return cidrgate


@pytest.mark.parametrize("verb", ["list", "add", "edit", "remove", "replace"])
def test_the_short_name_of_a_command_is_the_same_command(verb: str) -> None:
    short, full = ROOT.commands[verb], ROOT.commands["entry"].commands[verb]
    assert [(one.name, one.opts, one.help, one.default) for one in short.params] == [
        (one.name, one.opts, one.help, one.default) for one in full.params
    ]
    assert inspect.unwrap(short.callback) is inspect.unwrap(full.callback)
    assert short.help == f"{full.help}\n\nThe same as `cidrgate entry {verb}`."


def test_the_full_names_do_what_the_short_ones_do(filled: Cidrgate) -> None:
    filled("entry", "add", "a", "9.9.9.9/32")
    filled("entry", "edit", "a", "9.9.9.9/32", "9.9.9.0/24")
    filled("entry", "remove", "a", "1.1.1.1/32")
    assert filled("entry", "list", "a").out == filled("list", "a").out
    assert filled.listed("a") == [("8.8.8.0/24", "office"), ("9.9.9.0/24", None)]
    filled("entry", "replace", "a", "2.2.2.2/32")
    assert filled.listed("a") == [("2.2.2.2/32", None)]


def test_an_entry_is_shown(filled: Cidrgate) -> None:
    for which in (["8.8.8.0/24"], ["--id", "1"]):
        for account in ("a", "s"):
            record = filled("entry", "show", account, *which, "--json").record
            assert (record["id"], record["cidr"], record["label"], record["account"]) == (
                1,
                "8.8.8.0/24",
                "office",
                "a",
            )
            assert (record["list_account"], record["version"]) == (
                "a",
                filled("list", account, "--json").record["version"],
            )
    lines = dict(line.split(maxsplit=1) for line in filled("entry", "show", "a", "8.8.8.0/24").out.splitlines())
    assert (lines["id"], lines["CIDR"], lines["label"]) == ("1", "8.8.8.0/24", "office")
    assert filled("entry", "show", "a", "9.9.9.9/32", "--json", status=4).error["code"] == "entry_not_found"
    assert "not both" in filled("entry", "show", "a", "8.8.8.0/24", "--id", "1", status=2).err
    assert "no entry is named" in filled("entry", "show", "a", status=2).err


def test_an_account_is_shown(filled: Cidrgate) -> None:
    record = filled("account", "show", "a", "--json").record
    assert (record["name"], record["enforced"], record["version"], record["subaccounts"]) == ("a", True, 1, ["s"])
    [listed, _] = filled("account", "list", "--json").record["items"]
    assert {name: value for name, value in record.items() if name != "subaccounts"} == listed
    assert filled("account", "show", "s", "--json").record["parent"] == "a"
    assert "inherits from" in filled("account", "show", "s").out


@pytest.mark.parametrize("number", ["1", "24", "0", "99999999999999999999", "٣"])
def test_a_number_names_no_entry(filled: Cidrgate, number: str) -> None:
    """In Python the text "1" is no id either. A script that passes a number by mistake removes nothing."""
    before = filled.listed("a")
    for command in (
        ["remove", "a", number],
        ["remove", "a", "8.8.8.0/24", number],
        ["edit", "a", number, "9.9.9.9/32"],
    ):
        answer = filled(*command, status=2)
        assert f"--id {number}" in answer.err
    filled("entry", "show", "a", number, status=2)
    assert filled.listed("a") == before


def test_entries_are_named_by_networks_and_ids_together(filled: Cidrgate) -> None:
    filled("add", "a", "9.9.9.9/32")
    filled("remove", "a", "8.8.8.0/24", "--id", "3")
    assert filled.listed("a") == [("1.1.1.1/32", "office")]
    filled("edit", "a", "--id", "2", "1.1.1.0/24", "--label", "dns")
    assert filled.listed("a") == [("1.1.1.0/24", "dns")]
    assert "one argument too many" in filled("edit", "a", "--id", "2", "1.1.1.0/24", "2.2.2.2/32", status=2).err
    assert "one argument too many" in filled("edit", "a", "1.1.1.0/24", "2.2.2.2/32", "3.3.3.3/32", status=2).err
    assert "no entry is named" in filled("remove", "a", status=2).err
    for wrong in ("0", "-1", "x", "9007199254740992"):
        filled("remove", "a", "--id", wrong, status=2)


def test_an_expiry_is_removed_only_when_that_is_said(filled: Cidrgate) -> None:
    """An empty variable of a script would otherwise turn a temporary entry into a permanent one."""
    filled("edit", "a", "1.1.1.1/32", "--expires-in", "90d")
    for empty in (["--expires-at", ""], ["--expires-in", ""]):
        filled("edit", "a", "1.1.1.1/32", *empty, status=2)
        filled("replace", "a", "1.1.1.1/32", *empty, status=2)
    for both in (["--expires-at", "2999-01-01T00:00Z", "--expires-in", "1d"], ["--expires-in", "1d", "--no-expiry"]):
        assert "not both" in filled("edit", "a", "1.1.1.1/32", *both, status=2).err
    assert filled("entry", "show", "a", "1.1.1.1/32", "--json").record["expires_at"] is not None
    filled("edit", "a", "1.1.1.1/32", "--no-expiry")
    assert filled("entry", "show", "a", "1.1.1.1/32", "--json").record["expires_at"] is None
    filled("edit", "a", "1.1.1.1/32", "--expires-in", "90d")
    filled("replace", "a", "1.1.1.1/32")
    assert filled("entry", "show", "a", "1.1.1.1/32", "--json").record["expires_at"] is not None
    filled("replace", "a", "1.1.1.1/32", "--no-expiry", "--label", "")
    record = filled("entry", "show", "a", "1.1.1.1/32", "--json").record
    assert (record["expires_at"], record["label"]) == (None, None)
    assert "--no-expiry" not in {flag for one in ROOT.commands["add"].params for flag in one.opts}


def test_every_list_is_one_form_of_json(filled: Cidrgate) -> None:
    filled("token", "create", "ops", "--scope", "admin")
    for command in (["account", "list"], ["list", "a"], ["history", "a"], ["token", "list"], ["session", "list"]):
        record = filled(*command, "--json").record
        assert isinstance(record["items"], list)
        assert record["next_cursor"] is None


@pytest.mark.parametrize("command", [["account", "list"], ["history", "a"]], ids=" ".join)
def test_pages_make_up_the_whole(filled: Cidrgate, command: list[str]) -> None:
    for number in range(3):
        filled("add", "a", f"9.9.9.{number}/32")
        filled("account", "create", f"b{number}")
    whole = filled(*command, "--json").record["items"]
    for limit in (1, 2, len(whole), len(whole) + 1):
        found: list[Any] = []
        cursor: list[str] = []
        while True:
            page = filled(*command, "--limit", str(limit), *cursor, "--json").record
            found += page["items"]
            if page["next_cursor"] is None:
                break
            assert len(page["items"]) == limit
            cursor = ["--cursor", page["next_cursor"]]
        assert found == whole


def test_each_change_answers_with_the_version_for_the_next_one(filled: Cidrgate) -> None:
    version = 1
    for command in (
        ["add", "a", "9.9.9.9/32"],
        ["edit", "a", "9.9.9.9/32", "9.9.9.0/24"],
        ["remove", "a", "8.8.8.0/24"],
        ["replace", "a", "8.8.8.0/24"],
        ["restore", "a", "--to-sequence", "2"],
        ["undo", "a", "8"],
    ):
        record = filled(*command, "--expect-version", str(version), "--json").record
        of_list = {"account", "version", "enforced", "mode", "entry_count"}
        assert record.keys() == {*of_list, "before", "after", "existing"}
        version = record["version"]
    assert version == 7
    assert record["entry_count"] == 1


def test_a_change_without_effect_says_so(filled: Cidrgate) -> None:
    answer = filled("edit", "a", "1.1.1.1/32", "1.1.1.1/32")
    assert "the list is like that already" in answer.out
    assert filled("edit", "a", "1.1.1.1/32", "--label", "office", "--json").record["version"] == 1
