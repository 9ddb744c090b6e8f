"""Entries that are unused or too wide, against `ipaddress`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, ip_network

from hypothesis import example, given, strategies as st

from cidrgate import Entry, Observation, Policy
from cidrgate.foresight import narrower, unused
from cidrgate.rules import validate_edit

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def entry(cidr: str, created: int = 0) -> Entry:
    return Entry(
        id=1, account="a", cidr=cidr, label=None, created_at=FIRST + created * DAY, created_by=None, expires_at=None
    )


def observation(cidr: str, last: int, *, allowed: bool = True, requests: int = 1) -> Observation:
    return Observation(
        account="a", network=cidr, allowed=allowed, requests=requests, first_seen=FIRST, last_seen=FIRST + last * DAY
    )


networks = st.tuples(st.integers(0, 255), st.integers(24, 32)).map(
    lambda drawn: str(ip_network((0x08080800 + drawn[0] >> 32 - drawn[1] << 32 - drawn[1], drawn[1])))
)
observations = st.lists(
    st.builds(
        observation,
        networks,
        st.integers(0, 9),
        allowed=st.sampled_from([True, True, False]),
        requests=st.integers(1, 5),
    ),
    max_size=8,
)


def inside(cidr: str, seen: list[Observation]) -> list[Observation]:
    return [one for one in seen if one.allowed and ip_network(one.network).overlaps(ip_network(cidr))]


@given(networks, st.integers(0, 9), observations, st.none() | st.integers(0, 10))
@example("8.8.8.0/24", 0, [observation("8.8.8.0/24", 0), observation("8.8.8.8/32", 1)], 2)
def test_an_entry_is_unused_if_no_allowed_observation_overlaps_it(
    cidr: str, created: int, seen: list[Observation], since: int | None
) -> None:
    time = None if since is None else FIRST + since * DAY
    mine = inside(cidr, seen)
    used = [one for one in mine if time is None or one.last_seen >= time]
    young = since is not None and created > since
    found = unused([entry(cidr, created)], seen, time)
    assert [(one.entry.cidr, one.last_seen) for one in found] == (
        [] if used or young else [(cidr, max((one.last_seen for one in mine), default=None))]
    )


@given(networks, observations, st.none() | st.integers(0, 10))
def test_a_narrower_network_contains_all_that_was_seen(cidr: str, seen: list[Observation], since: int | None) -> None:
    time = None if since is None else FIRST + since * DAY
    mine = [one for one in inside(cidr, seen) if time is None or one.last_seen >= time]
    found = narrower([entry(cidr)], seen, time)
    covered = {ip_network(one.network) for one in mine}
    wanted = next((one for one in covered), ip_network(cidr))
    assert isinstance(wanted, IPv4Network)
    while not all(one.subnet_of(wanted) for one in covered):  # type: ignore[arg-type]
        wanted = wanted.supernet()
    if not mine or not wanted.subnet_of(ip_network(cidr)) or wanted == ip_network(cidr):  # type: ignore[arg-type]
        assert found == ()
        return
    [one] = found
    assert (one.cidr, one.observed, one.requests) == (str(wanted), len(covered), sum(each.requests for each in mine))
    assert one.fewer == ip_network(cidr).num_addresses - wanted.num_addresses
    assert validate_edit(one.cidr, [], Policy()) == one.cidr


def test_texts_have_no_time_and_count() -> None:
    late = FIRST + 9 * DAY
    assert unused([entry("8.8.8.0/24")], {"8.8.8.8": 3}, late) == ()
    assert [(one.cidr, one.requests) for one in narrower([entry("8.8.8.0/24")], {"8.8.8.8": 3}, late)] == [
        ("8.8.8.8/32", 3)
    ]
    assert [one.entry.cidr for one in unused([entry("2606:4700::/32")], ["8.8.8.8"])] == ["2606:4700::/32"]
    assert narrower([entry("::/1")], ["::2"])[0].fewer == 2**127 - 1
