"""PostgreSQL goes away in every way it can: nothing is lost, old lists are served, followers are equal in the end."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING

import psycopg
import pytest

from cidrgate import RuleManager, StoreError
from cidrgate.manager.change_feed import ChangeFeed, ChangeReader
from tests.change_log import Replay, assert_consistent
from tests.change_stream import ACCOUNTS, open_manager
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cidrgate import Change
    from tests.postgres import PostgresServer

CUT_SECONDS = 10.0


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    """A database on a server of the test's own, which may be restarted."""
    return postgres_server.new_database()


@pytest.fixture
def follower(url: str) -> Iterator[RuleManager]:
    with open_manager(url) as manager:
        for account in ACCOUNTS:
            manager.create_account(account)
        manager.replace("acct-1", "8.8.8.0/24")
        yield manager


class Writers:
    """Threads that go on changing lists through faults, and remember which changes were acknowledged.

    Args:
        url: The database.
        threads: How many.
    """

    def __init__(self, url: str, threads: int = 2) -> None:
        self.acknowledged: set[str] = set()
        self._url = url
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self) -> None:
        """Wait until some more changes are acknowledged."""
        before = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) > before + 10)

    def _write(self, number: int) -> None:
        with open_manager(self._url) as manager:
            for step in count():
                if self._ended.is_set():
                    return
                actor = f"w{number}-{step}"
                network = f"8.{number}.{step >> 8}.{step & 255}/32"
                try:
                    manager.replace(ACCOUNTS[step % len(ACCOUNTS)], [network], actor=actor)
                except StoreError:
                    time.sleep(0.05)
                else:
                    self.acknowledged.add(actor)


def assert_nothing_is_lost(url: str, follower: RuleManager, writers: Writers) -> None:
    with RuleManager.open(url, follow=False) as store:
        logged = {change.actor for change in store.history()}
        assert writers.acknowledged <= logged
        expected = {name: [entry.cidr for entry in store.entries(name)] for name in ACCOUNTS}
    eventually(lambda: {name: follower.matcher.prefixes(name) for name in ACCOUNTS} == expected)
    assert_consistent(follower, Replay(5))


def terminate_all(server: PostgresServer, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        ).fetchall()
        there = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
        eventually(lambda: connection.execute(there, ([pid for pid, _ in ended],)).fetchone() == (0,))


def restart(server: PostgresServer, url: str) -> None:
    server.restart("immediate")


@pytest.mark.parametrize("fault", [terminate_all, restart])
def test_connections_that_break_are_made_again(
    fault: Callable[[PostgresServer, str], None], postgres_server: PostgresServer, url: str, follower: RuleManager
) -> None:
    with Writers(url) as writers:
        for _ in range(3):
            writers.wait_for_more()
            fault(postgres_server, url)
            assert not follower.allows("acct-1", "9.9.9.9")
        writers.wait_for_more()
    assert_nothing_is_lost(url, follower, writers)


@pytest.mark.parametrize("fault", [terminate_all, restart])
def test_a_connection_that_ended_while_it_rested_fails_no_change(
    fault: Callable[[PostgresServer, str], None], postgres_server: PostgresServer, url: str
) -> None:
    with RuleManager.open(url, follow=False) as manager:
        manager.create_account("acct-1")
        for number in range(3):
            fault(postgres_server, url)
            manager.add("acct-1", f"8.8.{number}.0/24")
        assert len(manager.entries("acct-1")) == 3


