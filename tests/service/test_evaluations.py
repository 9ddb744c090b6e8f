"""What previews and dry runs say of the requests of the past, over HTTP and with the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cidrgate.client import Client
from cidrgate.foresight import AffectedTraffic
from tests.observed import store_observed
from tests.service.test_client import served

if TYPE_CHECKING:
    from tests.service.conftest import Api, Caller

PREVIEW = "/v1/accounts/acct-1/preview"


def store(api: Api, *seen: tuple[str, str, int]) -> None:
    """Store observations of addresses for accounts."""
    store_observed(api.manager, *seen)


@pytest.fixture
def traffic(api: Api) -> Api:
    """An account and its subaccount, with traffic."""
    api.manager.add("acct-1", "8.8.8.0/24, 9.9.9.9/32")
    store(
        api,
        ("acct-1", "8.8.8.8/32", 7),
        ("sub-1", "8.8.8.9/32", 20),
        ("acct-1", "9.9.9.9/32", 300),
        ("acct-1", "8.8.4.4/32", 4000),
    )
    return api


def removal(api: Api) -> dict[str, Any]:
    found = next(one for one in api.manager.entries("acct-1") if one.cidr == "8.8.8.0/24")
    return {"change": "remove", "entry_ids": [found.id]}


def test_a_preview_says_who_would_be_denied(traffic: Api, admin: Caller) -> None:
    seen = admin.ok("POST", PREVIEW, removal(traffic))
    assert seen["evaluation_missing"] is None
    found = seen["evaluation"]
    assert (found["newly_denied"]["addresses"], found["newly_denied"]["requests"], found["unknown"]) == (2, 27, [])
    assert [(one["account"], one["network"], one["requests"]) for one in found["newly_denied"]["named"]] == [
        ("sub-1", "8.8.8.9/32", 20),
        ("acct-1", "8.8.8.8/32", 7),
    ]
    assert [(one["account"], one["newly_denied"]["requests"]) for one in found["accounts"]] == [
        ("sub-1", 20),
        ("acct-1", 7),
    ]
    assert (found["still_allowed"]["requests"], found["still_denied"]["requests"]) == (300, 4000)
    added = admin.ok("POST", PREVIEW, {"change": "add", "cidrs": "8.8.4.4/32"})
    assert added["evaluation"]["newly_allowed"]["requests"] == 4000


def test_without_traffic_there_is_no_evaluation_but_a_reason(api: Api, admin: Caller) -> None:
    api.manager.add("acct-1", "8.8.8.0/24, 9.9.9.9/32")
    seen = admin.ok("POST", PREVIEW, removal(api))
    assert seen["evaluation"] is None
    assert "--traffic" in seen["evaluation_missing"]
    refused = admin.ok("POST", PREVIEW, {"change": "add", "cidrs": "10.0.0.0/8"})
    assert (refused["evaluation"], refused["evaluation_missing"]) == (None, "the change cannot be made")


def test_who_may_preview_a_change_may_know_whom_it_denies_and_nobody_else(traffic: Api) -> None:
    body = removal(traffic)
    assert (
        traffic.caller("account:acct-1:read").ok("POST", PREVIEW, body)["evaluation"]["newly_denied"]["addresses"] == 2
    )
    assert traffic.caller("account:sub-1:read")("POST", PREVIEW, body).status_code == 404
    assert traffic.caller("account:acct-2:write")("POST", PREVIEW, body).status_code == 404


def test_a_dry_run_of_many_lists_is_evaluated_and_a_change_is_not(traffic: Api, admin: Caller) -> None:
    traffic.manager.add("acct-2", "1.1.1.1/32")
    store(traffic, ("acct-2", "1.1.1.1/32", 50_000))
    accounts = {"acct-1": {"entries": [{"cidr": "9.9.9.9/32"}]}, "acct-2": {"entries": [{"cidr": "8.8.8.0/24"}]}}
    lists = "/v1/lists?prune=true&confirm=lock_out&dry_run="
    tried = admin.ok("PUT", f"{lists}true", {"accounts": accounts})
    found = tried["evaluation"]
    assert (found["lists"], found["newly_denied"]["requests"], found["newly_denied"]["accounts"]) == (2, 50_027, 3)
    assert [one["account"] for one in found["accounts"]] == ["acct-2", "sub-1", "acct-1"]
    made = admin.ok("PUT", f"{lists}false", {"accounts": accounts})
    assert (made["applied"], made["evaluation"], made["evaluation_missing"]) == (True, None, None)


def test_the_client_reads_what_the_library_says(traffic: Api) -> None:
    def remove(dry: Any) -> object:
        return dry.remove("acct-1", "8.8.8.0/24")

    wanted = traffic.manager.evaluate("acct-1", remove)
    with served(traffic) as url, Client(url, traffic.token("admin")) as client:
        found = client.preview_remove("acct-1", ["8.8.8.0/24"]).evaluation
        planned = client.apply_lists({"acct-1": ["9.9.9.9/32"]}, prune=True, dry_run=True).evaluation
    for one in (found, planned):
        assert one is not None
        assert (one.since, one.days, one.lists, one.unknown) == (wanted.since, 30, 1, [])
        assert one.until.tzinfo is not None
        assert AffectedTraffic.__name__ in type(one.newly_denied).__name__
        assert [
            (each.account, each.network, each.requests, each.first_seen, each.last_seen)
            for each in one.newly_denied.named
        ] == [
            (each.account, each.network, each.requests, each.first_seen, each.last_seen)
            for each in wanted.newly_denied.named
        ]
        assert [(each.account, each.newly_denied.requests) for each in one.accounts] == [("sub-1", 20), ("acct-1", 7)]
        assert one.still_allowed.requests == 300


def test_days_choose_the_traffic_of_previews_and_dry_runs(traffic: Api, admin: Caller) -> None:
    assert admin.ok("POST", f"{PREVIEW}?days=3", removal(traffic))["evaluation"]["days"] == 3
    assert admin("POST", f"{PREVIEW}?days=0", removal(traffic)).status_code == 422
    assert admin("POST", f"{PREVIEW}?days=36601", removal(traffic)).status_code == 422
    accounts = {"accounts": {"acct-1": {"entries": [{"cidr": "9.9.9.9/32"}]}}}
    lists = "/v1/lists?prune=true&confirm=lock_out"
    assert admin.ok("PUT", f"{lists}&dry_run=true&days=90", accounts)["evaluation"]["days"] == 90
    refused = admin("PUT", f"{lists}&days=90", accounts)
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "days")
    with served(traffic) as url, Client(url, traffic.token("admin")) as client:
        previews = [
            client.preview_add("acct-1", "4.4.4.4/32", days=2),
            client.preview_replace("acct-1", "4.4.4.4/32", days=2),
            client.preview_edit("acct-1", "9.9.9.9/32", "4.4.4.4/32", days=2),
            client.preview_remove("acct-1", ["9.9.9.9/32"], days=2),
            client.preview_undo("acct-1", traffic.manager.history("acct-1", limit=1)[0].sequence, days=2),
            client.preview_restore("acct-1", 1, days=2),
        ]
        planned = client.apply_lists({"acct-1": ["9.9.9.9/32"]}, prune=True, dry_run=True, days=2)
        with pytest.raises(ValueError, match="days"):
            client.preview_add("acct-1", "4.4.4.4/32", days=0)
    found = [*(one.evaluation for one in previews), planned.evaluation]
    assert [one and one.days for one in found] == [2] * 7
