"""Sessions that lead to another server or store than the ones before them: they are refused, or all is read again."""

from __future__ import annotations

import re
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest

from cidrgate import RuleManager, StoreError
from cidrgate.stores import grant_store, open_store
from cidrgate.stores.postgres.lineage import Lineage
from tests.pgbouncer import PgBouncer
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.postgres import PostgresServer

REVOKED, KEPT, LATER = "6.6.6.6/32", "8.8.8.0/24", "9.9.9.9/32"


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    """A database on a server of the test's own, with a list."""
    made = postgres_server.new_database()
    with RuleManager.open(made, follow=False) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", f"{KEPT}, {REVOKED}")
    return made


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def both(first: PostgresServer, second: PostgresServer, url: str) -> str:
    """The URL of a database on two servers."""
    return f"postgresql://postgres@127.0.0.1:{first.port},127.0.0.1:{second.port}/{name_of(url)}"


def listed(url: str) -> list[str]:
    """The entries that a server has."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT cidr::text FROM cidrgate.entries ORDER BY cidr")]


def arrived(primary: PostgresServer, standby: PostgresServer, url: str) -> None:
    """Wait until a standby has all that the primary has."""
    with (
        psycopg.connect(primary.url(name_of(url))) as there,
        psycopg.connect(standby.url(name_of(url)), autocommit=True) as here,
    ):
        end = there.execute("SELECT pg_current_wal_lsn()").fetchone()
        eventually(lambda: here.execute("SELECT pg_last_wal_replay_lsn() >= %s", end).fetchone() == (True,))


def end_sessions(url: str, having: str = "true") -> None:
    """End the sessions of cidrgate on a server."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE pid <> pg_backend_pid() AND datname = current_database() AND {having}"
        )


def in_the_end(change: Callable[[], object]) -> None:
    """Make a change that may fail at first."""

    def made() -> bool:
        try:
            change()
        except StoreError:
            return False
        return True

    eventually(made, pause=0.1)


@contextmanager
def failed_over(primary: PostgresServer, url: str) -> Iterator[tuple[PostgresServer, RuleManager, RuleManager]]:
    """A follower and a writer that have used the new primary, which revoked an entry; the old one is stopped."""
    with primary.standby() as standby:
        named = both(primary, standby, url)
        with RuleManager.open(named) as node, RuleManager.open(named) as writer:
            arrived(primary, standby, url)
            primary.stop("immediate")
            standby.promote()
            in_the_end(lambda: writer.replace("acct-1", KEPT))
            eventually(lambda: node.matcher.prefixes("acct-1") == [KEPT])
            yield standby, node, writer


@pytest.mark.fault("an asynchronous standby without the last commits takes over")
def test_a_lost_change_that_is_not_the_last_row_of_the_log_leaves_the_lists(
    postgres_server: PostgresServer, url: str, tmp_path: Path
) -> None:
    """It got its place in the log first, and was committed last."""
    snapshot = tmp_path / "lists.snapshot"
    with postgres_server.standby() as standby:
        named = both(postgres_server, standby, url)
        with RuleManager.open(named) as node, closing(open_store(url)) as store:
            with store.write() as transaction:
                transaction.insert_accounts(["lost"], parent=None, at=datetime.now(UTC), actor=None)
                with RuleManager.open(url, follow=False) as writer:
                    writer.replace("acct-1", KEPT)
                arrived(postgres_server, standby, url)
                standby.stop("immediate")
            eventually(lambda: "lost" in node.matcher)
            node.save_snapshot(snapshot)
            postgres_server.stop("immediate")
            standby.start()
            standby.promote()
            eventually(lambda: "lost" not in node.matcher)
            assert node.matcher.prefixes("acct-1") == [KEPT]
        with RuleManager.open(named, follow=False, snapshot=snapshot) as started:
            assert "lost" not in started.matcher
    postgres_server.start()


@pytest.mark.fault("a server that a failover replaced starts again")
def test_a_server_that_was_replaced_is_left_out(postgres_server: PostgresServer, url: str) -> None:
    with failed_over(postgres_server, url) as (standby, node, writer):
        postgres_server.start()
        end_sessions(standby.url(name_of(url)))
        in_the_end(lambda: writer.add("acct-1", LATER))
        eventually(lambda: LATER in node.matcher.prefixes("acct-1"))
        assert not node.allows("acct-1", "6.6.6.6")
        assert listed(standby.url(name_of(url))) == [KEPT, LATER]
        assert listed(url) == [REVOKED, KEPT]


