"""A process whose clock is wrong, from its start on, takes nothing from processes with another clock."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from cidrgate import RuleManager
from cidrgate.manager import rule_manager
from cidrgate.service.auth import credentials as credentials_module
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.service.http import idempotency
from cidrgate.stores import idempotency as answer_rows, open_store, sql
from cidrgate.stores.schema import answers, links, sessions
from tests.machine_clock import MachineClock
from tests.service.conftest import an_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Table

    from cidrgate.stores import Store

ADMIN = [Scope("admin")]
HOUR = timedelta(hours=1)
DAYS = [timedelta(days=8), timedelta(days=-8)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MachineClock:
    """It was wrong already when the process started, so that there is no other to compare with."""
    for module in (sql, answer_rows):
        monkeypatch.setattr(module, "certain_time", lambda now: now)
    return MachineClock(monkeypatch, [rule_manager, credentials_module, idempotency])


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    with closing(open_store(postgres_url)) as opened:
        yield opened


def count(store: Store, table: Table) -> int:
    with store.read() as transaction:
        return len(transaction.connection.execute(select(table)).all())


@pytest.mark.fault("a clock jumps ahead and comes back")
@pytest.mark.parametrize("ahead", DAYS, ids=["ahead", "behind"])
@pytest.mark.parametrize("first", ["right", "wrong"])
def test_a_key_is_good_for_one_change(postgres_url: str, clock: MachineClock, ahead: timedelta, first: str) -> None:
    clocks = [timedelta(), ahead] if first == "right" else [ahead, timedelta()]
    with closing(an_api(postgres_url)) as apis:  # type: ignore[type-var]
        api = next(apis)
        admin = api.caller("admin")
        body = {"name": "made", "scopes": ["metrics"]}
        clock.ahead = clocks[0]
        made = admin.ok("POST", "/v1/tokens", body, Idempotency_Key="key-1")
        for number in range(4):
            clock.ahead = clocks[number % 2]
            admin.ok("POST", "/v1/tokens", body, Idempotency_Key=f"other-{number}")
            again = admin("POST", "/v1/tokens", body, Idempotency_Key="key-1")
            assert again.headers["idempotency-replayed"] == "true"
            assert again.json()["id"] == made["id"]
        assert count(api.manager._store, answers) == 5


@pytest.mark.fault("a clock jumps ahead and comes back")
def test_links_and_sessions_stay(store: Store, clock: MachineClock) -> None:
    credentials = Credentials(store)
    token = credentials.create_token("name", ADMIN, expires_at=datetime.now(UTC) + timedelta(days=1)).token
    session = credentials.begin_session(token, lifetime=HOUR)
    own = credentials.create_link("Ada", ADMIN, lifetime=HOUR)
    of_token = credentials.create_link("Ada", ADMIN, lifetime=timedelta(days=30), issuer=token)
    clock.ahead = timedelta(days=8)
    other = credentials.create_token("other", ADMIN).token
    credentials.create_link("Bob", ADMIN, lifetime=HOUR)
    credentials.begin_session(other, lifetime=HOUR)
    for link in (own, of_token):
        assert credentials.open_link(link, lifetime=HOUR) is None
    clock.ahead = timedelta()
    assert (count(store, links), count(store, sessions)) == (3, 2)
    assert credentials.session(session) is not None
    for link in (own, of_token):
        assert credentials.open_link(link, lifetime=HOUR) is not None
        assert credentials.open_link(link, lifetime=HOUR) is None


def test_what_has_expired_by_all_clocks_is_deleted(store: Store, clock: MachineClock) -> None:
    credentials = Credentials(store)
    token = credentials.create_token("name", ADMIN).token
    clock.ahead = timedelta(days=-8)
    credentials.begin_session(token, lifetime=HOUR)
    credentials.create_link("Ada", ADMIN, lifetime=HOUR)
    clock.ahead = timedelta()
    credentials.begin_session(token, lifetime=HOUR)
    credentials.create_link("Bob", ADMIN, lifetime=HOUR)
    assert (count(store, links), count(store, sessions)) == (1, 1)


def test_no_match_is_noted_in_the_future(postgres_url: str, clock: MachineClock) -> None:
    with RuleManager.open(postgres_url) as manager:
        manager.create_account("acct-1")
        [entry] = manager.add("acct-1", "8.8.8.0/24").after
        clock.ahead = timedelta(days=8)
        manager.note_match("acct-1", "8.8.8.8")
        manager.store_matches()
        assert manager.last_matches("acct-1")[entry.id] < datetime.now(UTC) + HOUR