def test_a_cut_network_leaves_an_old_node_that_says_so_and_catches_up(
    postgres_server: PostgresServer, url: str, follower: RuleManager
) -> None:
    with TcpProxy(("127.0.0.1", postgres_server.port)) as proxy:
        behind_proxy = url.replace(f":{postgres_server.port}/", f":{proxy.port}/")
        assert behind_proxy != url
        with RuleManager.open(behind_proxy, policy=follower.policy, max_staleness=2, on_stale="deny") as node:
            assert node.allows("acct-1", "8.8.8.8")
            proxy.cut()
            cut_at = time.monotonic()
            follower.add("acct-1", "1.1.1.1/32")
            eventually(lambda: node.staleness > 2)
            assert not node.allows("acct-1", "8.8.8.8")
            assert node.allows("nobody", "8.8.8.8")
            assert node.matcher.allows("acct-1", "8.8.8.8")
            time.sleep(max(0.0, cut_at + CUT_SECONDS - time.monotonic()))
            assert node.staleness > CUT_SECONDS - 3
            assert not node.matcher.allows("acct-1", "1.1.1.1")
            proxy.heal()
            eventually(lambda: node.allows("acct-1", "1.1.1.1"))
            assert node.allows("acct-1", "8.8.8.8")
            proxy.drop()
            follower.add("acct-1", "9.9.9.9/32")
            eventually(lambda: node.allows("acct-1", "9.9.9.9"))


def test_a_slow_transaction_with_a_lower_sequence_is_not_skipped(url: str, follower: RuleManager) -> None:
    """Sequence numbers are taken before the commit: here the first one to take one is the last one to commit."""
    taken = threading.Event()
    go_on = threading.Event()

    def slow() -> None:
        with RuleManager.open(url, load=False) as manager, manager._replica.published.change() as transaction:
            owner = transaction.account("acct-2")
            assert owner is not None
            transaction.insert_accounts(["slow"], parent=None, at=owner.created_at, actor="slow")
            taken.set()
            assert go_on.wait(30)

    writer = threading.Thread(target=slow)
    writer.start()
    assert taken.wait(30)
    follower.replace("acct-1", "1.1.1.1/32", actor="fast")
    with RuleManager.open(url) as other:
        assert other.matcher.prefixes("acct-1") == ["1.1.1.1/32"]
        follower.replace("acct-1", "8.8.4.4/32", actor="fast")
        eventually(lambda: other.matcher.prefixes("acct-1") == ["8.8.4.4/32"])
        assert "slow" not in other.matcher
        go_on.set()
        writer.join()
        follower.add("slow", "9.9.9.9/32")
        eventually(lambda: other.matcher.prefixes("slow") == ["9.9.9.9/32"])
        sequences = {change.actor: change.sequence for change in other.history()}
        assert sequences["slow"] < sequences["fast"]


@pytest.mark.slow
def test_streams_of_changes_outlive_a_server_that_is_silent(
    postgres_server: PostgresServer, url: str, follower: RuleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile its subscribers wait for the feed's thread, and each gets each change once in the end."""
    read_by: set[str] = set()
    read = ChangeReader.read

    def noted(reader: ChangeReader, limit: int = 100) -> list[Change]:
        read_by.add(threading.current_thread().name)
        return read(reader, limit)

    with (
        TcpProxy(("127.0.0.1", postgres_server.port)) as proxy,
        open_manager(url.replace(f":{postgres_server.port}/", f":{proxy.port}/")) as manager,
        closing(ChangeFeed(manager._store)) as feed,
    ):
        subscriptions = [feed.subscribe(None, lambda: None) for _ in range(3)]
        follower.create_account("before")
        rows: list[list[str | None]] = [[] for _ in subscriptions]

        def all_have(wanted: list[str]) -> bool:
            for subscription, seen in zip(subscriptions, rows, strict=True):
                assert subscription is not None
                seen.extend(row.account for row in subscription.read())
            return all(seen == wanted for seen in rows)

        eventually(lambda: all_have(["before"]))
        eventually(lambda: all(one is not None and one.recent() == [] for one in subscriptions))
        monkeypatch.setattr(ChangeReader, "read", noted)
        proxy.cut()
        follower.create_account("meanwhile")
        end = time.monotonic() + 2 * CUT_SECONDS
        while time.monotonic() < end:
            assert all_have(["before"])
            time.sleep(0.1)
        assert read_by <= {"cidrgate-feed"}
        proxy.heal()
        eventually(lambda: all_have(["before", "meanwhile"]))
        assert all_have(["before", "meanwhile"])
