"""Undoing one change, whatever came after it: what comes back, what stays, and what stands in the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from cidrgate import (
    HistoryError,
    NewEntry,
    Policy,
    RuleError,
    RuleManager,
    UndoConflictError,
    WouldDisableEnforcementError,
)
from tests.manager.test_history import changes, contents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate.errors import Confirmation


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url) as opened:
        opened.create_account("acct-1")
        yield opened


def last(manager: RuleManager) -> int:
    return manager.history("acct-1", limit=1)[0].sequence


def cidrs(manager: RuleManager) -> list[str]:
    return [entry.cidr for entry in manager.entries("acct-1")]


@given(st.lists(changes, max_size=12))
def test_all_changes_undone_from_the_last_to_the_first_leave_what_was_there(made: list[tuple[object, ...]]) -> None:
    """And each undo, undone, gives back what it took: whatever ids entries have got meanwhile."""
    with RuleManager.open("memory://") as manager:
        manager.create_account("acct-1")
        states = []
        for name, *arguments in made:
            before, logged = contents(manager.entries("acct-1")), last(manager)
            try:
                empties = {"allow_empty": True} if name in ("replace", "remove") else {}
                getattr(manager, str(name))("acct-1", *arguments, **empties)
            except (RuleError, LookupError):
                continue
            if last(manager) != logged:
                states.append((last(manager), before))
        for sequence, before in reversed(states):
            after = contents(manager.entries("acct-1"))
            for wanted in (before, after, before):
                manager.undo("acct-1", sequence, allow_empty=True)
                assert contents(manager.entries("acct-1")) == wanted
                assert manager.history("acct-1", limit=1)[0].action == "undo"
                assert manager.matcher.prefixes("acct-1") == cidrs(manager)
                sequence = last(manager)
        assert cidrs(manager) == []


def test_what_others_did_since_stays(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24", label="office", actor="ada")
    added = last(manager)
    manager.edit("acct-1", "8.8.8.0/24", label="home", actor="ada")
    edited = last(manager)
    [entry] = manager.entries("acct-1")
    manager.add("acct-1", "1.1.1.1/32", actor="grace")
    undone = manager.undo("acct-1", edited, actor="me")
    assert contents(undone.entries) == [("1.1.1.1/32", None, None), ("8.8.8.0/24", "office", None)]
    assert undone.entry("8.8.8.0/24").id == entry.id
    assert undone.entry("8.8.8.0/24").created_by == "ada"
    assert undone.version == 4
    row = manager.history("acct-1", limit=1)[0]
    assert (row.action, row.actor) == ("undo", "me")
    assert (row.before, row.after) == (undone.before, undone.after)
    manager.undo("acct-1", added)
    assert cidrs(manager) == ["1.1.1.1/32"]


def test_what_was_changed_since_stands_in_the_way_and_is_named(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24, 9.9.9.0/24")
    added = last(manager)
    manager.edit("acct-1", "8.8.8.0/24", "8.8.0.0/16")
    edited = last(manager)
    before = manager.history()
    with pytest.raises(
        UndoConflictError, match=rf"8\.8\.8\.0/24 has been changed.*undo change {edited} first"
    ) as error:
        manager.undo("acct-1", added)
    assert (error.value.account, error.value.sequence) == ("acct-1", added)
    assert (error.value.entries, error.value.later) == (("8.8.8.0/24",), edited)
    assert manager.history() == before
    manager.undo("acct-1", edited)
    manager.undo("acct-1", added, allow_empty=True)
    assert cidrs(manager) == []
    with pytest.raises(UndoConflictError, match="have been changed or removed since"):
        manager.undo("acct-1", added)


def test_what_was_listed_since_stands_in_the_way_of_what_comes_back(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32")
    manager.remove("acct-1", "8.8.8.0/24")
    removed = last(manager)
    manager.add("acct-1", "8.8.0.0/16")
    with pytest.raises(RuleError) as error:
        manager.undo("acct-1", removed)
    assert [(problem.code, problem.conflicts) for problem in error.value.problems] == [
        ("subset_exists", ("8.8.0.0/16",))
    ]
    manager.remove("acct-1", "8.8.0.0/16")
    manager.undo("acct-1", removed)
    assert cidrs(manager) == ["1.1.1.1/32", "8.8.8.0/24"]


def test_the_guard_and_the_version_are_those_of_every_change(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    with pytest.raises(WouldDisableEnforcementError):
        manager.undo("acct-1", last(manager))
    dry = manager.with_hooks(dry_run=True)
    assert dry.undo("acct-1", last(manager)).entries == ()
    assert cidrs(manager) == ["8.8.8.0/24"]


def test_the_limit_of_today_holds_only_where_the_list_grows(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url) as wide:
        wide.create_account("acct-1")
        wide.add("acct-1", "8.8.8.0/24, 1.1.1.1/32, 9.9.9.0/24")
        wide.remove("acct-1", "9.9.9.0/24")
        removed = last(wide)
        wide.edit("acct-1", "8.8.8.0/24", "8.8.0.0/16")
        edited = last(wide)
    with RuleManager.open(shared_store_url, policy=Policy(max_entries=1)) as narrow:
        narrow.undo("acct-1", edited)
        assert cidrs(narrow) == ["1.1.1.1/32", "8.8.8.0/24"]
        with pytest.raises(RuleError, match="limit_reached"):
            narrow.undo("acct-1", removed)


def test_the_rules_of_today_hold_for_what_comes_back(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, policy=Policy(allow_special=True)) as lenient:
        lenient.create_account("acct-1")
        lenient.add("acct-1", "10.0.0.0/8, 8.8.8.0/24")
        lenient.edit("acct-1", "10.0.0.0/8", "10.0.0.0/9")
        edited = last(lenient)
        lenient.remove("acct-1", "10.0.0.0/9")
        removed = last(lenient)
    with RuleManager.open(shared_store_url) as strict:
        with pytest.raises(RuleError, match="special_range"):
            strict.undo("acct-1", removed)
        with pytest.raises(UndoConflictError):
            strict.undo("acct-1", edited)


def test_details_come_back_to_a_network_that_no_list_may_have_today(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, policy=Policy(allow_special=True)) as lenient:
        lenient.create_account("acct-1")
        lenient.add("acct-1", "10.0.0.0/8", label="inside")
        lenient.edit("acct-1", "10.0.0.0/8", label="outside")
    with RuleManager.open(shared_store_url) as strict:
        assert strict.undo("acct-1", last(strict)).after[0].label == "inside"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let an hour pass for the lists, or more."""

    def pass_hours(hours: int = 1) -> None:
        class Later(datetime):
            @classmethod
            def now(cls, tz: object = None) -> Any:
                return datetime.now(UTC) + timedelta(hours=hours)

        monkeypatch.setattr("cidrgate.manager.change_requests.datetime", Later)

    return pass_hours


