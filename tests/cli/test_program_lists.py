"""`export --format`: lists for other programs, never more open than cidrgate unless somebody says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cidrgate import NewEntry, RuleManager
from cidrgate.formatters import FORMATTERS, AccountList

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

FORMS = list(FORMATTERS)


@pytest.fixture
def filled(cidrgate: Cidrgate) -> Cidrgate:
    """With lists of every kind, which are all enforced."""
    with RuleManager.open(f"sqlite:///{cidrgate.database}", load=False) as manager:
        manager.create_account("a")
        manager.create_account("sub of a", parent="a")
        manager.create_account("b")
        manager.create_account("closed", closed=True)
        manager.add("a", "9.9.9.0/24, 8.8.8.0/24, 2620:fe::/48")
        manager.add("a", "7.7.7.0/24", enabled=False)
        manager.add("b", "1.1.1.0/24", expires_at=datetime(2999, 1, 1, tzinfo=UTC))
    return cidrgate


A = AccountList(account="a", subaccounts=("sub of a",), cidrs=("8.8.8.0/24", "9.9.9.0/24", "2620:fe::/48"))
B = AccountList(account="b", cidrs=("1.1.1.0/24",))
CLOSED = AccountList(account="closed", cidrs=())


def text(form: str, *lists: AccountList) -> str:
    formatter = FORMATTERS[form]
    known = [one if formatter.finds_account else AccountList(account=one.account, cidrs=one.cidrs) for one in lists]
    return "".join(formatter.write(known))


@pytest.mark.parametrize("form", FORMS)
def test_lists_are_written_as_they_are_now(filled: Cidrgate, form: str) -> None:
    assert filled("export", "--format", form).out == text(form, A, B, CLOSED)
    assert filled("export", "b", "a", "--format", form).out == text(form, B, A)
    said = filled("export", "a", "b", "--format", form, "-o", "file")
    assert Path("file").read_text() == text(form, A, B)
    accounts = 3 if FORMATTERS[form].finds_account else 2
    assert said.out == f"exported 4 entries of {accounts} accounts to file\n"


def test_what_a_file_lacks_is_said(filled: Cidrgate) -> None:
    lacks = "it lacks later changes, modes, expiries and reports; a request for an account that is not in it"
    assert filled("export", "a", "--format", "nginx").err.replace("\n", " ") == (
        f"a configuration for nginx decides as cidrgate does now: {lacks} is denied "
    )
    told = filled("export", "--format", "nftables").err.splitlines()
    assert f"{lacks} has no chain, so the rules around decide" in told[0]
    assert told[1].startswith("1 entry expires, the first at 2999-01-01T00:00:00+00:00: write the file again by then")
    assert told[2] == "1 subaccount is not written: use the list of the parent for their requests"
    answer = filled("export", "--format", "nftables", "-o", "file", "--json")
    assert answer.err == ""
    assert answer.record == {
        "account_count": 3,
        "entry_count": 4,
        "expiring_count": 1,
        "first_expiry": "2999-01-01T00:00:00+00:00",
        "unenforced_count": 0,
        "format": "nftables",
        "file": "file",
    }


@pytest.mark.parametrize("kind", ["empty", "report_only", "off", "paused"])
def test_an_account_that_is_not_enforced_needs_a_word(filled: Cidrgate, kind: str) -> None:
    with RuleManager.open(f"sqlite:///{filled.database}", load=False) as manager:
        manager.create_account("open")
        if kind != "empty":
            manager.add("open", "5.5.5.0/24")
        if kind == "paused":
            manager.pause("open", for_=3_600, reason="test", confirmed=["disable_enforcement"])
        elif kind != "empty":
            manager.set_mode("open", kind, confirmed=["disable_enforcement"])  # type: ignore[arg-type]
    Path("file").write_text("before")
    for names in ((), ("a", "open")):
        refused = filled("export", *names, "--format", "nginx", "-o", "file", status=2)
        assert "cidrgate denies no address for 1 account ('open')" in refused.err
        assert "say --unenforced allow" in refused.err
        assert filled("export", *names, "--format", "nginx", status=2).out == ""
    assert Path("file").read_text() == "before"
    assert filled("export", "a", "--format", "nginx").out == text("nginx", A)
    cidrs = () if kind == "empty" else ("5.5.5.0/24",)
    for form in FORMS:
        allowed = filled("export", "open", "--format", form, "--unenforced", "allow")
        assert allowed.out == text(form, AccountList(account="open", cidrs=None))
        assert "allows every address for them, also after cidrgate begins to enforce them" in allowed.err
        enforced = filled("export", "open", "--format", form, "--unenforced", "enforce")
        assert enforced.out == text(form, AccountList(account="open", cidrs=cidrs))
        assert "which is stricter" in enforced.err


def test_many_accounts_that_are_not_enforced_are_counted(cidrgate: Cidrgate) -> None:
    with RuleManager.open(f"sqlite:///{cidrgate.database}", load=False) as manager:
        for number in range(25):
            manager.create_account(f"acct-{number:02}")
    refused = cidrgate("export", "--format", "envoy", status=2)
    assert "for 25 accounts ('acct-00', " in refused.err
    assert "'acct-19' and 5 more)" in refused.err


def test_an_account_that_stops_to_be_enforced_meanwhile_is_refused(
    filled: Cidrgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = RuleManager.listing

    def pausing(manager: RuleManager, account: str) -> object:
        if account == "b":
            manager.pause("b", for_=3_600, reason="test", confirmed=["disable_enforcement"])
        return listing(manager, account)

    monkeypatch.setattr(RuleManager, "listing", pausing)
    refused = filled("export", "--format", "haproxy", status=2)
    assert refused.out == ""
    assert "cidrgate denies no address for 1 account ('b')" in refused.err


def test_a_list_that_a_program_cannot_hold_leaves_no_file(filled: Cidrgate) -> None:
    name = "é" * 200
    with RuleManager.open(f"sqlite:///{filled.database}", load=False) as manager:
        manager.import_accounts({name: [NewEntry("5.5.5.0/24")]})
    refused = filled("export", "--format", "aws-waf", "-o", "file", status=2)
    assert "is too long for AWS WAF" in refused.err
    assert not Path("file").exists()
    assert filled("export", "a", "--format", "aws-waf").out


def test_only_expired_entries_deny(cidrgate: Cidrgate) -> None:
    with RuleManager.open(f"sqlite:///{cidrgate.database}", load=False) as manager:
        manager.import_export(
            [
                json.dumps({"format": "cidrgate export", "version": 1}) + "\n",
                json.dumps(
                    {
                        "name": "a",
                        "created_at": "2024-01-01T00:00:00Z",
                        "version": 1,
                        "entries": [
                            {
                                "cidr": "8.8.8.0/24",
                                "created_at": "2024-01-01T00:00:00Z",
                                "expires_at": "2024-01-02T00:00:00Z",
                            }
                        ],
                    }
                )
                + "\n",
                json.dumps({"end": {"account_count": 1, "entry_count": 1}}) + "\n",
            ]
        )
    assert cidrgate("export", "--format", "envoy").out == text("envoy", AccountList(account="a", cidrs=()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--format", "nginx", "--csv"], "--csv and --format are two formats"),
        (["a", "--unenforced", "allow"], "--unenforced is for --format"),
        (["sub of a", "--format", "nginx"], "name 'a' instead"),
    ],
)
def test_options_that_contradict_are_refused(filled: Cidrgate, arguments: list[str], message: str) -> None:
    status = 3 if "sub of a" in arguments else 2
    assert message in filled("export", *arguments, status=status).err


def test_an_unknown_account_is_not_found(filled: Cidrgate) -> None:
    assert "there is no account 'nobody'" in filled("export", "nobody", "--format", "nginx", status=4).err
