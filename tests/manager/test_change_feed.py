"""A reader of the feed gets each row exactly once and in order, whoever writes, whenever it reconnects."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings, strategies as st
from sqlalchemy import text

from cidrgate import HistoryError, NewEntry, Origin, RuleManager, StoreBusyError, StoreError
from cidrgate.event_log import event_name
from cidrgate.manager import change_feed
from cidrgate.manager.change_feed import ChangeFeed, ChangeReader, read_changes
from cidrgate.stores.values import LogHolder
from tests.change_log import Replay
from tests.change_stream import MAX_ENTRIES, a_held_change, change_something, open_manager
from tests.interruptions import ERRORS, in_another_thread, interruptions
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cidrgate import Change
    from cidrgate.event_log import Event
    from cidrgate.stores.postgres.store import PostgresStore


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with open_manager(store_url) as manager:
        yield manager


def sequences(changes: list[Change]) -> list[int]:
    return [change.sequence for change in changes]


def test_pages_are_the_log(manager: RuleManager) -> None:
    rng = Random(7)
    for number in range(60):
        change_something(manager, rng, f"a-{number}")
    whole = manager.history()[::-1]
    assert manager.changes() == whole
    after, read = 0, []
    while page := manager.changes(after=after, limit=7):
        assert len(page) <= 7
        read += page
        after = page[-1].sequence
    assert read == whole
    assert manager.changes(after=after) == []
    assert manager.changes(limit=0) == []


def test_a_place_outside_of_the_log_is_refused(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    manager.add("acct-1", "8.8.8.0/24")
    last = manager.changes()[-1].sequence
    with pytest.raises(HistoryError, match="ends with change"):
        manager.changes(after=last + 5)
    with pytest.raises(HistoryError, match="ends with change"):
        next(manager.follow_changes(after=last + 5))
    manager.prune_history(0)
    with pytest.raises(HistoryError, match="begins with change"):
        manager.changes(after=last - 1)
    [pruned] = manager.changes(after=last)
    assert manager.changes() == [pruned]
    assert pruned.action == "prune"
    for wrong in (-1, 1.5, True, "7"):
        with pytest.raises((ValueError, TypeError)):
            manager.changes(after=wrong)  # type: ignore[arg-type]


def test_a_follower_sees_what_is_committed_from_now_on(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    with closing(manager.follow_changes()) as changes:
        seen: list[Change] = []
        thread = threading.Thread(target=lambda: seen.extend(islice(changes, 2)))
        thread.start()
        manager.add("acct-1", "8.8.8.0/24")
        manager.remove("acct-1", "8.8.8.0/24", allow_empty=True)
        thread.join(10)
    assert [change.action for change in seen] == ["add", "remove"]


class Writers:
    """Threads with managers of their own, which change the same few lists until they are stopped."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(number)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, seed: int) -> None:
        rng = Random(seed)
        with open_manager(self._url) as manager:
            number = 0
            while not self._stop.is_set():
                number += 1
                change_something(manager, rng, f"w{seed}-{number}")
                if rng.random() < 0.1:
                    manager.import_accounts({f"i{seed}-{number}-{n}": [NewEntry("8.8.8.0/24")] for n in range(5)})


@pytest.mark.slow
def test_readers_that_reconnect_see_each_row_once_beside_writers(shared_store_url: str) -> None:
    with open_manager(shared_store_url) as manager, closing(ChangeFeed(manager._store)) as feed:
        read: dict[str, list[Change]] = {"pages": [], "follower": [], "feed": []}
        ended = threading.Event()  # after that, nobody writes

        def reconnect(name: str, some: int, rng: Random) -> None:
            rows = read[name]
            while not ended.is_set() or sequences(rows) != sequences(manager.changes()):
                after = rows[-1].sequence if rows else 0
                wanted = rng.randint(1, some)
                if name == "pages" or (name == "follower" and ended.is_set()):
                    rows += manager.changes(after=after, limit=wanted)
                elif name == "follower":
                    with closing(manager.follow_changes(after=after)) as changes:
                        for change in changes:
                            rows.append(change)
                            wanted -= 1
                            if not wanted or change.account == "the-last":
                                break
                    if rows[-1].account == "the-last":
                        ended.wait(10)  # nothing follows
                else:
                    woken = threading.Event()
                    subscription = feed.subscribe(after, woken.set)
                    assert subscription is not None
                    with closing(subscription):
                        for _ in range(wanted):
                            woken.clear()
                            rows += subscription.read()
                            woken.wait(0.02)

        readers = [
            threading.Thread(target=reconnect, args=(name, some, Random(name)))
            for name, some in (("pages", 40), ("follower", 30), ("feed", 20))
        ]
        with Writers(shared_store_url, 4):
            for reader in readers:
                reader.start()
            time.sleep(4)
        manager.create_account("the-last")  # wakes a follower that waits
        ended.set()
        for reader in readers:
            reader.join(30)
            assert not reader.is_alive()
        whole = manager.history()[::-1]
        assert len(whole) > 20
        for name, rows in read.items():
            assert sequences(rows) == sequences(whole), name
        replay = Replay(MAX_ENTRIES)
        replay.feed(read["follower"])


