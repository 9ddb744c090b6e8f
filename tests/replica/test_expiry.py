"""Entries that end by themselves: in time, everywhere, without opening anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from cidrgate import EntryNotFoundError, InvalidExpiryError, Matcher, NewEntry, Policy, RuleError, RuleManager
from cidrgate.expiry import schedule
from cidrgate.expiry.schedule import ExpirySchedule
from cidrgate.manager import change_requests as list_requests, queries as lists, rule_manager as manager_module
from cidrgate.process.clock import _Offset
from cidrgate.replica import published_store as publication
from tests.machine_clock import MachineClock
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def soon(seconds: float = 0.5) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, policy=Policy(max_entries=3)) as opened:
        opened.create_account("acct-1")
        yield opened


def wait_until_expired(manager: RuleManager, account: str = "acct-1") -> None:
    eventually(lambda: any(entry.is_expired(datetime.now(UTC)) for entry in manager.entries(account)))


def test_an_entry_stops_matching_when_it_ends(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    [entry] = manager.add("acct-1", "1.1.1.1/32", expires_at=soon()).after
    assert entry.expires_at is not None
    assert manager.allows("acct-1", "1.1.1.1") or datetime.now(UTC) >= entry.expires_at
    eventually(lambda: not manager.allows("acct-1", "1.1.1.1"))
    assert datetime.now(UTC) >= entry.expires_at
    assert manager.allows("acct-1", "8.8.8.8")
    decision = manager.explain("acct-1", "1.1.1.1")
    assert (decision.allowed, decision.reason) == (False, "not_listed")
    assert decision.nearest is not None
    assert decision.nearest.cidr == "8.8.8.0/24"


def test_the_end_of_the_last_entry_opens_nothing(manager: RuleManager) -> None:
    manager.create_account("sub-1", parent="acct-1")
    manager.add("acct-1", "1.1.1.1/32", expires_at=soon())
    eventually(lambda: not manager.allows("sub-1", "1.1.1.1"))
    for address in ("1.1.1.1", "9.9.9.9", "2606:4700::1"):
        assert not manager.allows("acct-1", address)
        assert manager.explain("acct-1", address).reason == "not_listed"
    assert manager.sweep() == 0
    assert not manager.allows("acct-1", "9.9.9.9")
    manager.load()
    assert not manager.allows("acct-1", "9.9.9.9")
    manager.remove("acct-1", "1.1.1.1/32", allow_empty=True)
    assert manager.allows("acct-1", "9.9.9.9")


def test_an_expired_entry_is_listed_but_counts_and_overlaps_no_more(manager: RuleManager) -> None:
    manager.add("acct-1", "9.9.9.9/32")
    manager.add("acct-1", "8.8.8.0/24, 1.1.1.0/24", expires_at=soon())
    wait_until_expired(manager)
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["1.1.1.0/24", "8.8.8.0/24", "9.9.9.9/32"]
    assert manager.counts() == {"acct-1": 1}
    manager.add("acct-1", "8.8.0.0/16, 1.1.1.1/32")
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["1.1.1.1/32", "8.8.0.0/16", "9.9.9.9/32"]
    assert [change.action for change in manager.history("acct-1", limit=2)] == ["add", "expire"]


def test_a_sweep_takes_expired_entries_off_the_lists_and_logs_it(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    added = manager.add("acct-1", "1.1.1.1/32, 9.9.9.9/32", expires_at=soon()).after
    assert manager.sweep() == 0
    wait_until_expired(manager)
    assert manager.sweep() == 2
    assert manager.sweep() == 0
    [change] = manager.history("acct-1", limit=1)
    assert (change.action, set(change.before), change.after) == ("expire", set(added), ())
    assert manager.matcher.prefixes("acct-1") == ["8.8.8.0/24"]


def test_the_end_can_be_moved_and_taken_away(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24", expires_at=soon())
    assert manager.edit("acct-1", "8.8.8.0/24", expires_at=None).after[0].expires_at is None
    later = soon(3600)
    assert manager.edit("acct-1", "8.8.8.0/24", expires_at=later).after[0].expires_at == later
    eventually(lambda: datetime.now(UTC) > later - timedelta(seconds=3599))
    assert manager.allows("acct-1", "8.8.8.8")


def test_an_expired_entry_comes_back_only_where_there_is_room(manager: RuleManager) -> None:
    [entry] = manager.add("acct-1", "8.8.8.0/24", expires_at=soon()).after
    wait_until_expired(manager)
    assert manager.edit("acct-1", entry.id, expires_at=None).after[0].id == entry.id
    assert manager.allows("acct-1", "8.8.8.8")
    manager.edit("acct-1", entry.id, expires_at=soon())
    wait_until_expired(manager)
    manager.add("acct-1", "8.8.8.8/32")
    with pytest.raises(EntryNotFoundError):  # it was swept by the change
        manager.edit("acct-1", entry.id, expires_at=None)


@pytest.mark.parametrize("expires_at", [NOW, datetime(2999, 1, 1)])
def test_a_time_at_which_nothing_can_end_is_refused(manager: RuleManager, expires_at: datetime) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    before = manager.history()
    changes: list[Callable[[], object]] = [
        lambda: manager.add("acct-1", "1.1.1.1/32", expires_at=expires_at),
        lambda: manager.edit("acct-1", "8.8.8.0/24", expires_at=expires_at),
        lambda: manager.replace("acct-1", [NewEntry("8.8.8.0/24", label=None, expires_at=expires_at)]),
        lambda: manager.replace("acct-1", [NewEntry("1.1.1.1/32", label=None, expires_at=expires_at)]),
    ]
    for change in changes:
        with pytest.raises(InvalidExpiryError, match=r"in the past|time zone"):
            change()
    report = manager.import_accounts({"acct-1": [NewEntry("1.1.1.1/32", label=None, expires_at=expires_at)]})
    assert isinstance(report.problems["acct-1"], InvalidExpiryError)
    assert manager.history() == before


def test_rules_hold_among_entries_that_have_not_ended(manager: RuleManager) -> None:
    manager.add("acct-1", "8.8.8.0/24", expires_at=soon(3600))
    with pytest.raises(RuleError):
        manager.add("acct-1", "8.8.8.8/32")


cidrs = st.sampled_from(["8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32"])
accounts = st.sampled_from(["a", "b", "c"])
times = st.integers(0, 20).map(lambda seconds: NOW + timedelta(seconds=seconds))
puts = st.tuples(st.just("put"), accounts, st.dictionaries(cidrs, times))
looking = st.tuples(st.just("look"), times, st.sets(accounts, max_size=2))
steps = st.lists(st.one_of(puts, looking), max_size=30)


@given(steps, st.sampled_from([-1, 0, 3, 1_000]))
def test_whoever_looks_when_something_is_due_misses_no_end(taken: list[tuple[object, ...]], invalid: int) -> None:
    """The model: at each look, the accounts of which something ended since they were put or published.

    Some of those that are due cannot be published: they stay due. Invalid times are dropped early or late.
    """
    with patch.object(schedule, "_MOST_INVALID", invalid):
        compare_with_model(taken)


def compare_with_model(taken: list[tuple[object, ...]]) -> None:
    table = ExpirySchedule()
    ends: dict[str, dict[str, datetime]] = {}
    looked: dict[str, datetime] = {}
    now = NOW - timedelta(seconds=1)
    for step in taken:
        if step[0] == "put":
            _, account, some = step
            assert isinstance(account, str)
            assert isinstance(some, dict)
            table.put(account, some)
            ends[account] = some
            looked.pop(account, None)
            continue
        assert isinstance(step[1], datetime)
        now = max(now, step[1])
        failing = step[2]
        assert isinstance(failing, set)
        due = table.due(now)
        assert len(due) == len(set(due))
        for account, some in ends.items():
            since = looked.get(account, datetime.min.replace(tzinfo=UTC))
            assert (account in due) == any(since < end <= now for end in some.values())
            if account in due and account not in failing:
                table.settle(account, now)
                looked[account] = now
            assert table.active(account, some, now) == [cidr for cidr in some if some[cidr] > now]
        start = datetime.min.replace(tzinfo=UTC)
        to_come = [end for account, some in ends.items() for end in some.values() if end > looked.get(account, start)]
        assert table.next() == min(to_come, default=None)


class Counting(dict[str, datetime]):
    """A table that counts how often it is read."""

    reads = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.reads += 1
        return super().get(key, default)


@pytest.mark.parametrize("expired", [1_000, 10_000])
def test_many_accounts_that_are_due_at_once_take_a_few_steps_each(expired: int) -> None:
    """As after a suspended machine has woken, or if nothing could be published for some time."""
    table = ExpirySchedule()
    table._scheduled = scheduled = Counting()
    for number in range(expired):
        table.put(f"acct-{number}", {"8.8.8.0/24": NOW + timedelta(seconds=number % 7)})
        table.put(f"acct-{number}", {"8.8.8.0/24": NOW + timedelta(seconds=number % 5)})
    scheduled.reads = 0
    late = NOW + timedelta(minutes=1)
    assert len(table.due(late)) == len(table.due(late)) == expired
    for number in range(expired):
        table.settle(f"acct-{number}", late)
    assert table.due(late) == []
    assert table.next() is None
    assert expired <= scheduled.reads < 10 * expired


def test_an_end_that_is_moved_again_and_again_takes_no_more_memory() -> None:
    """As for an address that is allowed for a month from its last use on."""
    table = ExpirySchedule()
    table.put("other", {"8.8.8.0/24": NOW})
    for number in range(10_000):
        table.put("acct-1", {"8.8.8.0/24": NOW + timedelta(days=30, seconds=number)})
    assert len(table._agenda) < 2 * schedule._MOST_INVALID
    assert table.due(NOW) == ["other"]
    table.settle("other", NOW)
    assert table.next() == NOW + timedelta(days=30, seconds=9_999)


def looks(manager: RuleManager) -> bool:
    """True, once the thread that follows is told to look at the clock now, as it does by itself every few seconds."""
    assert manager._replica.follower is not None
    manager._replica.follower.wake()
    return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MachineClock:
    monkeypatch.setattr("cidrgate.process.clock._offset", _Offset())
    return MachineClock(monkeypatch, [publication, manager_module, list_requests, lists])


DAY = timedelta(days=1)


@pytest.mark.fault("a clock jumps ahead and comes back")
def test_a_clock_that_jumps_ahead_and_comes_back_takes_nothing_away(manager: RuleManager, clock: MachineClock) -> None:
    manager.create_account("sub-1", parent="acct-1")
    kept = manager.add("acct-1", "8.8.8.0/24")
    ending = manager.add("acct-1", "1.1.1.1/32", expires_at=soon(3600))
    before = manager.history()
    clock.ahead = DAY
    manager._replica.published.expire()
    assert not manager.allows("sub-1", "1.1.1.1")
    assert not manager.explain("acct-1", "1.1.1.1").allowed
    assert manager.sweep() == 0
    assert manager.prune_history(timedelta(hours=1)) == 0
    assert manager.history() == before
    clock.ahead = timedelta()
    eventually(lambda: looks(manager) and manager.allows("sub-1", "1.1.1.1"))
    assert manager.explain("acct-1", "1.1.1.1").allowed
    assert manager.entries("acct-1") == sorted([*kept.after, *ending.after], key=lambda entry: entry.cidr)


CHANGES: dict[str, Callable[[RuleManager], object]] = {
    "add": lambda manager: manager.add("acct-1", "9.9.9.9/32"),
    "edit": lambda manager: manager.edit("acct-1", "8.8.8.0/24", label="new"),
    "remove": lambda manager: manager.remove("acct-1", "8.8.8.0/24"),
    "import": lambda manager: manager.import_accounts({"acct-1": [NewEntry("9.9.9.9/32")]}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_takes_off_a_list_what_only_this_clock_says_is_over(
    change: str, manager: RuleManager, clock: MachineClock
) -> None:
    manager.add("acct-1", "8.8.8.0/24")
    [ending] = manager.add("acct-1", "1.1.1.1/32", expires_at=soon(3600)).after
    clock.ahead = DAY
    CHANGES[change](manager)
    assert ending in manager.entries("acct-1")
    with pytest.raises(RuleError, match="duplicate_entry"):
        manager.add("acct-1", "1.1.1.1/32")
    clock.ahead = timedelta()
    eventually(lambda: looks(manager) and manager.allows("acct-1", "1.1.1.1"))


@pytest.mark.fault("a clock jumps ahead and comes back")
def test_the_clock_of_the_database_counts_too(
    postgres_url: str, clock: MachineClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was started while its clock was ahead has no other to compare with."""
    with RuleManager.open(postgres_url) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        [ending] = manager.add("acct-1", "1.1.1.1/32", expires_at=soon(3600)).after
        monkeypatch.setattr("cidrgate.stores.sql.certain_time", lambda now: now)
        clock.ahead = DAY
        assert manager.sweep() == 0
        manager.add("acct-1", "9.9.9.9/32")
        assert manager.prune_history(timedelta(hours=1)) == 0
        assert ending in manager.entries("acct-1")


