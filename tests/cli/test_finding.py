"""`cidrgate find`: the entries of all accounts that contain a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate


def test_entries_of_all_accounts_are_shown(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "acct-1")
    cidrgate("account", "create", "sub-1", "--parent", "acct-1")
    cidrgate("account", "create", "acct-2")
    cidrgate("add", "acct-1", "8.8.8.0/24", "--label", "office")
    cidrgate("add", "acct-2", "8.8.0.0/16", "--no-enabled")
    lines = cidrgate("find", "8.8.8.8").out.splitlines()
    assert lines[0].split()[:5] == ["account", "subaccounts", "id", "CIDR", "allows"]
    assert lines[1].split()[:6] == ["acct-1", "1", "1", "8.8.8.0/24", "yes", "office"]
    assert "no, disabled" in lines[2]
    assert lines[3] == "2 entries contain 8.8.8.8"
    assert cidrgate("find", "7.7.7.7").out.startswith("0 entries contain 7.7.7.7\n")
    record = cidrgate("find", "--overlaps", "8.0.0.0/8", "--limit", "1", "--json").record
    assert [one["account"] for one in record["items"]] == ["acct-1"]
    record = cidrgate("find", "--overlaps", "8.0.0.0/8", "--cursor", record["next_cursor"], "--json").record
    assert ([one["account"] for one in record["items"]], record["next_cursor"]) == (["acct-2"], None)
    assert "1 entry contains 8.8.8.0/24" in cidrgate("find", "8.8.8.0/24", "-n", "1").out
    assert "more follow" in cidrgate("find", "8.8.8.0/24", "-n", "1").out
    assert "8.8.8.8/24" in cidrgate("find", "8.8.8.8/24", status=2).err


def test_accounts_are_listed_by_their_names(cidrgate: Cidrgate) -> None:
    for name in ("acme", "acme-eu", "Initech"):
        cidrgate("account", "create", name)

    def names(*options: str) -> list[str]:
        return [one["name"] for one in cidrgate("account", "list", "--json", *options).record["items"]]

    assert names("--starting-with", "AC") == ["acme", "acme-eu"]
    assert names("--containing", "tec") == ["Initech"]
    assert names("--containing", "-", "--starting-with", "acm") == ["acme-eu"]
    for name in ("sub-1", "sub-2", "other"):
        cidrgate("account", "create", name, "--parent", "acme")
    assert names("--parent", "acme") == ["other", "sub-1", "sub-2"]
    assert names("-p", "acme", "--starting-with", "sub", "--limit", "1") == ["sub-1"]
    assert names("-p", "acme", "--cursor", "sub-1") == ["sub-2"]
    assert names("--parent", "Initech") == []
    unknown = cidrgate("account", "list", "--parent", "acem", "--json", status=4)
    assert unknown.error["code"] == "account_not_found"


def test_the_log_is_shown_between_two_sequences(cidrgate: Cidrgate) -> None:
    cidrgate("account", "create", "a")
    for last in range(1, 6):
        cidrgate("add", "a", f"8.8.8.{last}/32")

    def sequences(*options: str) -> list[int]:
        return [one["sequence"] for one in cidrgate("history", "a", "--json", *options).record["items"]]

    assert sequences() == [6, 5, 4, 3, 2, 1]
    assert sequences("--before", "4") == [3, 2, 1]
    assert sequences("--before", "5", "--after", "2") == [4, 3]
    assert sequences("--before", "5", "--limit", "2") == [4, 3]
    assert sequences("--before", "5", "--limit", "2", "--cursor", "3") == [2, 1]
    assert sequences("--before", "3", "--cursor", "5") == [2, 1]
    assert "leave out --before" in cidrgate("history", "a", "--follow", "--before", "4", status=2).err