def test_what_has_expired_since_stays_away(manager: RuleManager, later: Callable[..., None]) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    manager.add("acct-1", [NewEntry("8.8.8.0/24"), NewEntry("1.1.1.1/32", expires_at=soon), NewEntry("9.9.9.0/24")])
    manager.remove("acct-1", "8.8.8.0/24", "1.1.1.1/32")
    both = last(manager)
    manager.undo("acct-1", both)
    manager.remove("acct-1", "1.1.1.1/32")
    one = last(manager)
    manager.undo("acct-1", one)
    manager.edit("acct-1", "1.1.1.1/32", expires_at=None)
    extended = last(manager)
    manager.remove("acct-1", "8.8.8.0/24")
    manager.remove("acct-1", "1.1.1.1/32")
    manager.undo("acct-1", last(manager))
    later()
    with pytest.raises(UndoConflictError, match="its entries have expired since"):
        manager.undo("acct-1", one)
    with pytest.raises(UndoConflictError, match=r"1\.1\.1\.1/32 would have expired already"):
        manager.undo("acct-1", extended)
    assert [entry.cidr for entry in manager.undo("acct-1", both).after] == ["8.8.8.0/24"]


def test_what_is_no_change_of_the_list_is_refused(manager: RuleManager) -> None:
    created = last(manager)
    manager.create_account("acct-2")
    manager.add("acct-2", "8.8.8.0/24")
    elsewhere = manager.history("acct-2", limit=1)[0].sequence
    manager.add("acct-1", "8.8.8.0/24")
    with pytest.raises(UndoConflictError, match="it created the account"):
        manager.undo("acct-1", created)
    with pytest.raises(HistoryError, match=f"change {elsewhere} is not a change of account 'acct-1'"):
        manager.undo("acct-1", elsewhere)
    for sequence in (last(manager) + 1, 2**63 - 1, 2**70):
        with pytest.raises(HistoryError, match="there is no change"):
            manager.undo("acct-1", sequence)
    sequence = last(manager)
    manager.prune_history(timedelta(0))
    with pytest.raises(HistoryError):
        manager.undo("acct-1", sequence, allow_empty=True)


