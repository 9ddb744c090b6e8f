"""A recommendation covers what the list does not deny now, whatever was decided then; a model of sets of addresses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from hypothesis import given, strategies as st

from cidrgate import Account, Entry, Observation
from cidrgate.foresight import recommend
from cidrgate.foresight.evaluation import DecidingNow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address

AT = datetime(2026, 1, 2, tzinfo=UTC)
TIMES = st.sampled_from([None, AT - timedelta(hours=1), AT, AT + timedelta(hours=1)])
LISTED = ["8.8.8.0/30", "8.8.8.4/32", "8.8.8.5/32", "8.8.8.8/32", "2606:4700::/127", "2606:4700::3/128"]
SEEN = [
    *(f"8.8.8.{host}/32" for host in range(10)),
    *(f"2606:4700::{host}/128" for host in range(1, 5)),
    *("8.8.8.0/29", "8.8.8.4/31", "9.9.9.0/30", "2606:4700::/126"),
]


def addresses(networks: Iterable[str]) -> set[IPv4Address | IPv6Address]:
    """Every address of some networks."""
    return {address for network in networks for address in ip_network(network)}


@st.composite
def lists(draw: st.DrawFn) -> tuple[list[Entry], Account]:
    entries = [
        Entry(
            id=number,
            account="a",
            cidr=cidr,
            created_at=AT - timedelta(days=1),
            created_by=None,
            expires_at=draw(TIMES),
            enabled=draw(st.booleans()),
        )
        for number, cidr in enumerate(draw(st.lists(st.sampled_from(LISTED), unique=True)))
    ]
    mode: Any = draw(st.sampled_from(["enforce", "report_only", "off"]))
    until = None if mode == "enforce" else draw(TIMES)
    closed = draw(st.booleans())
    return entries, Account(
        name="a", parent=None, created_at=AT - timedelta(days=1), mode=mode, mode_until=until, closed=closed
    )


OBSERVED = st.lists(
    st.builds(
        Observation,
        account=st.sampled_from(["a", "moved"]),
        network=st.sampled_from(SEEN),
        allowed=st.booleans(),
        requests=st.integers(1, 9),
        first_seen=st.just(AT),
        last_seen=st.just(AT),
    ),
    min_size=1,
    max_size=12,
)


def counts(entries: list[Entry], account: Account, one: Observation) -> bool:
    """Whether a recommendation covers an observation."""
    own = addresses([one.network])
    allowed = addresses(
        entry.cidr for entry in entries if entry.enabled and (entry.expires_at is None or entry.expires_at > AT)
    )
    mode = account.mode if account.mode_until is None or account.mode_until > AT else "enforce"
    denies = (mode != "report_only" and bool(entries)) or (mode == "enforce" and account.closed)
    if own <= allowed:
        return True
    return one.allowed and not (denies and own.isdisjoint(allowed))


@given(lists(), OBSERVED, st.integers(3, 6))
def test_nothing_that_the_list_denies_now_is_recommended(
    listed: tuple[list[Entry], Account], observed: list[Observation], most: int
) -> None:
    entries, account = listed
    decided = DecidingNow(entries, account, AT).decided(observed)
    wanted = [one for one in observed if counts(entries, account, one)]
    denied = [one for one in observed if not counts(entries, account, one)]
    exact = recommend(decided)
    assert addresses(exact.cidrs) == addresses(one.network for one in wanted)
    assert exact.requests == sum(one.requests for one in wanted)
    for found in (exact, recommend(decided, max_entries=most)):
        inside = addresses(found.cidrs)
        let_in = {one.network for one in denied if addresses([one.network]) <= inside}
        assert found.requests_newly_allowed == sum(one.requests for one in denied if one.network in let_in)
        assert {(one.network, one.reason) for one in found.left_out} == {
            (one.network, "denied") for one in denied if one.network not in let_in
        }
    everything = recommend(decided, include_denied=True)
    assert addresses(everything.cidrs) == addresses(one.network for one in observed)
