"""Imports that leave out what is there, that say who stays open, and that close accounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import NewEntry, RuleError, RuleManager
from tests.length import length
from tests.waiting import eventually, soon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cidrgate import ImportReport

NETWORKS = st.sampled_from(
    ["8.8.8.0/24", "8.8.8.0/25", "8.8.8.8/32", "9.9.9.0/24", "9.9.9.9/32", "1.1.1.1/32", "8.8.8.8"]
)
ENDS = st.sampled_from([None, datetime(2990, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)])
ENTRIES = st.lists(
    st.builds(
        lambda cidr, end, enabled: NewEntry(cidr, expires_at=end, enabled=enabled), NETWORKS, ENDS, st.booleans()
    ),
    max_size=4,
)


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, create=True) as made:
        yield made


@given(listed=ENTRIES, submitted=ENTRIES)
@settings(max_examples=length(100, 2_000))
def test_what_is_skipped_was_allowed_for_as_long(listed: list[NewEntry], submitted: list[NewEntry]) -> None:
    """An import with `skip_existing` is one of exactly the entries that the list does not stand for yet."""
    with RuleManager.open("memory://", create=True) as manager:
        manager.import_accounts({"a": listed})
        if "a" not in {account.name for account in manager.accounts()}:
            return
        before = manager.entries("a")

        def stands_for(one: NewEntry) -> bool:
            end, details = one.details()["expires_at"], one.details()
            return one.cidr != "8.8.8.8" and any(
                ip_network(one.cidr).subnet_of(ip_network(entry.cidr))  # type: ignore[arg-type]
                and (entry.expires_at is None or (end is not None and end <= entry.expires_at))
                and entry.enabled == details["enabled"]
                for entry in before
            )

        left = [position for position, one in enumerate(submitted) if not stands_for(one)]
        plain = manager.import_accounts({"a": [submitted[position] for position in left]}, dry_run=True)
        report = manager.import_accounts({"a": submitted}, skip_existing=True)
        problems, wanted = report.problems.get("a"), plain.problems.get("a")
        if wanted is None:
            assert (report.problems, report.entries, report.skipped) == ({}, len(left), len(submitted) - len(left))
            assert {entry.cidr for entry in before} <= {entry.cidr for entry in manager.entries("a")}
            # A second time, everything is there.
            again = manager.import_accounts({"a": submitted}, skip_existing=True)
            assert (again.entries, again.skipped) == (0, len(submitted))
        else:
            assert isinstance(problems, RuleError)
            assert isinstance(wanted, RuleError)
            assert [(one.code, one.position) for one in problems.problems] == [
                (one.code, left[one.position]) for one in wanted.problems
            ]
            assert manager.entries("a") == before


def failed(manager: RuleManager, *, close: bool, create: bool = True) -> ImportReport:
    """Import a file in which most lists are refused."""
    manager.create_account("empty")
    manager.create_account("sub", parent="empty")
    manager.create_account("listed")
    manager.add("listed", "9.9.9.9/32")
    lists = {name: ["10.0.0.0/8"] for name in ("empty", "listed", "sub", "new", "bad\u200bname")}
    return manager.import_accounts({**lists, "good": ["8.8.8.8/32"]}, close=close, create=create)


def test_an_account_whose_list_was_refused_is_named_as_open(manager: RuleManager) -> None:
    report = failed(manager, close=False)
    assert (sorted(report.open), report.closed) == (["bad\u200bname", "empty", "new"], ())
    assert [manager.allows(name, "1.1.1.1") for name in ("empty", "listed", "sub", "good")] == [
        True,
        False,
        True,
        False,
    ]


def test_an_account_whose_list_was_refused_can_be_closed(manager: RuleManager, store_url: str) -> None:
    report = failed(manager, close=True)
    assert (report.open, sorted(report.closed)) == (("bad\u200bname",), ["empty", "new"])
    assert (report.accounts, report.entries, report.created) == (1, 1, 1)
    names = ("empty", "listed", "sub", "new")
    assert [manager.allows(name, "1.1.1.1") for name in names] == [False] * 4
    assert [manager.allows(name, "0.0.0.0") for name in names] == [False] * 4
    assert not manager.explain("new", "1.1.1.1").allowed
    assert [manager.account(name).closed for name in ("empty", "listed", "new", "good")] == [True, False, True, False]
    assert [manager.entries(name) for name in ("empty", "new")] == [[], []]
    change = manager.history("new", limit=1)[0]
    assert (change.action, change.details and change.details["after"]["closed"]) == ("set_mode", True)
    # It stays closed: housekeeping opens nothing, and other nodes and new processes see it too.
    assert manager.sweep() == 0
    if not store_url.startswith("memory"):
        with RuleManager.open(store_url) as other:
            assert not other.allows("new", "1.1.1.1")
    # The next list may have any length that the policy allows, and a second failure says nothing new.
    again = manager.import_accounts({"empty": ["10.0.0.0/8"], "new": ["10.0.0.0/8"]}, close=True)
    assert (again.open, again.closed) == ((), ())
    manager.set_policy(max_entries=50)
    manager.import_accounts({"new": [f"8.8.{third}.0/24" for third in range(50)]})
    assert len(manager.entries("new")) == 50
    assert manager.allows("new", "8.8.7.1")
    manager.undo("empty", manager.history("empty", limit=1)[0].sequence, confirmed=["disable_enforcement"])
    assert manager.allows("empty", "1.1.1.1")


def test_to_close_a_paused_account_leaves_its_pause_and_says_that_it_is_open(manager: RuleManager) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    names = ("over", "paused", "reporting")
    for name in names:
        manager.create_account(name)
    manager.set_mode("paused", "off", until=end, reason="trial")
    manager.set_mode("reporting", "report_only", reason="trial")
    manager.set_mode("over", "off", until=soon(), reason="trial")
    eventually(lambda: manager.account("over").mode_at(datetime.now(UTC)) == "enforce")
    report = manager.import_accounts({name: ["10.0.0.0/8"] for name in names}, close=True)
    assert (report.closed, sorted(report.open)) == (("over",), ["paused", "reporting"])
    assert [manager.account(name).closed for name in names] == [True] * 3
    assert [manager.allows(name, "1.1.1.1") for name in names] == [False, True, True]
    paused = manager.account("paused")
    assert (paused.mode, paused.mode_until, paused.mode_reason) == ("off", end, "trial")
    manager.resume("paused")
    assert not manager.allows("paused", "1.1.1.1")


def test_nothing_is_closed_that_was_not_to_be_created_or_only_tried(manager: RuleManager) -> None:
    report = failed(manager, close=True, create=False)
    assert (report.closed, sorted(report.open)) == (("empty",), ["bad\u200bname", "good", "new"])
    dry = manager.import_accounts({"other": ["10.0.0.0/8"]}, close=True, dry_run=True)
    assert (dry.closed, dry.open) == (("other",), ())
    assert "other" not in {account.name for account in manager.accounts()}


def test_a_dry_run_says_what_each_list_would_gain_and_lose(manager: RuleManager) -> None:
    manager.import_accounts({"a": ["8.8.8.0/24", "9.9.9.9/32"], "b": ["8.8.8.0/24"]})
    lists = {"a": ["8.8.8.0/24", "1.1.1.1/32"], "b": ["8.8.8.0/24"], "c": ["4.4.4.4/32"]}
    report = manager.import_accounts(lists, replace=True, dry_run=True)
    found = {name: (one.added, one.removed) for name, one in report.differences.items()}
    assert found == {"a": (("1.1.1.1/32",), ("9.9.9.9/32",)), "c": (("4.4.4.4/32",), ())}
    added = manager.import_accounts(lists, skip_existing=True, dry_run=True)
    assert {name: one.added for name, one in added.differences.items()} == {"a": ("1.1.1.1/32",), "c": ("4.4.4.4/32",)}
    assert added.skipped == 2
    assert manager.import_accounts(lists, replace=True).differences == {}


def test_an_entry_that_ends_sooner_does_not_stand_for_one_that_stays(manager: RuleManager) -> None:
    end = soon()
    manager.import_accounts({"a": [NewEntry("8.8.8.0/24", expires_at=end), NewEntry("9.9.9.9/32")]})
    report = manager.import_accounts({"a": ["8.8.8.8/32"]}, skip_existing=True)
    assert isinstance(report.problems["a"], RuleError)
    eventually(lambda: datetime.now(UTC) > end)
    assert manager.import_accounts({"a": ["8.8.8.8/32"]}, skip_existing=True).entries == 1


@pytest.mark.parametrize("options", [{"replace": True, "skip_existing": True}, {"strict": True, "close": True}])
def test_options_that_contradict_each_other(options: dict[str, bool]) -> None:
    with RuleManager.open("memory://", create=True) as manager, pytest.raises(ValueError, match="excludes"):
        manager.import_accounts({}, **options)  # type: ignore[arg-type]