@pytest.mark.fault("a clock jumps ahead and comes back")
def test_a_snapshot_written_while_a_clock_was_ahead_is_made_whole(
    shared_store_url: str, clock: MachineClock, tmp_path: Path
) -> None:
    snapshot = tmp_path / "lists.snapshot"
    with RuleManager.open(shared_store_url, follow=False) as writer:
        writer.create_account("acct-1")
        writer.add("acct-1", "8.8.8.0/24")
        writer.add("acct-1", "1.1.1.1/32", expires_at=soon(3600))
        clock.ahead = DAY
        writer.save_snapshot(snapshot)
    assert Matcher.open(snapshot).prefixes("acct-1") == ["8.8.8.0/24"]
    clock.ahead = timedelta()
    with RuleManager.open(shared_store_url, snapshot=snapshot, follow=False) as manager:
        assert manager.allows("acct-1", "1.1.1.1")


def test_a_clock_that_was_behind_when_the_process_was_started_ends_entries_all_the_same(
    manager: RuleManager, clock: MachineClock
) -> None:
    clock.ahead = -DAY
    manager.add("acct-1", "8.8.8.0/24")
    manager.add("acct-1", "1.1.1.1/32", expires_at=soon() - DAY + timedelta(hours=1))
    assert manager.allows("acct-1", "1.1.1.1")
    clock.ahead = timedelta()
    eventually(lambda: looks(manager) and not manager.allows("acct-1", "1.1.1.1"))


