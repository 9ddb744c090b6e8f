"""`/v1/entries`: admins search the lists of all accounts, a page at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.rows import rows

if TYPE_CHECKING:
    from tests.service.conftest import Api


@pytest.fixture
def filled(api: Api) -> Api:
    """With entries of two accounts, one of which cannot count."""
    api.manager.add("acct-1", "8.8.8.0/24, 9.9.9.9/32")
    api.manager.add("acct-2", "8.8.0.0/16", enabled=False)
    return api


def test_entries_say_whose_they_are_and_whether_they_count(filled: Api) -> None:
    page = filled.caller("admin").ok("GET", "/v1/entries?covers=8.8.8.8")
    shown = [(one["account"], one["cidr"], one["allows"], one["subaccount_count"]) for one in page["items"]]
    assert shown == [("acct-1", "8.8.8.0/24", True, 1), ("acct-2", "8.8.0.0/16", False, 0)]
    assert page["next_cursor"] is None
    listed = filled.caller("admin").ok("GET", "/v1/accounts/acct-1/entries")["items"][0]
    assert {name: page["items"][0][name] for name in listed} == listed


def test_pages_are_the_whole(filled: Api) -> None:
    caller = filled.caller("admin")
    found: list[str] = []
    more = ""
    while more is not None:
        page = caller.ok("GET", f"/v1/entries?overlaps=8.0.0.0/7&limit=1{more and f'&cursor={more}'}")
        assert len(page["items"]) == 1
        found += (one["cidr"] for one in page["items"])
        more = page["next_cursor"]
    assert found == ["8.8.8.0/24", "9.9.9.9/32", "8.8.0.0/16"]


WRONG = {
    "": "covers",
    "?covers=8.8.8.8&overlaps=8.8.8.8": "covers",
    "?covers=8.8.8.8/24": "covers",
    "?covers=": "covers",
    "?overlaps=x": "overlaps",
}


@rows("query", WRONG)
def test_what_is_no_question_is_refused(filled: Api, query: str) -> None:
    problem = filled.caller("admin").problem(422, "GET", f"/v1/entries{query}")
    assert [one["parameter"] for one in problem["errors"]] == [WRONG[query]]


def test_only_those_who_may_read_all_accounts_may_search_them(filled: Api) -> None:
    for scope in ("account:acct-1:read", "account:acct-1:write", "metrics"):
        filled.caller(scope).problem(403, "GET", "/v1/entries?covers=8.8.8.8")


def test_a_list_that_expired_is_found_and_does_not_count(filled: Api) -> None:
    end = datetime.now(UTC).replace(year=2100)
    filled.manager.add("acct-2", "7.7.7.7/32", expires_at=end)
    [found] = filled.caller("admin").ok("GET", "/v1/entries?covers=7.7.7.7")["items"]
    assert (found["allows"], found["expired"]) == (True, False)


def test_names_are_found_by_how_they_start(filled: Api) -> None:
    caller = filled.caller("admin")
    names = [one["name"] for one in caller.ok("GET", "/v1/accounts?starting_with=ACCT")["items"]]
    assert names == ["acct-1", "acct-2"]
    assert caller.ok("GET", "/v1/accounts/acct-1/subaccounts?starting_with=ub")["items"] == []
    own = filled.caller("account:acct-1:read")
    assert [one["name"] for one in own.ok("GET", "/v1/accounts?starting_with=S")["items"]] == ["sub-1"]
    assert [one["name"] for one in own.ok("GET", "/v1/accounts?starting_with=a")["items"]] == ["acct-1"]
