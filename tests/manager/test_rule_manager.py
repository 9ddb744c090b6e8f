"""`RuleManager`: what each operation does, refuses and records, on each store."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import (
    AccountExistsError,
    AccountNotFoundError,
    CidrgateError,
    EntryEdit,
    EntryNotFoundError,
    ListChange,
    NewEntry,
    Policy,
    RuleError,
    RuleManager,
    SubaccountError,
)
from tests.change_log import Replay, assert_consistent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url) as opened:
        opened.create_account("acct-1", actor="root")
        opened.create_account("sub-1", parent="acct-1")
        yield opened
        assert_consistent(opened, Replay())


def cidrs(manager: RuleManager, account: str = "acct-1") -> list[str]:
    return [entry.cidr for entry in manager.entries(account)]


def codes(error: pytest.ExceptionInfo[RuleError]) -> list[tuple[str, int]]:
    return [(problem.code, problem.position) for problem in error.value.problems]


# Accounts


def test_accounts_are_listed_by_name(manager: RuleManager) -> None:
    created = manager.create_account("acct-0")
    assert (created.name, created.parent) == ("acct-0", None)
    assert created.created_at.utcoffset() is not None
    assert [(account.name, account.parent) for account in manager.accounts()] == [
        ("acct-0", None),
        ("acct-1", None),
        ("sub-1", "acct-1"),
    ]
    assert manager.account("acct-0") == created


def test_an_account_is_created_once(manager: RuleManager) -> None:
    for name, parent in [("acct-1", None), ("acct-1", "acct-1"), ("sub-1", None)]:
        with pytest.raises(AccountExistsError, match=name):
            manager.create_account(name, parent=parent)
    assert len(manager.accounts()) == 2


def test_a_parent_must_exist_and_have_a_list_of_its_own(manager: RuleManager) -> None:
    with pytest.raises(AccountNotFoundError, match="'nobody'"):
        manager.create_account("sub-2", parent="nobody")
    with pytest.raises(SubaccountError, match="choose 'acct-1' as the parent"):
        manager.create_account("sub-2", parent="sub-1")
    assert len(manager.accounts()) == 2


UNKNOWN: list[Callable[[RuleManager], object]] = [
    lambda manager: manager.add("nobody", "8.8.8.0/24"),
    lambda manager: manager.edit("nobody", 1, "8.8.8.0/24"),
    lambda manager: manager.remove("nobody", 1),
    lambda manager: manager.replace("nobody", "8.8.8.0/24"),
    lambda manager: manager.entries("nobody"),
    lambda manager: manager.account("nobody"),
    lambda manager: manager.history("nobody"),
]


@pytest.mark.parametrize("operation", UNKNOWN)
def test_an_unknown_account_is_never_created_silently(
    operation: Callable[[RuleManager], object], manager: RuleManager
) -> None:
    with pytest.raises(AccountNotFoundError, match="no account 'nobody': create it first") as caught:
        operation(manager)
    assert caught.value.account == "nobody"
    assert len(manager.accounts()) == 2


INHERITED: list[Callable[[RuleManager], object]] = [
    lambda manager: manager.add("sub-1", "9.9.9.9/32"),
    lambda manager: manager.edit("sub-1", "8.8.8.0/24", label="x"),
    lambda manager: manager.remove("sub-1", "8.8.8.0/24"),
    lambda manager: manager.replace("sub-1", []),
]


@pytest.mark.parametrize("operation", INHERITED)
def test_the_list_of_a_subaccount_cannot_be_managed(
    operation: Callable[[RuleManager], object], manager: RuleManager
) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    with pytest.raises(SubaccountError, match="change 'acct-1' instead"):
        operation(manager)
    assert cidrs(manager) == ["8.8.8.0/24"]


def test_a_subaccount_inherits_its_parents_list(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    assert [entry.account for entry in manager.entries("sub-1")] == ["acct-1"]
    assert manager.allows("sub-1", "8.8.8.8")
    assert not manager.allows("sub-1", "9.9.9.9")
    decision = manager.explain("sub-1", "8.8.8.8")
    assert (decision.account, decision.reason) == ("acct-1", "matched")
    assert manager.counts() == {"acct-1": 1}
    late = manager.create_account("sub-2", parent="acct-1")
    assert late.parent == "acct-1"
    assert not manager.allows("sub-2", "9.9.9.9")
    assert [change.action for change in manager.history("sub-2")] == ["create_account"]


# Adding


def test_added_entries_come_back_in_the_order_of_the_submission(manager: RuleManager) -> None:
    before = datetime.now(UTC)
    added = manager.add("acct-1", " 8.8.8.0/24,\n1.1.1.1/32,, 2606:4700:0::/32", label="office", actor="me").after
    assert [entry.cidr for entry in added] == ["8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32"]
    assert cidrs(manager) == ["1.1.1.1/32", "8.8.8.0/24", "2606:4700::/32"]
    assert len({entry.id for entry in added}) == 3
    for entry in added:
        assert (entry.account, entry.label, entry.created_by) == ("acct-1", "office", "me")
        assert before <= entry.created_at <= datetime.now(UTC)
        assert entry.expires_at is None


def test_a_submission_may_be_a_list_with_labels(manager: RuleManager) -> None:
    manager.add("acct-1", [NewEntry("8.8.8.0/24", label="dns"), "1.1.1.1/32", NewEntry("9.9.9.9/32")], label="any")
    assert [entry.label for entry in manager.entries("acct-1")] == ["any", "dns", "any"]


def test_a_submission_is_stored_whole_or_not_at_all(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    before = manager.history()
    with pytest.raises(RuleError) as error:
        manager.add("acct-1", "1.1.1.1/32, 8.8.8.8/32, x, 127.0.0.1/32")
    assert codes(error) == [("subset_exists", 1), ("invalid_format", 2), ("special_range", 3)]
    assert cidrs(manager) == ["8.8.8.0/24"]
    assert manager.history() == before


def test_a_submission_of_nothing_is_an_error(manager: RuleManager) -> None:
    submissions: tuple[str | list[str], ...] = ("", " , \n", [])
    for nothing in submissions:
        with pytest.raises(RuleError) as error:
            manager.add("acct-1", nothing)
        assert codes(error) == [("invalid_format", 0)]


def test_the_fifty_first_entry_is_refused(manager: RuleManager) -> None:
    manager.add("acct-1", [f"8.8.{number}.0/24" for number in range(49)])
    with pytest.raises(RuleError, match="limit_reached"):
        manager.add("acct-1", "1.1.1.1/32, 9.9.9.9/32")
    manager.add("acct-1", "1.1.1.1/32")
    with pytest.raises(RuleError, match="limit_reached"):
        manager.add("acct-1", "9.9.9.9/32")
    assert len(manager.entries("acct-1")) == 50
    manager.edit("acct-1", "1.1.1.1/32", "9.9.9.9/32")


def test_the_policy_is_the_managers(store_url: str) -> None:
    with RuleManager.open(store_url, policy=Policy(max_entries=1, allow_special=True)) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "10.0.0.0/8")
        with pytest.raises(RuleError, match="limit_reached"):
            manager.add("acct-1", "192.168.0.0/16")


def test_enforcement_lasts_from_the_first_entry_to_the_last(manager: RuleManager) -> None:
    assert manager.allows("acct-1", "9.9.9.9")
    assert manager.explain("acct-1", "9.9.9.9").reason == "not_enforced"
    manager.add("acct-1", "8.8.8.0/24")
    assert not manager.allows("acct-1", "9.9.9.9")
    assert manager.explain("acct-1", "9.9.9.9").reason == "not_listed"
    manager.remove("acct-1", "8.8.8.0/24", allow_empty=True)
    assert manager.allows("acct-1", "9.9.9.9")
    assert manager.explain("acct-1", "9.9.9.9").reason == "not_enforced"
    assert manager.explain("nobody", "9.9.9.9").account == "nobody"
    assert manager.allows("nobody", "9.9.9.9")


# Editing


@pytest.mark.parametrize("by_id", [False, True])
def test_an_edited_entry_keeps_what_it_was(by_id: bool, manager: RuleManager) -> None:
    [added] = manager.add("acct-1", "1.1.1.1/32", label="office", actor="me").after
    [edited] = manager.edit("acct-1", added.id if by_id else "1.1.1.1/32", "1.1.1.0/24", actor="you").after
    assert (edited.cidr, edited.label) == ("1.1.1.0/24", "office")
    assert (edited.id, edited.created_at, edited.created_by) == (added.id, added.created_at, "me")
    assert manager.entries("acct-1") == [edited]
    last = manager.history()[0]
    assert (last.action, last.actor, last.before, last.after) == ("edit", "you", (added,), (edited,))


def test_a_label_is_edited_alone_or_dropped(manager: RuleManager) -> None:
    manager.add("acct-1", "1.1.1.1/32", label="office")
    assert manager.edit("acct-1", "1.1.1.1/32", label="home").after[0].label == "home"
    assert manager.edit("acct-1", "1.1.1.1/32", "1.1.1.0/24").after[0].label == "home"
    assert manager.edit("acct-1", "1.1.1.0/24", label=None).after[0].label is None
    assert cidrs(manager) == ["1.1.1.0/24"]


def test_an_edit_as_a_value_says_all_that_shall_be_different(manager: RuleManager) -> None:
    [entry] = manager.add("acct-1", "1.1.1.1/32", label="dns").after
    [edited] = manager.edit("acct-1", entry.id, EntryEdit(cidr="1.1.1.0/24", label=None)).after
    assert edited == replace(entry, cidr="1.1.1.0/24", label=None)
    assert manager.edit("acct-1", entry.id, EntryEdit()).entry(entry.id) == edited
    with pytest.raises(TypeError, match="not both"):
        manager.edit("acct-1", entry.id, EntryEdit(), label="dns")


def test_an_edit_that_changes_nothing_is_not_logged(manager: RuleManager) -> None:
    [added] = manager.add("acct-1", "2606:4700::/32", label="office").after
    before = manager.history()
    unchanged = ListChange(account="acct-1", version=1, enforced=True, before=(), after=(), entries=(added,))
    assert manager.edit("acct-1", added.id) == unchanged
    assert manager.edit("acct-1", added.id, "2606:4700:0::/32", label="office") == unchanged
    for which in (added, added.id, added.cidr, "2606:4700:0:0::/32", IPv6Network(added.cidr)):
        assert unchanged.entry(which) == added
    assert manager.history() == before


def test_an_edit_is_checked_against_the_rest_of_the_list(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32, 1.1.1.2/32")
    for cidr, code in [
        ("8.8.8.8/32", "subset_exists"),
        ("1.1.1.2/32", "duplicate_entry"),
        ("1.1.1.0/24", "superset_conflict"),
        ("10.0.0.0/8", "special_range"),
        ("1.1.1.1", "invalid_format"),
    ]:
        with pytest.raises(RuleError) as error:
            manager.edit("acct-1", "1.1.1.1/32", cidr)
        assert codes(error) == [(code, 0)]
    assert cidrs(manager) == ["1.1.1.1/32", "1.1.1.2/32", "8.8.8.0/24"]


# Removing


def test_entries_are_removed_by_any_spelling_or_id(manager: RuleManager) -> None:
    added = manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32, 2606:4700::/32, 9.9.9.9/32").after
    removed = manager.remove("acct-1", "::ffff:9.9.9.9/128, 2606:4700:0:0::/32", added[1].id, "9.9.9.9/32", actor="me")
    assert removed.before == (added[3], added[2], added[1])
    assert cidrs(manager) == ["8.8.8.0/24"]
    last = manager.history()[0]
    assert (last.action, last.actor, last.before, last.after) == ("remove", "me", removed.before, ())


@pytest.mark.parametrize("missing", ["9.9.9.9/32", "8.8.8.0/25", "8.8.8.8", "8.8.8.1/24", "x", 4711])
def test_what_is_not_listed_cannot_be_removed_or_edited(missing: str | int, manager: RuleManager) -> None:
    [there] = manager.add("acct-1", "8.8.8.0/24").after
    message = re.escape(f"{missing}") + rf".*it holds 8\.8\.8\.0/24 \(id {there.id}\)"
    with pytest.raises(EntryNotFoundError, match=message):
        manager.remove("acct-1", "8.8.8.0/24", missing)
    with pytest.raises(EntryNotFoundError, match=message):
        manager.edit("acct-1", missing, "9.9.9.0/24")
    assert manager.entries("acct-1") == [there]


def test_an_entry_of_another_account_is_not_found_by_its_id(manager: RuleManager) -> None:
    manager.create_account("acct-2")
    [other] = manager.add("acct-2", "8.8.8.0/24").after
    with pytest.raises(EntryNotFoundError, match="its list is empty"):
        manager.remove("acct-1", other.id)


@pytest.mark.parametrize("nothing", [(), ("",), (" , ",)])
def test_removing_nothing_is_an_error(nothing: tuple[str, ...], manager: RuleManager) -> None:
    with pytest.raises(EntryNotFoundError, match="no entry of account 'acct-1' was named"):
        manager.remove("acct-1", *nothing)


def test_an_id_never_comes_back(manager: RuleManager) -> None:
    [one] = manager.add("acct-1", "8.8.8.0/24").after
    manager.remove("acct-1", one.id, allow_empty=True)
    [two] = manager.add("acct-1", "8.8.8.0/24").after
    assert two.id > one.id


# Replacing


def test_a_replacement_keeps_the_entries_whose_network_stays(manager: RuleManager) -> None:
    submission = "8.8.8.0/24, 2606:4700::/32, 9.9.9.9/32"
    stays, relabelled, goes = manager.add("acct-1", submission, label="old", actor="me").after
    whole: list[str | NewEntry] = ["8.8.8.0/24", NewEntry("2606:4700:0::/32", label="new"), "1.1.1.1/32"]
    listed = list(manager.replace("acct-1", whole, actor="you").entries)
    assert listed == manager.entries("acct-1")
    new, unchanged, changed = listed
    assert unchanged == stays
    assert (changed.id, changed.label, changed.created_by) == (relabelled.id, "new", "me")
    assert (new.cidr, new.label, new.created_by) == ("1.1.1.1/32", None, "you")
    last = manager.history()[0]
    assert (last.action, last.actor) == ("replace", "you")
    assert set(last.before) == {relabelled, goes}
    assert set(last.after) == {changed, new}


def test_a_replacement_may_swap_networks_that_overlap(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/25, 8.8.8.128/25")
    manager.replace("acct-1", "8.8.8.0/24")
    manager.replace("acct-1", "8.8.8.0/25, 8.8.8.128/25")
    assert cidrs(manager) == ["8.8.8.0/25", "8.8.8.128/25"]


def test_a_replacement_by_the_same_changes_nothing(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32", label="office")
    before = manager.history(), manager.entries("acct-1")
    assert list(manager.replace("acct-1", "1.1.1.1/32\n8.8.8.0/24").entries) == before[1]
    assert list(manager.replace("acct-1", "1.1.1.1/32\n8.8.8.0/24", label="office").entries) == before[1]
    assert (manager.history(), manager.entries("acct-1")) == before


def test_a_replacement_by_nothing_empties_the_list(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    assert manager.replace("acct-1", "", allow_empty=True).entries == ()
    assert manager.allows("acct-1", "9.9.9.9")
    assert manager.replace("acct-1", []).entries == ()


def test_a_replacement_that_breaks_a_rule_leaves_the_list(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    with pytest.raises(RuleError) as error:
        manager.replace("acct-1", "1.1.1.1/32, 1.1.1.0/24, 10.0.0.1/32")
    assert [problem.position for problem in error.value.problems][-1] == 2
    assert cidrs(manager) == ["8.8.8.0/24"]


# History


def test_history_begins_with_the_newest_change(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24", actor="me")
    manager.remove("acct-1", "8.8.8.0/24", allow_empty=True)
    everything = manager.history()
    assert [(change.sequence, change.action, change.actor) for change in everything] == [
        (4, "remove", None),
        (3, "add", "me"),
        (2, "create_account", None),
        (1, "create_account", "root"),
    ]
    assert manager.history(limit=2) == everything[:2]
    assert manager.history("acct-1", limit=2) == everything[:2]
    assert manager.history("acct-1") == [*everything[:2], everything[3]]
    assert manager.history(after=1, before=4, limit=1) == everything[1:2]
    assert manager.history(limit=0) == []
    with pytest.raises(ValueError, match="limit"):
        manager.history(limit=-1)


def test_everything_is_there_after_opening_again(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url) as manager:
        manager.create_account("acct-1")
        manager.create_account("sub-1", parent="acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        before = manager.accounts(), manager.entries("acct-1"), manager.history()
    with RuleManager.open(shared_store_url) as manager:
        assert (manager.accounts(), manager.entries("acct-1"), manager.history()) == before
        assert not manager.allows("sub-1", "9.9.9.9")
        assert_consistent(manager, Replay())


def test_a_manager_opens_without_loading_the_matcher(store_url: str) -> None:
    with RuleManager.open(store_url, load=False) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        assert not manager.follows
        with pytest.raises(CidrgateError, match="not loaded"):
            manager.allows("acct-1", "8.8.8.8")
        manager.load()
        assert manager.allows("acct-1", "8.8.8.8")


def test_settings_of_a_manager_are_named(store_url: str) -> None:
    opened: Any = RuleManager.open
    with pytest.raises(TypeError):
        opened(store_url, Policy())