@pytest.fixture
def two_transactions(postgres_url: str) -> Iterator[tuple[RuleManager, RuleManager]]:
    with RuleManager.open(postgres_url, create=True) as one, RuleManager.open(postgres_url) as other:
        one.create_account("a")
        one.create_account("b")
        yield one, other


def test_a_row_that_commits_late_holds_later_ones_back(two_transactions: tuple[RuleManager, RuleManager]) -> None:
    """The transaction with the smaller sequence commits last."""
    one, other = two_transactions
    before = one.changes()[-1].sequence
    entered, leave = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        entered.set()
        leave.wait(20)

    late = threading.Thread(target=lambda: one._with_transaction_hook(hold).add("a", "8.8.8.0/24"))
    late.start()
    assert entered.wait(10)
    with closing(ChangeFeed(other._store)) as feed:
        subscription = feed.subscribe(before, lambda: None)
        assert subscription is not None
        other.add("b", "1.1.1.1/32")
        assert [change.account for change in other.history(limit=1)] == ["b"]
        assert other.changes(after=before) == []  # after the wait of a page
        assert subscription.read() == []
        leave.set()
        late.join(10)
        rows: list[Change] = []

        def both() -> bool:
            rows.extend(subscription.read())
            return len(rows) == 2

        eventually(both)
        assert [change.account for change in rows] == ["a", "b"]
        assert other.changes(after=before) == rows


HELD_BY = r"process \d+ of the server"


