"""Bulk loading: good accounts are stored whole, bad ones are reported and not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import (
    AccountNotFoundError,
    InvalidAccountError,
    NewEntry,
    RuleError,
    RuleManager,
    StoreConflictError,
    StoreError,
    SubaccountError,
    WouldDisableEnforcementError,
)
from cidrgate.stores import Transaction
from tests.change_log import Replay, assert_consistent

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url) as opened:
        yield opened
        assert_consistent(opened, Replay())


def lists_of(**texts: str) -> dict[str, list[NewEntry]]:
    return {name: [NewEntry(cidr) for cidr in text.split()] for name, text in texts.items()}


def cidrs(manager: RuleManager, account: str) -> list[str]:
    return [entry.cidr for entry in manager.entries(account)]


def test_accounts_are_created_and_logged(manager: RuleManager) -> None:
    report = manager.import_accounts(
        {"a": [NewEntry("8.8.8.0/24", label="dns"), NewEntry("2606:4700:0::/32")], "b": []}, actor="me"
    )
    assert (report.accounts, report.entries, report.created, report.problems) == (2, 2, 2, {})
    entries = manager.entries("a")
    assert [(entry.cidr, entry.label, entry.created_by) for entry in entries] == [
        ("8.8.8.0/24", "dns", "me"),
        ("2606:4700::/32", None, "me"),
    ]
    assert [(change.account, change.action, change.after) for change in manager.history()] == [
        ("a", "add", tuple(entries)),
        ("b", "create_account", ()),
        ("a", "create_account", ()),
    ]
    assert not manager.allows("a", "9.9.9.9")
    assert manager.allows("b", "9.9.9.9")


def test_a_bad_account_keeps_no_good_one_out(manager: RuleManager) -> None:
    manager.create_account("full")
    manager.add("full", [f"8.8.{number}.0/24" for number in range(50)])
    manager.create_account("sub", parent="full")
    lists = lists_of(
        good="1.1.1.1/32 9.9.9.9/32",
        bad="1.1.1.1/32 x 10.0.0.0/8 1.1.1.0/24",
        full="1.1.1.1/32",
        sub="1.1.1.1/32",
    ) | {" odd": [NewEntry("1.1.1.1/32")], "\ud800": []}
    report = manager.import_accounts(lists)
    assert (report.accounts, report.entries, report.created) == (1, 2, 1)
    assert cidrs(manager, "good") == ["1.1.1.1/32", "9.9.9.9/32"]
    assert [account.name for account in manager.accounts()] == ["full", "good", "sub"]
    problems = report.problems
    assert set(problems) == {"bad", "full", "sub", " odd", "\ud800"}
    assert isinstance(problems["bad"], RuleError)
    assert [(problem.code, problem.position) for problem in problems["bad"].problems] == [
        ("invalid_format", 1),
        ("special_range", 2),
        ("superset_conflict", 3),
    ]
    assert isinstance(problems["full"], RuleError)
    assert [problem.code for problem in problems["full"].problems] == ["limit_reached"]
    assert isinstance(problems["sub"], SubaccountError)
    assert isinstance(problems[" odd"], InvalidAccountError)
    assert isinstance(problems["\ud800"], InvalidAccountError)


def test_a_piece_is_one_network(manager: RuleManager) -> None:
    for text in ("1.1.1.1/32,9.9.9.9/32", "1.1.1.1/32 9.9.9.9/32", ""):
        report = manager.import_accounts({"a": [NewEntry(text)]})
        assert isinstance(report.problems["a"], RuleError)
    assert manager.accounts() == []


def test_unknown_accounts_are_reported_when_none_shall_be_created(manager: RuleManager) -> None:
    manager.create_account("a")
    report = manager.import_accounts(lists_of(a="1.1.1.1/32", b="9.9.9.9/32"), create=False)
    assert (report.accounts, report.created) == (1, 0)
    assert isinstance(report.problems["b"], AccountNotFoundError)
    assert [account.name for account in manager.accounts()] == ["a"]


def test_lists_are_added_to_or_replaced(manager: RuleManager) -> None:
    manager.import_accounts(lists_of(a="1.1.1.1/32 8.8.8.0/24", b="9.9.9.9/32"))
    kept = manager.entries("a")[0]
    report = manager.import_accounts(lists_of(a="2.2.2.2/32", b="9.9.9.9/32"))
    assert cidrs(manager, "a") == ["1.1.1.1/32", "2.2.2.2/32", "8.8.8.0/24"]
    assert list(report.problems) == ["b"]
    before = manager.history()
    report = manager.import_accounts(lists_of(a="1.1.1.1/32 2606:4700::/32", b="9.9.9.9/32"), replace=True)
    assert (report.accounts, report.entries, report.problems) == (2, 3, {})
    assert cidrs(manager, "a") == ["1.1.1.1/32", "2606:4700::/32"]
    assert manager.entries("a")[0] == kept
    assert [(change.account, change.action) for change in manager.history()[: -len(before)]] == [("a", "replace")]
    refused = manager.import_accounts({"a": [], "b": []}, replace=True, dry_run=True).problems
    assert refused.keys() == {"a", "b"}
    before = manager.history()
    report = manager.import_accounts({"a": [], "c": [], **lists_of(d="7.7.7.7/32")}, replace=True)
    assert isinstance(report.problems["a"], WouldDisableEnforcementError)
    assert (report.accounts, list(report.problems), len(cidrs(manager, "a"))) == (2, ["a"], 2)
    # To add nothing empties nothing, and what is empty stays so.
    assert not manager.import_accounts({"a": [], "c": []}).problems
    assert not manager.import_accounts({"c": []}, replace=True).problems
    assert [change.account for change in manager.history()[: -len(before)] if change.account in ("a", "b")] == []
    assert not manager.import_accounts({"a": []}, replace=True, allow_empty=True).problems
    assert cidrs(manager, "a") == []


@pytest.fixture
def short_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred accounts a commit."""
    monkeypatch.setattr("cidrgate.manager.rule_manager._ACCOUNTS_A_TRANSACTION", 100)


