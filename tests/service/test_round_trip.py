"""A list that was read can be sent back as it is; what is left out stays, and null clears."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy import update

from cidrgate import NewEntry
from cidrgate.rules.characters import unseen_character
from cidrgate.rules.limits import LONGEST_LABEL
from cidrgate.service.api.entries import EntriesReplaceModel, EntryItemModel, EntryPageModel
from cidrgate.stores.schema import entries
from tests.length import length

if TYPE_CHECKING:
    from tests.service.conftest import Api, Caller

PATH = "/v1/accounts/acct-1/entries"
NOW = datetime.now(UTC)

LABELS = st.none() | st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=LONGEST_LABEL
).filter(lambda label: unseen_character(label) is None)
EXPIRIES = st.none() | st.datetimes(
    NOW.replace(tzinfo=None) - timedelta(days=900), datetime(9000, 1, 1), timezones=st.just(UTC)
).filter(lambda time: abs(time - NOW) > timedelta(days=2))
CIDRS = [*(f"9.9.{number}.0/24" for number in range(20)), *(f"2606:4700:{number:x}::/48" for number in range(1, 20))]
LISTS = st.lists(st.tuples(st.sampled_from(CIDRS), LABELS, EXPIRIES), unique_by=lambda one: one[0], max_size=30)


def fill(api: Api, wanted: list[tuple[str, str | None, datetime | None]]) -> None:
    """Let the list be this, entries that have expired among it."""
    manager = api.manager
    manager.replace("acct-1", [], allow_empty=True)
    later = datetime.now(UTC) + timedelta(days=1)
    new = [
        NewEntry(cidr, label=label, expires_at=expires_at and max(expires_at, later))
        for cidr, label, expires_at in wanted
    ]
    if new:
        manager.add("acct-1", new)
    with manager._store.write() as transaction:
        for cidr, _, expires_at in wanted:
            if expires_at is not None and expires_at < later:
                over = update(entries).where(entries.c.cidr == cidr).values(expires_at=expires_at)
                transaction.connection.execute(over)


@given(LISTS)
@settings(max_examples=length(40, 400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_get_gave_put_takes_and_nothing_changes(api: Api, admin: Caller, wanted: Any) -> None:
    fill(api, wanted)
    read = admin("GET", PATH)
    page = read.json()
    assert [(one["cidr"], one["label"]) for one in page["items"]] == [
        (entry.cidr, entry.label) for entry in api.manager.entries("acct-1")
    ]
    assert {one["cidr"] for one in page["items"] if one["expired"]} == {
        cidr for cidr, _, expires_at in wanted if expires_at is not None and expires_at < NOW
    }
    log = len(api.manager.history("acct-1"))
    for body in (page, {"items": page["items"]}, {"items": page["items"][::-1]}):
        made = admin.ok("PUT", PATH, body, If_Match=page["etag"])
        assert (made["before"], made["after"], made["version"]) == ([], [], page["version"])
        assert made["entry_count"] == sum(not one["expired"] for one in page["items"])
    said = [{name: one[name] for name in ("cidr", "label", "expires_at")} for one in page["items"]]
    assert admin.ok("PUT", PATH, {"entries": said})["version"] == page["version"]
    assert admin("GET", PATH).text == read.text
    assert len(api.manager.history("acct-1")) == log

    # What is left out stays, and null clears it: of what has not expired.
    alive = [one for one in page["items"] if not one["expired"]]
    if alive:
        dead = [one for one in page["items"] if one["expired"]]
        bare = [{"cidr": one["cidr"]} for one in alive]
        assert admin.ok("PUT", PATH, {"items": [*bare, *dead]})["version"] == page["version"]
        cleared = admin.ok("PUT", PATH, {"entries": [{**one, "label": None, "expires_at": None} for one in bare]})
        assert {(one["label"], one["expires_at"]) for one in cleared["after"]} <= {(None, None)}
        told = [one for one in alive if one["label"] is not None or one["expires_at"] is not None]
        assert {one["id"] for one in cleared["after"]} == {one["id"] for one in told}


def test_a_part_of_a_list_is_not_taken_for_the_list(admin: Caller) -> None:
    admin.ok("POST", PATH, {"cidrs": "1.1.1.0/24, 8.8.8.0/24, 9.9.9.0/24"})
    pages: list[Any] = []
    while not pages or pages[-1]["next_cursor"] is not None:
        cursor = f"&cursor={pages[-1]['next_cursor']}" if pages else ""
        response = admin("GET", f"{PATH}?limit=1{cursor}")
        page = response.json()
        pages.append(page)
        assert page["complete"] is False
        for part in (page, {**page, "next_cursor": None}, {**page, "items": []}):
            for tag in (page["etag"], response.headers["ETag"]):
                refused = admin.problem(422, "PUT", PATH, part, If_Match=tag)
                assert "one of several pages of the list: read all of them" in refused["detail"]
    assert len(pages) == 3
    whole = admin.ok("GET", PATH)
    assert (whole["complete"], len(whole["items"])) == (True, 3)
    joined = {"items": [item for page in pages for item in page["items"]]}
    for all_of_it in (whole, joined, {**pages[0], **joined, "complete": True, "next_cursor": None}):
        assert admin.ok("PUT", PATH, all_of_it, If_Match=pages[-1]["etag"])["version"] == whole["version"]
    for wrong in (None, "true", 1):
        [error] = admin.problem(422, "PUT", PATH, {**whole, "complete": wrong})["errors"]
        assert (error["pointer"], error["code"]) == ("/complete", "wrong_type")


def test_an_empty_list_is_whole(admin: Caller) -> None:
    page = admin.ok("GET", PATH)
    assert (page["items"], page["complete"], page["next_cursor"]) == ([], True, None)


@pytest.mark.parametrize(
    "wrong", [{"dry_run": True}, {"item": []}, {"items": [{"cidr": "8.8.8.0/24", "expires": None}]}]
)
def test_what_no_page_has_is_refused_still(admin: Caller, wrong: Any) -> None:
    page = admin.ok("GET", PATH)
    refused = admin.problem(422, "PUT", PATH, {**page, **wrong})
    assert [one["code"] for one in refused["errors"]] == ["unknown"]


def test_every_member_of_a_page_is_taken() -> None:
    assert EntryPageModel.model_fields.keys() <= EntriesReplaceModel.model_fields.keys()
    item = EntryPageModel.model_fields["items"].annotation.__args__[0]  # type: ignore[union-attr]
    assert item.model_fields.keys() <= EntryItemModel.model_fields.keys()


def test_the_list_of_another_account_can_be_sent_too(admin: Caller) -> None:
    admin.ok("POST", PATH, {"cidrs": "8.8.8.0/24", "label": "dns"})
    page = admin.ok("GET", PATH)
    [copied] = admin.ok("PUT", "/v1/accounts/acct-2/entries", page)["after"]
    assert (copied["cidr"], copied["label"], copied["account"]) == ("8.8.8.0/24", "dns", "acct-2")
    assert copied["id"] != page["items"][0]["id"]


def test_problems_are_about_what_was_sent_and_what_is_over_counts_for_nothing(api: Api, admin: Caller) -> None:
    past = NOW - timedelta(days=30)
    fill(api, [("9.9.0.0/24", None, past), ("9.9.1.0/24", "x", None)])
    items = admin.ok("GET", PATH)["items"]
    wrong = [items[0], {"cidr": "8.8.8.8"}, items[1], {"cidr": "9.9.1.0/25"}]
    refused = admin.problem(422, "PUT", PATH, {"items": wrong})
    assert [(one["pointer"], one["code"]) for one in refused["errors"]] == [
        ("/items/1/cidr", "invalid_format"),
        ("/items/3/cidr", "subset_exists"),
    ]
    # An entry that has expired is no entry of a new list, unless it is there with this very expiry.
    other = {**items[0], "expires_at": (past + timedelta(seconds=1)).isoformat()}
    assert admin.problem(422, "PUT", PATH, {"items": [other, items[1]]})["code"] == "invalid_expiry"
    new = {"cidr": "9.9.2.0/24", "expires_at": past.isoformat()}
    assert admin.problem(422, "PUT", PATH, {"entries": [new]})["code"] == "invalid_expiry"
    # Its label can be changed, as the edit of an expired entry can.
    [named] = admin.ok("PUT", PATH, {"items": [{**items[0], "label": "gone"}, items[1]]})["after"]
    assert (named["label"], named["expired"]) == ("gone", True)


def test_only_expired_entries_left_is_no_open_account(api: Api, admin: Caller) -> None:
    fill(api, [("9.9.0.0/24", None, NOW - timedelta(days=30)), ("9.9.1.0/24", None, None)])
    expired = [one for one in admin.ok("GET", PATH)["items"] if one["expired"]]
    refused = admin.problem(409, "PUT", f"{PATH}?confirm=lock_out", {"items": expired})
    assert refused["code"] == "would_disable_enforcement"
