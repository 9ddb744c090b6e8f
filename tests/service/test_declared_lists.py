"""`PUT /v1/lists`, and adding what is missing, over HTTP and with the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cidrgate.client import ApiError, Client
from cidrgate.manager.declared import DeclaredAccount, in_parts
from cidrgate.service.http.limits import MOST_MEMBERS
from tests.observed import store_observed
from tests.service.test_client import served

if TYPE_CHECKING:
    from tests.service.conftest import Api, Caller

DECLARED = {"acct-7": {"entries": [{"cidr": "8.8.8.0/24", "label": "office"}]}, "sub-7": {"parent": "acct-7"}}
CONFIRM = "&confirm=lock_out"


def test_a_dry_run_changes_nothing_and_says_what_is_changed_then(api: Api, admin: Caller) -> None:
    body = {"accounts": DECLARED}
    tried = admin("PUT", f"/v1/lists?dry_run=true{CONFIRM}", body).json()
    assert (tried["drift"], tried["applied"], tried["versions"]) == (True, False, {"acct-7": 0, "sub-7": 0})
    names = [one.name for one in api.manager.accounts()]
    assert "acct-7" not in names
    made = admin("PUT", "/v1/lists?confirm=lock_out", {**body, "expect_versions": tried["versions"]}).json()
    assert [one["account"] for one in made["changes"]] == ["acct-7", "sub-7"]
    assert not api.manager.allows("sub-7", "9.9.9.9")
    again = admin("PUT", "/v1/lists?prune=true", body).json()
    assert (again["drift"], again["changes"], again["unchanged_count"]) == (False, [], 2)


def test_the_accounts_of_a_request_are_stored_in_one_commit() -> None:
    """So that nothing was changed, as the response says, if the store fails."""
    declared = {f"acct-{number}": DeclaredAccount() for number in range(MOST_MEMBERS)}
    assert len(list(in_parts(declared, whole=False))) == 1


def test_a_list_that_locks_the_caller_out_is_refused(api: Api) -> None:
    caller = api.at("203.0.113.9", api.token("admin"))
    caller.confirms = ()  # type: ignore[assignment]
    report = caller("PUT", "/v1/lists", {"accounts": DECLARED}).json()
    assert (report["problems"][0]["account"], report["problems"][0]["code"]) == ("acct-7", "would_lock_out_caller")


def test_a_dry_run_evaluates_what_would_be_created_and_nothing_that_would_not(api: Api, admin: Caller) -> None:
    store_observed(api.manager, ("acct-1", "8.8.8.8/32", 12))
    path = f"/v1/lists?dry_run=true{CONFIRM}"
    created = admin("PUT", path, {"accounts": DECLARED}).json()["evaluation"]
    assert created["lists"] == 2
    assert "2 of 2 accounts" in next(one["text"] for one in created["unknown"] if one["code"] == "unlisted")
    bad = {**DECLARED, "acct-8": {"entries": [{"cidr": "10.0.0.0/8"}]}}
    for more, lists in (("", 2), ("&strict=true", 0)):
        report = admin("PUT", path + more, {"accounts": bad}).json()
        assert (report["refused"], report["evaluation"]["lists"]) == (["acct-8"], lists)


def test_problems_name_the_account_and_the_entry(admin: Caller) -> None:
    body = {"accounts": {"acct-7": {"entries": [{"cidr": "8.8.8.0/24"}, {"cidr": "10.0.0.0/8"}]}}}
    report = admin("PUT", "/v1/lists?strict=true", body).json()
    assert (report["applied"], report["refused"]) == (False, ["acct-7"])
    [problem] = report["problems"]
    assert [(one["code"], one["position"]) for one in problem["errors"]] == [("special_range", 1)]


@pytest.mark.parametrize(
    "account",
    [
        {"parent": "a", "entries": []},
        {"entries": "8.8.8.0/24"},
        {"mode": "off"},
        {"entries": [{"cidr": ""}]},
        {},
        {"entries": None},
        {"parent": None},
    ],
)
def test_a_declaration_that_is_none(admin: Caller, account: object) -> None:
    assert admin("PUT", "/v1/lists", {"accounts": {"acct-7": account}}).status_code == 422


@pytest.mark.parametrize(
    ("accounts", "told"),
    [(["acct-8"], "not declared: acct-8"), (list(DECLARED)[1:], "no version of declared accounts")],
)
def test_expected_versions_are_those_of_the_declared_accounts(
    api: Api, admin: Caller, accounts: list[str], told: str
) -> None:
    said = admin("PUT", "/v1/lists", {"accounts": DECLARED, "expect_versions": dict.fromkeys(accounts, 0)})
    assert said.status_code == 422
    assert told in said.json()["detail"]
    assert "acct-7" not in [one.name for one in api.manager.accounts()]


def test_what_has_another_type_is_told_in_words_of_json(admin: Caller) -> None:
    for accounts, told in (
        ({"acct-7": {"entries": ["8.8.8.0/24"]}}, "/accounts/acct-7/entries/0: must be an object"),
        ({"acct-7": {"entries": {}}}, "/accounts/acct-7/entries: must be an array"),
        ({"acct-7": 1}, "/accounts/acct-7: must be an object"),
        ([], "/accounts: must be an object"),
        ({"acct-7": {"parent": 1}}, "/accounts/acct-7/parent: must be a string"),
    ):
        assert admin("PUT", "/v1/lists", {"accounts": accounts}).json()["detail"] == told


def test_only_admins_declare_lists(api: Api) -> None:
    assert api.caller("account:acct-1:write")("PUT", "/v1/lists", {"accounts": {}}).status_code == 403


def test_the_client_declares_lists(api: Api) -> None:
    with served(api) as url, Client(url, api.token("admin")) as client:
        declared = {"acct-7": ["8.8.8.0/24", "1.1.1.1/32"], "sub-7": {"parent": "acct-7"}}
        plan = client.apply_lists(declared, dry_run=True, allow_lock_out=True)
        assert (plan.drift, plan.applied) == (True, False)
        report = client.apply_lists(declared, expect_versions=plan.versions, allow_lock_out=True)
        assert [entry.cidr for entry in report.changes[0].after] == ["8.8.8.0/24", "1.1.1.1/32"]
        assert not client.apply_lists(declared, prune=True).drift
        refused = client.apply_lists({"acct-7": []}, prune=True)
        assert [one.code for one in refused.problems] == ["would_disable_enforcement"]
        assert client.apply_lists({"acct-7": []}, prune=True, allow_empty=True).applied


def test_what_is_missing_is_added_once(api: Api, admin: Caller) -> None:
    path = "/v1/accounts/acct-1/entries?if_missing=true&confirm=lock_out"
    first = admin("POST", path, {"cidrs": "50.1.1.0/24"})
    assert (first.status_code, first.json()["existing"]) == (201, [])
    again = admin("POST", path, {"cidrs": "50.1.1.7/32"})
    assert (again.status_code, again.json()["after"]) == (200, [])
    assert [one["cidr"] for one in again.json()["existing"]] == ["50.1.1.0/24"]
    assert again.json()["version"] == first.json()["version"]
    with served(api) as url, Client(url, api.token("admin")) as client:
        change = client.add_entries("acct-1", "50.1.1.9/32", if_missing=True)
        assert [entry.cidr for entry in change.existing] == ["50.1.1.0/24"]
        with pytest.raises(ApiError):
            client.add_entries("acct-1", "50.1.1.9/32")