@pytest.mark.usefixtures("short_commits")
def test_many_accounts_go_in_several_commits(manager: RuleManager) -> None:
    lists = {f"acct-{number:03}": [NewEntry(f"8.{number // 256}.{number % 256}.0/24")] for number in range(500)}
    lists["acct-070"] = [NewEntry("nonsense")]
    done: list[int] = []
    report = manager.import_accounts(lists, progress=done.append)
    assert (sum(done), max(done), done == sorted(done[:-1]) + done[-1:]) == (500, 100, True)
    assert (report.accounts, report.entries, report.created) == (499, 499, 499)
    assert list(report.problems) == ["acct-070"]
    assert len(manager.counts()) == 499


@pytest.mark.usefixtures("short_commits")
def test_the_commits_before_one_that_fails_are_stored_and_published(
    manager: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A text that no store can hold, and that the check before them would have refused.
    monkeypatch.setattr("cidrgate.manager.importing.check_labels", lambda _pieces: None)
    lists = {f"acct-{number:03}": [NewEntry("8.8.8.0/24")] for number in range(500)}
    lists["acct-410"] = [NewEntry("8.8.8.0/24", label="\ud800")]
    with pytest.raises(StoreError):
        manager.import_accounts(lists)
    stored = {account.name for account in manager.accounts()}
    assert 0 < len(stored) < 500
    assert "acct-410" not in stored
    for name in lists:
        assert manager.allows(name, "9.9.9.9") == (name not in stored)


def test_a_strict_import_stores_all_or_nothing(store_url: str) -> None:
    good = {f"acct-{number}": [NewEntry(f"8.8.{number % 256}.0/24")] for number in range(5_000)}
    with RuleManager.open(store_url) as manager:
        report = manager.import_accounts(good | {"bad": [NewEntry("10.0.0.0/8")]}, strict=True)
        assert (report.accounts, report.entries, report.created, list(report.problems)) == (0, 0, 0, ["bad"])
        assert manager.accounts() == []
        assert len(manager.matcher) == 0
        assert manager.history() == []
        assert manager.import_accounts(good, strict=True).accounts == len(good)
        assert len(manager.matcher) == len(manager.counts()) == len(good)


def test_a_dry_run_finds_the_problems_and_stores_nothing(store_url: str) -> None:
    lists = {"good": [NewEntry("8.8.8.0/24")], "bad": [NewEntry("8.8.8.8")]}
    with RuleManager.open(store_url) as manager:
        report = manager.import_accounts(lists, dry_run=True)
        assert list(report.problems) == ["bad"]
        assert (report.accounts, report.entries, report.created) == (1, 1, 1)
        assert manager.import_accounts(lists, dry_run=True, strict=True).accounts == 0
        assert manager.accounts() == []
        assert manager.history() == []


def test_lists_that_can_be_read_once_survive_a_conflict(manager: RuleManager, monkeypatch: pytest.MonkeyPatch) -> None:
    insert, conflicts = Transaction.insert_accounts, [True]

    def sometimes(self: Transaction, *arguments: Any, **settings: Any) -> Any:
        made = insert(self, *arguments, **settings)
        if conflicts:
            conflicts.pop()
            raise StoreConflictError("another writer was first")
        return made

    monkeypatch.setattr(Transaction, "insert_accounts", sometimes)
    report = manager.import_accounts({"a": iter(["8.8.8.0/24", "1.1.1.1/32"])})
    assert (report.entries, not conflicts) == (2, True)
    assert cidrs(manager, "a") == ["1.1.1.1/32", "8.8.8.0/24"]
