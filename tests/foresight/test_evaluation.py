"""What a change would have decided of the requests of the past, compared with sets of single addresses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from cidrgate.foresight.evaluation import (
    ChangedList,
    Evaluation,
    PastTraffic,
    UnaddressedRequests,
    allowed_networks,
    evaluate,
)
from cidrgate.foresight.sentences import sentences
from cidrgate.values import Account, Entry, Observation

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 6, 15, tzinfo=UTC)


def begin_of(days: int | None) -> datetime:
    """The beginning of the first of some days in UTC."""
    return datetime.min.replace(tzinfo=UTC) if days is None else MIDNIGHT - timedelta(days=days - 1)


GROUPS = (
    "newly_denied",
    "newly_allowed",
    "partly_denied",
    "partly_allowed",
    "denied_if_unlisted",
    "allowed_if_unlisted",
    "allowed_if_created",
)
STILL = ("still_allowed", "still_denied", "still_mixed")

networks = st.builds(
    lambda start, length, number: str(ip_network(f"{ip_address(start[0]) + number}/{start[1] - length}", strict=False)),
    st.sampled_from([("8.8.8.0", 32), ("2606:4700::", 128)]),
    st.integers(0, 6),
    st.integers(0, 63),
)
lists = st.none() | st.lists(networks, max_size=6, unique=True)
observations = st.builds(
    lambda account, network, allowed, requests, days, length: Observation(
        account=account,
        network=network,
        allowed=allowed,
        requests=requests,
        first_seen=NOW - timedelta(days=days + length),
        last_seen=NOW - timedelta(days=days),
    ),
    st.sampled_from(["acct-1", "sub-1", "other"]),
    networks,
    st.booleans(),
    st.integers(1, 1000),
    st.integers(0, 12),
    st.integers(0, 3),
)


def addresses(cidrs: list[str] | None, inside: str) -> set[str]:
    """The addresses of a network that a list allows, one by one."""
    of_network = set(map(str, ip_network(inside)))
    if cidrs is None:
        return of_network
    return of_network & {str(address) for cidr in cidrs for address in ip_network(cidr)}


def expected_effects(
    before: list[str] | None, after: list[str] | None, network: str, *, deleted: bool = False, created: bool = False
) -> set[str]:
    """What a change does to the requests of a network, by the sets of its addresses."""
    every = set(map(str, ip_network(network)))
    was, now = addresses(before, network), addresses(after, network)
    if deleted:
        return ({"denied_if_unlisted"} if was else set()) | ({"allowed_if_unlisted"} if was != every else set())
    if created:
        return expected_effects(before, after, network) | ({"allowed_if_created"} if now else set())
    if was == now:
        return {"still_allowed" if was == every else "still_mixed" if was else "still_denied"}
    if was == every and not now:
        return {"newly_denied"}
    if now == every and not was:
        return {"newly_allowed"}
    return ({"partly_denied"} if was - now else set()) | ({"partly_allowed"} if now - was else set())


@given(
    lists,
    lists,
    st.lists(observations, max_size=12),
    st.sampled_from([None, 1, 5]),
    st.integers(1, 4),
    st.sampled_from(["alter", "delete", "rename", "create"]),
)
def test_every_request_counts_where_the_sets_of_addresses_say(
    before: list[str] | None,
    after: list[str] | None,
    seen: list[Observation],
    days: int | None,
    most: int,
    kind: str,
) -> None:
    deleted, renamed, created = kind == "delete", kind == "rename", kind == "create"
    changed = ChangedList(
        accounts=("acct-1", "sub-1"),
        before=before,
        after=after,
        deleted=deleted,
        created=created,
        renamed_to="new" if renamed else None,
    )
    found = evaluate([(changed, PastTraffic(seen))], at=NOW, days=days, most=most)
    counted = [one for one in seen if one.account != "other" and one.last_seen >= begin_of(days)]
    merged: dict[tuple[str, str], list[Observation]] = defaultdict(list)
    for one in counted:
        merged[one.account, one.network].append(one)
    wanted: dict[str, dict[tuple[str, str], list[Observation]]] = {name: {} for name in (*GROUPS, *STILL)}
    for (account, network), several in merged.items():
        unlisted = deleted or (renamed and account == "acct-1")
        for effect in expected_effects(before, after, network, deleted=unlisted, created=created):
            wanted[effect][account, network] = several
    for name in (*GROUPS, *STILL):
        total = getattr(found, name)
        single = [network for _, network in wanted[name] if ip_network(network).num_addresses == 1]
        assert total.addresses == len(single), name
        assert total.networks == len(wanted[name]) - len(single), name
        assert total.requests == sum(one.requests for several in wanted[name].values() for one in several), name
    for name in GROUPS:
        total = getattr(found, name)
        assert total.accounts == len({account for account, _ in wanted[name]})
        ranked = sorted(
            (-sum(one.requests for one in several), account, network)
            for (account, network), several in wanted[name].items()
        )
        assert [(-one.requests, one.account, one.network) for one in total.named] == ranked[:most]
        assert total.more == max(0, len(ranked) - most)
        for one in total.named:
            several = wanted[name][one.account, one.network]
            assert one.first_seen == min(each.first_seen for each in several)
            assert one.last_seen == max(each.last_seen for each in several)
    affected = {account for name in GROUPS for account, _ in wanted[name]}
    assert {one.account for one in found.accounts} <= affected
    assert len(found.accounts) + found.more_accounts == len(affected)
    for row in found.accounts:
        for name in GROUPS:
            mine = [one for (account, _), several in wanted[name].items() if account == row.account for one in several]
            assert getattr(row, name).requests == sum(one.requests for one in mine)
    check_unknown(found, counted, days)
    assert ("unlisted" in {one.code for one in found.unknown}) == (kind != "alter")


def check_unknown(found: Evaluation, counted: list[Observation], days: int | None) -> None:
    """What is not known is said, and nothing else."""
    codes = [one.code for one in found.unknown]
    assert len(codes) == len(set(codes))
    assert ("no_traffic" in codes) == (len({one.account for one in counted}) < 2)
    assert ("truncated" in codes) == bool(found.partly_denied.networks or found.partly_allowed.networks)
    assert "incomplete" not in codes
    first = min((one.first_seen for one in counted), default=None)
    assert ("short_window" in codes) == (days is not None and first is not None and first > begin_of(days))


def one_seen(account: str, network: str, requests: int = 1, *, days: int = 0) -> Observation:
    at = NOW - timedelta(days=days)
    return Observation(account=account, network=network, allowed=True, requests=requests, first_seen=at, last_seen=at)


def test_many_lists_are_added_up_and_those_without_traffic_counted() -> None:
    def changes() -> Iterator[tuple[ChangedList, PastTraffic]]:
        for number in range(30):
            changed = ChangedList(accounts=(f"a{number:02}",), before=["8.8.8.0/24"], after=["9.9.9.0/24"])
            seen = [one_seen(f"a{number:02}", f"8.8.8.{host}/32", number + 1) for host in range(number % 3)]
            yield (
                changed,
                PastTraffic(seen, since=NOW - timedelta(days=number), incomplete=[f"a{number:02}"] * (number % 2)),
            )

    found = evaluate(changes(), at=NOW, days=40, most=5)
    assert (found.lists, found.newly_denied.accounts, found.newly_denied.addresses) == (30, 20, 30)
    assert found.newly_denied.requests == sum((number + 1) * (number % 3) for number in range(30))
    assert [one.requests for one in found.newly_denied.named] == [30, 30, 29, 27, 27]
    assert [one.account for one in found.accounts] == ["a29", "a26", "a23", "a20", "a17"]
    assert found.more_accounts == 15
    assert found.since == NOW  # the list of which requests were observed for the shortest time
    said = {one.code: one.text for one in found.unknown}
    assert list(said) == ["no_traffic", "short_window", "incomplete"]
    assert "for 10 of 30 accounts" in said["no_traffic"]
    assert "of 15 of 30 accounts" in said["incomplete"]


def test_a_list_that_is_not_enforced_allows_every_address() -> None:
    entry = Entry(id=1, account="a", cidr="8.8.8.0/24", created_at=NOW, created_by=None)
    over = Entry(id=2, account="a", cidr="9.9.9.0/24", created_at=NOW, created_by=None, expires_at=NOW)
    paused = Account(name="a", parent=None, created_at=NOW, mode="off", mode_until=NOW + timedelta(hours=1))
    closed = Account(name="a", parent=None, created_at=NOW, closed=True)
    assert allowed_networks([], None, NOW) is None
    assert allowed_networks([entry], None, NOW) == ("8.8.8.0/24",)
    assert allowed_networks([entry, over], None, NOW) == ("8.8.8.0/24",)
    assert allowed_networks([over], None, NOW) == ()
    assert allowed_networks([entry], paused, NOW) is None
    assert allowed_networks([entry], paused, NOW + timedelta(hours=1)) == ("8.8.8.0/24",)
    assert allowed_networks([], closed, NOW) == ()


def test_what_no_observation_says_is_not_known() -> None:
    changed = ChangedList(accounts=("a",), before=["8.8.8.0/24"], after=["9.9.9.0/24"])
    found = evaluate([(changed, PastTraffic([], since=None))], at=NOW, days=30)
    assert found.since is None
    assert [one.code for one in found.unknown] == ["no_traffic"]
    found = evaluate([(changed, PastTraffic([], since=NOW - timedelta(days=31)))], at=NOW, days=30)
    assert [one.code for one in found.unknown] == ["no_traffic"]
    assert found.since == MIDNIGHT - timedelta(days=29)
    found = evaluate(
        [(changed, PastTraffic([one_seen("a", "8.8.8.8/32")], since=NOW - timedelta(days=31)))], at=NOW, days=30
    )
    assert (found.unknown, found.newly_denied.addresses) == ((), 1)


def test_the_day_of_the_first_request_is_perhaps_a_short_day() -> None:
    changed = ChangedList(accounts=("a",), before=["8.8.8.0/24"], after=["9.9.9.0/24"])
    seen = [one_seen("a", "8.8.8.8/32", 200)]
    for days in (1, 2, 30):
        first = begin_of(days)
        for begun, told in (
            (first, f"the first request was observed on {first:%Y-%m-%d} (UTC), perhaps late that day"),
            (first + timedelta(hours=3), f"only since {first:%Y-%m-%d} 03:00 UTC"),
            (first - timedelta(days=1), None),
            (first - timedelta(minutes=1), None),
        ):
            found = evaluate([(changed, PastTraffic(seen, since=begun))], at=NOW, days=days)
            last = "today" if days == 1 else f"the last {days} days"
            if told is None:
                assert found.unknown == ()
                said = "today, since 00:00 UTC" if days == 1 else f"in {last}"
            else:
                [unknown] = found.unknown
                assert (unknown.code, told in unknown.text) == ("short_window", True)
                assert unknown.text.endswith(f"for all of {last}")
                said = (
                    f"since {first:%Y-%m-%d} 03:00 UTC"
                    if begun != first
                    else f"since some time on {first:%Y-%m-%d} (UTC)"
                )
            text = next(sentences(found)).text
            assert text == f"{said}, 1 address with 200 requests would be denied"


OPENNESS: list[list[str] | None] = [None, [], ["8.8.8.0/24"], ["0.0.0.0/0", "::/0"]]
"""What lists allow: None for every address, and for every request without one."""


@pytest.mark.parametrize("before", OPENNESS)
@pytest.mark.parametrize("after", OPENNESS)
def test_requests_without_an_address_are_decided_by_whether_a_list_is_enforced(
    before: list[str] | None, after: list[str] | None
) -> None:
    seen = UnaddressedRequests(account="a", requests=7, first_seen=NOW, last_seen=NOW)
    change = ChangedList(accounts=("a",), before=before, after=after)
    found = evaluate([(change, PastTraffic([seen, seen]))], at=NOW)
    name = {
        (True, False): "newly_denied",
        (False, True): "newly_allowed",
        (True, True): "still_allowed",
        (False, False): "still_denied",
    }[before is None, after is None]
    total = getattr(found, name)
    assert (total.requests, total.without_address, total.addresses, total.networks) == (14, 14, 0, 0)
    others = ("newly_denied", "newly_allowed", "still_allowed", "still_denied", "still_mixed")
    assert sum(getattr(found, one).requests for one in others) == 14
    assert [one.account for one in found.accounts] == (["a"] if name.startswith("newly") else [])
    assert found.unknown == ()
    texts = [one.text for one in sentences(found)]
    denied = "14 requests without a client address would be denied"
    assert any(denied in text for text in texts) == (name == "newly_denied")
    assert any("would be newly denied" in text for text in texts) == (name != "newly_denied")


def test_requests_without_an_address_are_told_beside_addresses() -> None:
    seen: list[Observation | UnaddressedRequests] = [
        Observation(account="a", network="9.9.9.9/32", allowed=True, requests=1, first_seen=NOW, last_seen=NOW),
        UnaddressedRequests(account="a", requests=2, first_seen=NOW, last_seen=NOW),
        UnaddressedRequests(account="b", requests=4, first_seen=NOW, last_seen=NOW),
    ]
    change = ChangedList(accounts=("a", "b"), before=None, after=["8.8.8.0/24"])
    found = evaluate([(change, PastTraffic(seen))], at=NOW)
    assert found.newly_denied.accounts == 2
    assert [one.network for one in found.newly_denied.named] == ["9.9.9.9/32"]
    assert found.newly_denied.more == 0
    said = "1 address with 1 request and 6 requests without a client address of 2 accounts would be denied"
    assert said in next(sentences(found)).text
    for other, name in (
        (replace(change, deleted=True), "denied_if_unlisted"),
        (replace(change, created=True), "newly_denied"),
    ):
        assert getattr(evaluate([(other, PastTraffic(seen))], at=NOW), name).without_address == 6


@pytest.mark.parametrize("before", OPENNESS)
@pytest.mark.parametrize("after", OPENNESS)
@pytest.mark.parametrize("recorded", [False, True])
def test_recorded_traffic_does_not_know_requests_without_an_address(
    before: list[str] | None, after: list[str] | None, recorded: bool
) -> None:
    seen = Observation(account="a", network="8.8.8.8/32", allowed=True, requests=1, first_seen=NOW, last_seen=NOW)
    change = ChangedList(accounts=("a",), before=before, after=after)
    found = evaluate([(change, PastTraffic([seen], recorded=recorded))], at=NOW)
    begins = before is None and after is not None
    assert [one.code for one in found.unknown] == (["no_address"] if recorded and begins else [])