def test_a_mode_is_set_back(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    end = datetime.now(UTC) + timedelta(hours=1)
    manager.set_mode("acct-1", "report_only", until=end, reason="trial", confirmed=["disable_enforcement"])
    reporting = last(manager)
    manager.set_mode("acct-1", "off", confirmed=["disable_enforcement"])
    paused = last(manager)
    with pytest.raises(UndoConflictError, match="the mode was set again"):
        manager.undo("acct-1", reporting)
    manager.undo("acct-1", paused)
    account = manager.account("acct-1")
    assert (account.mode, account.mode_until, account.mode_reason) == ("report_only", end, "trial")
    manager.undo("acct-1", reporting)
    assert manager.account("acct-1").mode == "enforce"
    assert not manager.allows("acct-1", "9.9.9.9")
    row = manager.history("acct-1", limit=1)[0]
    assert (row.action, row.details and row.details["after"]["mode"]) == ("undo", "enforce")
    with pytest.raises(WouldDisableEnforcementError):
        manager.undo("acct-1", row.sequence)
    manager.with_hooks(confirmed=["disable_enforcement"]).undo("acct-1", row.sequence)
    assert manager.account("acct-1").mode == "report_only"


def test_a_mode_that_would_be_over_is_not_set_back(manager: RuleManager, later: Callable[..., None]) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    soon = datetime.now(UTC) + timedelta(minutes=5)
    manager.set_mode("acct-1", "off", until=soon, confirmed=["disable_enforcement"])
    manager.set_mode("acct-1", "report_only", confirmed=["disable_enforcement"])
    sequence = last(manager)
    later()
    manager.undo("acct-1", sequence)
    assert manager.account("acct-1").mode == "enforce"
    # Where it is enforced already, nothing would change: that is said.
    soon = datetime.now(UTC) + timedelta(hours=1, minutes=5)
    manager.set_mode("acct-1", "off", until=soon, confirmed=["disable_enforcement"])
    manager.resume("acct-1")
    resumed, version = last(manager), manager.account("acct-1").version
    later(2)
    with pytest.raises(UndoConflictError, match="the mode off that it replaced would have ended at"):
        manager.undo("acct-1", resumed)
    assert manager.account("acct-1").version == version


OFF: list[Confirmation] = ["disable_enforcement"]

_RENAMED: dict[str, tuple[str, Callable[[RuleManager], object], str | None]] = {
    "renamed": ("b", lambda manager: manager.rename_account("acct-1", "b", confirmed=OFF), None),
    "renamed twice": (
        "c",
        lambda manager: [
            manager.rename_account("acct-1", "b", confirmed=OFF),
            manager.rename_account("b", "c", confirmed=OFF),
        ],
        None,
    ),
    "renamed back": (
        "acct-1",
        lambda manager: [
            manager.rename_account("acct-1", "b", confirmed=OFF),
            manager.rename_account("b", "acct-1", confirmed=OFF),
        ],
        None,
    ),
    "the old name taken by another account": (
        "b",
        lambda manager: [
            manager.rename_account("acct-1", "b", confirmed=OFF),
            manager.create_account("acct-1"),
            manager.add("acct-1", "9.9.9.0/24"),
        ],
        None,
    ),
    "renamed back after another account had the name": (
        "acct-1",
        lambda manager: [
            manager.rename_account("acct-1", "b", confirmed=OFF),
            manager.create_account("acct-1"),
            manager.add("acct-1", "9.9.9.0/24"),
            manager.delete_account("acct-1", confirmed=OFF),
            manager.rename_account("b", "acct-1", confirmed=OFF),
        ],
        None,
    ),
    "another account with the old name": (
        "acct-1",
        lambda manager: [
            manager.rename_account("acct-1", "b", confirmed=OFF),
            manager.create_account("acct-1"),
            manager.add("acct-1", "8.8.8.0/24, 9.9.9.0/24"),
        ],
        "from before account 'acct-1' got this name",
    ),
    "another account renamed to the old name": (
        "acct-1",
        lambda manager: [
            manager.create_account("other"),
            manager.add("other", "8.8.8.0/24, 9.9.9.0/24"),
            manager.rename_account("acct-1", "b", confirmed=OFF),
            manager.rename_account("other", "acct-1", confirmed=OFF),
        ],
        "from before account 'acct-1' got this name",
    ),
    "deleted and created again": (
        "acct-1",
        lambda manager: [
            manager.delete_account("acct-1", confirmed=OFF),
            manager.create_account("acct-1"),
            manager.add("acct-1", "8.8.8.0/24, 9.9.9.0/24"),
        ],
        "from before account 'acct-1' got this name",
    ),
    "renamed below a parent and back": (
        "b",
        lambda manager: [
            manager.rename_account("acct-1", "b", confirmed=OFF),
            manager.replace("b", [], allow_empty=True),
            manager.create_account("top"),
            manager.edit_account("b", parent="top"),
            manager.edit_account("b", parent=None),
            manager.add("b", "8.8.8.0/24, 9.9.9.0/24"),
        ],
        None,
    ),
}


@pytest.mark.parametrize(("name", "happens", "refused"), _RENAMED.values(), ids=_RENAMED)
def test_a_change_is_undone_whatever_name_the_account_had_then(
    manager: RuleManager, name: str, happens: Callable[[RuleManager], object], refused: str | None
) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    manager.add("acct-1", "9.9.9.0/24")
    added = last(manager)
    happens(manager)
    listed = {one.name: manager.entries(one.name) for one in manager.accounts()}
    assert added in [one.sequence for one in manager.history(name)]
    if refused is not None:
        with pytest.raises(HistoryError, match=refused):
            manager.undo(name, added)
        assert {one.name: manager.entries(one.name) for one in manager.accounts()} == listed
        return
    undone = manager.undo(name, added)
    assert (undone.account, [one.cidr for one in undone.entries]) == (name, ["8.8.8.0/24"])
    assert {one: manager.entries(one) for one in listed if one != name} == {
        one: entries for one, entries in listed.items() if one != name
    }
    again = manager.history(name, limit=1)[0].sequence
    assert [one.cidr for one in manager.undo(name, again).entries] == ["8.8.8.0/24", "9.9.9.0/24"]


def test_a_refusal_has_the_name_of_now_and_the_later_change_under_any_name(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24, 9.9.9.0/24")
    added = last(manager)
    manager.edit("acct-1", "8.8.8.0/24", label="office")
    edited = last(manager)
    manager.rename_account("acct-1", "b", confirmed=OFF)
    with pytest.raises(UndoConflictError, match=f"account 'b' cannot be undone.*undo change {edited} first") as error:
        manager.undo("b", added)
    assert (error.value.account, error.value.later) == ("b", edited)
    with pytest.raises(UndoConflictError, match="it renamed the account"):
        manager.undo("b", manager.history("b", limit=1)[0].sequence)


@pytest.mark.parametrize("pruned", [False, True], ids=["a whole log", "a log without its oldest changes"])
def test_nothing_was_deleted_before_the_first_change(manager: RuleManager, *, pruned: bool) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    if pruned:
        manager.prune_history(0)
        with pytest.raises(HistoryError, match="older changes were deleted"):
            manager.undo("acct-1", 1)
    with pytest.raises(HistoryError) as refused:
        manager.undo("acct-1", 0)
    assert str(refused.value) == "the first change of a log has the sequence 1: there is no change 0"
