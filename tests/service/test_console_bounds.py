"""Whatever a page of the console offers, the service accepts."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest

from cidrgate.rules.format_hints import format_hint
from cidrgate.service.console.fields import MOST_IDS
from cidrgate.service.http.limits import MOST_FIELDS
from tests.service.test_console_forms import sent, sign_in

if TYPE_CHECKING:
    from tests.service.conftest import Api


def test_each_account_has_its_limit_on_every_page(api: Api) -> None:
    limits = {"acct-1": 2, "large": 500, "usual": None}
    for name, limit in limits.items():
        if name != "acct-1":
            api.manager.create_account(name)
        if limit:
            api.manager.set_policy(name, max_entries=limit)
    api.manager.add("large", ", ".join(f"8.8.{number}.0/25" for number in range(61)))
    sign_in(api)
    accounts = api.client.get("/console/accounts").text
    for name in limits:
        said = f"{len(api.manager.entries(name))} of {api.manager.policy_state(name).effective.max_entries} entries"
        [row] = [row for row in re.findall(r"<tr>.*?</tr>", accounts, re.DOTALL) if f">{name}</a>" in row]
        assert said in row
        assert said in api.client.get(f"/console/list?account={name}").text


def replaced(page: str) -> list[str]:
    return re.findall(r'name="replaces" value="(\d+)"', page)


@pytest.mark.parametrize("number", [3, MOST_IDS // 80, MOST_IDS // 80 + 1])
def test_many_entries_are_put_out_of_their_place(api: Api, number: int) -> None:
    """Each typed network covers 80 entries, and one click after another replaces them."""
    api.manager.set_policy("acct-1", max_entries=80 * number)
    networks = [f"20.{block}.0.0/16" for block in range(number)]
    api.manager.add("acct-1", ", ".join(f"20.{at}.{inner}.0/24" for at in range(number) for inner in range(0, 160, 2)))
    sign_in(api)
    page = api.client.get("/console/list/add", params={"account": "acct-1", "cidrs": ", ".join(networks)}).text
    data: dict[str, str | list[str]] = {**sent(page, "list/add"), "cidrs": "\n".join(networks)}
    while ways := re.findall(r'name="way" value="(replaces [^"]+)"', page):
        answer = api.client.post("/console/list/add/rewrite", data=data | {"replaces": replaced(page), "way": ways[0]})
        assert answer.status_code == 200, answer.text
        page = answer.text
    data["replaces"] = replaced(page)
    checked = api.client.post("/console/list/add/check", data=data)
    assert checked.status_code == 200
    if 80 * number > MOST_IDS:
        assert "problem" in checked.text
        assert "Leave it out" in checked.text
        return
    assert api.client.post("/console/list/add", data=data).status_code == 303
    assert [entry.cidr for entry in api.manager.entries("acct-1")] == networks


def test_a_form_has_room_for_its_ids() -> None:
    assert MOST_IDS + 50 <= MOST_FIELDS


@pytest.mark.parametrize("text", ["2606:4700::1-2606:4700:ffff:ffff:ffff:ffff:ffff:fffe", "1.0.0.1-200.255.255.254"])
def test_the_longest_correction_can_be_chosen(api: Api, text: str) -> None:
    assert format_hint(text).alternatives is not None
    sign_in(api)
    page = api.client.get("/console/list/add", params={"account": "acct-1", "cidrs": text}).text
    data = {**sent(page, "list/add"), "cidrs": text}
    ways = [html.unescape(way) for way in re.findall(r'name="way" value="([^"]*)"', page)]
    assert ways
    for way in ways:
        assert api.client.post("/console/list/add/rewrite", data=data | {"way": way}).status_code == 200, way


@pytest.mark.parametrize("letter", ["é", "中", "🎉"])
def test_people_who_sign_in_come_back_to_the_longest_search(api: Api, letter: str) -> None:
    asked = api.client.get("/console/list", params={"account": letter * 255, "q": letter * 255})
    assert asked.status_code == 303
    assert api.client.get(asked.headers["location"]).status_code == 200
