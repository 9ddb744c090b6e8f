"""What the pages of the console tell of entries and modes that a change would bring, take or alter."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.entry_details import VALUES
from tests.service.test_console_access import sign_in
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.service.conftest import Api

WORDS: dict[str, tuple[str, str]] = {
    "label": ("office", "home"),
    "expires_at": ("expires 2999-01-01 00:00 UTC", "expires 2999-12-31 23:59 UTC"),
    "enabled": ("disabled", "enabled"),
}
"""What a page says for each of the two values in `VALUES`."""


def rows(api: Api, way: str, at: int) -> list[str]:
    """The rows of the page of a way back, as text."""
    page = api.client.get(f"/console/list/{way}?account=acct-1&at={at}").text
    found = re.findall(r"<tr.*?</tr>", page.partition("<caption")[2], re.DOTALL)
    return [" ".join(html.unescape(re.sub(r"<[^>]*>", " ", row)).split()) for row in found]


def last(api: Api) -> int:
    return api.manager.history("acct-1")[0].sequence


def test_every_detail_has_words() -> None:
    assert WORDS.keys() == VALUES.keys()


@pytest.mark.parametrize("detail", VALUES)
def test_a_way_back_tells_what_an_entry_was_and_would_be(api: Api, detail: str) -> None:
    (first, second), (said, then) = VALUES[detail], WORDS[detail]
    change: dict[str, Any] = {detail: second}
    api.manager.add("acct-1", ["8.8.8.0/24", "9.9.9.0/24"])
    api.manager.edit("acct-1", "8.8.8.0/24", **{detail: first})
    edited = last(api)
    sign_in(api, api.token("admin"))
    api.manager.edit("acct-1", "8.8.8.0/24", **change)
    [row] = rows(api, "undo", last(api))
    assert row.startswith("Changes 8.8.8.0/24")
    old, new = row.split("→")
    assert said in new
    assert said not in old
    api.manager.edit("acct-1", "8.8.8.0/24", **{detail: first})
    [row] = rows(api, "restore", last(api) - 1)
    old, new = row.split("→")
    assert said in old
    assert then in new
    api.manager.remove("acct-1", "8.8.8.0/24")
    [row] = rows(api, "restore", edited)
    assert row.startswith("Comes back 8.8.8.0/24")
    assert said in row
    api.manager.restore("acct-1", to_sequence=edited, confirmed=["disable_enforcement"])
    [row] = rows(api, "restore", last(api) - 1)
    assert row.startswith("Goes 8.8.8.0/24")
    assert said in row


def test_an_end_that_would_be_taken_away_is_told(api: Api) -> None:
    api.manager.add("acct-1", "8.8.8.0/24")
    api.manager.edit("acct-1", "8.8.8.0/24", expires_at=datetime(2999, 1, 1, tzinfo=UTC))
    sign_in(api, api.token("admin"))
    [row] = rows(api, "undo", last(api))
    assert row.endswith("expires 2999-01-01 00:00 UTC → becomes 8.8.8.0/24 never expires")


def test_other_pages_tell_what_an_entry_is(api: Api) -> None:
    """An entry that another would replace, and one that is deleted."""
    details = {name: values[0] for name, values in VALUES.items()}
    api.manager.add("acct-1", "9.9.9.0/24")
    api.manager.add("acct-1", "8.8.8.0/24", **details)
    api.manager.set_mode("acct-1", "report_only", confirmed=["disable_enforcement"])
    csrf = sign_in(api, api.token("admin"))
    listed = {entry.cidr: entry.id for entry in api.manager.entries("acct-1")}
    form = {"account": "acct-1", "csrf": csrf, "version": f"{api.manager.account('acct-1').version}"}
    replacing = {**form, "cidrs": "8.8.0.0/16", "way": f"replaces {listed['8.8.8.0/24']}"}
    page = api.client.post("/console/list/add/rewrite", data=replacing).text
    giving_way = page.partition("Removed in the same step")[2].partition("</fieldset>")[0]
    for said, _ in WORDS.values():
        assert said in giving_way
    api.manager.set_mode("acct-1", "enforce")
    api.manager.edit("acct-1", "9.9.9.0/24", enabled=False, confirmed=["disable_enforcement"])
    api.manager.remove("acct-1", "9.9.9.0/24", confirmed=["disable_enforcement"])
    form["version"] = f"{api.manager.account('acct-1').version}"
    page = api.client.post("/console/list/remove", data={**form, "entry": f"{listed['8.8.8.0/24']}"}).text
    assert "Delete 8.8.8.0/24 (office; disabled; expires 2999-01-01 00:00 UTC)?" in page


def test_a_mode_that_has_ended_is_not_told_as_the_one_of_now(api: Api) -> None:
    api.manager.add("acct-1", "8.8.8.0/24")
    end = datetime(2199, 1, 31, 18, tzinfo=UTC)
    api.manager.set_mode("acct-1", "off", until=end, confirmed=["disable_enforcement"])
    at = last(api)
    sign_in(api, api.token("admin"))
    [row] = rows(api, "undo", at)
    assert row == "Changes Mode: pause until 2199-01-31 18:00 UTC → becomes enforce"
    api.manager.set_mode("acct-1", "enforce")
    api.manager.set_mode(
        "acct-1", "off", until=datetime.now(UTC) + timedelta(seconds=1), confirmed=["disable_enforcement"]
    )
    at = last(api)
    eventually(lambda: api.manager.account("acct-1").mode_at() == "enforce")
    assert rows(api, "undo", at) == []
    assert "pause until" not in api.client.get(f"/console/list/undo?account=acct-1&at={at}").text
