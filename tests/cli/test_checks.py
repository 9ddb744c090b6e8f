"""`check` and `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate


@pytest.fixture
def listed(cidrgate: Cidrgate) -> Cidrgate:
    cidrgate("add", "acct-1", "8.8.8.0/24, 2606:4700::/32", "--create", "--label", "office")
    cidrgate("account", "create", "open")
    cidrgate("account", "create", "sub-1", "--parent", "acct-1")
    return cidrgate


@pytest.mark.parametrize(
    ("account", "address", "status", "reason"),
    [
        ("acct-1", "8.8.8.8", 0, "matched"),
        ("acct-1", "::ffff:8.8.8.8", 0, "matched"),
        ("acct-1", "2606:4700::1", 0, "matched"),
        ("sub-1", "8.8.8.8", 0, "matched"),
        ("acct-1", "9.9.9.9", 1, "not_listed"),
        ("sub-1", "9.9.9.9", 1, "not_listed"),
        ("open", "9.9.9.9", 0, "not_enforced"),
        ("open", "nonsense", 1, "invalid_address"),
        ("acct-1", "8.8.8.8/32", 1, "invalid_address"),
        ("acct-1", "", 1, "invalid_address"),
        ("acct-1", "8.8.8.8\n", 1, "invalid_address"),
        ("acct-1", "fe80::1%eth0", 1, "invalid_address"),
    ],
)
def test_check_answers_by_its_exit_status(
    listed: Cidrgate, account: str, address: str, status: int, reason: str
) -> None:
    person = listed("check", account, address, status=status)
    assert person.out.startswith(f"{'denied' if status else 'allowed'} for {account}: {reason}: ")
    record = listed("check", account, address, "--json", status=status).record
    assert (record["allowed"], record["reason"]) == (status == 0, reason)
    assert record["list_account"] == ("acct-1" if account == "sub-1" else account)
    assert listed("explain", account, address).out.startswith(person.out)


def test_explain_says_how_near_an_address_is_and_how_to_let_it_in(listed: Cidrgate) -> None:
    assert listed("explain", "acct-1", "8.8.9.1").out.splitlines()[1:] == [
        "nearest entry: 8.8.8.0/24 (office): 23 of its 24 bits agree",
        "to allow it: cidrgate add acct-1 8.8.9.1/32",
    ]
    assert "to allow it: cidrgate add acct-1 8.8.9.1/32" in listed("explain", "sub-1", "::ffff:8.8.9.1").out
    assert "10.0.0.0/8 is Private-Use" in listed("explain", "acct-1", "10.1.1.1").out
    assert "cidrgate add" in listed("explain", "acct-1", "10.1.1.1", "--allow-special").out
    listed("add", "only four", "8.8.8.0/24", "--create")
    out = listed("explain", "only four", "2606::1").out
    assert "no IPv6 entry is listed" in out
    assert "cidrgate add 'only four' 2606::1/128" in out


@pytest.mark.parametrize(
    "command", [["check", "nobody", "8.8.8.8"], ["explain", "nobody", "8.8.8.8"], ["list", "nobody"]]
)
def test_an_unknown_account_is_an_error(listed: Cidrgate, command: list[str]) -> None:
    status = 2 if command[0] == "check" else 4
    assert "cidrgate account create nobody" in listed(*command, status=status).err
    assert listed(*command, "--json", status=status).error["code"] == "account_not_found"