@pytest.mark.fault("a server that a failover replaced starts again")
def test_a_server_that_was_replaced_is_refused_if_there_is_no_other(
    postgres_server: PostgresServer, url: str, tmp_path: Path
) -> None:
    """Also by a process that knows of the failover from a snapshot."""
    snapshot = tmp_path / "lists.snapshot"
    with failed_over(postgres_server, url) as (standby, node, writer):
        node.save_snapshot(snapshot)
        postgres_server.start()
        standby.stop("immediate")
        for use in (lambda: writer.add("acct-1", LATER), lambda: node.entries("acct-1")):
            eventually(lambda use=use: raises(use, "replaced by a failover.*timeline 1.*timeline 2"), pause=0.1)  # type: ignore[misc]
        time.sleep(0.5)
        assert node.staleness > 0.5
        assert node.matcher.prefixes("acct-1") == [KEPT]
        with pytest.raises(StoreError, match="replaced by a failover"):
            RuleManager.open(url, follow=False, snapshot=snapshot)
        standby.start()
        eventually(lambda: node.staleness < 0.5, pause=0.1)
        in_the_end(lambda: writer.add("acct-1", LATER))
        assert listed(standby.url(name_of(url))) == [KEPT, LATER]


def raises(use: Callable[[], object], match: str) -> bool:
    try:
        use()
    except StoreError as error:
        return re.search(match, str(error)) is not None
    return False


@pytest.mark.fault("a server that a failover replaced starts again")
def test_open_sessions_of_a_replaced_server_are_left_for_the_new_one(postgres_server: PostgresServer, url: str) -> None:
    """It still answers them, as after a failover that did not fence it."""
    with postgres_server.standby() as standby, TcpProxy(("127.0.0.1", postgres_server.port)) as address:
        moved = url.replace(f":{postgres_server.port}/", f":{address.port}/")
        with RuleManager.open(moved) as manager:
            manager.add("acct-1", LATER)
            arrived(postgres_server, standby, url)
            standby.promote()
            address.lead_to(("127.0.0.1", standby.port))
            end_sessions(url, "query ILIKE 'LISTEN%'")
            with psycopg.connect(standby.url(name_of(url)), autocommit=True) as connection:
                listening = "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'"
                eventually(lambda: connection.execute(listening).fetchone() == (1,), pause=0.1)
            manager.remove("acct-1", REVOKED)
            assert listed(standby.url(name_of(url))) == [KEPT, LATER]
            assert listed(url) == [REVOKED, KEPT, LATER]
            assert not manager.allows("acct-1", "6.6.6.6")


ELSEWHERE = pytest.mark.fault("a pooler, a proxy or DNS leads new sessions to another store")


@pytest.fixture
def other_store(shared_postgres_server: PostgresServer) -> str:
    """Another store on the same server."""
    made = shared_postgres_server.new_database()
    with psycopg.connect(made) as connection:
        connection.execute("UPDATE cidrgate.facts SET store_id = md5(random()::text)")
    with RuleManager.open(made, follow=False) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", KEPT)
    return made


@ELSEWHERE
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pooler_that_leads_to_another_store_later(
    mode: str, postgres_url: str, other_store: str, shared_postgres_server: PostgresServer
) -> None:
    with PgBouncer(shared_postgres_server, mode, size=30) as pooler:
        pooler.lead("lists", postgres_url)
        leads = f"postgresql://postgres@127.0.0.1:{pooler.port}/lists"
        eventually(lambda: answers(leads), pause=0.1)
        if mode == "transaction":
            leads = f"{postgres_url}?pooled_url={quote(leads, safe='')}"
        with RuleManager.open(leads) as manager:
            manager.create_account("acct-1")
            manager.add("acct-1", f"{KEPT}, {REVOKED}")
            pooler.lead("lists", other_store)
            time.sleep(0.5)
            end_sessions(postgres_url, "query NOT ILIKE 'LISTEN%'")
            eventually(lambda: raises(lambda: manager.add("acct-1", LATER), "leads to another store"), pause=0.1)
            with pytest.raises(StoreError, match="leads to another store"):
                manager.history()
            assert manager.matcher.prefixes("acct-1") == [REVOKED, KEPT]
            assert listed(other_store) == [KEPT]
            pooler.lead("lists", postgres_url)
            in_the_end(lambda: manager.add("acct-1", LATER))
            assert listed(postgres_url) == [REVOKED, KEPT, LATER]


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


