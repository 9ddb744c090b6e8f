"""Over HTTP nobody locks themselves out or opens an account unknowingly; a preview says beforehand what a change does.

That each guard stands at every edge is shown in `tests/guards`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import Policy, RuleManager
from cidrgate.gate.client_ip import ClientIPResolver
from tests.service.conftest import Api, Caller, an_api

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRIES = "/v1/accounts/acct-1/entries"


@pytest.fixture
def caller(api: Api) -> Caller:
    """Somebody at an address that can be listed, who confirms nothing by themselves."""
    return replace(api.at("8.8.8.8", api.token("account:acct-1:write")), confirms=False)


def test_the_first_entry_that_does_not_cover_the_caller_must_be_confirmed(api: Api, caller: Caller) -> None:
    refused = caller.problem(409, "POST", ENTRIES, {"cidrs": "9.9.9.0/24"})
    assert refused["code"] == "would_lock_out_caller"
    assert refused["type"] == "/problems/would_lock_out_caller"
    assert refused["confirm"] == ["lock_out"]
    assert "8.8.8.8" in refused["detail"]
    assert "confirm=lock_out" in refused["detail"]
    assert api.manager.entries("acct-1") == []
    caller.ok("POST", f"{ENTRIES}?confirm=lock_out", {"cidrs": "9.9.9.0/24"})
    # Who is denied already loses nothing by the next change.
    caller.ok("POST", ENTRIES, {"cidrs": "1.1.1.0/24"})


def test_every_way_to_lose_access_must_be_confirmed_and_no_other(caller: Caller) -> None:
    caller.ok("POST", ENTRIES, {"cidrs": "8.8.8.0/24, 9.9.9.0/24"})
    own, other = caller.ok("GET", ENTRIES)["items"]
    sequence = caller.ok("GET", "/v1/accounts/acct-1/history")["items"][0]["sequence"]
    refused: list[tuple[str, str, Any]] = [
        ("PATCH", f"{ENTRIES}/{own['id']}", {"cidr": "8.8.4.0/24"}),
        ("DELETE", f"{ENTRIES}/{own['id']}", None),
        ("PUT", ENTRIES, {"cidrs": "9.9.9.0/24"}),
    ]
    for method, path, body in refused:
        assert caller.problem(409, method, path, body)["code"] == "would_lock_out_caller"
    caller.ok("PATCH", f"{ENTRIES}/{own['id']}", {"cidr": "8.8.8.0/25", "label": "own"})
    caller.ok("DELETE", f"{ENTRIES}/{other['id']}")
    caller.ok("PUT", ENTRIES, {"cidrs": "8.8.8.8/32"})
    # Without entries everybody is allowed: that is another guard.
    caller.ok("PUT", f"{ENTRIES}?confirm=disable_enforcement", {"cidrs": ""})
    restore = "/v1/accounts/acct-1/restore"
    caller.ok("POST", restore, {"to_sequence": sequence})
    caller.ok("PUT", f"{ENTRIES}?confirm=lock_out", {"cidrs": "9.9.9.0/24"})
    denied = caller.ok("GET", "/v1/accounts/acct-1/history")["items"][0]["sequence"]
    caller.ok("PUT", ENTRIES, {"cidrs": "8.8.8.8/32"})
    assert caller.problem(409, "POST", restore, {"to_sequence": denied})["code"] == "would_lock_out_caller"


def test_a_refused_request_with_a_key_can_be_confirmed_with_another_key_only(caller: Caller) -> None:
    caller.problem(409, "POST", ENTRIES, {"cidrs": "9.9.9.0/24"}, Idempotency_Key="k")
    caller.ok("POST", f"{ENTRIES}?confirm=lock_out", {"cidrs": "9.9.9.0/24"}, Idempotency_Key="k")


@pytest.fixture
def proxied() -> Iterator[Api]:
    """A service behind a proxy."""
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"])
    for api in an_api("memory://", resolver=resolver):
        api.manager.create_account("acct-1")
        yield api


def test_the_address_is_what_the_last_trusted_hop_saw(proxied: Api) -> None:
    token = proxied.token("admin")
    behind, direct = (replace(proxied.at(address, token), confirms=False) for address in ("10.0.0.1", "8.8.8.8"))
    assert behind.ok("GET", "/v1/me", X_Forwarded_For="9.9.9.9, 8.8.4.4")["address"] == "8.8.4.4"
    assert direct.ok("GET", "/v1/me", X_Forwarded_For="9.9.9.9")["address"] == "8.8.8.8"
    spoofed = {"X_Forwarded_For": "9.9.9.9, 8.8.4.4"}
    assert behind.problem(409, "POST", ENTRIES, {"cidrs": "9.9.9.0/24"}, **spoofed)
    # An address that cannot be told cannot be judged.
    assert behind.ok("GET", "/v1/me")["address"] is None
    behind.ok("POST", ENTRIES, {"cidrs": "9.9.9.0/24"})


# --------------------------------------------------------------------------------------------------------- previews


def preview(caller: Caller, **change: Any) -> Any:
    return caller.ok("POST", "/v1/accounts/acct-1/preview", change)


def test_a_preview_names_every_problem_and_what_was_probably_meant(api: Api, caller: Caller) -> None:
    api.manager.add("acct-1", "8.8.8.0/24")
    seen = preview(caller, change="add", cidrs="9.9.9.9, 8.8.8.8/32, 9.9.8.7/24, office, 10.0.0.7/24")
    assert seen["ok"] is False
    found = [(problem["code"], problem["position"], problem["suggestions"]) for problem in seen["errors"]]
    assert found == [
        ("invalid_format", 0, ["9.9.9.9/32"]),
        ("subset_exists", 1, []),
        ("invalid_format", 2, ["9.9.8.0/24", "9.9.8.7/32"]),
        ("invalid_format", 3, []),
        ("invalid_format", 4, []),
    ]
    # What the list would refuse too is not suggested.
    assert "10.0.0.0/24 would be refused too: 10.0.0.0/8 is Private-Use" in seen["errors"][4]["hint"]
    assert seen["caller"] is None


def test_a_preview_is_what_the_change_does(api: Api, caller: Caller) -> None:
    api.manager.add("acct-1", "8.8.8.0/24, 9.9.9.0/24")
    log = api.manager.history()
    own, other = caller.ok("GET", ENTRIES)["items"]

    seen = preview(caller, change="edit", entry_id=own["id"], cidr="8.8.8.0/25")
    assert (seen["ok"], seen["before"], seen["loses_access"]) == (True, [own], ["8.8.8.128/25"])
    assert [entry["cidr"] for entry in seen["after"]] == ["8.8.8.0/25"]
    assert seen["caller"] == {
        "address": "8.8.8.8",
        "allowed_before": True,
        "allowed_after": True,
        "matched_cidr": "8.8.8.0/25",
        "would_lock_out": False,
    }
    seen = preview(caller, change="replace", cidrs="9.9.8.0/23")
    assert (seen["loses_access"], seen["gains_access"]) == (["8.8.8.0/24"], ["9.9.8.0/24"])
    assert (seen["caller"]["would_lock_out"], seen["confirm"]) == (True, ["lock_out"])
    seen = preview(caller, change="remove", entry_ids=[own["id"], other["id"]])
    assert (seen["enforcement_ends"], seen["loses_access"], seen["gains_access"]) == (True, [], [])
    assert seen["confirm"] == ["disable_enforcement"]
    seen = preview(caller, change="restore", to_sequence=log[-1].sequence)
    assert seen["ok"] is True
    seen = preview(caller, change="remove", entry_ids=[99])
    [error] = seen["errors"]
    assert (seen["ok"], error["code"]) == (False, "entry_not_found")
    assert "does not list" in error["detail"]
    seen = preview(caller, change="add", cidrs="1.1.1.1/32", expires_at="2020-01-01T00:00:00Z")
    [error] = seen["errors"]
    assert error["code"] == "invalid_expiry"
    assert "is in the past" in error["detail"]
    assert api.manager.history() == log
    assert seen["version"] == api.manager.account("acct-1").version

    seen = preview(caller, change="add", cidrs="1.1.1.1/32")
    [added] = caller.ok("POST", ENTRIES, {"cidrs": "1.1.1.1/32"})["after"]
    [expected] = seen["after"]
    for entry in (added, expected):
        del entry["id"], entry["created_at"], entry["created_by"]
    assert added == expected


def test_a_preview_of_the_first_entry_says_that_enforcement_begins(caller: Caller) -> None:
    seen = preview(caller, change="add", cidrs="9.9.9.0/24")
    assert (seen["enforcement_begins"], seen["caller"]["would_lock_out"]) == (True, True)


def test_a_service_keeps_the_policy_of_its_manager() -> None:
    from cidrgate.service import create_app
    from cidrgate.stores import open_store

    with RuleManager(open_store("memory://"), policy=Policy(max_entries=1, allow_special=True)) as manager:
        manager.load()
        api = Api(manager, create_app(manager), None)  # type: ignore[arg-type]
        manager.create_account("acct-1")
        caller = api.at("10.0.0.1", api.token("admin"))
        caller.ok("POST", ENTRIES, {"cidrs": "10.0.0.0/8"})
        assert caller.ok("GET", ENTRIES)["max_entries"] == 1
        [problem] = caller.problem(422, "POST", ENTRIES, {"cidrs": "11.0.0.0/8"})["errors"]
        assert problem["code"] == "limit_reached"


# --------------------------------------------------------------------------------------------------- confirmations


@pytest.mark.parametrize(
    "sent",
    [
        "true",
        "false",
        "1",
        "",
        "LOCK_OUT",
        "lock_out,disable_enforcement",
        "lock_out&confirm=true",
        "confirm",
        "lock_out ",
    ],
)
def test_what_names_no_guard_is_refused_and_told_which_there_are(api: Api, caller: Caller, sent: str) -> None:
    refused = caller.problem(422, "POST", f"{ENTRIES}?confirm={sent}", {"cidrs": "9.9.9.0/24"})
    assert refused["code"] == "invalid_request"
    assert "'disable_enforcement', 'lock_out', 'other_list' or 'wide_entry'" in refused["detail"]
    assert api.manager.entries("acct-1") == []


def test_confirmations_can_be_given_together_and_twice(api: Api, caller: Caller) -> None:
    both = "confirm=lock_out&confirm=disable_enforcement&confirm=lock_out"
    [entry] = caller.ok("POST", f"{ENTRIES}?{both}", {"cidrs": "9.9.9.0/24"})["after"]
    caller.ok("DELETE", f"{ENTRIES}/{entry['id']}?{both}")
    assert api.manager.entries("acct-1") == []


def test_every_other_problem_asks_for_no_confirmation(caller: Caller) -> None:
    assert caller.problem(422, "POST", ENTRIES, {"cidrs": "8.8.8.8"})["confirm"] == []
    assert caller.problem(404, "GET", "/v1/accounts/acct-2")["confirm"] == []
