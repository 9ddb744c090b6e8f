"""What the matcher holds is what `Entry.matches` and `Account.mode_at` say, at any time, however it was filled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from cidrgate import Entry
from cidrgate.replica import published_store
from cidrgate.replica.published_store import PublishedStore
from cidrgate.rules.decisions import decide, enforced, in_address_order, list_state
from cidrgate.stores import Store, StoredChange, open_store
from cidrgate.values import MODES
from tests.entry_details import all_details

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo
    from pathlib import Path

START = datetime(2025, 6, 1, tzinfo=UTC)

times = st.integers(0, 6).map(lambda hours: START + timedelta(hours=hours))
# PostgreSQL writes the last one as ::0.1.0.2/128.
cidrs = st.sampled_from(["8.8.8.0/24", "1.1.1.1/32", "9.9.9.9/32", "2606:4700::/32", "::1:2/128"])
details = st.builds(lambda said, end: said | {"expires_at": end}, all_details, st.none() | times)
lists = st.dictionaries(cidrs, details)
settings = st.builds(
    lambda mode, until, closed: {"mode": mode, "mode_until": None if mode == "enforce" else until, "closed": closed},
    st.sampled_from(MODES),
    st.none() | times,
    st.booleans(),
)
steps = st.lists(
    st.tuples(st.sampled_from(["wait", "change", "mode", "load", "snapshot"]), times, lists, settings),
    min_size=1,
    max_size=6,
)
ADDRESSES = ("8.8.8.8", "1.1.1.1", "9.9.9.9", "2606:4700::1", "203.0.113.7")

numbers = count()


class Clock:
    """A clock that stands still until it is set, forwards or backwards."""

    at = START

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return cls.at.astimezone(tz)

    min = datetime.min


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path_factory.mktemp('matching')}/lists.db"}
    url = urls.get(request.param) or request.getfixturevalue("shared_postgres_server").new_database()
    opened = open_store(url, create=True)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshot") / "lists.snapshot"


def replace_list(published: PublishedStore, account: str, listed: dict[str, dict[str, Any]]) -> None:
    """Store a list without asking any rule, so that its entries may have expired already."""
    with published.change() as transaction:
        owner = transaction.account(account)
        assert owner is not None
        ids = transaction.new_entry_ids()
        new = [
            Entry(id=next(ids), account=account, cidr=cidr, created_at=START, created_by=None, **said)
            for cidr, said in listed.items()
        ]
        transaction.apply([StoredChange(owner, "replace", tuple(transaction.entries(owner)), tuple(new))], at=START)


def set_mode(published: PublishedStore, account: str, chosen: dict[str, Any]) -> None:
    """Store a mode without asking whether it has expired already."""
    with published.change() as transaction:
        owner = transaction.account(account)
        assert owner is not None
        transaction.apply([StoredChange(owner, "set_mode", settings=chosen)], at=START)


def assert_matcher_holds_what_matches(published: PublishedStore, account: str, subaccount: str) -> None:
    with published._store.read() as transaction:
        owner = transaction.account(account)
        assert owner is not None
        entries = transaction.entries(owner)
        states = transaction.list_states(Clock.at, [account])
    where = "the SQL differs from `Entry.matches`: change `_matches` in cidrgate/stores/sql.py"
    held = published.matcher.prefixes(account)
    assert held == [entry.cidr for entry in in_address_order(entries) if entry.matches(Clock.at)], where
    assert published.matcher.enforced(account) == enforced(entries, owner.value(), Clock.at)
    assert published.matcher.mode(account) == published.matcher.mode(subaccount) == owner.value().mode_at(Clock.at)
    for address in ADDRESSES:
        for name in (account, subaccount):
            decided = decide(owner.value(), entries, address, Clock.at)
            assert published.matcher.allows(name, address) == decided.allowed, where
    assert states[account] == list_state(entries, owner.value(), Clock.at), (
        "the SQL differs from `Entry.counts`: change `_counts` in cidrgate/stores/sql.py"
    )


@given(first=lists, taken=steps)
def test_the_matcher_holds_what_matches(
    store: Store, snapshot: Path, first: dict[str, dict[str, Any]], taken: list[tuple[str, datetime, Any, Any]]
) -> None:
    account, subaccount = (f"{name}{next(numbers)}" for name in ("acct-", "sub-"))
    with store.write() as transaction:
        made = transaction.insert_accounts([account], parent=None, at=START, actor=None)
        transaction.insert_accounts([subaccount], parent=made[account], at=START, actor=None)
    with patch.object(published_store, "datetime", Clock):
        Clock.at = START
        published = PublishedStore(store)
        published.load()
        replace_list(published, account, first)
        for step, at, listed, chosen in [("wait", START, {}, {}), *taken]:
            Clock.at = at
            if step == "change":
                replace_list(published, account, listed)
            elif step == "mode":
                set_mode(published, account, chosen)
            elif step == "load":
                published.load()
            elif step == "snapshot":
                published.save_snapshot(snapshot)
                published = PublishedStore(store)
                published.load(snapshot=snapshot)
            published.expire()
            published.catch_up()
            assert_matcher_holds_what_matches(published, account, subaccount)
