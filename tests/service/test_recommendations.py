"""The best list for recorded traffic, over HTTP and with the client."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest

from cidrgate.client import Client
from cidrgate.errors import NoTrafficError, RecommendationError, SubaccountError
from cidrgate.foresight import recommend
from cidrgate.manager import recommendations
from tests.observed import store_observed
from tests.service.test_client import served

if TYPE_CHECKING:
    from tests.service.conftest import Api, Caller

PATH = "/v1/accounts/acct-1/recommendation"
SEEN = [
    ("acct-1", "8.8.8.8/32", 7),
    ("sub-1", "8.8.8.9/32", 20),
    ("acct-1", "8.8.8.11/32", 1),
    ("acct-1", "9.9.9.9/32", 300),
    ("acct-1", "2606:4700::a/128", 2),
    ("acct-1", "2606:4700::ffff/128", 2),
    ("acct-1", "10.0.0.1/32", 2),
]


@pytest.fixture
def traffic(api: Api) -> Api:
    """An account and its subaccount, with traffic that is older than a list."""
    store_observed(api.manager, *SEEN)
    return api


def test_a_list_is_recommended_for_an_account_and_its_subaccounts(traffic: Api, admin: Caller) -> None:
    found = admin.ok("GET", f"{PATH}?max_entries=3")
    wanted = recommend(traffic.manager.traffic("acct-1", whole_list=True), max_entries=3)
    assert [one["cidr"] for one in found["networks"]] == wanted.cidrs
    assert wanted.cidrs == ["8.8.8.8/30", "9.9.9.9/32", "2606:4700::/112"]
    assert found["extra_ipv6"] == str(wanted.extra_ipv6)
    assert [one["entries"] for one in found["curve"]] == [point.entries for point in wanted.curve]
    assert [(one["network"], one["reason"]) for one in found["left_out"]] == [("10.0.0.1/32", "special_range")]
    assert (found["account"], found["days"], found["more_left_out"]) == ("acct-1", 30, 0)
    assert found["version"] == traffic.manager.account("acct-1").version


def test_options_force_exclude_and_narrow(traffic: Api, admin: Caller) -> None:
    found = admin.ok(
        "GET", f"{PATH}?force=1.1.1.0/24&exclude=9.9.9.9&exclude=2606::/16&widest_ipv4=24&max_entries=2&days=1"
    )
    assert [one["cidr"] for one in found["networks"]] == ["1.1.1.0/24", "8.8.8.8/30"]
    assert {one["reason"] for one in found["left_out"]} == {"excluded", "special_range"}
    assert found["days"] == 1


def test_as_many_are_excluded_as_a_query_has_room_for(traffic: Api, admin: Caller) -> None:
    many = "&".join(["exclude=9.9.9.9"] * 500)
    assert {one["reason"] for one in admin.ok("GET", f"{PATH}?{many}")["left_out"]} == {"excluded", "special_range"}
    assert admin("GET", f"{PATH}?{many}&exclude=8.8.8.8").status_code == 422


def test_entries_are_reviewed(traffic: Api, admin: Caller) -> None:
    traffic.manager.add("acct-1", "8.8.8.0/24, 1.1.1.1/32")
    found = admin.ok("GET", PATH)
    assert [(one["cidr"], one["narrower"], one["fewer_addresses"]) for one in found["narrower"]] == [
        ("8.8.8.0/24", "8.8.8.8/30", "252")
    ]
    # Both are younger than the traffic.
    assert found["unused"] == []


@pytest.mark.parametrize(
    ("query", "status", "code", "said"),
    [
        ("max_entries=0", 422, "invalid_request", "max_entries"),
        ("max_entries=1001", 422, "invalid_request", "max_entries"),
        ("max_entries=51", 422, "invalid_request", "must be from 1 to 50, as the policy has it"),
        ("widest_ipv4=3", 422, "invalid_request", "must be from 8 to 32"),
        ("widest_ipv6=129", 422, "invalid_request", "widest_ipv6"),
        ("days=0", 422, "invalid_request", "days"),
        ("days=36601", 422, "invalid_request", "days"),
        ("days=1_0", 422, "invalid_request", "days"),
        ("exclude=x", 422, "invalid_request", "exclude"),
        ("force=10.0.0.0/8", 422, "rules_broken", "special_range"),
        ("force=8.8.8.8", 422, "rules_broken", "invalid_format"),
        ("max_entries=1", 422, "recommendation", "the fewest that would do are"),
        ("force=8.8.8.0/24&exclude=8.8.8.8", 422, "recommendation", "forced networks overlap"),
        ("force=" + "x" * 1_001, 422, "invalid_request", "force"),
        ("colour=red", 422, "invalid_request", "unknown pa"),
    ],
)
def test_what_cannot_be_asked_is_a_problem(
    traffic: Api, admin: Caller, query: str, status: int, code: str, said: str
) -> None:
    answer = admin("GET", f"{PATH}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert said in answer.text


def test_without_traffic_there_is_no_recommendation(api: Api, admin: Caller) -> None:
    answer = admin("GET", PATH)
    assert (answer.status_code, answer.json()["code"]) == (409, "no_traffic")
    assert "--traffic" in answer.json()["detail"]
    assert admin("GET", "/v1/accounts/nobody/recommendation").status_code == 404


def test_too_many_addresses_are_refused_and_say_the_way_out(traffic: Api, admin: Caller) -> None:
    with patch.object(recommendations, "MOST_OBSERVED", 3):
        answer = admin("GET", PATH)
    assert (answer.status_code, answer.json()["code"]) == (422, "recommendation")
    assert "ask for fewer than 30 days" in answer.json()["detail"]


def test_only_who_reads_the_list_of_a_parent_learns_who_called(traffic: Api) -> None:
    assert traffic.caller("account:acct-1:read").ok("GET", PATH)["networks"]
    assert traffic.caller("account:sub-1:read")("GET", PATH).status_code == 404
    assert traffic.caller("account:acct-2:write")("GET", PATH).status_code == 404
    # The subaccount inherits its list, and the addresses of its parent are no business of it.
    answer = traffic.caller("account:sub-1:read")("GET", "/v1/accounts/sub-1/recommendation")
    assert (answer.status_code, answer.json()["code"]) == (409, "list_inherited")


def test_what_is_not_known_is_said(traffic: Api, admin: Caller) -> None:
    store_observed(traffic.manager, ("acct-1", "4.4.4.0/24", 5))
    found = admin.ok("GET", f"{PATH}?days=60")
    assert [one["code"] for one in found["unknown"]] == ["short_window", "truncated"]
    assert (found["observed_networks"], found["requests_newly_allowed"]) == (1, 0)
    with served(traffic) as url, Client(url, traffic.token("admin")) as client:
        read = client.recommend("acct-1", 60)
        for option in ("forced", "excluded"):
            with pytest.raises(TypeError, match=f"{option} is an iterable of networks"):
                client.recommend("acct-1", **{option: "8.8.8.0/24"})  # type: ignore[arg-type]
    assert [(one.code, one.text) for one in read.unknown] == [(one["code"], one["text"]) for one in found["unknown"]]
    assert read.observed_networks == 1


def test_the_client_reads_what_the_library_says(traffic: Api) -> None:
    wanted = traffic.manager.recommend("acct-1", 7, max_entries=4, excluded=["9.9.9.9"])
    with served(traffic) as url, Client(url, traffic.token("admin")) as client:
        found = client.recommend("acct-1", 7, max_entries=4, excluded=[ip_address("9.9.9.9")])
        with pytest.raises(RecommendationError) as few:
            client.recommend("acct-1", max_entries=1)
        with pytest.raises(NoTrafficError):
            client.recommend("acct-2")
        with pytest.raises(SubaccountError):
            client.recommend("sub-1")
    made = wanted.recommendation
    assert (found.cidrs, found.extra_ipv4, found.extra_ipv6) == (made.cidrs, made.extra_ipv4, made.extra_ipv6)
    assert [(one.network, one.reason, one.requests) for one in found.left_out] == [
        (one.network, one.reason, one.requests) for one in made.left_out
    ]
    curve = [(one.entries, one.extra_ipv6) for one in made.curve]
    assert [(one.entries, one.extra_ipv6) for one in found.curve] == curve
    assert (found.since, found.days) == (wanted.since, 7)
    assert (found.observed_networks, found.requests_newly_allowed, found.unknown) == (0, 0, [])
    assert few.value.fewest == 3
