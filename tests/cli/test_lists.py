"""Changing and showing one account's list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cidrgate import Entry, RuleManager
from cidrgate.stores import StoredChange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Cidrgate


def test_add_edit_remove_and_list(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "acct-1")
    added = cidrgate("add", "acct-1", "8.8.8.0/24, 1.1.1.1/32", "2606:4700:0::/32", "--label", "office")
    assert added.out.splitlines() == [
        "added 8.8.8.0/24 (id 1, office)",
        "added 1.1.1.1/32 (id 2, office)",
        "added 2606:4700::/32 (id 3, office)",
        "acct-1: 3 of 50 entries",
    ]
    cidrgate("edit", "acct-1", "1.1.1.1/32", "1.1.1.0/24", "--label", "dns")
    cidrgate("edit", "acct-1", "--id", "3", "--label", "")
    cidrgate("remove", "acct-1", "--id", "1")
    lines = cidrgate("list", "acct-1").out.splitlines()
    assert lines[0].split() == [
        "id",
        "CIDR",
        "length",
        "mask",
        "addresses",
        "label",
        "added",
        "at",
        "(UTC)",
        "added",
        "by",
    ]
    assert lines[1].split()[:6] == ["2", "1.1.1.0/24", "24", "255.255.255.0", "256", "dns"]
    assert lines[2].split()[:5] == ["3", "2606:4700::/32", "32", "/32", "2^96"]
    assert lines[1].endswith("tester")
    assert lines[3] == "acct-1: 2 of 50 entries"


def test_list_says_when_entries_last_matched_where_that_is_known(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24, 1.1.1.1/32", "--create")
    assert "last matched" not in cidrgate("list", "acct-1").out
    with (
        RuleManager.open(f"sqlite:///{cidrgate.database}", load=False) as manager,
        manager._store.write() as transaction,
    ):
        transaction.note_matches([("acct-1", "8.8.8.0/24")], datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC))
    lines = cidrgate("list", "acct-1").out.splitlines()
    assert lines[0].endswith("added by  last matched (UTC)")
    assert "2026" in lines[1]
    assert "last matched" not in lines[1]
    assert lines[2].endswith("2026-02-03 04:05:06")
    one, two = cidrgate("list", "acct-1", "--json").record["items"]
    assert (one["last_matched_at"], two["last_matched_at"]) == (None, "2026-02-03T04:05:06+00:00")


def test_list_as_json(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create", "--label", "[red]x")
    record = cidrgate("list", "acct-1", "--json", "--max-entries", "7").record
    entry = record["items"][0]
    assert (record["account"], record["list_account"]) == ("acct-1", "acct-1")
    assert (record["enforced"], record["max_entries"], record["editable"]) == (True, 7, True)
    assert {key: entry[key] for key in ("id", "cidr", "prefix_length", "subnet_mask", "address_count", "label")} == {
        "id": 1,
        "cidr": "8.8.8.0/24",
        "prefix_length": 24,
        "subnet_mask": "255.255.255.0",
        "address_count": "256",
        "label": "[red]x",
    }
    assert cidrgate("--json", "list", "acct-1").record["items"] == record["items"]


@pytest.mark.parametrize(
    ("submission", "code", "said"),
    [
        ("1.1.1.1", "invalid_format", "add the length: 1.1.1.1/32"),
        ("8.8.8.0/24", "duplicate_entry", "8.8.8.0/24 is already listed"),
        ("8.8.8.8/32", "subset_exists", "conflicts with 8.8.8.0/24"),
        ("8.8.0.0/16", "superset_conflict", "remove 8.8.8.0/24 first"),
        ("10.0.0.0/8", "special_range", "Private-Use (RFC 1918)"),
        ("9.9.9.9/32, 9.9.9.10/32", "limit_reached", "1 of at most 2 entries"),
    ],
)
def test_every_rule_is_named_with_a_way_out(cidrgate: Cidrgate, submission: str, code: str, said: str) -> None:
    cidrgate.environment["CIDRGATE_MAX_ENTRIES"] = "2"
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    person = cidrgate("add", "acct-1", submission, status=3)
    assert person.out == ""
    assert code in person.err
    assert said in person.err
    assert person.err.endswith("nothing was changed\n")
    machine = cidrgate("add", "acct-1", submission, "--json", status=3)
    assert machine.out == ""
    assert machine.error["code"] == "rules_broken"
    assert [problem["code"] for problem in machine.error["errors"]] == [code]


def test_all_problems_of_a_submission_are_reported_with_their_places(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "acct-1")
    answer = cidrgate("add", "acct-1", "8.8.8.0/24,1.1.1.1", "10.0.0.0/8", status=3)
    assert [line.split(": ")[1:3] for line in answer.err.splitlines()[:-1]] == [
        ["entry 2", "invalid_format"],
        ["entry 3", "special_range"],
    ]


def test_policy_options_after_the_command_win_over_the_environment(cidrgate: Cidrgate) -> None:
    cidrgate.environment["CIDRGATE_MAX_ENTRIES"] = "1"
    cidrgate("add", "acct-1", "8.8.8.0/24, 9.9.9.0/24", "--create", status=3)
    cidrgate("add", "acct-1", "8.8.8.0/24, 9.9.9.0/24", "--create", "--max-entries", "2")
    cidrgate("--max-entries", "3", "add", "acct-1", "10.0.0.0/8", "--allow-special")
    cidrgate("add", "acct-1", "1.1.1.1/32", "--max-entries", "0", status=2)


def test_add_creates_no_account_unasked_or_in_vain(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "other")
    assert "cidrgate account create acct-1" in cidrgate("add", "acct-1", "8.8.8.0/24", status=4).err
    cidrgate("add", "acct-1", "10.0.0.0/8", "--create", status=3)
    assert [account["name"] for account in cidrgate("account", "list", "--json").record["items"]] == ["other"]


def test_the_last_entry_removed_is_the_end_of_enforcement(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    assert "not enforced" in cidrgate("remove", "acct-1", "8.8.8.0/24", "--empty").out
    assert "acct-1: 0 of 50 entries" in cidrgate("list", "acct-1").out
    assert "it holds 8" not in cidrgate("remove", "acct-1", "8.8.8.0/24", status=4).err


def test_an_edit_of_nothing_and_of_a_missing_entry(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    assert "nothing to change" in cidrgate("edit", "acct-1", "8.8.8.0/24", status=2).err
    missing = cidrgate("edit", "acct-1", "--id", "7", "9.9.9.9/32", "--json", status=4)
    assert missing.error["code"] == "entry_not_found"
    assert "8.8.8.0/24 (id 1)" in missing.error["detail"]


def test_replace_from_arguments_a_file_and_stdin(cidrgate: Cidrgate, tmp_path: Path) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24, 1.1.1.1/32", "--create", "--label", "old")
    record = cidrgate("replace", "acct-1", "9.9.9.9/32,8.8.8.0/24", "--json").record
    assert [(entry["cidr"], entry["id"]) for entry in record["after"]] == [("9.9.9.9/32", 3)]
    assert [(entry["cidr"], entry["id"]) for entry in record["before"]] == [("1.1.1.1/32", 2)]
    assert cidrgate.listed("acct-1") == [("8.8.8.0/24", "old"), ("9.9.9.9/32", None)]
    file = tmp_path / "networks.txt"
    file.write_bytes(b"\xef\xbb\xbf8.8.8.0/24\r\n\r\n1.1.1.1/32\r\n")
    record = cidrgate("replace", "acct-1", "--file", str(file), "--json").record
    assert [cidr for cidr, _ in cidrgate.listed("acct-1")] == ["1.1.1.1/32", "8.8.8.0/24"]
    record = cidrgate("replace", "acct-1", "-f", "-", "--json", stdin="9.9.9.9/32\n").record
    assert (record["version"], record["entry_count"]) == (4, 1)
    assert [cidr for cidr, _ in cidrgate.listed("acct-1")] == ["9.9.9.9/32"]


def test_replace_empties_a_list_only_when_told_to(cidrgate: Cidrgate, tmp_path: Path) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    file = tmp_path / "networks.txt"
    file.write_text("\n")
    for arguments in ([], ["--file", str(file)], [""]):
        assert "--empty" in cidrgate("replace", "acct-1", *arguments, status=3).err
    assert cidrgate("list", "acct-1", "--json").record["enforced"] is True
    assert cidrgate("replace", "acct-1", "--empty", "--json").record["enforced"] is False


def test_replace_takes_networks_or_a_file(cidrgate: Cidrgate, tmp_path: Path) -> None:
    cidrgate("account", "create", "acct-1")
    file = tmp_path / "networks.txt"
    assert "cannot read" in cidrgate("replace", "acct-1", "--file", str(file), status=2).err
    file.write_bytes(b"8.8.8.0/24\n\xff")
    assert "not UTF-8 at byte 11" in cidrgate("replace", "acct-1", "--file", str(file), status=2).err
    assert "not both" in cidrgate("replace", "acct-1", "1.1.1.1/32", "--file", str(file), status=2).err


def test_a_subaccount_shows_its_parents_list_and_refuses_changes(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24", "--create")
    cidrgate("account", "create", "sub-1", "--parent", "acct-1")
    assert "inherited from acct-1" in cidrgate("list", "sub-1").out
    assert cidrgate("list", "sub-1", "--json").record["list_account"] == "acct-1"
    assert cidrgate("list", "sub-1", "--json").record["editable"] is False
    for arguments in (
        ["add", "sub-1", "1.1.1.1/32"],
        ["edit", "sub-1", "--id", "1", "1.1.1.1/32"],
        ["remove", "sub-1", "--id", "1"],
        ["replace", "sub-1", "1.1.1.1/32"],
    ):
        assert cidrgate(*arguments, "--json", status=3).error["code"] == "list_inherited"


@pytest.mark.parametrize("label", ["[red]x[/red]", "[/]", ":smile:", "a\x1b[31m\r\nb", "\u202eevil", "x" * 300, "数数"])
def test_labels_are_printed_literally_and_safely(cidrgate: Cidrgate, label: str) -> None:
    """Those too that only an earlier version let through."""
    cidrgate("account", "create", "acct-1")
    with RuleManager.open(cidrgate.database, load=False) as manager, manager._store.write() as transaction:
        owner = transaction.account("acct-1")
        assert owner is not None
        at = datetime(2026, 2, 3, tzinfo=UTC)
        entry = Entry(
            id=next(transaction.new_entry_ids()),
            account="acct-1",
            cidr="8.8.8.0/24",
            label=label,
            created_at=at,
            created_by=None,
        )
        transaction.apply([StoredChange(owner, "add", after=(entry,))], at=at)
    assert cidrgate("list", "acct-1", "--json").record["items"][0]["label"] == label
    shown = label.replace("\x1b", r"\x1b").replace("\r\n", r"\r\n").replace("\u202e", r"\u202e")
    for command in (["list", "acct-1"], ["history", "acct-1"], ["explain", "acct-1", "8.8.8.8"]):
        out = cidrgate(*command).out
        assert shown in out
        assert "\x1b" not in out


def test_history_shows_what_every_change_did(cidrgate: Cidrgate) -> None:
    cidrgate("add", "acct-1", "8.8.8.0/24, 1.1.1.1/32", "--create")
    cidrgate("edit", "acct-1", "1.1.1.1/32", "1.1.1.0/24", "--actor", "someone")
    cidrgate("replace", "acct-1", "9.9.9.9/32, 8.8.8.0/24")
    lines = [line.split(maxsplit=5) for line in cidrgate("history", "acct-1").out.splitlines()[1:]]
    assert [(line[3], line[4], line[5].rpartition("cli ")[0].strip()) for line in lines] == [
        ("tester", "replace", "- 1.1.1.0/24, + 9.9.9.9/32"),
        ("someone", "edit", "1.1.1.1/32 -> 1.1.1.0/24"),
        ("tester", "add", "+ 8.8.8.0/24, + 1.1.1.1/32"),
        ("tester", "create_account", ""),
    ]
    changes = cidrgate("history", "acct-1", "--limit", "2", "--json").record["items"]
    assert [change["sequence"] for change in changes] == [4, 3]
    assert changes[1]["before"][0]["cidr"] == "1.1.1.1/32"
    cidrgate("account", "create", "sub-1", "--parent", "acct-1")
    assert "cidrgate history acct-1" in cidrgate("history", "sub-1").out