def read_all(manager: RuleManager, monkeypatch: pytest.MonkeyPatch, _: Path) -> None:
    monkeypatch.setattr(publication, "_MOST_NAMES", 0)
    monkeypatch.setattr(publication, "_FEW_NAMES", 0)
    manager._replica.published.catch_up()


def load_again(manager: RuleManager, _: pytest.MonkeyPatch, __: Path) -> None:
    manager.load()


def load_snapshot(manager: RuleManager, _: pytest.MonkeyPatch, snapshot: Path) -> None:
    manager.load(snapshot=snapshot)


def take_over(manager: RuleManager, _: pytest.MonkeyPatch, __: Path) -> None:
    manager._replica.published.take_over_shared_snapshot()


@pytest.mark.parametrize("read", [read_all, load_again, load_snapshot, take_over])
def test_what_expires_while_all_lists_are_read_again_does_not_match_again(
    read: Callable[[RuleManager, pytest.MonkeyPatch, Path], None],
    shared_store_url: str,
    clock: MachineClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """To stream the lists of a large store takes minutes. What expires meanwhile is removed from the lists in use."""
    snapshot = tmp_path / "lists.snapshot"
    with RuleManager.open(shared_store_url, follow=False) as node:
        for account in ("ends", "paused", "pausing", "later"):
            node.create_account(account)
            node.add(account, "8.8.8.0/24")
        node.add("ends", "1.1.1.1/32", expires_at=soon(3600))
        node.set_mode("paused", "off", until=soon(3600), confirmed=["disable_enforcement"])
        node.set_mode("pausing", "off", until=soon(9000), confirmed=["disable_enforcement"])
        published = node._replica.published
        node._replica.share_snapshot(snapshot, None)
        with RuleManager.open(shared_store_url, follow=False) as writer:
            writer.save_snapshot(snapshot)
            writer.add("later", "9.9.9.9/32")
        publish, woken = publication._publish, list[bool]()

        def slow(*arguments: Any) -> dict[str, Exception]:
            failed = publish(*arguments)
            clock.ahead = timedelta(hours=2)
            published.expire()
            return failed

        monkeypatch.setattr(publication, "_publish", slow)
        monkeypatch.setattr(published, "on_next_expiry_changed", lambda: woken.append(True))
        caplog.clear()
        read(node, monkeypatch, snapshot)
        assert not node.allows("ends", "1.1.1.1")
        assert not node.allows("paused", "9.9.9.9")
        assert node.allows("pausing", "9.9.9.9")
        assert node.allows("later", "9.9.9.9")
        assert woken
        assert [record.message for record in caplog.records if "enforced again" in record.message] == [
            "account 'paused' is enforced again"
        ]
