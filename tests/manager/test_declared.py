"""Declared lists: what a plan says is what `apply` changes, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import (
    AccountNotFoundError,
    InvalidExpiryError,
    NewEntry,
    Policy,
    RuleError,
    RuleManager,
    SubaccountError,
    VersionConflictError,
    WouldDisableEnforcementError,
    WouldLockOutCallerError,
)
from cidrgate.manager import DeclaredAccount
from tests.entry_details import some_details
from tests.length import length

if TYPE_CHECKING:
    from collections.abc import Iterator

CIDRS = ["8.8.8.0/24", "8.8.4.0/24", "8.8.0.0/16", "1.1.1.1/32", "2606:4700::/32", "9.9.9.9/32"]
PAST = datetime(2020, 1, 1, tzinfo=UTC)

entries = st.builds(lambda cidr, said: NewEntry(cidr, **said), st.sampled_from(CIDRS), some_details)
lists = st.lists(entries, max_size=4, unique_by=lambda one: one.cidr)
names = st.sampled_from(["a", "b", "c", "d"])
declared_accounts = st.one_of(
    lists.map(lambda one: DeclaredAccount(entries=one)),
    names.map(lambda parent: DeclaredAccount(parent=parent)),
)
declarations = st.dictionaries(names, declared_accounts, max_size=4)


@pytest.fixture
def manager() -> Iterator[RuleManager]:
    with RuleManager.open("memory://") as opened:
        yield opened


def state(manager: RuleManager) -> dict[str, tuple[str | None, int, list[Any]]]:
    """Every account with its parent, its version and its own entries."""
    return {
        one.name: (one.parent, one.version, [] if one.parent else manager.entries(one.name))
        for one in manager.accounts()
    }


def filled(manager: RuleManager, before: dict[str, list[NewEntry]], subaccount: bool) -> None:
    for name, listed in before.items():
        manager.create_account(name)
        try:
            manager.replace(name, listed, allow_empty=True)
        except RuleError:
            manager.replace(name, listed[:1], allow_empty=True)
    if subaccount and before and "d" not in before:
        manager.create_account("d", parent=next(iter(before)))


@given(
    before=st.dictionaries(st.sampled_from(["a", "b", "c"]), lists, max_size=3),
    subaccount=st.booleans(),
    declared=declarations,
    prune=st.booleans(),
    strict=st.booleans(),
)
@settings(max_examples=length(80, 2_000))
def test_apply_does_what_the_plan_says_and_leaves_no_drift(
    before: dict[str, list[NewEntry]],
    subaccount: bool,
    declared: dict[str, DeclaredAccount],
    prune: bool,
    strict: bool,
) -> None:
    with RuleManager.open("memory://") as manager:
        filled(manager, before, subaccount)
        was = state(manager)
        plan = manager.plan(declared, prune=prune)
        assert state(manager) == was, "a plan changes nothing"
        assert not plan.applied
        report = manager.apply(declared, prune=prune, strict=strict, allow_empty=True, expect_versions=plan.versions)
        assert report.problems.keys() == plan.problems.keys()
        assert report.applied == (bool(declared) and not (strict and plan.problems))
        now = state(manager)
        planned = {one.account: one for one in plan.changes} if report.applied else {}
        for name in was.keys() | now.keys():
            if name not in planned:
                assert now.get(name) == was.get(name), f"{name} changed, and the plan did not say so"
        for name, change in planned.items():
            parent, version, listed = now[name]
            assert (parent, change.created) == (declared[name].parent, name not in was)
            assert change.version == (was[name][1] if name in was else 0)
            assert version == change.version + bool(change.before or change.after)
            old = {entry.cidr for entry in was.get(name, (None, 0, []))[2]}
            gone, new = ({entry.cidr for entry in one} for one in (change.before, change.after))
            assert {entry.cidr for entry in listed} == (old - gone) | new
            if declared[name].entries is not None:
                golden = {one.cidr: one.details() for one in cast("list[NewEntry]", declared[name].entries)}
                kept = {} if prune else {entry.cidr: None for entry in was.get(name, (None, 0, []))[2]}
                assert {entry.cidr for entry in listed} == golden.keys() | kept.keys()
                for entry in listed:
                    if entry.cidr in golden:
                        assert NewEntry.of(entry).details() == golden[entry.cidr]
        if report.applied:
            listed_now = {entry.id for one in now.values() for entry in one[2]}
            assert all(entry.id in listed_now for one in report.changes for entry in one.after), "it names what is"
        if report.applied and not plan.problems:
            assert not manager.plan(declared, prune=prune).drift
        again = manager.apply(declared, prune=prune, strict=strict, allow_empty=True)
        assert again.changes == () or not report.applied
        assert state(manager) == now, "applying twice changes nothing"


def test_without_prune_what_is_not_declared_stays(manager: RuleManager) -> None:
    manager.create_account("a")
    manager.add("a", "8.8.8.0/24, 1.1.1.1/32", label="by hand")
    report = manager.apply({"a": ["8.8.8.0/24", "9.9.9.9/32"]})
    [change] = report.changes
    assert [entry.cidr for entry in change.kept] == ["1.1.1.1/32"]
    assert {entry.cidr: entry.label for entry in manager.entries("a")} == {
        "8.8.8.0/24": None,
        "1.1.1.1/32": "by hand",
        "9.9.9.9/32": None,
    }
    report = manager.apply({"a": ["8.8.8.0/24"]}, prune=True)
    assert [entry.cidr for entry in report.changes[0].before] == ["1.1.1.1/32", "9.9.9.9/32"]


def test_an_account_without_its_list_is_not_created(manager: RuleManager) -> None:
    """It would be open."""
    report = manager.apply({"a": ["8.8.8.0/24"], "b": ["10.0.0.0/8"], "c": ["8.8.8.8"]})
    assert report.applied
    assert [one.name for one in manager.accounts()] == ["a"]
    assert {name: type(error) for name, error in report.problems.items()} == {"b": RuleError, "c": RuleError}


def test_strict_changes_nothing_if_one_account_fails(manager: RuleManager) -> None:
    report = manager.apply({"a": ["8.8.8.0/24"], "b": ["10.0.0.0/8"]}, strict=True)
    assert (report.applied, list(report.problems), manager.accounts()) == (False, ["b"], [])


def test_a_list_becomes_empty_only_if_that_is_confirmed(manager: RuleManager) -> None:
    manager.apply({"a": ["8.8.8.0/24"]})
    assert manager.plan({"a": []}, prune=True).changes[0].confirm == ("disable_enforcement",)
    report = manager.apply({"a": []}, prune=True)
    assert isinstance(report.problems["a"], WouldDisableEnforcementError)
    assert not manager.plan({"a": []}).drift, "without prune nothing is removed"
    assert not manager.apply({"a": []}, prune=True, allow_empty=True).problems
    assert manager.allows("a", "9.9.9.9")


def test_a_caller_is_not_locked_out_by_a_declaration(manager: RuleManager) -> None:
    caller = manager.with_hooks(address="9.9.9.9")
    for declared in ({"new": ["8.8.8.0/24"]}, {"new": ["9.9.9.9/32"]}):
        report = caller.apply(declared)
    assert not report.problems
    assert isinstance(caller.apply({"new": ["8.8.8.0/24"]}, prune=True).problems["new"], WouldLockOutCallerError)
    assert not caller.with_hooks(confirmed=["lock_out"]).apply({"new": ["8.8.8.0/24"]}, prune=True).problems


def test_a_list_that_changed_since_the_plan_is_not_touched(manager: RuleManager) -> None:
    manager.apply({"a": ["8.8.8.0/24"], "b": ["8.8.8.0/24"]})
    declared = {"a": ["9.9.9.9/32"], "b": ["9.9.9.9/32"]}
    plan = manager.plan(declared, prune=True)
    manager.add("a", "1.1.1.1/32")
    report = manager.apply(declared, prune=True, expect_versions=plan.versions)
    assert {name: type(error) for name, error in report.problems.items()} == {"a": VersionConflictError}
    assert [entry.cidr for entry in manager.entries("b")] == ["9.9.9.9/32"]
    assert [entry.cidr for entry in manager.entries("a")] == ["1.1.1.1/32", "8.8.8.0/24"]


def test_a_new_account_that_somebody_created_since_the_plan(manager: RuleManager) -> None:
    plan = manager.plan({"a": ["8.8.8.0/24"]})
    manager.create_account("a")
    manager.add("a", "1.1.1.1/32")
    report = manager.apply({"a": ["8.8.8.0/24"]}, expect_versions=plan.versions)
    assert isinstance(report.problems["a"], VersionConflictError)


def test_an_entry_that_has_expired_is_not_added_again(manager: RuleManager) -> None:
    """Otherwise a file would fail on the day on which one of its entries expires."""
    declared: dict[str, Any] = {"a": ["8.8.8.0/24", NewEntry("9.9.9.9/32", expires_at=PAST)]}
    assert not manager.apply(declared).problems
    assert [entry.cidr for entry in manager.entries("a")] == ["8.8.8.0/24"]
    assert not manager.plan(declared, prune=True).drift


def test_a_list_of_expired_entries_opens_no_account(manager: RuleManager) -> None:
    declared: dict[str, Any] = {"a": [NewEntry("9.9.9.9/32", expires_at=PAST)]}
    assert isinstance(manager.apply(declared).problems["a"], InvalidExpiryError)
    assert manager.accounts() == []
    manager.apply({"a": ["8.8.8.0/24"]})
    assert isinstance(manager.apply(declared, prune=True, allow_empty=True).problems["a"], InvalidExpiryError)
    assert not manager.allows("a", "9.9.9.9")


def test_a_declared_network_that_covers_an_entry_that_stays(manager: RuleManager) -> None:
    manager.apply({"a": ["8.8.8.0/24"]})
    error = manager.apply({"a": ["1.1.1.1/32", "8.8.0.0/16"]}).problems["a"]
    assert isinstance(error, RuleError)
    assert [(one.code, one.position, one.conflicts) for one in error.problems] == [
        ("superset_conflict", 1, ("8.8.8.0/24",))
    ]
    assert not manager.apply({"a": ["1.1.1.1/32", "8.8.0.0/16"]}, prune=True).problems


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ({"s": DeclaredAccount(parent="nobody")}, AccountNotFoundError),
        ({"s": DeclaredAccount(parent="sub")}, SubaccountError),
        ({"s": DeclaredAccount(parent="t"), "t": DeclaredAccount(parent="top")}, SubaccountError),
        ({"sub": ["8.8.8.0/24"]}, SubaccountError),
        ({"top": DeclaredAccount(parent="other")}, SubaccountError),
    ],
)
def test_parents_that_do_not_fit(manager: RuleManager, declared: Any, kind: type[Exception]) -> None:
    manager.create_account("top")
    manager.create_account("other")
    manager.create_account("sub", parent="top")
    assert isinstance(manager.apply(declared).problems[next(iter(declared))], kind)


def test_a_declaration_may_name_a_subaccount_before_its_parent(manager: RuleManager) -> None:
    report = manager.apply({"sub": DeclaredAccount(parent="top"), "top": ["8.8.8.0/24"]})
    assert [one.account for one in report.changes] == ["sub", "top"]
    assert not manager.allows("sub", "9.9.9.9")


def test_the_limit_counts_what_stays(manager: RuleManager) -> None:
    manager.policy = Policy(max_entries=2)
    manager.apply({"a": ["8.8.8.0/24", "9.9.9.9/32"]})
    error = manager.apply({"a": ["1.1.1.1/32"]}).problems["a"]
    assert isinstance(error, RuleError)
    assert error.problems[0].code == "limit_reached"


def test_without_create_an_unknown_account_is_a_problem(manager: RuleManager) -> None:
    assert isinstance(manager.apply({"a": []}, create=False).problems["a"], AccountNotFoundError)


def test_arguments_that_are_none(manager: RuleManager) -> None:
    with pytest.raises(ValueError, match="inherits its list"):
        DeclaredAccount(parent="a", entries=[])
    with pytest.raises(TypeError, match="mapping"):
        manager.apply([("a", [])])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expect_versions"):
        manager.apply({}, expect_versions={"a": -1})
    with pytest.raises(ValueError, match="not declared: b"):
        manager.plan({"a": []}, expect_versions={"a": 1, "b": 1})
    with pytest.raises(ValueError, match="no version of declared accounts: b"):
        manager.apply({"a": [], "b": []}, expect_versions={"a": 1})


def test_a_plan_has_the_version_of_every_declared_account(manager: RuleManager) -> None:
    manager.apply({"a": ["8.8.8.0/24"]})
    declared: dict[str, Any] = {
        "a": ["10.0.0.0/8"],
        "b": ["10.0.0.0/8"],
        "c": DeclaredAccount(parent="nobody"),
        "d": ["9.9.9.9/32"],
    }
    plan = manager.plan(declared)
    assert sorted(plan.problems) == ["a", "b", "c"]
    assert plan.versions == {"a": 1, "b": 0, "c": 0, "d": 0}
    manager.add("a", "1.1.1.1/32")
    report = manager.apply(declared, expect_versions=plan.versions)
    assert isinstance(report.problems["a"], VersionConflictError)
    assert [one.account for one in report.changes] == ["d"]


def test_a_subaccount_has_its_version_too(manager: RuleManager) -> None:
    manager.create_account("top")
    report = manager.apply({"sub": DeclaredAccount(parent="top")}, expect_versions={"sub": 3})
    assert isinstance(report.problems["sub"], VersionConflictError)
    assert [one.name for one in manager.accounts()] == ["top"]


def test_changes_are_logged_and_followed(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url) as manager, RuleManager.open(shared_store_url) as other:
        declared: dict[str, Any] = {f"a{number}": ["8.8.8.0/24"] for number in range(1_200)}
        done: list[int] = []
        report = manager.apply(declared, actor="ci", progress=done.append)
        assert (len(report.changes), sum(done), len(done)) == (1_200, 1_200, 3)
        assert [(one.action, one.actor) for one in manager.history("a7")] == [("add", "ci"), ("create_account", "ci")]
        other._replica.published.catch_up()
        assert not other.allows("a1199", "9.9.9.9")
        soon = datetime.now(UTC) + timedelta(days=1)
        manager.apply({"a7": [NewEntry("8.8.8.0/24", expires_at=soon)]})
        assert manager.entries("a7")[0].expires_at == soon
        assert manager.history("a7")[0].action == "replace"


@given(before=lists, wanted=st.lists(entries, min_size=1, max_size=4))
@settings(max_examples=length(80, 2_000))
def test_adding_what_is_missing_twice_changes_nothing(before: list[NewEntry], wanted: list[NewEntry]) -> None:
    with RuleManager.open("memory://") as manager:
        filled(manager, {"a": before}, subaccount=False)
        listed = manager.entries("a")
        try:
            change = manager.add("a", wanted, if_missing=True)
        except RuleError:
            assert manager.entries("a") == listed
            return
        for piece in wanted:
            network = ip_network(piece.cidr)
            addresses = [str(network[0]), str(network[-1])]
            new = [entry for entry in change.after if entry.cidr == piece.cidr]
            if new:
                assert new[0].enabled == piece.details().get("enabled", True)
            else:
                assert all(manager.allows("a", address) for address in addresses), "a success allows what it names"
        assert {entry.id for entry in change.existing} <= {entry.id for entry in listed}
        assert change.before == ()
        if all(entry.enabled for entry in change.after):
            again = manager.add("a", wanted, if_missing=True)
            assert (again.after, again.version) == ((), change.version)
