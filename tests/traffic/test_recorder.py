"""The record of traffic: what gates and managers decided is stored once, by every process that decided it."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
import weakref
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from cidrgate import ClientIPResolver, Gate, OutcomeUnknownError, RuleManager, StoreError
from cidrgate.gate import EXEMPT
from cidrgate.stores.observations import add_observations
from cidrgate.stores.schema import accounts
from cidrgate.traffic import Traffic, recorder as recording
from cidrgate.values import Observation
from tests.forks import FOREIGN_FORKS, in_child
from tests.interruptions import ERRORS, Interrupt, in_another_thread, interruptions
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate.stores import Transaction
    from cidrgate.traffic.recorder import Recorder

EVERYTHING = Traffic()
Seen = dict[tuple[str, str, bool], int]


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with opened(store_url) as one:
        yield one


@pytest.fixture
def in_memory() -> Iterator[RuleManager]:
    with opened("memory://") as one:
        yield one


def opened(
    url: str, traffic: Traffic | None = EVERYTHING, *, furnished: bool = True, follow: bool = False
) -> RuleManager:
    manager = RuleManager.open(url, follow=follow, traffic=traffic)
    if furnished:
        manager.create_account("acct-1")
        manager.create_account("acct-2")
        manager.create_account("sub-1", parent="acct-1")
        manager.add("acct-1", "8.8.8.0/24, 2606:4700::/32")
    return manager


def recorder_of(manager: RuleManager) -> Recorder:
    assert manager._recorder is not None
    return manager._recorder


def stored(manager: RuleManager, *names: str) -> Seen:
    """Store what was seen, and return all that is stored."""
    recorder_of(manager).store()
    return {
        (one.account, one.network, one.allowed): one.requests
        for name in names or [account.name for account in manager.accounts()]
        for one in manager.traffic(name)
    }


def test_what_is_decided_is_stored_with_its_times(manager: RuleManager) -> None:
    before = datetime.now(UTC)
    for _ in range(3):
        manager.allows("acct-1", "8.8.8.8")
    manager.allows("sub-1", "9.9.9.9")
    manager.matcher.allows("acct-2", "2606:4700::1")
    expected = {
        ("acct-1", "8.8.8.8/32", True): 3,
        ("sub-1", "9.9.9.9/32", False): 1,
        ("acct-2", "2606:4700::1/128", True): 1,
    }
    assert stored(manager) == expected
    manager.allows("acct-1", "8.8.8.8")
    assert stored(manager) == {**expected, ("acct-1", "8.8.8.8/32", True): 4}
    [one] = manager.traffic("acct-1")
    assert before <= one.first_seen <= one.last_seen <= datetime.now(UTC)
    assert {one.account for one in manager.traffic("sub-1", whole_list=True)} == {"acct-1", "sub-1"}
    counts = recorder_of(manager).counts
    assert (counts.noted, counts.lost, counts.stored) == (6, 0, 6)


def test_a_gate_notes_each_request_of_a_known_account_once_with_its_result(in_memory: RuleManager) -> None:
    behind = ClientIPResolver(trusted_proxies=["10.0.0.0/8"])
    gates = [
        Gate(in_memory, unlisted="allow", log="none"),
        Gate(in_memory, unlisted="deny_unknown", log="none", resolver=behind),
        Gate(in_memory, unlisted="deny", log="none", hooks=[lambda _: None]),
        Gate(in_memory, unlisted="deny_unknown", log="none", note_matches=True),
    ]
    headers = [(b"x-forwarded-for", b"8.8.8.8")]
    for gate in gates:
        for account, peer in [("acct-1", "8.8.8.8"), ("sub-1", "9.9.9.9"), ("acct-2", "1.1.1.1"), ("none", "8.8.8.8")]:
            # As an edge asks: only a True of the short ways is final.
            if not (gate.allows_peer(account, peer) if gate.allows_peer else gate.allows(account, peer, [])):
                gate.decide(account, peer)
        gate.decide("acct-1", "10.0.0.1", headers)
        gate.decide(None, "8.8.8.8")
        gate.decide(EXEMPT, "8.8.8.8")
        gate.decide("acct-1", "no address")
        gate.decide("acct-1", None)
        gate.decide("acct-1", "8.8.8.8", failure=ValueError("no reason"))
    expected = {
        ("acct-1", "8.8.8.8/32", True): 4 + 1,
        ("acct-1", "10.0.0.1/32", False): 3,
        ("sub-1", "9.9.9.9/32", False): 4,
        ("acct-2", "1.1.1.1/32", True): 3,
        ("acct-2", "1.1.1.1/32", False): 1,
    }
    found = stored(in_memory)
    found.pop(("acct-1", "8.8.8.8/32", False), None)
    assert found == expected


def test_what_only_a_mode_allows_was_allowed(in_memory: RuleManager) -> None:
    Gate(in_memory, unlisted="deny", log="none", report_only=True).decide("acct-1", "9.9.9.9")
    in_memory.set_mode("acct-1", "report_only", confirmed=["disable_enforcement"])
    assert Gate(in_memory, unlisted="deny", log="none").decide("acct-1", "9.9.9.9").result == "would_deny"
    assert stored(in_memory) == {("acct-1", "9.9.9.9/32", True): 2}


def test_stale_lists_are_noted_as_they_answer(sqlite_url: str) -> None:
    with RuleManager.open(sqlite_url, follow=False, traffic=Traffic(), max_staleness=0.001, on_stale="deny") as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        gate = Gate(manager, unlisted="deny", log="none")
        eventually(lambda: manager.stale)
        assert not manager.allows("acct-1", "8.8.8.8")
        assert gate.allows_peer is not None
        assert not gate.allows_peer("acct-1", "8.8.8.8")
        assert gate.decide("acct-1", "8.8.8.8").reason == "stale_lists"
        assert stored(manager) == {("acct-1", "8.8.8.8/32", False): 2}


def test_nothing_is_recorded_unless_somebody_asks(in_memory: RuleManager) -> None:
    with opened("memory://", None) as manager:
        manager.allows("acct-1", "8.8.8.8")
        assert manager._recorder is None
        assert manager.matcher._collect_traffic() == (b"", 0, 0)
    in_memory.explain("acct-1", "8.8.8.8")
    in_memory.matcher.match("acct-1", "8.8.8.8")
    in_memory.matcher.allows_many("acct-1", ["8.8.8.8"])
    assert stored(in_memory) == {}
    with pytest.raises(TypeError, match="traffic must be"):
        RuleManager.open("memory://", traffic=30)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="leave out load=False"):
        RuleManager.open("memory://", load=False, traffic=Traffic())


def test_addresses_are_truncated_before_they_are_stored() -> None:
    with opened("memory://", Traffic.networks()) as manager:
        for address in ("8.8.8.8", "8.8.8.9", "2606:4700::1", "2606:4700::2", "2606:4700:1::2"):
            manager.allows("acct-1", address)
        assert stored(manager) == {
            ("acct-1", "8.8.8.0/24", True): 2,
            ("acct-1", "2606:4700::/48", True): 2,
            ("acct-1", "2606:4700:1::/48", True): 1,
        }


def test_two_nodes_add_up(shared_store_url: str) -> None:
    with opened(shared_store_url) as one, opened(shared_store_url, furnished=False) as two:
        for node, times in ((one, 2), (two, 3)):
            for _ in range(times):
                node.allows("sub-1", "8.8.8.8")
        stored(one)
        assert stored(two) == {("sub-1", "8.8.8.8/32", True): 5}


def test_nothing_is_lost_when_all_lists_are_replaced_at_once(tmp_path: object, sqlite_url: str) -> None:
    snapshot = f"{tmp_path}/lists.snapshot"
    with opened(sqlite_url) as manager:
        manager.save_snapshot(snapshot)
        manager.allows("sub-1", "8.8.8.8")
        published = manager._replica.published
        from pathlib import Path

        published._take_over(Path(snapshot), None)
        manager.allows("sub-1", "8.8.8.8")
        assert stored(manager) == {("sub-1", "8.8.8.8/32", True): 2}
        assert recorder_of(manager).counts.lost == 0


def test_accounts_that_are_renamed_or_deleted_lose_what_is_not_stored_yet(manager: RuleManager) -> None:
    eventually(lambda: recorder_of(manager)._log_ends != (None, None))
    manager.allows("acct-1", "8.8.8.8")
    manager.allows("acct-2", "8.8.8.8")
    recorder_of(manager).name_rows()
    manager.rename_account("acct-2", "acct-3")
    manager.rename_account("acct-1", "acct-2", confirmed=["disable_enforcement"])
    assert stored(manager) == {}
    manager.allows("acct-2", "8.8.4.4")
    manager.delete_account("acct-3")
    recorder_of(manager).store()
    manager.allows("acct-2", "8.8.4.4")
    assert stored(manager) == {("acct-2", "8.8.4.4/32", False): 1}
    counts = recorder_of(manager).counts
    assert (counts.noted, counts.lost, counts.stored) == (4, 3, 1)


def test_a_store_that_fails_gets_it_later_and_the_log_says_so(
    in_memory: RuleManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = recorder_of(in_memory)
    monkeypatch.setattr(recording, "_A_TRANSACTION", 2)
    for last in range(5):
        in_memory.allows("acct-1", f"8.8.8.{last}")

    def fail(*_: object, **__: object) -> int:
        raise StoreError("the store is down")

    with monkeypatch.context() as patch:
        patch.setattr("cidrgate.stores.observations.add_observations", fail)
        for _ in range(2):
            with pytest.raises(StoreError):
                recorder.store()
    assert (recorder.counts.stored, recorder.counts.lost) == (0, 0)
    in_memory.allows("acct-1", "8.8.8.0")
    assert sum(stored(in_memory).values()) == 6
    assert caplog.record_tuples == []
    with caplog.at_level(logging.INFO, "cidrgate"):
        recorder._not_stored.say(StoreError("the store is down"))
        recorder._not_stored.withdraw()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "traffic could not be stored, and is tried again"
    ] * 2


@pytest.mark.parametrize("error", [OutcomeUnknownError("the answer to the commit was lost"), KeyboardInterrupt()])
def test_what_may_be_stored_is_not_stored_again(
    in_memory: RuleManager,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It would be counted twice. What was not sent yet is stored later."""
    recorder = recorder_of(in_memory)
    monkeypatch.setattr(recording, "_A_TRANSACTION", 2)
    for last in range(5):
        in_memory.allows("acct-1", f"8.8.8.{last}")
    errors = [error]

    def lose_answer(make: Callable[[Transaction], int]) -> int:
        made = in_memory._write(make)
        if errors:
            raise errors.pop()
        return made

    monkeypatch.setattr(recorder, "_write", lambda: lose_answer)
    unknown = isinstance(error, OutcomeUnknownError)
    with nullcontext() if unknown else pytest.raises(KeyboardInterrupt):
        recorder.store()
    assert recorder.counts.lost == 2
    assert ("2 requests may be missing in the record of traffic" in caplog.text) is unknown
    assert stored(in_memory) == {("acct-1", f"8.8.8.{last}/32", True): 1 for last in range(5)}
    assert (recorder.counts.lost, recorder.counts.stored) == (2, 3)