@ELSEWHERE
def test_a_copy_with_the_same_id_is_read_as_a_whole(postgres_url: str, shared_postgres_server: PostgresServer) -> None:
    """As a restored backup. No session of the process leads to the other one then."""
    with RuleManager.open(postgres_url, follow=False) as near:
        near.create_account("acct-1")
        near.add("acct-1", KEPT)
    copy = shared_postgres_server.new_database(template=name_of(postgres_url))
    with PgBouncer(shared_postgres_server, "session", size=30) as pooler:
        pooler.lead("lists", postgres_url)
        leads = f"postgresql://postgres@127.0.0.1:{pooler.port}/lists"
        eventually(lambda: answers(leads), pause=0.1)
        with RuleManager.open(leads) as manager:
            manager.add("acct-1", REVOKED)
            pooler.lead("lists", copy)
            time.sleep(0.5)
            end_sessions(postgres_url, "query ILIKE 'COMMIT%'")
            in_the_end(lambda: manager.add("acct-1", LATER))
            eventually(lambda: manager.matcher.prefixes("acct-1") == [KEPT, LATER])
            assert listed(copy) == [KEPT, LATER]
            assert listed(postgres_url) == [REVOKED, KEPT]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_process_that_restores_a_backup_goes_on(
    mode: str, postgres_url: str, shared_postgres_server: PostgresServer
) -> None:
    """The restored store has a new id, which the process has given to it."""
    with RuleManager.open("memory://") as source:
        source.create_account("acct-1")
        source.add("acct-1", KEPT)
        backup = list(source.backup())
    with PgBouncer(shared_postgres_server, mode, size=30) as pooler:
        leads = pooler.url(postgres_url)
        leads = leads if mode == "session" else f"{postgres_url}?pooled_url={quote(leads, safe='')}"
        with RuleManager.open(leads) as manager:
            manager.restore_backup(backup)
            end_sessions(postgres_url, "query ILIKE 'COMMIT%'")
            in_the_end(lambda: manager.add("acct-1", LATER))
            eventually(lambda: manager.matcher.prefixes("acct-1") == [KEPT, LATER])
    assert listed(postgres_url) == [KEPT, LATER]


def test_a_service_that_does_not_tell_its_timeline_is_used(postgres_server: PostgresServer, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE service LOGIN")
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM PUBLIC")
    grant_store(url, "service")
    theirs = url.replace("postgres@", "service@")
    with PgBouncer(postgres_server, "transaction") as pooler:
        pooled = f"{theirs}?pooled_url={quote(pooler.url(url), safe='')}"
        with RuleManager.open(theirs) as near, RuleManager.open(pooled) as far:
            far.add("acct-1", LATER)
            eventually(lambda: LATER in near.matcher.prefixes("acct-1"))
            near.remove("acct-1", REVOKED)
            eventually(lambda: far.matcher.prefixes("acct-1") == near.matcher.prefixes("acct-1") == [KEPT, LATER])


# A row is: whether it is a standby, the system identifier, the timeline, the database and the store.
FIRST = (False, "1", "00000001", "5", "a")
PROMOTED = (False, "1", "0000000A", "5", "a")


@pytest.mark.parametrize(
    ("rows", "refusal"),
    [
        ([FIRST, FIRST, PROMOTED, PROMOTED], None),
        ([FIRST, PROMOTED, FIRST], "timeline 1, and timeline 10 was used before"),
        ([PROMOTED, (False, "2", "00000001", "5", "a")], None),
        ([PROMOTED, (False, "2", "00000001", "5", "a"), FIRST], "replaced by a failover"),
        ([FIRST, (False, "1", None, "5", "a"), FIRST], None),
        ([PROMOTED, (False, "1", None, "5", "a"), FIRST], "replaced by a failover"),
        ([FIRST, (False, "1", "00000001", "6", "a")], None),
        ([FIRST, (True, "1", None, "5", "a")], "is a standby"),
        ([FIRST, (False, "1", "00000001", "5", "b")], "leads to another store"),
        ([FIRST, (False, "1", "00000001", "5", None)], "leads to another store"),
    ],
)
def test_what_is_proven(rows: list[tuple[Any, ...]], refusal: str | None) -> None:
    lineage = Lineage("the store", "cidrgate")
    lineage.learn("a")
    *accepted, last = rows
    for row in accepted:
        server = lineage.prove(lambda _, row=row: row)  # type: ignore[misc]
        assert lineage.is_current(server)
    if refusal is None:
        assert lineage.is_current(lineage.prove(lambda _: last))
        return
    with pytest.raises(StoreError, match=refusal):
        lineage.prove(lambda _: last)
    assert lineage.is_current(server)


def test_an_id_that_this_process_gives_is_accepted_while_others_still_see_the_one_before() -> None:
    lineage = Lineage("the store", "cidrgate")
    lineage.learn("a")
    lineage.expect("b")
    for seen in ("a", "b", "a"):  # by transactions that began before, and after, in any order
        lineage.learn(seen)
        lineage.prove(lambda _: (False, "1", "00000001", "5", "b"))
    with pytest.raises(StoreError, match="leads to another store"):
        lineage.prove(lambda _: (False, "1", "00000001", "5", "c"))


def test_a_position_of_an_earlier_version_says_nothing_of_the_log(postgres_url: str) -> None:
    """It had the system identifier alone, or no server at all; all lists are read again."""
    with closing(open_store(postgres_url)) as store, store.read() as transaction:
        store_id, place, *rest = transaction.position().split("|")
        assert transaction.changed_since("|".join([store_id, place, *rest]), 10) == set()
        for earlier in ([store_id, place.partition("/")[0], *rest], [store_id, *rest]):
            assert transaction.changed_since("|".join(earlier), 10) is None
