"""A disabled entry allows nothing, and counts for everything else: the limit, overlaps, enforcement and guards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cidrgate import NewEntry, Policy, RuleError, RuleManager, WouldLockOutCallerError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, create=True, follow=False, policy=Policy(max_entries=2)) as opened:
        opened.create_account("acct-1")
        yield opened


def test_a_disabled_entry_allows_nothing_until_it_is_enabled_again(manager: RuleManager) -> None:
    [entry] = manager.add("acct-1", "8.8.8.0/24", enabled=False).after
    assert manager.list_states(["acct-1"])["acct-1"].enforced
    assert not manager.allows("acct-1", "8.8.8.8")
    assert not manager.explain("acct-1", "8.8.8.8")
    manager.edit("acct-1", entry.id, enabled=True)
    assert manager.allows("acct-1", "8.8.8.8")
    assert manager.explain("acct-1", "8.8.8.8").reason == "matched"
    manager.edit("acct-1", entry.id, enabled=False)
    assert not manager.allows("acct-1", "8.8.8.8")
    assert not manager.allows("acct-1", "9.9.9.9"), "an account whose entries are all disabled denies everything"


@pytest.mark.parametrize(
    ("submitted", "code"),
    [
        ("8.8.8.0/24", "duplicate_entry"),
        ("8.8.8.8/32", "subset_exists"),
        ("8.8.0.0/16", "superset_conflict"),
        ("1.1.1.1/32, 9.9.9.9/32", "limit_reached"),
    ],
)
def test_a_disabled_entry_counts_for_every_rule(manager: RuleManager, submitted: str, code: str) -> None:
    manager.add("acct-1", "8.8.8.0/24", enabled=False)
    with pytest.raises(RuleError) as refused:
        manager.add("acct-1", submitted)
    assert {problem.code for problem in refused.value.problems} == {code}


def test_disabling_what_allows_the_caller_is_a_lock_out(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24, 9.9.9.0/24")
    caller = manager.with_hooks(address="8.8.8.8")
    with pytest.raises(WouldLockOutCallerError):
        caller.edit("acct-1", "8.8.8.0/24", enabled=False)
    with pytest.raises(WouldLockOutCallerError):
        caller.replace("acct-1", [NewEntry("8.8.8.0/24", enabled=False)])
    assert manager.allows("acct-1", "8.8.8.8")
    caller.edit("acct-1", "9.9.9.0/24", enabled=False)
    caller.with_hooks(confirmed={"lock_out"}).edit("acct-1", "8.8.8.0/24", enabled=False)
    assert not manager.allows("acct-1", "8.8.8.8")


def test_restoring_a_list_restores_which_entries_are_disabled(manager: RuleManager) -> None:
    manager.add("acct-1", [NewEntry("8.8.8.0/24"), NewEntry("9.9.9.0/24", enabled=False)])
    sequence = manager.history("acct-1", limit=1)[0].sequence
    manager.replace("acct-1", [NewEntry("8.8.8.0/24", enabled=False), NewEntry("9.9.9.0/24", enabled=True)])
    manager.restore("acct-1", to_sequence=sequence)
    assert [entry.enabled for entry in manager.entries("acct-1")] == [True, False]
    assert (manager.allows("acct-1", "8.8.8.8"), manager.allows("acct-1", "9.9.9.9")) == (True, False)
