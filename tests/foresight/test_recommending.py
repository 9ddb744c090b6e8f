"""Recommendations: valid lists, that are as narrow as a slow search finds, and that say what they leave out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import (
    InvalidAddressError,
    NewEntry,
    Observation,
    Policy,
    PrefixTrie,
    RecommendationError,
    RuleError,
)
from cidrgate._engine import canonical_prefix
from cidrgate.foresight import recommend, recommending
from cidrgate.rules import special_block, validate_replacement

NOW = datetime(2026, 11, 26, tzinfo=UTC)

ADDRESSES = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: str(ip_address(number))),
    st.integers(2**32, 2**128 - 1).map(lambda number: str(ip_address(number))),
    # Near each other, so that one entry may hold several.
    st.integers(0, 600).map(lambda number: str(ip_address(0x08080000 + number))),
    st.integers(0, 600).map(lambda number: str(ip_address((0x26064700 << 96) + number))),
    # Beside special ranges: 9.255.255.0 and 192.0.0.0 with their neighbours.
    st.integers(0, 600).map(lambda number: str(ip_address(0x09FFFF00 + number))),
    st.integers(0, 600).map(lambda number: str(ip_address(0xC0000000 - 100 + number))),
    st.sampled_from(["::ffff:8.8.8.8", "::1", "::2", "2001:20::1", "2001:2f::1", "3fff:ffff::1"]),
)
NETWORKS = st.tuples(ADDRESSES, st.integers(0, 128)).map(
    lambda drawn: str(ip_network(f"{drawn[0]}/{min(drawn[1], ip_network(drawn[0]).max_prefixlen)}", strict=False))
)


def observation(network: str, *, requests: int = 1, allowed: bool = True, account: str = "acct-1") -> Observation:
    return Observation(
        account=account, network=network, allowed=allowed, requests=requests, first_seen=NOW, last_seen=NOW
    )


@settings(max_examples=150)
@given(
    seen=st.dictionaries(ADDRESSES | NETWORKS, st.integers(0, 2**70), max_size=30),
    excluded=st.lists(ADDRESSES | NETWORKS.filter(lambda text: ip_network(text).prefixlen > 12), max_size=3),
    policy=st.builds(
        Policy,
        max_entries=st.integers(1, 40),
        allow_special=st.booleans(),
        widest_ipv4=st.integers(0, 24),
        widest_ipv6=st.integers(0, 48),
    ),
)
def test_a_recommendation_keeps_every_rule_and_covers_what_it_says(
    seen: dict[str, int], excluded: list[str], policy: Policy
) -> None:
    longest = recommend(seen, replace(policy, max_entries=1_000), excluded=excluded)
    fewest = longest.curve[0].entries if longest.curve else 0
    if fewest > policy.max_entries:
        with pytest.raises(RecommendationError) as few:
            recommend(seen, policy, excluded=excluded)
        assert few.value.fewest == fewest
        return
    found = recommend(seen, policy, excluded=excluded)
    assert found.curve == longest.curve[: len(found.curve)]
    assert validate_replacement([NewEntry(cidr) for cidr in found.cidrs], policy) == found.cidrs
    assert policy.wider(found.cidrs) == []
    chosen = PrefixTrie(found.cidrs)
    assert list(chosen) == found.cidrs
    left_out = {one.network for one in found.left_out}
    for text in seen:
        # The trie reads every text as the engine does, which takes IPv4-mapped addresses for IPv4.
        [cidr] = PrefixTrie([text if "/" in text else f"{text}/{ip_network(text).max_prefixlen}"])
        assert bool(chosen.covering(cidr)) != (cidr in left_out)
    for text in excluded:
        network = text if "/" in text else f"{text}/{ip_network(text).max_prefixlen}"
        assert chosen.covering(network) == chosen.covered(network) == []
    assert found.requests + found.requests_left_out == sum(seen.values())
    extras = [point.extra for point in found.curve]
    assert extras == sorted(extras, reverse=True)
    if found.curve:
        assert (found.extra_ipv4, found.extra_ipv6) == (found.curve[-1].extra_ipv4, found.curve[-1].extra_ipv6)
        assert len(found.cidrs) == next(point.entries for point in found.curve if point.extra == extras[-1])
    assert recommend(dict(reversed(seen.items())), policy, excluded=excluded) == found


def test_every_address_that_is_left_out_has_its_reason() -> None:
    policy = Policy(widest_ipv4=16)
    found = recommend(
        [
            observation("8.8.8.8/32", requests=5),
            observation("8.8.8.8/32", requests=7, account="sub-1"),
            observation("8.8.9.9/32", requests=2, allowed=False),
            observation("10.1.2.3/32", requests=3),
            observation("9.9.9.0/24", requests=4),
            observation("11.0.0.0/8", requests=6),
        ],
        policy,
        excluded=["9.9.9.9"],
    )
    assert [(one.cidr, one.observed, one.requests) for one in found.networks] == [("8.8.8.8/32", 1, 12)]
    assert [(one.network, one.reason, one.requests) for one in found.left_out] == [
        ("8.8.9.9/32", "denied", 2),
        ("9.9.9.0/24", "excluded", 4),
        ("10.1.2.3/32", "special_range", 3),
        ("11.0.0.0/8", "too_wide", 6),
    ]
    explained = {one.reason: one.explanation for one in found.left_out}
    assert explained["special_range"] == "10.0.0.0/8 is Private-Use (RFC 1918)"
    assert explained["excluded"] == "9.9.9.9/32 is excluded"
    assert (found.requests, found.requests_left_out, found.observed) == (12, 15, 1)
    found = recommend({"8.8.8.8": 1, "x": 8})
    assert [(one.network, one.reason, one.requests) for one in found.left_out] == [("x", "invalid_format", 8)]


@given(
    seen=st.lists(st.tuples(ADDRESSES | NETWORKS, st.booleans(), st.integers(1, 9)), max_size=20),
    most=st.integers(1, 40),
)
def test_nothing_that_is_covered_is_left_out(seen: list[tuple[str, bool, int]], most: int) -> None:
    observed = [
        observation(canonical_prefix(str(ip_network(text))), requests=requests, allowed=allowed)
        for text, allowed, requests in seen
    ]
    try:
        found = recommend(observed, max_entries=most)
    except RecommendationError:
        return
    chosen = PrefixTrie(found.cidrs)
    assert not [one for one in found.left_out if chosen.covering(one.network)]
    let_in = [one.requests for one in observed if not one.allowed and chosen.covering(one.network)]
    assert found.requests_newly_allowed == sum(let_in)
    assert found.requests + found.requests_newly_allowed + found.requests_left_out == sum(
        one.requests for one in observed
    )
    covered = {one.network for one in observed if one.allowed and chosen.covering(one.network)}
    networks = [one for one in covered if ip_network(one).num_addresses > 1]
    assert (found.observed, found.observed_networks) == (len(covered), len(networks))


def test_denied_requests_count_if_asked_for() -> None:
    seen = [observation("8.8.8.8/32"), observation("8.8.8.9/32", allowed=False)]
    assert recommend(seen).cidrs == ["8.8.8.8/32"]
    assert recommend(seen, include_denied=True).cidrs == ["8.8.8.8/31"]
    with pytest.raises(TypeError, match="include_denied must be True or False"):
        recommend(seen, include_denied=1)  # type: ignore[arg-type]


def test_a_forced_network_is_allowed_whole() -> None:
    found = recommend(["8.8.8.8", "9.9.9.9"], max_entries=2, forced=["8.8.8.0/25", "8.8.9.0/24"])
    assert found.cidrs == ["8.8.8.0/23", "9.9.9.9/32"]
    assert (found.extra_ipv4, found.observed) == (128, 2)
    # Two halves that are both needed cost nothing as one.
    assert recommend([], forced=["8.8.8.0/24", "8.8.9.0/24"]).cidrs == ["8.8.8.0/23"]
    assert (recommend([]).networks, recommend([]).curve) == ((), ())


def test_networks_may_be_objects() -> None:
    found = recommend(
        ["8.8.8.8", "8.8.8.10", "8.8.4.4", "9.9.9.9"],
        forced=[ip_network("1.1.1.0/24")],
        excluded=[ip_network("8.8.4.0/24"), ip_address("8.8.8.9"), "9.9.9.9"],
        max_entries=3,
    )
    assert found.cidrs == ["1.1.1.0/24", "8.8.8.8/32", "8.8.8.10/32"]
    assert {one.network for one in found.left_out} == {"8.8.4.4/32", "9.9.9.9/32"}


def test_forced_networks_that_no_list_may_have_are_refused() -> None:
    with pytest.raises(RuleError) as refused:
        recommend([], forced=["10.0.0.0/8", "x", "8.8.8.8/32", "8.8.8.0/24"])
    assert {problem.code for problem in refused.value.problems} == {
        "special_range",
        "invalid_format",
        "superset_conflict",
    }
    for options in ({"excluded": ["8.8.8.1"]}, {"widest_ipv4": 25}):
        with pytest.raises(RecommendationError, match=r"8\.8\.8\.0/24") as conflict:
            recommend(["9.9.9.9"], forced=["8.8.8.0/24"], **options)
        assert (conflict.value.networks, conflict.value.fewest) == (("8.8.8.0/24",), None)


def test_too_few_entries_name_the_fewest_that_would_do() -> None:
    # The network of both addresses contains 10.0.0.0/8.
    with pytest.raises(RecommendationError, match=r"1 entry is not enough .* are 2") as few:
        recommend(["9.9.9.9", "11.1.1.1"], max_entries=1)
    assert few.value.fewest == 2
    assert recommend(["9.9.9.9", "11.1.1.1"], Policy(allow_special=True, widest_ipv4=1), max_entries=1).extra_ipv4 > 0
    with pytest.raises(RecommendationError, match="2 entries are not enough"):
        recommend(["8.8.8.8", "9.9.9.9", "11.1.1.1"], widest_ipv4=32, max_entries=2)


def test_more_entries_than_the_engine_divides_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommending, "_MOST_ENTRIES", 2)
    with pytest.raises(RecommendationError, match="2 entries are not enough"):
        recommend(["8.8.8.8", "9.9.9.9", "11.1.1.1"], widest_ipv4=32)
    assert len(recommend(["8.8.8.8", "8.8.9.9", "8.9.1.1"]).cidrs) == 2


def test_an_ipv4_address_counts_as_a_64_of_ipv6() -> None:
    """Three entries for two pairs: the pair whose network costs less than the other's is joined."""
    ipv4 = ["8.8.8.8", "8.8.8.11"]
    inside = recommend([*ipv4, "2606:4700::1", "2606:4700:0:0:ffff::1"], max_entries=3)
    assert (inside.cidrs[:2], inside.curve[-1].extra < 1) == (["8.8.8.8/32", "8.8.8.11/32"], True)
    beyond = recommend([*ipv4, "2606:4700::1", "2606:4700:0:7::1"], max_entries=3)
    assert (beyond.cidrs[0], beyond.curve[-1].extra) == ("8.8.8.8/30", Fraction(2))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_entries": 51}, ValueError, "max_entries must be from 1 to 50"),
        ({"max_entries": 0}, ValueError, "max_entries must be from 1 to 50"),
        ({"max_entries": True}, TypeError, "max_entries"),
        ({"widest_ipv4": 7}, ValueError, "widest_ipv4 must be from 8 to 32"),
        ({"widest_ipv6": 129}, ValueError, "widest_ipv6 must be from 16 to 128"),
        ({"excluded": ["x"]}, InvalidAddressError, "'x'"),
        ({"excluded": "8.8.8.8"}, TypeError, r"excluded is .* write \[network\]"),
        ({"forced": "8.8.8.0/24"}, TypeError, r"forced is .* write \[network\]"),
    ],
)
def test_wrong_limits_are_refused(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        recommend(["8.8.8.8"], **options)


@pytest.mark.parametrize(
    ("observed", "error", "words"),
    [
        ("8.8.8.8", TypeError, r"write \[address\]"),
        ([7], TypeError, "must be an Observation or a str, not int"),
        ({"8.8.8.8": -1}, ValueError, "must be 0 or more, not -1"),
        ({"8.8.8.8": 1.5}, TypeError, "requests must be a whole number"),
    ],
)
def test_what_is_no_observation_is_refused(observed: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        recommend(observed)


@given(ADDRESSES)
def test_an_address_alone_is_recommended_unless_it_is_special(text: str) -> None:
    found = recommend([text])
    [cidr] = PrefixTrie([f"{text}/{ip_network(text).max_prefixlen}"])
    special = special_block(cidr)
    assert (found.cidrs, len(found.left_out)) == (([cidr], 0) if special is None else ([], 1))
