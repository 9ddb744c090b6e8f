"""When each entry last let an address in: noted on the way of requests, stored now and then, told to people."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from cidrgate import CidrgateError, ClientIPResolver, Gate, Matcher, RuleManager, StoreError
from cidrgate.authorize.server import AuthorizeSettings
from cidrgate.manager.last_matches import LastMatches
from cidrgate.replica import follower as following_module
from cidrgate.service import Settings
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

CIDRS = ["8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32"]
NAMES = ["acct-1", "acct-2", "sub-1", "gone"]
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, follow=False) as manager:
        furnish(manager)
        yield manager


@pytest.fixture
def in_memory() -> Iterator[RuleManager]:
    with RuleManager.open("memory://", follow=False) as manager:
        furnish(manager)
        yield manager


def furnish(manager: RuleManager) -> None:
    manager.create_account("acct-1")
    manager.create_account("acct-2")
    manager.create_account("sub-1", parent="acct-1")
    manager.add("acct-1", CIDRS)
    manager.add("acct-2", CIDRS[:2])


def matched(manager: RuleManager, account: str) -> dict[str, datetime]:
    """When entries last matched, by their networks."""
    _, entries = manager.listing(account)
    known = manager.last_matches(account)
    assert known.keys() <= {entry.id for entry in entries}
    return {entry.cidr: known[entry.id] for entry in entries if entry.id in known}


notes = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([*CIDRS, "9.9.9.9/32"])), min_size=1, max_size=6),
        st.integers(0, 20).map(lambda seconds: START + timedelta(seconds=seconds)),
    ),
    max_size=6,
)


@given(notes)
def test_the_latest_match_of_an_entry_counts_whatever_comes_first(
    noted: list[tuple[list[tuple[str, str]], datetime]],
) -> None:
    with RuleManager.open("memory://", follow=False) as manager:
        furnish(manager)
        check_latest(manager, noted)


def check_latest(manager: RuleManager, noted: list[tuple[list[tuple[str, str]], datetime]]) -> None:
    expected: dict[str, dict[str, datetime]] = {"acct-1": {}, "acct-2": {}}
    listed = {"acct-1": CIDRS, "acct-2": CIDRS[:2]}
    for seen, at in noted:
        with manager._store.write() as transaction:
            transaction.note_matches(seen, at)
        for name, cidr in seen:
            owner = "acct-1" if name == "sub-1" else name
            if cidr in listed.get(owner, []):
                expected[owner][cidr] = max(at, expected[owner].get(cidr, at))
    assert {owner: matched(manager, owner) for owner in expected} == expected
    assert matched(manager, "sub-1") == expected["acct-1"]


def test_every_store_keeps_the_latest_match(manager: RuleManager) -> None:
    late, early = START + timedelta(hours=1), START
    check_latest(
        manager,
        [
            ([("acct-1", CIDRS[0]), ("sub-1", CIDRS[0]), ("gone", CIDRS[0]), ("acct-2", CIDRS[2])], late),
            ([("acct-1", CIDRS[0]), ("sub-1", CIDRS[2])], early),
        ],
    )


def test_it_goes_with_the_entry_and_stays_through_edits(manager: RuleManager) -> None:
    manager.note_match("acct-1", "8.8.8.8")
    manager.note_match("sub-1", "1.1.1.1")
    manager.note_match("acct-1", "9.9.9.9")
    before = datetime.now(UTC)
    assert manager.store_matches() == 2
    known = matched(manager, "acct-1")
    assert known.keys() == {"8.8.8.0/24", "1.1.1.1/32"}
    assert all(before <= at <= datetime.now(UTC) for at in known.values())
    manager.edit("acct-1", "8.8.8.0/24", "8.8.0.0/16", label="wider")
    manager.remove("acct-1", "1.1.1.1/32")
    assert matched(manager, "acct-1") == {"8.8.0.0/16": known["8.8.8.0/24"]}
    manager.add("acct-1", "1.1.1.1/32")
    assert matched(manager, "acct-1").keys() == {"8.8.0.0/16"}
    manager.replace("acct-1", "", allow_empty=True)
    assert matched(manager, "acct-1") == {}


def test_an_entry_that_goes_on_matching_is_stored_once_an_hour(in_memory: RuleManager) -> None:
    for _ in range(3):
        in_memory.note_match("acct-1", "8.8.8.8")
    assert in_memory.store_matches() == 1
    in_memory.note_match("acct-1", "8.8.8.9")
    in_memory.note_match("acct-1", "1.1.1.1")
    assert in_memory.store_matches() == 1
    first = matched(in_memory, "acct-1")
    in_memory._matches._tell_again = time.monotonic()
    in_memory.store_matches()
    in_memory.note_match("acct-1", "8.8.8.8")
    assert in_memory.store_matches() == 1
    assert matched(in_memory, "acct-1")["8.8.8.0/24"] > first["8.8.8.0/24"]


def test_what_cannot_be_stored_is_kept_for_the_next_time(
    in_memory: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory.note_match("acct-1", "8.8.8.8")

    def write(_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(in_memory, "_write", write)
        with pytest.raises(StoreError, match="the disk is full"):
            in_memory.store_matches()
    assert in_memory.store_matches() == 1
    assert matched(in_memory, "acct-1").keys() == {"8.8.8.0/24"}


def test_what_is_noted_meanwhile_waits_for_the_next_time() -> None:
    matches = LastMatches()
    matches.note("a", "8.8.8.0/24")
    for some in matches.pending():
        assert some == [("a", "8.8.8.0/24")]
        matches.note("a", "1.1.1.1/32")
    assert list(matches.pending()) == [[("a", "1.1.1.1/32")]]


def test_no_match_is_lost_between_threads() -> None:
    matches = LastMatches()
    stored: list[tuple[str, str]] = []
    ended = threading.Event()

    def note(thread: int) -> None:
        for number in range(20_000):
            matches.note(f"a{thread}", f"{number}")

    def store() -> None:
        while not ended.is_set():
            for some in matches.pending():
                stored.extend(some)

    threads = [threading.Thread(target=note, args=(number,)) for number in range(3)]
    storing = threading.Thread(target=store)
    for thread in (*threads, storing):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    storing.join()
    for some in matches.pending():
        stored.extend(some)
    assert sorted(stored) == sorted((f"a{thread}", f"{number}") for thread in range(3) for number in range(20_000))


def test_a_gate_notes_what_it_lets_in_and_nothing_else(in_memory: RuleManager) -> None:
    behind = ClientIPResolver(trusted_hops=1)
    for number, gate in enumerate(
        [
            Gate(in_memory, unlisted="allow", note_matches=True, log="none"),
            Gate(in_memory, unlisted="allow", note_matches=True, log="none", resolver=behind),
            Gate(in_memory, unlisted="allow", note_matches=True, log="none", report_only=True),
            Gate(in_memory, unlisted="allow", note_matches=True, log="none", hooks=[lambda _: None]),
        ]
    ):
        cidr = f"7.7.{number}.0/24"
        [entry] = in_memory.add("acct-1", cidr).after
        header = [(b"x-forwarded-for", f"7.7.{number}.9".encode())]
        assert not gate.allows("acct-1", "5.5.5.5", [])
        gate.decide("acct-1", "5.5.5.5")
        gate.decide("nobody", "5.5.5.5")
        gate.decide(None, "5.5.5.5")
        in_memory.store_matches()
        assert cidr not in matched(in_memory, "acct-1")
        peer = "5.5.5.5" if gate.resolver is behind else f"7.7.{number}.9"
        sent = header if gate.resolver is behind else []
        if number == 3:
            assert not gate.allows("sub-1", peer, sent)
            assert gate.decide("sub-1", peer, sent).allowed
        else:
            assert gate.allows("sub-1", peer, sent)
        in_memory.store_matches()
        assert entry.id in in_memory.last_matches("acct-1")
        in_memory.remove("acct-1", entry.id)


def test_the_shortest_way_notes_too(in_memory: RuleManager) -> None:
    gate = Gate(in_memory, unlisted="allow", note_matches=True)
    assert gate.allows_peer is not None
    assert gate.allows_peer("acct-1", "8.8.8.8")
    assert not gate.allows_peer("acct-1", "9.9.9.9")
    assert Gate(in_memory, unlisted="allow", note_matches=True).decide("acct-1", "1.1.1.1").allowed
    assert in_memory.store_matches() == 2
    assert matched(in_memory, "acct-1").keys() == {"8.8.8.0/24", "1.1.1.1/32"}


def test_a_gate_notes_nothing_unless_it_is_told_to(in_memory: RuleManager) -> None:
    gate = Gate(in_memory, unlisted="allow", log="none")
    assert gate.allows("acct-1", "8.8.8.8", [])
    assert gate.decide("acct-1", "8.8.8.8").allowed
    assert in_memory.store_matches() == 0


def test_without_a_store_there_is_nowhere_to_note() -> None:
    with pytest.raises(ValueError, match="give the gate a RuleManager"):
        Gate(Matcher(), unlisted="allow", note_matches=True)
    with pytest.raises(ValueError, match="enable authorize too"):
        Settings(note_matches=True)
    with RuleManager.open("memory://", load=False) as manager, pytest.raises(CidrgateError, match="not loaded"):
        manager.note_match("acct-1", "8.8.8.8")


def test_a_manager_that_follows_stores_them_by_itself(shared_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following_module, "_HOUSEKEEPING_PAUSE", 0.01)
    monkeypatch.setattr("cidrgate.replica.replica._POLL", 0.05)
    with RuleManager.open(shared_store_url) as node, RuleManager.open(shared_store_url, load=False) as other:
        furnish(other)
        eventually(lambda: node.matcher.enforced("acct-1"))
        gate = Gate(node, unlisted="allow", note_matches=True)
        assert gate.allows("acct-1", "8.8.8.8", [])
        eventually(lambda: matched(other, "acct-1").keys() == {"8.8.8.0/24"})


def test_a_manager_that_is_closed_stores_what_is_left(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, follow=False) as node:
        furnish(node)
        node.note_match("acct-1", "8.8.8.8")
    with RuleManager.open(shared_store_url, load=False) as other:
        assert matched(other, "acct-1").keys() == {"8.8.8.0/24"}


def test_nodes_note_the_same_entries_while_these_are_deleted(shared_store_url: str) -> None:
    """No node fails, and nothing is known of entries that are gone."""
    with RuleManager.open(shared_store_url, follow=False) as manager:
        furnish(manager)
        cidrs = [f"7.7.{number}.0/24" for number in range(40)]
        manager.add("acct-1", cidrs)
        errors: list[Exception] = []

        def node(order: int) -> None:
            with RuleManager.open(shared_store_url, follow=False) as own:
                for _ in range(15):
                    for cidr in cidrs[::order]:
                        own._matches.note("acct-1", cidr)
                    try:
                        own.store_matches()
                    except StoreError as error:
                        errors.append(error)
                    own._matches._told.clear()

        threads = [threading.Thread(target=node, args=(order,)) for order in (1, -1)]
        for thread in threads:
            thread.start()
        for cidr in cidrs[::2]:
            manager.remove("acct-1", cidr)
        for thread in threads:
            thread.join()
        assert errors == []
        assert matched(manager, "acct-1").keys() == set(cidrs[1::2])


def test_the_authorize_endpoint_notes_where_it_is_asked_to(shared_store_url: str) -> None:
    with RuleManager.open(shared_store_url, follow=False) as manager:
        furnish(manager)
        for noting in (False, True):
            settings = AuthorizeSettings(
                database=shared_store_url, unlisted="allow", trusted_proxies=("127.0.0.1/32",), note_matches=noting
            )
            app = settings.app(manager)
            headers = [(b"x-account", b"acct-1"), (b"x-forwarded-for", b"8.8.8.8")]
            scope = {"type": "http", "path": "/v1/authorize", "headers": headers, "client": ("127.0.0.1", 1)}
            start, _ = app._answer(scope)
            assert start["status"] == 200
            assert manager.store_matches() == int(noting)
