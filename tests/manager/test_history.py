"""Going back in the change log, forgetting its beginning, and changes that depend on a version."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from cidrgate import (
    AccountNotFoundError,
    HistoryError,
    NewEntry,
    Policy,
    RuleError,
    RuleManager,
    SubaccountError,
    VersionConflictError,
)
from tests.waiting import soon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cidrgate import Entry


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url) as opened:
        opened.create_account("acct-1")
        yield opened


def contents(entries: Iterable[Entry]) -> list[tuple[str, str | None, datetime | None]]:
    return [(entry.cidr, entry.label, entry.expires_at) for entry in entries]


networks = st.sampled_from(["8.8.8.0/24", "8.8.0.0/16", "1.1.1.1/32", "9.9.9.9/32", "2606:4700::/32"])
pieces = st.builds(NewEntry, networks, label=st.sampled_from([..., None, "office"]))
changes = st.one_of(
    st.tuples(st.just("replace"), st.lists(pieces, max_size=3, unique_by=lambda piece: piece.cidr)),
    st.tuples(st.just("add"), st.lists(pieces, min_size=1, max_size=2)),
    st.tuples(st.just("remove"), networks),
    st.tuples(st.just("edit"), networks, networks),
)


@given(st.lists(changes, max_size=12), st.data())
def test_any_list_of_the_past_comes_back(made: list[tuple[object, ...]], data: st.DataObject) -> None:
    with RuleManager.open("memory://") as manager:
        manager.create_account("acct-1")
        past = {manager.history()[0].sequence: contents([])}
        for name, *arguments in made:
            try:
                empties = {"allow_empty": True} if name in ("replace", "remove") else {}
                getattr(manager, str(name))("acct-1", *arguments, **empties)
            except (RuleError, LookupError):
                continue
            past[manager.history()[0].sequence] = contents(manager.entries("acct-1"))
        sequence = data.draw(st.sampled_from(sorted(past)))
        now = {entry.cidr: entry for entry in manager.entries("acct-1")}
        restored = manager.restore("acct-1", to_sequence=sequence, actor="me", allow_empty=True).entries
        assert contents(restored) == past[sequence]
        assert list(restored) == manager.entries("acct-1")
        assert manager.matcher.prefixes("acct-1") == [entry.cidr for entry in restored]
        for entry in restored:
            if entry.cidr in now:  # it stayed: same id, same author, same time
                assert entry == replace(now[entry.cidr], label=entry.label)


def test_a_list_comes_back_as_a_new_change_with_its_labels_and_ends(manager: RuleManager) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    manager.add("acct-1", "8.8.8.0/24", label="office", expires_at=end)
    then = manager.history()[0].sequence
    manager.edit("acct-1", "8.8.8.0/24", label="home", expires_at=None)
    manager.add("acct-1", "1.1.1.1/32")
    assert contents(manager.restore("acct-1", to_sequence=then, actor="me").entries) == [("8.8.8.0/24", "office", end)]
    last = manager.history()[0]
    assert (last.action, last.actor) == ("restore", "me")
    assert list(manager.restore("acct-1", to_sequence=last.sequence).entries) == manager.entries("acct-1")
    assert manager.history()[0] == last


def test_what_has_expired_since_stays_away(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    manager.add("acct-1", "1.1.1.1/32", expires_at=(end := soon()))
    then = manager.history()[0].sequence
    while datetime.now(UTC) < end:
        pass
    manager.replace("acct-1", [], allow_empty=True)
    assert [entry.cidr for entry in manager.restore("acct-1", to_sequence=then).entries] == ["8.8.8.0/24"]


def test_the_rules_of_today_hold_for_a_list_of_the_past(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, policy=Policy(allow_special=True)) as lenient:
        lenient.create_account("acct-1")
        lenient.add("acct-1", "10.0.0.0/8, 8.8.8.0/24")
        then = lenient.history()[0].sequence
        lenient.replace("acct-1", [], allow_empty=True)
    with RuleManager.open(shared_store_url) as strict:
        with pytest.raises(RuleError, match="special_range"):
            strict.restore("acct-1", to_sequence=then)
        assert strict.entries("acct-1") == []


def test_a_place_that_is_not_in_the_log_is_refused(manager: RuleManager) -> None:
    manager.create_account("sub-1", parent="acct-1")
    manager.create_account("acct-2")
    created = manager.history("acct-2")[0].sequence
    with pytest.raises(HistoryError, match="was created by change"):
        manager.restore("acct-2", to_sequence=created - 1)
    with pytest.raises(ValueError, match="must be a whole number from 0 on, not -5"):
        manager.restore("acct-2", to_sequence=-5)
    with pytest.raises(HistoryError, match="ends with change"):
        manager.restore("acct-2", to_sequence=created + 1000)
    with pytest.raises(SubaccountError):
        manager.restore("sub-1", to_sequence=created)
    with pytest.raises(AccountNotFoundError):
        manager.restore("nobody", to_sequence=created)


def test_the_log_forgets_its_beginning_only(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    assert manager.prune_history(timedelta(days=1)) == 0
    manager.add("acct-1", "1.1.1.1/32")
    sequences = [change.sequence for change in reversed(manager.history())]
    assert manager.prune_history(timedelta(0), actor="ops") == len(sequences)
    [pruned] = manager.history()
    assert (pruned.account, pruned.action, pruned.actor) == (None, "prune", "ops")
    assert pruned.details == {
        "before": {"log_start": sequences[0], "rows": len(sequences)},
        "after": {"log_start": sequences[-1] + 1},
    }
    manager.add("acct-1", "9.9.9.9/32")
    [kept] = manager.history("acct-1")
    assert kept.sequence > pruned.sequence > sequences[-1]
    assert manager.matcher.prefixes("acct-1") == ["1.1.1.1/32", "8.8.8.0/24", "9.9.9.9/32"]
    with pytest.raises(HistoryError, match=r"begins with change|is gone"):
        manager.restore("acct-1", to_sequence=sequences[0])
    assert len(manager.restore("acct-1", to_sequence=kept.sequence - 1).entries) == 2
    with pytest.raises(ValueError, match="from 0 on"):
        manager.prune_history(timedelta(days=-1))


CHANGES: list[Callable[[RuleManager, int], object]] = [
    lambda manager, version: manager.add("acct-1", "1.1.1.1/32", expect_version=version),
    lambda manager, version: manager.edit("acct-1", "8.8.8.0/24", label="x", expect_version=version),
    lambda manager, version: manager.replace("acct-1", ["1.1.1.1/32"], expect_version=version),
    lambda manager, version: manager.remove("acct-1", "8.8.8.0/24", expect_version=version, allow_empty=True),
    lambda manager, version: manager.restore(
        "acct-1", to_sequence=manager.history()[-1].sequence, expect_version=version, allow_empty=True
    ),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_an_old_version_is_refused(
    change: Callable[[RuleManager, int], object], manager: RuleManager
) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    account, entries = manager.listing("acct-1")
    before = manager.history()
    for other in (account.version - 1, account.version + 1):
        with pytest.raises(VersionConflictError, match=f"has version {account.version}, not {other}"):
            change(manager, other)
    assert (manager.history(), manager.entries("acct-1")) == (before, entries)
    change(manager, account.version)
    assert manager.account("acct-1").version == account.version + 1
    with pytest.raises(VersionConflictError):
        change(manager, account.version)


def test_a_version_counts_changes_of_the_list_alone(manager: RuleManager) -> None:
    assert manager.account("acct-1").version == 0
    manager.create_account("sub-1", parent="acct-1")
    manager.add("acct-1", "8.8.8.0/24")
    manager.edit("acct-1", "8.8.8.0/24", "8.8.8.0/24")  # changes nothing
    manager.import_accounts({"acct-2": [NewEntry("8.8.8.0/24")]})
    assert {account.name: account.version for account in manager.accounts()} == {"acct-1": 1, "acct-2": 1, "sub-1": 0}
    account, _ = manager.listing("sub-1")
    assert (account.name, account.version) == ("acct-1", 1)