def test_what_a_store_does_not_take_is_bounded(in_memory: RuleManager, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = recorder_of(in_memory)
    monkeypatch.setattr(recording, "MOST_SUMS", 5)
    for third in range(4):
        for last in range(3):
            in_memory.allows("acct-1", f"8.8.{third}.{last}")
        recorder.name_rows()
    assert sum(len(part.sums) for part in recorder._parts) == 3
    assert recorder.counts.lost == 9
    assert {network for _, network, _ in stored(in_memory)} == {f"8.8.3.{last}/32" for last in range(3)}


def missing(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of requests that are not stored."""
    told = [record.getMessage() for record in caplog.records]
    return [one for one in told if "missing in the record of traffic" in one]


def test_a_stop_does_not_wait_for_a_silent_store_and_says_what_may_be_missing(
    in_memory: RuleManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = recorder_of(in_memory)
    entered, answered = threading.Event(), threading.Event()

    def silent(_: object) -> int:
        entered.set()
        answered.wait(30)
        raise StoreError("the store did not answer")

    monkeypatch.setattr(recording, "_JOIN", 0.1)
    monkeypatch.setattr(recorder, "_write", lambda: silent)
    for last in range(5):
        in_memory.allows("acct-1", f"8.8.8.{last}")
    storing = threading.Thread(target=lambda: suppressed(recorder.store))
    storing.start()
    assert entered.wait(10)
    in_memory.allows("acct-1", "8.8.8.8")
    stopping = threading.Thread(target=recorder.stop)
    stopping.start()
    stopping.join(10)
    try:
        assert not stopping.is_alive()
        [told] = missing(caplog)
        assert told.startswith("6 requests may be missing")
    finally:
        answered.set()
        storing.join(10)
        recorder._storer.join(10)
    # It did not take them in the end, and no later call tries again.
    assert [one.partition(" ")[0] for one in missing(caplog)] == ["6", "6"]
    assert (recorder.counts.noted, recorder.counts.lost, recorder.counts.stored) == (6, 6, 0)


def test_what_is_pending_is_stored_without_an_end_of_the_record(sqlite_url: str) -> None:
    """As often as somebody asks for it, by gates that share the manager, with old days and last matches too."""
    now = datetime.now(UTC)
    with opened(sqlite_url, None) as manager, manager._store.write() as transaction:
        transaction.connection.execute(update(accounts).values(created_at=now - timedelta(days=99)))
        add_observations(transaction, [_one("8.8.8.8/32", now - timedelta(days=40))])
    with opened(sqlite_url, Traffic(days=2), furnished=False) as manager:
        gates = [Gate(manager, unlisted="deny", note_matches=True, log="none") for _ in range(2)]
        for number in (1, 2):
            assert gates[0].decide("acct-1", "8.8.8.9").allowed
            for gate in gates:
                gate._flush()
            assert [one.requests for one in manager.traffic("acct-1", 99)] == [number]
        assert len(manager.last_matches("acct-1")) == 1
        assert recorder_of(manager).is_alive
    gates[0]._flush()  # of a manager that is closed


def test_a_flush_waits_for_a_silent_store_once_for_all_and_says_what_may_be_missing(
    in_memory: RuleManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, answered = recorder_of(in_memory), threading.Event()

    def silent(_: object) -> int:
        answered.wait(30)
        raise StoreError("the store did not answer")

    monkeypatch.setattr("cidrgate.manager.rule_manager._LAST_WRITE", 0.3)
    gates = [Gate(in_memory, unlisted="deny", log="none") for _ in range(20)]
    gates[0].decide("acct-1", "8.8.8.8")
    with monkeypatch.context() as patch:
        patch.setattr(recorder, "_write", lambda: silent)
        began = time.monotonic()
        try:
            for gate in gates:
                gate._flush()
            assert 0.25 < time.monotonic() - began < 3
            assert missing(caplog)[0].startswith("1 requests may be missing")
        finally:
            answered.set()
            last_write, _ = in_memory._last_write
            assert last_write is not None
            last_write.join(10)
    gates[0]._flush()  # the process goes on, and nothing is lost
    assert [one.requests for one in in_memory.traffic("acct-1")] == [1]
    assert recorder.counts.lost == 0


def suppressed(call: Callable[[], object]) -> None:
    with suppress(StoreError):
        call()


def test_what_a_store_does_not_take_at_the_end_is_counted(
    in_memory: RuleManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = recorder_of(in_memory)

    def fail(_: object) -> int:
        raise StoreError("the store is down")

    monkeypatch.setattr(recorder, "_write", lambda: fail)
    for last in range(3):
        in_memory.allows("acct-1", f"8.8.8.{last}")
    recorder.stop()
    recorder.stop()
    [told] = missing(caplog)
    assert told.startswith("3 requests are missing")
    assert recorder.counts.lost == 3


def test_a_child_does_not_store_what_its_parent_has_not_stored_yet(sqlite_url: str) -> None:
    """Not even if the parent's recorder is ending."""
    with opened(sqlite_url) as manager:
        recorder = recorder_of(manager)
        manager.allows("acct-1", "8.8.8.8")
        recorder.name_rows()
        with recorder._storing:  # its thread waits to store the rest
            recorder._ended.set()

            def stop() -> object:
                recorder.stop()
                return [recorder.counts.stored, recorder.counts.lost]

            assert in_child(stop, os.fork) == {"made": [0, 0]}
        recorder.stop()
        assert recorder.counts.stored == 1


@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_store_loses_nothing_uncounted(
    in_memory: RuleManager, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorder_of(in_memory)
    monkeypatch.setattr(recording, "_A_TRANSACTION", 2)
    taken = 0

    def take(make: partial[int]) -> int:
        nonlocal taken
        added: int = sum(one.requests for one in make.keywords.get("observed", []))
        taken += added
        return added

    monkeypatch.setattr(recorder, "_write", lambda: take)

    def store() -> None:
        for last in range(5):
            in_memory.matcher.allows("acct-1", f"8.8.8.{last}")
        recorder.store()

    for where in interruptions(store, error):
        in_another_thread(recorder.store)
        counts = recorder.counts
        assert counts.noted == counts.stored + counts.lost, where
        if error is Interrupt:  # an exception of another class may be an error of the store
            assert counts.stored <= taken <= counts.stored + counts.lost, where


def named_incomplete(manager: RuleManager) -> list[str]:
    """The accounts of which an evaluation says that something is missing."""

    def is_incomplete(name: str) -> bool:
        manager.add(name, "1.1.1.1/32", if_missing=True)
        unknown = manager.evaluate(name, lambda dry: dry.remove(name, "1.1.1.1/32")).unknown
        found = "incomplete" in [one.code for one in unknown]
        if manager.traffic(name):
            assert ("incomplete" in [one.code for one in manager.recommend(name).unknown]) is found
        return found

    return [account.name for account in manager.accounts() if account.parent is None and is_incomplete(account.name)]


def lose_by_a_sketch(manager: RuleManager, _: pytest.MonkeyPatch) -> None:
    for last in range(30):
        manager.allows("acct-2", f"8.8.8.{last}")


def lose_denied_ones(manager: RuleManager, _: pytest.MonkeyPatch) -> None:
    manager.add("acct-2", "8.8.4.0/24")
    lose_by_a_sketch(manager, _)


def lose_the_surplus_of_two_intervals(manager: RuleManager, _: pytest.MonkeyPatch) -> None:
    recorder = recorder_of(manager)
    for third in range(2):
        for last in range(15):
            manager.allows("acct-2", f"8.8.{third}.{last}")
        recorder.store()
    assert named_incomplete(manager) == []
    recorder.tidy()


def lose_while_the_store_does_not_take_it(manager: RuleManager, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recording, "MOST_SUMS", 5)
    recorder = recorder_of(manager)
    for third in range(2):
        for last in range(3):
            manager.allows("acct-2", f"8.8.{third}.{last}")
        recorder.name_rows()


def lose_by_a_renaming(manager: RuleManager, _: pytest.MonkeyPatch) -> None:
    manager.allows("acct-2", "8.8.8.8")
    recorder_of(manager).name_rows()
    manager.rename_account("acct-2", "acct-3")
    manager.rename_account("acct-3", "acct-2")


def lose_an_answer(manager: RuleManager, patch: pytest.MonkeyPatch) -> None:
    _lose(manager, patch, OutcomeUnknownError("the answer to the commit was lost"))


def lose_by_an_interrupt(manager: RuleManager, patch: pytest.MonkeyPatch) -> None:
    _lose(manager, patch, KeyboardInterrupt())


def _lose(manager: RuleManager, patch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_: object) -> int:
        raise error

    recorder = recorder_of(manager)
    manager.allows("acct-2", "8.8.8.8")
    with patch.context() as patched:
        patched.setattr(recorder, "_write", lambda: fail)
        with suppress(type(error)):
            recorder.store()


@pytest.mark.parametrize(
    "lose",
    [
        lose_by_a_sketch,
        lose_denied_ones,
        lose_the_surplus_of_two_intervals,
        lose_while_the_store_does_not_take_it,
        lose_by_a_renaming,
        lose_an_answer,
        lose_by_an_interrupt,
    ],
)
def test_whatever_is_lost_of_an_account_its_readers_hear_that_something_is_missing(
    lose: Callable[[RuleManager, pytest.MonkeyPatch], None], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a process was told to keep, also if another one adds to it."""
    with opened(sqlite_url, Traffic(most_allowed=20, most_denied=20)) as manager:
        eventually(lambda: recorder_of(manager)._log_ends != (None, None))
        manager.allows("acct-1", "8.8.8.8")
        recorder_of(manager).store()
        lose(manager, monkeypatch)
        recorder_of(manager).store()
        assert named_incomplete(manager) == ["acct-2"]
        assert recorder_of(manager)._incomplete == set()
    with opened(sqlite_url, furnished=False) as other:
        for last in range(50):
            for account in ("acct-1", "acct-2"):
                other.allows(account, f"8.8.8.{last}")
        recorder_of(other).store()
        recorder_of(other).tidy()
        assert named_incomplete(other) == ["acct-2"]


def test_days_that_could_not_be_marked_are_marked_later_within_a_bound(
    in_memory: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorder_of(in_memory)
    in_memory.allows("acct-1", "8.8.8.8")
    recorder.store()
    lose_an_answer(in_memory, monkeypatch)
    assert len(recorder._incomplete) == 1
    monkeypatch.setattr(recording, "MOST_SUMS", 3)
    today = datetime.now(UTC).date()
    recorder._miss({("acct-1", today - timedelta(days=days)) for days in range(1, 5)})
    assert {day for _, day in recorder._incomplete} == {today - timedelta(days=days) for days in range(3)}
    recorder.store()
    assert recorder._incomplete == set()
    assert named_incomplete(in_memory) == ["acct-2"]  # the other account did not exist on these days


def has_noted(recorder: Recorder, requests: int) -> bool:
    return recorder.counts.noted == requests


def test_what_is_decided_is_collected_while_the_store_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_EVERY", 0.0)
    with opened("memory://") as manager:
        check_collection_during_silence(manager, monkeypatch)


def check_collection_during_silence(manager: RuleManager, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = recorder_of(manager)
    entered, answered = threading.Event(), threading.Event()
    write = manager._write

    def silent(make: Callable[[Transaction], int]) -> int:
        entered.set()
        assert answered.wait(60)
        return write(make)

    monkeypatch.setattr(recorder, "_write", lambda: silent)
    manager.allows("acct-1", "8.8.8.8")
    try:
        assert entered.wait(10)
        for turn in range(1, 4):
            for _ in range(recording._CAPACITY // 4):
                manager.allows("acct-1", "8.8.8.9")
            eventually(partial(has_noted, recorder, 1 + turn * (recording._CAPACITY // 4)))
    finally:
        answered.set()
    recorder.store()
    assert (recorder.counts.lost, recorder.counts.stored) == (0, recorder.counts.noted)


def test_a_renaming_costs_nothing_after_two_times_at_which_nothing_was_stored(in_memory: RuleManager) -> None:
    recorder = recorder_of(in_memory)
    in_memory.rename_account("acct-2", "acct-3")
    for _ in range(2):
        assert recorder.store() == 0
    in_memory.allows("acct-3", "8.8.8.8")
    assert recorder.store() == 1


def test_no_account_gets_requests_of_another_if_the_log_could_not_be_read_at_the_begin(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: RuleManager) -> int:
        raise StoreError("the store is down")

    with opened(sqlite_url, None) as manager, monkeypatch.context() as patch:
        patch.setattr(RuleManager, "_log_end", fail)
        manager.create_account("acct-3")
        other = opened(sqlite_url, furnished=False)
        for name in ("acct-1", "acct-2", "acct-3"):
            other.allows(name, "8.8.8.8")
        recorder_of(other).name_rows()
        manager.delete_account("acct-2")
        manager.rename_account("acct-1", "acct-2", confirmed=["disable_enforcement"])
        patch.undo()
        assert stored(other) == {("acct-3", "8.8.8.8/32", True): 1}
        assert recorder_of(other).counts.lost == 2
        assert named_incomplete(other) == ["acct-2"]
        other.close()


@pytest.mark.parametrize("number", [0, 1])
def test_without_a_thread_nothing_is_recorded_and_no_thread_stays(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_few(thread: threading.Thread) -> None:
        if len(started) == number:
            raise RuntimeError("can't start new thread")
        start(thread)
        started.append(thread)

    with opened("memory://", None) as manager:
        monkeypatch.setattr(threading.Thread, "start", start_few)
        with pytest.raises(StoreError, match=r"no thread can be started.*raise the limit"):
            manager._record(Traffic())
        assert len(started) == number
        eventually(lambda: not any(thread.is_alive() for thread in started))


def test_a_process_that_ends_soon_deletes_what_is_old_and_surplus(sqlite_url: str) -> None:
    now = datetime.now(UTC)
    with opened(sqlite_url, None) as manager, manager._store.write() as transaction:
        transaction.connection.execute(update(accounts).values(created_at=now - timedelta(days=99)))
        add_observations(transaction, [_one(f"8.8.4.{last}/32", now, last) for last in range(2, 9)])
        add_observations(transaction, [_one("8.8.8.8/32", now - timedelta(days=40))])
    with opened(sqlite_url, Traffic(days=2, most_allowed=2), furnished=False) as manager:
        manager.allows("acct-1", "8.8.8.9")
    with RuleManager.open(sqlite_url, load=False) as reader:
        assert [one.network for one in reader.traffic("acct-1", 99)] == ["8.8.4.8/32", "8.8.4.7/32"]


def test_surplus_observations_of_days_that_were_stored_late_are_deleted(in_memory: RuleManager) -> None:
    recorder, at = recorder_of(in_memory), datetime.now(UTC) - timedelta(days=5)
    with in_memory._store.write() as transaction:
        transaction.connection.execute(update(accounts).values(created_at=at - timedelta(days=99)))
        add_observations(transaction, [_one(f"8.8.4.{last}/32", at) for last in range(1, 6)])
    recorder._settings = Traffic(most_allowed=2)
    assert recorder.tidy() == 0
    in_memory.allows("acct-1", "8.8.8.8")
    recorder.name_rows()
    [part] = recorder._parts
    part.sums["first"] = part.sums["last"] = int(at.timestamp() * 1_000_000)
    recorder.store()
    assert recorder.tidy() == 4
    assert named_incomplete(in_memory) == ["acct-1"]


def test_old_and_surplus_observations_are_deleted() -> None:
    with opened("memory://", Traffic(days=2, most_allowed=2, most_denied=1)) as manager:
        now = datetime.now(UTC)
        with manager._store.write() as transaction:
            transaction.connection.execute(update(accounts).values(created_at=now - timedelta(days=99)))
            for days in range(5):
                add_observations(transaction, [_one("8.8.8.8/32", now - timedelta(days=days))])
            add_observations(transaction, [_one(f"8.8.4.{last}/32", now, last) for last in range(2, 9)])
        assert recorder_of(manager).tidy() == 2 + 6
        # Of today the two busiest stay; of the two days before there was one network each; older days are gone.
        assert {(one.network, one.requests) for one in manager.traffic("acct-1", 99)} == {
            ("8.8.4.8/32", 8),
            ("8.8.4.7/32", 7),
            ("8.8.8.8/32", 2),
        }


@pytest.mark.parametrize("days", [40_000, 10**7, 10**12])
def test_traffic_may_be_kept_for_longer_than_there_are_times(days: int) -> None:
    with opened("memory://", Traffic(days=days)) as manager:
        now = datetime.now(UTC)
        with manager._store.write() as transaction:
            transaction.connection.execute(update(accounts).values(created_at=now - timedelta(days=100)))
            add_observations(transaction, [_one("8.8.8.8/32", now - timedelta(days=99))])
        assert recorder_of(manager).tidy() == 0
        assert manager.traffic("acct-1", days) != []


def _one(network: str, at: datetime, requests: int = 1) -> Observation:
    return Observation(account="acct-1", network=network, allowed=True, requests=requests, first_seen=at, last_seen=at)


def test_the_thread_stores_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_EVERY", 0.0)
    with opened("memory://") as manager:
        manager.allows("acct-1", "8.8.8.8")
        eventually(lambda: manager.traffic("acct-1") != [])


def test_closing_stores_the_rest(sqlite_url: str) -> None:
    manager = opened(sqlite_url)
    manager.allows("acct-1", "8.8.8.8")
    recorder = recorder_of(manager)
    manager.close()
    assert not recorder.is_alive
    manager.matcher.allows("acct-1", "8.8.8.8")
    with RuleManager.open(sqlite_url, load=False) as reader:
        assert [one.requests for one in reader.traffic("acct-1")] == [1]


def test_a_forgotten_manager_ends_its_thread() -> None:
    manager = opened("memory://")
    recorder, gone = recorder_of(manager), weakref.ref(manager)
    del manager
    gc.collect()
    assert gone() is None
    eventually(lambda: not recorder._collector.is_alive() and not recorder._storer.is_alive())


def test_changes_of_the_manager_and_its_record_do_not_wait_for_each_other(sqlite_url: str) -> None:
    with opened(sqlite_url, follow=True) as manager:
        ended = threading.Event()

        def store() -> None:
            while not ended.is_set():
                manager.allows("acct-1", "8.8.8.8")
                recorder_of(manager).store()

        thread = threading.Thread(target=store)
        thread.start()
        for last in range(10):
            manager.add("acct-2", f"8.8.4.{last}/32")
            manager._replica.published._read(type(manager.matcher)(), manager._replica.published._schedule, "", None)
        ended.set()
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("fork", [os.fork, *FOREIGN_FORKS.values()])
def test_a_forked_child_records_what_it_decides_itself(sqlite_url: str, fork: Callable[[], int]) -> None:
    with opened(sqlite_url) as manager:
        for _ in range(3):
            manager.allows("acct-1", "8.8.8.8")

        def decide() -> object:
            assert manager.staleness >= 0  # it notices a fork without hooks
            manager.allows("acct-1", "8.8.8.9")
            if fork is os.fork:  # after the others, no child can use SQLite
                recorder_of(manager).store()
            recorder_of(manager).collect()
            counts = recorder_of(manager).counts
            return [counts.noted, counts.stored, recorder_of(manager).is_alive]

        of_child = int(fork is os.fork)
        assert in_child(decide, fork) == {"made": [1, of_child, True]}
        found = stored(manager)
        assert found.pop(("acct-1", "8.8.8.9/32", True), 0) == of_child
        assert found == {("acct-1", "8.8.8.8/32", True): 3}
