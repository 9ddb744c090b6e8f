"""`plan`, `apply` and `add --if-missing`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

LISTS = """
[accounts.a]
entries = ["8.8.8.0/24", { cidr = "1.1.1.1/32", label = "office", expires_at = 2999-01-01T00:00:00Z }]

[accounts.s]
parent = "a"
"""


@pytest.fixture
def lists(cidrgate: Cidrgate) -> str:
    cidrgate("migrate")
    Path("lists.toml").write_text(LISTS)
    return "lists.toml"


def test_apply_leaves_no_drift(cidrgate: Cidrgate, lists: str) -> None:
    assert "+ account s, which inherits the list of a" in cidrgate("plan", lists, status=2).out
    assert cidrgate.accounts() == []
    record = cidrgate("apply", lists, "--json").record
    assert (record["applied"], [one["account"] for one in record["changes"]]) == (True, ["a", "s"])
    assert "2 accounts are as declared" in cidrgate("plan", lists).out
    assert cidrgate("apply", lists, "--json").record["changes"] == []
    cidrgate("check", "s", "9.9.9.9", status=1)


def test_json_says_the_same_as_toml(cidrgate: Cidrgate, lists: str) -> None:
    cidrgate("apply", lists)
    entries = ["8.8.8.0/24", {"cidr": "1.1.1.1/32", "label": "office", "expires_at": "2999-01-01T00:00:00+00:00"}]
    declared = json.dumps({"accounts": {"a": {"entries": entries}, "s": {"parent": "a"}}})
    cidrgate("plan", "-", stdin=declared)


def test_what_is_pruned_is_said_before(cidrgate: Cidrgate, lists: str) -> None:
    cidrgate("apply", lists)
    cidrgate("add", "a", "9.9.9.9/32")
    assert "1 entry that the file does not have stays" in cidrgate("plan", lists).out
    assert "- a: 9.9.9.9/32" in cidrgate("plan", lists, "--prune", status=2).out
    refused = cidrgate("apply", lists, "--prune", status=3)
    assert refused.err.index("- a: 9.9.9.9/32") < refused.err.index("say --yes")
    cidrgate("check", "a", "9.9.9.9")
    assert "would change 1 account" in cidrgate("apply", lists, "--prune", "--dry-run").out
    assert "- a: 9.9.9.9/32" in cidrgate("apply", lists, "--prune", "--yes").out
    cidrgate("check", "a", "9.9.9.9", status=1)


def test_a_list_that_would_become_empty(cidrgate: Cidrgate, lists: str) -> None:
    cidrgate("apply", lists)
    Path("lists.toml").write_text("[accounts.a]\nentries = []\n")
    assert "say --empty" in cidrgate("plan", lists, "--prune", status=2).out
    assert "say --empty" in cidrgate("apply", lists, "--prune", "--yes", status=3).err
    cidrgate("apply", lists, "--prune", "--yes", "--empty")
    cidrgate("check", "a", "9.9.9.9")


def test_a_bad_account_keeps_the_others_or_nothing(cidrgate: Cidrgate, lists: str) -> None:
    Path("lists.toml").write_text(LISTS + '\n[accounts.b]\nentries = ["9.9.9.9/32", "10.0.0.0/8"]\n')
    error = cidrgate("plan", lists, "--json", status=1).error
    assert [(one["lines"], one["account"], one["code"]) for one in error["errors"]] == [([2], "b", "special_range")]
    assert "--strict" in cidrgate("apply", lists, "--strict", status=3).err
    assert cidrgate.accounts() == []
    assert "entry 2: b: special_range" in cidrgate("apply", lists, status=7).err
    assert cidrgate.accounts() == ["a", "s"]


def test_a_dry_run_names_every_problem_that_strict_would(cidrgate: Cidrgate) -> None:
    declared = {
        "rule": {"entries": ["10.0.0.0/8"]},
        "fine": {"entries": ["8.8.8.8/32"]},
        "emptied": {"entries": []},
        "new": {"entries": []},
        "below": {"parent": "new"},
        "orphan": {"parent": "nobody"},
    }
    for name in ("rule", "fine", "emptied"):
        cidrgate("add", name, "9.9.9.9/32", "--create")
    lists = json.dumps({"accounts": declared})

    def problems(*options: str) -> set[tuple[str, str]]:
        error = cidrgate("apply", "-", "--prune", "--json", *options, stdin=lists, status=3).error
        return {(one["account"], one["code"]) for one in error["errors"]}

    real = problems("--strict", "--yes")
    assert {"rule", "emptied", "orphan"} <= {account for account, _ in real}
    assert problems("--strict", "--dry-run") == real
    assert cidrgate.accounts() == ["emptied", "fine", "rule"]


def test_a_plan_holds_only_for_what_it_saw(cidrgate: Cidrgate, lists: str) -> None:
    cidrgate("apply", lists)
    Path("lists.toml").write_text(LISTS.replace("8.8.8.0/24", "8.8.4.0/24"))
    Path("plan.json").write_text(cidrgate("plan", lists, "--prune", "--json", status=2).out)
    cidrgate("add", "a", "9.9.9.9/32")
    options = ("--prune", "--yes", "--planned", "plan.json")
    assert "has version 2, not 1" in cidrgate("apply", lists, *options, status=3).err
    Path("plan.json").write_text(cidrgate("plan", lists, "--prune", "--json", status=2).out)
    cidrgate("apply", lists, *options)
    assert "not a plan" in cidrgate("apply", lists, "--planned", lists, status=2).err
    Path("other.toml").write_text('[accounts.b]\nentries = ["8.8.8.0/24"]\n')
    assert "the plan of another file" in cidrgate("apply", "other.toml", "--planned", "plan.json", status=2).err
    assert cidrgate.accounts() == ["a", "s"]


_LISTED = '[accounts.k]\nentries = ["8.8.8.0/24"]\n[accounts.s]\nparent = "k"\n'
_PRUNED = ("--prune", "--yes", "--empty")
_OTHER_PLANS: dict[str, tuple[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]], str]] = {
    "an account more": (
        (_LISTED, ()),
        (_LISTED + '[accounts.j]\nentries = ["5.5.5.0/24"]', ()),
        "the plan of another file",
    ),
    "an account less": ((_LISTED, ()), ('[accounts.s]\nparent = "k"', ()), "the plan of another file"),
    "an account less, which is refused": (
        (_LISTED + '[accounts.bad]\nentries = ["10.0.0.0/8"]', ()),
        (_LISTED, ()),
        "the plan of another file",
    ),
    "another network": ((_LISTED, ()), (_LISTED.replace("8.8.8", "4.4.4"), ()), "something else for k"),
    "another detail": (
        (_LISTED, ()),
        (_LISTED.replace('"8.8.8.0/24"', '{ cidr = "8.8.8.0/24", label = "x" }'), ()),
        "something else for k",
    ),
    "an empty list": ((_LISTED, ()), (_LISTED.replace('"8.8.8.0/24"', ""), _PRUNED), "something else for k"),
    "removals": ((_LISTED, ()), (_LISTED, _PRUNED), "something else for k"),
    "no removals": ((_LISTED, ("--prune",)), (_LISTED, ()), "something else for k"),
    "a creation": ((_LISTED, ("--no-create",)), (_LISTED, ()), "something else for s"),
    "no creation": ((_LISTED, ()), (_LISTED, ("--no-create",)), "something else for s"),
    "a new account with its list": (
        (_LISTED, ()),
        (_LISTED.replace('parent = "k"', "entries = []"), ()),
        "something else for s",
    ),
    "what the plan refuses": (
        (_LISTED.replace("8.8.8.0/24", "10.0.0.0/8"), ()),
        (_LISTED, ()),
        "something else for k",
    ),
}


@pytest.mark.parametrize(("first", "then", "told"), _OTHER_PLANS.values(), ids=_OTHER_PLANS)
def test_only_what_is_planned_is_done(
    cidrgate: Cidrgate, first: tuple[str, tuple[str, ...]], then: tuple[str, tuple[str, ...]], told: str
) -> None:
    cidrgate("add", "k", "9.9.9.9/32", "--create")
    cidrgate("add", "j", "6.6.6.0/24", "--create")
    before = [cidrgate("list", name, "--json").record for name in ("k", "j")]
    (planned, options), (applied, others) = first, then
    Path("lists.toml").write_text(planned)
    failing = "10.0.0.0" in planned or "--no-create" in options
    Path("plan.json").write_text(cidrgate("plan", "lists.toml", *options, "--json", status=1 if failing else 2).out)
    Path("lists.toml").write_text(applied)
    for also in ((), ("--dry-run",), ("--strict",)):
        refused = cidrgate("apply", "lists.toml", "--planned", "plan.json", *others, *also, status=2)
        assert told in refused.err
    assert [cidrgate("list", name, "--json").record for name in ("k", "j")] == before
    assert cidrgate.accounts() == ["j", "k"]


def test_a_plan_in_another_spelling_is_the_same(cidrgate: Cidrgate) -> None:
    cidrgate("add", "k", "9.9.9.9/32", "--create")
    Path("lists.toml").write_text('[accounts.k]\nentries = ["8.8.8.0/24", "1.1.1.1/32"]\n[accounts.s]\nparent = "k"')
    Path("plan.json").write_text(cidrgate("plan", "lists.toml", "--json", status=2).out)
    said = {"s": {"parent": "k"}, "k": {"entries": ["1.1.1.1/32", {"cidr": "8.8.8.0/24", "label": None}]}}
    cidrgate("apply", "-", "--planned", "plan.json", stdin=json.dumps({"accounts": said}))
    assert cidrgate.accounts() == ["k", "s"]


def test_an_account_that_is_gone_since_the_plan_is_not_created_again(cidrgate: Cidrgate) -> None:
    cidrgate("add", "k", "9.9.9.9/32", "--create")
    cidrgate("add", "s", "9.9.9.9/32", "--create")
    cidrgate("remove", "s", "9.9.9.9/32", "--empty")
    cidrgate("account", "edit", "s", "--parent", "k", "--confirm", "other_list")
    Path("lists.toml").write_text('[accounts.s]\nparent = "k"')
    Path("plan.json").write_text(cidrgate("plan", "lists.toml", "--json").out)
    cidrgate("account", "delete", "s", "--confirm", "disable_enforcement")
    assert "has version 0, not" in cidrgate("apply", "lists.toml", "--planned", "plan.json", status=3).err
    assert cidrgate.accounts() == ["k"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"versions": {"k": 1}}', '{"versions": {"k": "1"}, "changes": []}'])
def test_a_file_that_is_no_plan(cidrgate: Cidrgate, lists: str, text: str) -> None:
    Path("plan.json").write_text(text)
    assert "plan.json is not a plan" in cidrgate("apply", lists, "--planned", "plan.json", status=2).err
    assert cidrgate.accounts() == []


WRONG = {
    "not toml": "accounts",
    "another member": '[account.a]\nentries = ["8.8.8.0/24"]',
    "a list of accounts": "accounts = []",
    "an unknown member": '[accounts.a]\nentries = []\nmode = "off"',
    "an unknown detail": '[accounts.a]\nentries = [{ cidr = "8.8.8.0/24", note = "x" }]',
    "no network": '[accounts.a]\nentries = [{ label = "x" }]',
    "a number": "[accounts.a]\nentries = [7]",
    "entries as text": '[accounts.a]\nentries = "8.8.8.0/24"',
    "nothing": "[accounts.a]",
    "both": '[accounts.a]\nentries = []\nparent = "b"',
    "a label that is a number": '[accounts.a]\nentries = [{ cidr = "8.8.8.0/24", label = 7 }]',
    "no time": '[accounts.a]\nentries = [{ cidr = "8.8.8.0/24", expires_at = "soon" }]',
    "a date": '[accounts.a]\nentries = [{ cidr = "8.8.8.0/24", expires_at = 2999-01-01 }]',
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_file_that_declares_nothing(cidrgate: Cidrgate, lists: str, text: str) -> None:
    Path(lists).write_text(text)
    assert cidrgate("plan", lists, "--json", status=1).error["code"] == "command"
    cidrgate("apply", lists, status=2)
    assert cidrgate.accounts() == []


def test_a_member_twice_in_json(cidrgate: Cidrgate, lists: str) -> None:
    text = '{"accounts": {"a": {"entries": ["8.8.8.0/24"]}, "a": {"entries": []}}}'
    assert "repeated" in cidrgate("apply", "-", stdin=text, status=2).err


@pytest.mark.parametrize(
    "arguments", [("plan",), ("plan", "lists.toml", "--bogus"), ("--bogus", "plan", "x"), ("plan", "missing.toml")]
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_no_error_of_plan_looks_like_drift(
    cidrgate: Cidrgate, lists: str, arguments: tuple[str, ...], form: tuple[str, ...]
) -> None:
    cidrgate(*form, *arguments, status=1)
    cidrgate(*form, "apply", "--bogus", status=2)


def test_what_is_listed_is_no_error_if_only_the_missing_is_added(cidrgate: Cidrgate) -> None:
    cidrgate("add", "a", "8.8.8.0/24", "--create")
    cidrgate("add", "a", "8.8.8.8/32", status=3)
    record = cidrgate("add", "a", "8.8.8.8/32, 1.1.1.1/32", "--if-missing", "--json").record
    assert [one["cidr"] for one in record["after"]] == ["1.1.1.1/32"]
    assert [one["cidr"] for one in record["existing"]] == ["8.8.8.0/24"]
    again = cidrgate("add", "a", "8.8.8.8/32, 1.1.1.1/32", "--if-missing")
    assert "allowed already by 8.8.8.0/24 (id 1)" in again.out
    assert "the list is like that already" in again.out
    assert cidrgate("list", "a", "--json").record["version"] == 2
    assert "would" in cidrgate("add", "a", "9.9.9.9/32", "--if-missing", "--dry-run").out
    cidrgate("add", "a", "8.0.0.0/8", "--if-missing", status=3)
    cidrgate("add", "a", "8.8.8.8", "--if-missing", status=3)


def test_messages_say_what_was_done(cidrgate: Cidrgate, lists: str) -> None:
    cidrgate("apply", lists)
    Path("none.toml").write_text("[accounts.a]\nentries = []\n")
    asked = cidrgate("apply", "none.toml", "--prune", "--empty", status=3)
    assert "say --yes" in asked.err
    assert "dry run" not in asked.err.partition("error:")[0]
    assert "say --empty" not in asked.err
    assert "say --empty" in cidrgate("plan", "none.toml", "--prune", status=2).out
    done = cidrgate("apply", "none.toml", "--prune", "--yes", "--empty").out
    assert "a has no entries and allows every address" in done
    assert "would have" not in done
    Path("bad.toml").write_text('[accounts.x]\nentries = ["127.0.0.1/32"]\n[accounts.y]\nentries = ["no"]\n')
    assert "2 accounts were not changed" in cidrgate("apply", "bad.toml", status=3).err


def test_what_ends_sooner_or_is_disabled_is_not_there(cidrgate: Cidrgate) -> None:
    cidrgate("add", "q", "8.8.8.0/24", "--create", "--expires-at", "2999-01-01T00:00:00Z")
    for network in ("8.8.8.8/32", "8.8.8.0/24"):
        refused = cidrgate("add", "q", network, "--if-missing", status=3)
        assert "8.8.8.0/24 is listed, but only until 2999-01-01T00:00:00+00:00" in refused.err
    sooner = cidrgate("add", "q", "8.8.8.8/32", "--if-missing", "--expires-at", "2998-01-01T00:00:00Z")
    assert "allowed already by 8.8.8.0/24" in sooner.out
    cidrgate("edit", "q", "8.8.8.0/24", "--no-enabled")
    disabled = cidrgate("add", "q", "8.8.8.0/24", "--if-missing", status=3)
    assert "8.8.8.0/24 is listed, but it is disabled: enable it" in disabled.err
    assert "leave it out" not in disabled.err