def test_a_transaction_that_does_not_end_is_reported(
    two_transactions: tuple[RuleManager, RuleManager], postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It holds back every later row, but the lists of no node."""
    caplog.set_level(logging.INFO, "cidrgate")
    one, other = two_transactions
    before = one.changes()[-1].sequence
    counted: list[object] = []
    rows: list[Change] = []
    with (
        RuleManager.open(postgres_url, lock_timeout=0.3) as reader,
        closing(ChangeFeed(reader._store, refused=lambda: counted.append(None))) as feed,
    ):
        subscription = feed.subscribe(before, lambda: None)
        assert subscription is not None
        eventually(lambda: subscription.recent() is not None)
        with a_held_change(one, "a"):
            other.add("b", "1.1.1.1/32")
            eventually(lambda: reader.matcher.prefixes("b") == ["1.1.1.1/32"])
            for ask in (
                lambda: reader.changes(after=before),
                lambda: next(reader.follow_changes(after=before)),
                lambda: next(reader.follow_changes()),
            ):
                with pytest.raises(StoreBusyError, match=HELD_BY):
                    ask()
            assert reader.changes(after=before - 1, limit=1) == reader.changes(after=before - 1)
            eventually(lambda: len(counted) > 1)
            assert feed.held_back
            assert subscription.read() == []
            assert len(held := messages(caplog, "store_busy")) == 1
            assert re.search(HELD_BY, held[0])

        def both() -> bool:
            rows.extend(subscription.read())
            return len(rows) == 2

        eventually(both)
        eventually(lambda: not feed.held_back and len(messages(caplog, "works_again")) == 1)
    assert [change.account for change in rows] == ["a", "b"]


def messages(caplog: pytest.LogCaptureFixture, event: Event) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if getattr(record, "cidrgate", {}).get("event") == event_name(event)
    ]


def test_a_feed_that_cannot_begin_names_who_holds_it_back(
    two_transactions: tuple[RuleManager, RuleManager], postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = two_transactions
    before = one.changes()[-1].sequence
    with (
        a_held_change(one, "a"),
        RuleManager.open(postgres_url, lock_timeout=0.3) as reader,
        closing(ChangeFeed(reader._store)) as feed,
    ):
        other.add("b", "1.1.1.1/32")
        subscription = feed.subscribe(before, lambda: None)
        assert subscription is not None
        eventually(lambda: feed.held_back)
        assert re.search(HELD_BY, messages(caplog, "store_busy")[0])


@contextmanager
def followed(log: Log) -> Iterator[tuple[ChangeFeed, list[str]]]:
    """A feed whose thread waits for rows, and what it reports each time that it is held back."""
    refused: list[str] = []
    with (
        patch.object(change_feed, "_RETRY", 0.01),
        closing(ChangeFeed(cast("Any", log), refused=lambda: refused.append("held back"))) as feed,
    ):
        subscription = feed.subscribe(0, lambda: None)
        assert subscription is not None
        eventually(lambda: feed.recent(0) is not None)
        yield feed, refused


def test_rows_that_come_end_a_hold_whoever_else_writes() -> None:
    log = Log()
    with followed(log) as (feed, _):
        for _ in range(4):
            log.begin()
        for sequence in (2, 4):
            log.end(log.open.index(sequence), commit=True)
        feed._wake()
        eventually(lambda: feed.held_back)
        log.lock_timeout = 600.0
        log.end(log.open.index(1), commit=True)
        eventually(lambda: not feed.held_back)
        assert log.open == [3]


def test_a_store_without_a_free_connection_holds_nothing_back(caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    asked: list[int] = []

    def full(after: int, limit: int) -> list[Any]:
        asked.append(after)
        raise StoreBusyError("all connections are in use")

    with followed(log) as (feed, refused), patch.object(log, "changes_after", full):
        feed._wake()
        eventually(lambda: len(asked) > 2)
        assert not feed.held_back
        assert not refused
        assert not messages(caplog, "store_busy")


@pytest.mark.parametrize("seconds", [None, 0.0, 0.5])
def test_a_page_that_is_held_back_is_empty_only_if_that_is_known_to_be_new(
    seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None: the server does not show how long a transaction of another user has lasted."""
    monkeypatch.setattr(change_feed, "_PATIENCE", 0.0)
    log = Log(seconds)
    for _ in range(2):
        log.begin()
    log.end(1, commit=True)
    if seconds == 0.0:
        assert read_changes(cast("Any", log), 0, None) == []
        return
    with pytest.raises(StoreBusyError, match="held by the other"):
        read_changes(cast("Any", log), 0, None)
    log.end(0, commit=True)
    assert sequences(read_changes(cast("Any", log), 0, None)) == [1, 2]


def test_a_sequence_of_a_transaction_that_was_rolled_back_is_skipped(
    two_transactions: tuple[RuleManager, RuleManager],
) -> None:
    one, _ = two_transactions
    before = one.changes()[-1].sequence

    def fail(*_: object) -> None:
        raise KeyError("on purpose")

    for _ in range(3):
        with pytest.raises(KeyError):
            one._with_transaction_hook(fail).add("a", "8.8.8.0/24")
    one.add("a", "9.9.9.9/32")
    [row] = one.changes(after=before)
    assert row.sequence > before + 1


def test_another_transaction_of_the_server_holds_nothing_back(
    two_transactions: tuple[RuleManager, RuleManager],
) -> None:
    """Only those that write to the log do: a report of another program may run for hours."""
    one, other = two_transactions
    store: PostgresStore = one._store  # type: ignore[assignment]
    before = one.changes()[-1].sequence

    def fail(*_: object) -> None:
        raise KeyError("on purpose")

    with store.write() as transaction:
        transaction.connection.execute(text("SELECT pg_current_xact_id()"))
        transaction.accounts_named(["a"])
        with pytest.raises(KeyError):
            other._with_transaction_hook(fail).add("b", "8.8.8.0/24")
        other.add("b", "9.9.9.9/32")
        assert len(other.changes(after=before)) == 1


@given(st.lists(st.integers(1, 4), max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_any_sequence_of_pages_is_the_log(limits: list[int], rng: Random) -> None:
    with open_manager("memory://") as manager:
        after = 0
        read: list[Change] = []
        for number, limit in enumerate(limits):
            change_something(manager, rng, f"a-{number}")
            page = manager.changes(after=after, limit=limit)
            read += page
            after = page[-1].sequence if page else after
        read += manager.changes(after=after)
        assert read == manager.history()[::-1]


def test_events_of_the_store_make_no_follower_read_a_list(store_url: str) -> None:
    with RuleManager.open(store_url, create=True) as manager:
        manager.create_account("a")
        store = manager._store
        with store.read() as transaction:
            position = transaction.position()
        with store.write() as transaction:
            for _ in range(300):
                transaction.record_event(
                    "sign_in_failed",
                    at=datetime.now(UTC),
                    actor=None,
                    origin=Origin(kind="token"),
                    details={"count": 1},
                )
        with store.read() as transaction:
            assert transaction.position() != position
            assert transaction.changed_since(position, 100) == set()
            assert transaction.lists_changed_since(position, 100) == ([], set())
        manager.add("a", "8.8.8.0/24")
        with store.read() as transaction:
            assert transaction.changed_since(position, 100) == {"a"}
        assert manager.allows("a", "8.8.8.8")
        assert len(manager.history("a")) == 2
        assert sum(change.account is None for change in manager.history()) == 300


def test_rows_of_versions_without_origins_are_read(store_url: str) -> None:
    with RuleManager.open(store_url, create=True) as manager:
        with manager._store.write() as transaction:
            transaction.insert_accounts(["old"], parent=None, at=datetime.now(UTC), actor="me")
        [row] = manager.changes()
        assert (row.origin, row.details, row.actor) == (None, None, "me")


@pytest.fixture
def in_memory() -> Iterator[RuleManager]:
    with RuleManager.open("memory://", follow=False) as manager:
        yield manager


@pytest.fixture
def feed(in_memory: RuleManager, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChangeFeed]:
    """A feed that tries again at once."""
    monkeypatch.setattr(change_feed, "_RETRY", 0.01)
    with closing(ChangeFeed(in_memory._store)) as feed:
        yield feed


def test_while_the_feed_has_lost_the_store_its_subscribers_wait(
    in_memory: RuleManager, feed: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is silent would hold a thread for each of them."""
    in_memory.create_account("acct-1")
    woken = threading.Event()
    subscription = feed.subscribe(None, woken.set)
    assert subscription is not None
    eventually(lambda: subscription.recent() == [])
    lost = threading.Event()

    def fail(*_: object, **__: object) -> Any:
        if threading.current_thread().name == "cidrgate-feed":
            lost.set()
        raise StoreError("the store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(in_memory._store, "read_autocommit", fail)
        patch.setattr(in_memory._store, "watch", fail)
        feed._wake()
        assert lost.wait(10)
        for _ in range(3):  # the second and third attempt fail before they read
            woken.clear()
            assert woken.wait(10)
            assert subscription.read() == []
    in_memory.create_account("acct-2")
    rows: list[Change] = []

    def has_come() -> bool:
        rows.extend(subscription.read())
        return bool(rows)

    eventually(has_come)
    assert [row.account for row in rows] == ["acct-2"]


def test_subscribers_read_the_store_themselves_if_only_the_feed_cannot_follow_it(
    in_memory: RuleManager, feed: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server has no connection left that could listen."""
    woken = threading.Event()
    subscription = feed.subscribe(None, woken.set)
    assert subscription is not None
    eventually(lambda: subscription.recent() == [])

    def fail(*_: object, **__: object) -> Any:
        raise StoreError("too many connections")

    monkeypatch.setattr(in_memory._store, "watch", fail)
    assert feed._watch is not None
    monkeypatch.setattr(feed._watch, "wait", fail)
    feed._wake()
    eventually(lambda: subscription.recent() is None)
    in_memory.create_account("acct-1")
    assert [row.account for row in subscription.read()] == ["acct-1"]


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files"), ValueError("unexpected")])
def test_a_feed_outlives_any_error(
    in_memory: RuleManager,
    feed: ChangeFeed,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without its thread, streams would send heartbeats and no change for ever."""
    caplog.set_level(logging.INFO, "cidrgate")
    read = ChangeReader.read
    failures = [error, error]

    def fail(reader: ChangeReader, limit: int = 100) -> list[Change]:
        if failures and threading.current_thread().name == "cidrgate-feed":
            raise failures.pop()
        return read(reader, limit)

    monkeypatch.setattr(ChangeReader, "read", fail)
    subscription = feed.subscribe(None, lambda: None)
    assert subscription is not None
    eventually(lambda: "works again" in caplog.text)
    in_memory.create_account("acct-1")
    eventually(lambda: [row.account for row in subscription.recent() or ()] == ["acct-1"])
    events = [record.cidrgate["event"] for record in caplog.records if hasattr(record, "cidrgate")]
    assert events.count("cidrgate.task_failed") == 1


def test_a_feed_whose_thread_has_died_gets_another(feed: ChangeFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(feed, "_run", lambda: None)
        first = feed.subscribe(None, lambda: None)
        dead = feed._thread
        assert first is not None
        assert dead is not None
        dead.join(10)
    second = feed.subscribe(None, lambda: None)
    assert second is not None
    eventually(lambda: second.recent() is not None)
    assert feed._thread is not dead


def test_a_thread_that_ends_does_not_take_the_place_of_its_successor(
    in_memory: RuleManager, feed: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`close` would wake nobody, and an error of the last step would let both threads fill one memory."""
    store, ending, leave = in_memory._store, threading.Event(), threading.Event()
    first = store.watch(own_commits=True)
    of_first, watches = first.close, [first]

    def close() -> None:
        ending.set()
        assert leave.wait(10)
        of_first()
        raise StoreError("the connection was lost")

    monkeypatch.setattr(first, "close", close)
    watch = store.watch
    monkeypatch.setattr(store, "watch", lambda **named: watches.pop() if watches else watch(**named))
    old = feed.subscribe(None, lambda: None)
    assert old is not None
    eventually(lambda: old.recent() == [])
    predecessor = feed._thread
    assert predecessor is not None
    old.close()
    assert ending.wait(10)
    new = feed.subscribe(None, lambda: None)
    assert new is not None
    eventually(lambda: new.recent() == [])
    its_watch = feed._watch
    leave.set()
    predecessor.join(10)
    assert not predecessor.is_alive()
    assert feed._watch is its_watch
    assert its_watch is not None
    assert new.recent() == []
    assert feed._thread is not None
    assert feed._thread.is_alive()


def test_a_thread_that_cannot_be_started_refuses_one_subscription(
    feed: ChangeFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(StoreError, match="no thread can be started"):
            feed.subscribe(None, lambda: None)
    subscription = feed.subscribe(None, lambda: None)
    assert subscription is not None
    eventually(lambda: subscription.recent() is not None)


class WatchOfNothing:
    def __init__(self) -> None:
        self._woken = threading.Event()
        self.wake = self._woken.set

    def wait(self, timeout: float) -> bool:
        return self._woken.wait(timeout)

    def close(self) -> None:
        """Release nothing."""


class Log:
    """A log as PostgreSQL's: transactions commit in any order, and sequences may stay missing."""

    lock_timeout = 0.2

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self.next = 1
        self.committed: set[int] = set()
        self.open: list[int] = []

    def begin(self, skipped: int = 0) -> None:
        self.next += skipped
        self.open.append(self.next)
        self.next += 1

    def end(self, number: int, *, commit: bool) -> None:
        if self.open:
            sequence = self.open.pop(number % len(self.open))
            if commit:
                self.committed.add(sequence)

    @contextmanager
    def read(self) -> Iterator[Log]:
        yield self

    read_autocommit = read

    def watch(self, *, own_commits: bool) -> WatchOfNothing:
        assert own_commits
        return WatchOfNothing()

    def log_start(self) -> int:
        return 1

    def log_end(self) -> int:
        return max(self.committed, default=0)

    def log_writers(self) -> frozenset[str]:
        return frozenset(map(str, self.open))

    def log_holder(self, writers: frozenset[str]) -> LogHolder | None:
        return LogHolder("the other", self.seconds) if writers & self.log_writers() else None

    def changes_after(self, after: int, limit: int) -> list[Any]:
        found = sorted(sequence for sequence in self.committed if sequence > after)
        return [SimpleNamespace(sequence=sequence) for sequence in found[:limit]]


class FeedWithoutThread(ChangeFeed):
    """A feed whose thread is the test."""

    _own: ChangeReader | None = None
    _awaited: frozenset[str] = frozenset()

    def _have_thread(self) -> None:
        self._thread = threading.current_thread()

    def step(self, log: Log) -> None:
        """Do what the thread does next: begin at the end, wait for the transactions that write, or read."""
        if self._complete_after is not None:
            assert self._own is not None
            self._rows.extend(self._own.read())
        elif self._own is None:
            self._own = ChangeReader(self._store, log.log_end())
            self._awaited = log.log_writers()
        else:
            self._awaited &= log.log_writers()
            if not self._awaited:
                self._complete_after = self._own.after

    def lose_the_store(self) -> None:
        self._forget()
        self._own = None


_STEPS = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 3)),
    st.tuples(st.sampled_from(("commit", "roll back")), st.integers(0, 5)),
    st.tuples(st.sampled_from(("feed", "feed", "lose", "subscriber", "subscriber")), st.just(0)),
)


@given(st.lists(_STEPS, max_size=40))
@settings(max_examples=300)
@example(
    # A gap that the subscriber saw is filled from memory; then it reads the store at a gap that stays.
    [
        *[("begin", 0), ("begin", 0), ("feed", 0), ("commit", 1), ("subscriber", 0), ("commit", 0), ("feed", 0)],
        *[("feed", 0), ("subscriber", 0), ("lose", 0), ("begin", 0), ("roll back", 0), ("begin", 0), ("commit", 0)],
    ]
)
def test_a_subscriber_gets_each_row_once_whenever_the_feed_begins_anew(steps: list[tuple[str, int]]) -> None:
    """It gets some rows from memory and reads others itself, and gaps may be anywhere between."""
    log = Log()
    with closing(FeedWithoutThread(cast("Any", log))) as feed:
        subscription = feed.subscribe(0, lambda: None)
        assert subscription is not None
        read: list[int] = []
        for step, number in steps:
            match step:
                case "begin":
                    log.begin(skipped=number)
                case "commit" | "roll back":
                    log.end(number, commit=step == "commit")
                case "feed":
                    feed.step(log)
                case "lose":
                    feed.lose_the_store()
                case _:
                    read += sequences(subscription.read())
            assert read == sorted(log.committed)[: len(read)]
        while log.open:
            log.end(0, commit=True)
        feed.lose_the_store()
        for _ in range(3):
            read += sequences(subscription.read())
        assert read == sorted(log.committed)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of `Thread.start`, interrupted
@pytest.mark.parametrize("error", ERRORS)
def test_an_interrupted_subscription_takes_no_place_and_leaves_no_thread(error: type[BaseException]) -> None:
    feeds: list[ChangeFeed] = []

    def subscribe() -> None:
        feeds.append(ChangeFeed(cast("Any", Log()), 1))
        feeds[-1].subscribe(0, lambda: None)

    for where in interruptions(subscribe, error):
        for feed in feeds:
            subscription = in_another_thread(partial(feed.subscribe, 0, lambda: None))
            assert subscription is not None, where
            thread = feed._thread
            assert thread is not None, where
            eventually(lambda: threads_of_feeds() == [thread])  # noqa: B023
            subscription.close()
            feed.close()
            thread.join(10)
        feeds.clear()


def threads_of_feeds() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cidrgate-feed" and thread.is_alive()]


def test_rows_that_a_failover_lost_hold_no_later_row_back() -> None:
    """A reader had seen them behind a gap, and waits for them."""
    log = Log()
    log.begin()
    log.end(0, commit=True)
    reader = ChangeReader(cast("Any", log))
    assert sequences(reader.read()) == [1]
    for _ in range(2):
        log.begin()
    log.end(1, commit=True)
    assert reader.read() == []
    log.committed.remove(3)
    log.open.clear()
    log.begin(skipped=30)
    log.end(0, commit=True)
    assert sequences([*reader.read(), *reader.read()]) == [34]


def test_a_watch_without_descriptors_is_an_error_of_the_store(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(24, "Too many open files")

    with RuleManager.open(postgres_url, create=True, follow=False) as manager:
        monkeypatch.setattr(socket, "socketpair", fail)
        with pytest.raises(StoreError, match="Too many open files"):
            manager._store.watch()
