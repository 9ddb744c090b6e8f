"""Observations in a store: sums of what several processes saw, by account, day, network and verdict; and their end."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st
from sqlalchemy import update

from cidrgate import AccountNotFoundError, RuleManager
from cidrgate.stores.observations import (
    add_observations,
    delete_observations,
    observations_of,
    renamed_since,
    trim_observations,
)
from cidrgate.stores.schema import accounts
from cidrgate.values import Observation
from tests.length import length

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
"""Noon of tomorrow, so that every account was created before and no time of a test crosses midnight."""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NAMES = ["acct-1", "sub-1", "sub-2", "acct-2", "gone"]
NETWORKS = ["8.8.8.8/32", "8.8.8.0/24", "2606:4700::1/128", "::1:2/128"]


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, follow=False) as opened:
        furnish(opened)
        yield opened


def furnish(manager: RuleManager) -> None:
    for name, parent in {"acct-1": None, "acct-2": None, "sub-1": "acct-1", "sub-2": "acct-1"}.items():
        manager.create_account(name, parent=parent)


def observation(
    account: str, network: str, allowed: object, requests: int, first_seen: datetime, last_seen: datetime
) -> Observation:
    return Observation(
        account=account,
        network=network,
        allowed=bool(allowed),
        requests=requests,
        first_seen=first_seen,
        last_seen=last_seen,
    )


def seen(
    account: str,
    network: str = "8.8.8.8/32",
    *,
    allowed: bool = True,
    requests: int = 1,
    days: int = 0,
    second: int = 0,
) -> Observation:
    at = NOW - timedelta(days=days) + timedelta(seconds=second)
    return observation(account, network, allowed, requests, at, at + timedelta(seconds=1))


def add(manager: RuleManager, observed: Sequence[Observation]) -> int:
    with manager._store.write() as transaction:
        return add_observations(transaction, observed)


def stored(manager: RuleManager, account: str, since: date = date.min) -> list[Observation]:
    with manager._store.read() as transaction:
        found = transaction.account(account)
        assert found is not None
        return observations_of(transaction, found, since)


one_seen = st.builds(
    seen,
    st.sampled_from(NAMES),
    st.sampled_from(NETWORKS),
    allowed=st.booleans(),
    requests=st.integers(1, 10**12),
    days=st.just(0),
    second=st.integers(0, 60),
)
batches = st.lists(
    st.lists(one_seen, max_size=6, unique_by=lambda one: (one.account, one.network, one.allowed)), max_size=5
)


def summed(observed: Sequence[Observation]) -> list[Observation]:
    groups = defaultdict(list)
    for one in observed:
        groups[one.account, one.network, one.allowed].append(one)
    sums = [
        observation(
            *key,
            sum(one.requests for one in some),
            min(one.first_seen for one in some),
            max(one.last_seen for one in some),
        )
        for key, some in groups.items()
    ]
    return sorted(sums, key=lambda one: (-one.requests, one.account, one.network, one.allowed))


@settings(max_examples=length(25, 200))
@given(batches)
def test_what_is_added_of_one_network_and_verdict_is_summed_up(added: list[list[Observation]]) -> None:
    with RuleManager.open("memory://", follow=False) as manager:
        furnish(manager)
        check_sums(manager, added)


def check_sums(manager: RuleManager, added: list[list[Observation]]) -> None:
    for batch in added:
        assert add(manager, batch) == sum(one.requests for one in batch if one.account != "gone")
    every = [one for batch in added for one in batch]
    for name in NAMES[:-1]:
        assert stored(manager, name) == summed([one for one in every if one.account == name])
    family = [one for one in every if one.account in ("acct-1", "sub-1", "sub-2")]
    for name in ("acct-1", "sub-1"):
        assert manager.traffic(name, whole_list=True) == summed(family)


def test_every_store_sums_up_in_the_same_way(manager: RuleManager) -> None:
    check_sums(
        manager,
        [
            [seen(name, network, allowed=allowed, requests=number + 2**40, second=number)]
            for number, (name, network, allowed) in enumerate(
                (name, network, allowed)
                for name in NAMES
                for network in NETWORKS
                for allowed in (True, False)
                for _ in "ab"
            )
        ],
    )


def test_only_the_days_asked_for_are_summed_up(manager: RuleManager) -> None:
    now = datetime.now(UTC)
    with manager._store.write() as transaction:
        for days in range(5):
            at = now - timedelta(days=days)
            transaction.connection.execute(update(accounts).values(created_at=LONG_AGO))
            add_observations(transaction, [observation("acct-1", "8.8.8.8/32", "allowed", 10**days, at, at)])
    assert [manager.traffic("acct-1", days)[0].requests for days in (1, 2, 5, 10**9)] == [1, 11, 11_111, 11_111]
    [one] = manager.traffic("acct-1", 3)
    assert (one.first_seen, one.last_seen) == (now - timedelta(days=2), now)


def test_traffic_of_no_account_and_of_no_days_is_an_error(manager: RuleManager) -> None:
    assert manager.traffic("acct-1") == []
    with pytest.raises(AccountNotFoundError):
        manager.traffic("acct-9")
    with pytest.raises(ValueError, match="days must be a whole number from 1 on"):
        manager.traffic("acct-1", 0)
    with pytest.raises(TypeError, match="whole_list"):
        manager.traffic("acct-1", whole_list=1)  # type: ignore[arg-type]


def test_observations_follow_a_renamed_account_and_end_with_a_deleted_one(manager: RuleManager) -> None:
    add(manager, [seen("acct-1"), seen("acct-2", "8.8.4.4/32")])
    with manager._store.read() as transaction:
        before = transaction.log_end()
    manager.rename_account("acct-2", "acct-3")
    assert [one.account for one in stored(manager, "acct-3")] == ["acct-3"]
    with manager._store.read() as transaction:
        assert renamed_since(transaction, before) == {"acct-2", "acct-3"}
        assert renamed_since(transaction, transaction.log_end()) == set()
    manager.delete_account("acct-3")
    manager.create_account("acct-3")
    assert stored(manager, "acct-3") == []


def test_an_account_gets_nothing_that_was_seen_before_it_existed(manager: RuleManager) -> None:
    assert add(manager, [seen("acct-1", days=30)]) == 0
    assert stored(manager, "acct-1") == []


def test_old_days_are_deleted_in_parts(manager: RuleManager) -> None:
    networks = [f"8.8.8.{last}/32" for last in range(10)]
    add(manager, [seen("acct-1", network) for network in networks])
    day = NOW.date()
    with manager._store.write() as transaction:
        assert delete_observations(transaction, day, 4) == 0
        assert delete_observations(transaction, day + timedelta(days=1), account="acct-2") == 0
        assert [delete_observations(transaction, day + timedelta(days=1), 4) for _ in range(4)] == [4, 4, 2, 0]
    assert stored(manager, "acct-1") == []


def test_the_busiest_allowed_and_the_latest_denied_networks_of_a_day_stay(manager: RuleManager) -> None:
    busy = [seen("acct-1", f"8.8.8.{last}/32", requests=last + 1) for last in range(10)]
    denied = [seen("acct-1", f"8.8.4.{last}/32", allowed=False, requests=99 - last, second=last) for last in range(10)]
    few = [seen("acct-2", f"8.8.8.{last}/32") for last in range(3)]
    add(manager, [*busy, *denied, *few])
    with manager._store.write() as transaction:
        assert trim_observations(transaction, NOW.date() - timedelta(days=1), 4, 3, 100) == 0
        assert [trim_observations(transaction, NOW.date(), 4, 3, 8) for _ in range(3)] == [8, 5, 0]
    kept = stored(manager, "acct-1")
    assert {one.network for one in kept if one.allowed} == {f"8.8.8.{last}/32" for last in range(6, 10)}
    assert {one.network for one in kept if not one.allowed} == {f"8.8.4.{last}/32" for last in range(7, 10)}
    assert len(stored(manager, "acct-2")) == 3


def test_erasing_deletes_observations_of_days_that_are_old_enough(manager: RuleManager) -> None:
    now = datetime.now(UTC)
    with manager._store.write() as transaction:
        transaction.connection.execute(update(accounts).values(created_at=LONG_AGO))
        for days in (0, 5, 10):
            at = now - timedelta(days=days)
            add_observations(transaction, [observation(name, "8.8.8.8/32", "allowed", 1, at, at) for name in NAMES[:4]])
    would = manager.with_hooks(dry_run=True).erase(timedelta(days=7), account="acct-1")
    assert (would, manager.erase(timedelta(days=7), account="acct-1")) == (1, 1)
    details = manager.history()[0].details
    assert details is not None
    assert details["after"]["observations"] == 1
    assert [stored(manager, name)[0].requests for name in ("acct-1", "acct-2")] == [2, 3]
    assert manager.erase(timedelta(days=7)) == 3
    assert [one.requests for one in stored(manager, "acct-2")] == [2]
