"""`/v1/policy` and the policy of an account: who may set it, under which condition, and which lists it does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.rows import rows

if TYPE_CHECKING:
    from tests.service.conftest import Api, Caller

POLICY, OF_ACCOUNT, ENTRIES = "/v1/policy", "/v1/accounts/acct-1/policy", "/v1/accounts/acct-1/entries"
DEFAULTS = {"max_entries": 50, "allow_special": False, "widest_ipv4": 8, "widest_ipv6": 16}
NOTHING = dict.fromkeys(DEFAULTS)


@pytest.mark.parametrize("path", [POLICY, OF_ACCOUNT])
def test_a_policy_is_stored_as_a_whole_and_read_back(admin: Caller, path: str) -> None:
    account = "acct-1" if path == OF_ACCOUNT else None
    first = admin("GET", path)
    assert first.json() == {
        "account": account,
        "version": 0,
        "etag": '"v0"',
        "stored": NOTHING,
        "effective": DEFAULTS,
    }
    assert first.headers["etag"].startswith('"v0')
    done = admin.ok("PUT", path, {"max_entries": 20, "widest_ipv6": 32})
    assert done["stored"] == {**NOTHING, "max_entries": 20, "widest_ipv6": 32}
    assert done["effective"] == {**DEFAULTS, "max_entries": 20, "widest_ipv6": 32}
    assert (done["version"], done["over_limit"], done["special"]) == (1, [], [])
    # What is left out is not stored any more.
    assert admin.ok("PUT", path, {"max_entries": 30})["stored"] == {**NOTHING, "max_entries": 30}
    assert admin.ok("GET", path)["stored"] == {**NOTHING, "max_entries": 30}
    assert admin.ok("PUT", path, {})["effective"] == DEFAULTS


def test_an_account_overrides_the_service_and_a_subaccount_has_the_policy_of_its_parent(admin: Caller) -> None:
    admin.ok("PUT", POLICY, {"max_entries": 1, "widest_ipv4": 16})
    admin.ok("PUT", OF_ACCOUNT, {"max_entries": 2})
    for name, most in (("acct-1", 2), ("sub-1", 2), ("acct-2", 1)):
        effective = admin.ok("GET", f"/v1/accounts/{name}/policy")["effective"]
        assert (effective["max_entries"], effective["widest_ipv4"]) == (most, 16)
    admin.ok("POST", ENTRIES, {"cidrs": "8.8.8.8/32, 9.9.9.9/32"})
    assert admin.ok("GET", ENTRIES)["max_entries"] == 2
    refused = admin.problem(422, "POST", "/v1/accounts/acct-2/entries", {"cidrs": "8.8.8.8/32, 9.9.9.9/32"})
    assert {one["code"] for one in refused["errors"]} == {"limit_reached"}
    assert admin.problem(409, "PUT", "/v1/accounts/sub-1/policy", {"max_entries": 9})["code"] == "list_inherited"
    assert admin.problem(404, "PUT", "/v1/accounts/nobody/policy", {})["code"] == "account_not_found"


@pytest.mark.parametrize("path", [POLICY, OF_ACCOUNT])
def test_lists_that_a_new_policy_does_not_fit_are_named_and_stay(api: Api, admin: Caller, path: str) -> None:
    admin.ok("PUT", POLICY, {"allow_special": True})
    admin.ok("POST", ENTRIES, {"cidrs": "8.8.8.8/32, 9.9.9.9/32, 10.0.0.0/24"})
    admin.ok("POST", "/v1/accounts/acct-2/entries", {"cidrs": "8.8.8.8/32"})
    before = api.manager.entries("acct-1")
    done = admin.ok("PUT", path, {"max_entries": 2, "allow_special": False})
    assert (done["over_limit"], done["special"]) == (["acct-1"], ["acct-1"])
    assert (done["more_over_limit"], done["more_special"]) == (0, 0)
    assert api.manager.entries("acct-1") == before
    assert {one["code"] for one in admin.problem(422, "POST", ENTRIES, {"cidrs": "7.7.7.7/32"})["errors"]} == {
        "limit_reached"
    }


@pytest.mark.parametrize("path", [POLICY, OF_ACCOUNT])
def test_a_policy_that_was_changed_in_the_meantime_is_not_overwritten(admin: Caller, path: str) -> None:
    admin.ok("PUT", path, {"max_entries": 20}, if_match='"v0"')
    refused = admin.problem(412, "PUT", path, {"max_entries": 30}, if_match='"v0"')
    assert refused["code"] == "version_conflict"
    assert admin.ok("GET", path)["stored"]["max_entries"] == 20
    assert admin.ok("PUT", path, {"max_entries": 30}, if_match='"v1"')["etag"] == '"v2"'
    # A repeated request is answered, and changes nothing again.
    once = admin.ok("PUT", path, {"max_entries": 40}, idempotency_key="one")
    assert admin.ok("PUT", path, {"max_entries": 40}, idempotency_key="one") == once
    assert admin.ok("GET", path)["version"] == 3


WRONG: dict[str, dict[str, Any]] = {
    "no entries": {"max_entries": 0},
    "too many entries": {"max_entries": 100_001},
    "text": {"max_entries": "20"},
    "a number for a word": {"allow_special": 1},
    "a length that IPv4 has not": {"widest_ipv4": 33},
    "a length below zero": {"widest_ipv6": -1},
    "an unknown option": {"deny": True},
}


@rows("name", WRONG)
def test_what_is_no_policy_is_refused(admin: Caller, name: str) -> None:
    for path in (POLICY, OF_ACCOUNT):
        [error] = admin.problem(422, "PUT", path, WRONG[name])["errors"]
        assert next(iter(WRONG[name])) in error["pointer"]
        assert admin.ok("GET", path)["version"] == 0


def test_only_admins_set_a_policy(api: Api) -> None:
    own = api.caller("account:acct-1:write")
    assert own.ok("GET", POLICY)["effective"] == own.ok("GET", OF_ACCOUNT)["effective"] == DEFAULTS
    own.problem(404, "GET", "/v1/accounts/acct-2/policy")
    for path in (POLICY, OF_ACCOUNT):
        own.problem(403, "PUT", path, {"max_entries": 20})
    assert api.manager.policy_state().version == 0


@pytest.mark.parametrize("policy", [POLICY, OF_ACCOUNT])
def test_a_wide_network_is_confirmed_as_the_policy_says(api: Api, policy: str) -> None:
    caller = replace(api.at("9.9.9.9", api.token("admin")), confirms=False)
    api.manager.add("acct-1", "9.9.9.9/32")
    refused = caller.problem(409, "POST", ENTRIES, {"cidrs": "30.0.0.0/7"})
    assert (refused["code"], refused["confirm"]) == ("would_add_wide_entry", ["wide_entry"])
    assert "30.0.0.0/7" in refused["detail"]
    assert len(api.manager.entries("acct-1")) == 1
    [wide] = caller.ok("POST", f"{ENTRIES}?confirm=wide_entry", {"cidrs": "30.0.0.0/7"})["after"]
    # It was confirmed: a change of its label needs no confirmation again, and the policy decides about others.
    caller.ok("PATCH", f"{ENTRIES}/{wide['id']}", {"label": "kept"})
    caller.ok("POST", ENTRIES, {"cidrs": "20.0.0.0/8"})
    caller.ok("PUT", policy, {"widest_ipv4": 16})
    assert caller.problem(409, "POST", ENTRIES, {"cidrs": "21.0.0.0/8"})["confirm"] == ["wide_entry"]
    caller.ok("PUT", policy, {"widest_ipv4": 4})
    caller.ok("POST", ENTRIES, {"cidrs": "48.0.0.0/4"})
