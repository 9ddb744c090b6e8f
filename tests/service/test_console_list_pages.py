"""The pages of a list in the console: a page of entries, a search, and the way back after a change."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from cidrgate import NewEntry
from cidrgate.service.console.list_pages import A_PAGE, ListPage, found_entries
from tests.service.test_console_forms import sent, sign_in

if TYPE_CHECKING:
    from cidrgate import Entry
    from tests.service.conftest import Api

_LISTED = {
    "8.8.8.0/24": "Office München",
    "8.8.9.1/32": None,
    "9.9.0.0/16": "Rechenzentrum 8.8.8.8",
    "18.8.8.8/32": None,
    "2606:4700::/32": "office",
}

FOUND = {
    "": list(_LISTED),
    "8.8.8.8": ["8.8.8.0/24", "9.9.0.0/16"],  # covers, or names
    "8.8.8.0/24": ["8.8.8.0/24"],
    "8.0.0.0/8": ["8.8.8.0/24", "8.8.9.1/32"],
    "8.8.8.9/30": ["8.8.8.0/24"],
    "8.8.8.9-8.8.9.2": ["8.8.8.0/24", "8.8.9.1/32"],
    "9.9.1.0 255.255.255.0": ["9.9.0.0/16"],
    "9.9.1.*": ["9.9.0.0/16"],
    "8.8": ["8.8.8.0/24", "8.8.9.1/32", "9.9.0.0/16"],
    "2606:4700:1::1": ["2606:4700::/32"],
    "2606:": ["2606:4700::/32"],
    "OFFICE": ["8.8.8.0/24", "2606:4700::/32"],
    "MÜNCHEN": ["8.8.8.0/24"],
    "::/0": ["2606:4700::/32"],
    "1.2.3.4": [],
    "%": [],
}


def fill(api: Api, number: int, **policy: int) -> list[Entry]:
    """Give acct-1 a list of so many entries."""
    api.manager.set_policy("acct-1", max_entries=number + 10)
    cidrs = [f"20.{index >> 8}.{index & 255}.0/24" for index in range(0, 2 * number, 2)]
    api.manager.add("acct-1", [NewEntry(cidr, label=f"site {at}") for at, cidr in enumerate(cidrs)])
    return api.manager.entries("acct-1")


def shown(page: str) -> list[str]:
    return re.findall(r'<code class="cidr">([^<]+)</code>', page)


def links(page: str) -> dict[str, str]:
    """The links to other pages of the list."""
    [nav] = re.findall(r'<nav class="pages".*?</nav>', page, re.DOTALL)
    return {name: html.unescape(path) for path, name in re.findall(r'href="([^"]+)">([^<]+)<', nav)}


@pytest.mark.parametrize("sought", FOUND)
def test_what_a_search_finds(api: Api, sought: str) -> None:
    api.manager.add("acct-1", [NewEntry(cidr, label=label) for cidr, label in _LISTED.items()])
    entries = api.manager.entries("acct-1")
    assert [entry.cidr for entry in found_entries(entries, sought)] == FOUND[sought]
    sign_in(api)
    page = api.client.get("/console/list", params={"account": "acct-1", "q": f" {sought} "}).text
    assert shown(page) == FOUND[sought]


def test_each_entry_is_on_its_page(api: Api) -> None:
    entries = fill(api, 2 * A_PAGE + 50)
    assert [len(ListPage.of(entries, number).entries) for number in (1, 2, 3, 4, 2**63 - 1)] == [100, 100, 50, 50, 50]
    for place, entry in enumerate(entries):
        page = ListPage.around(entries, [entry])
        assert entry in page.entries
        assert page.first <= place + 1 < page.first + A_PAGE


def test_a_long_list_comes_in_pages(api: Api) -> None:
    entries = fill(api, 2 * A_PAGE + 50)
    cidrs = [entry.cidr for entry in entries]
    sign_in(api)
    path, seen = "/console/list?account=acct-1", []
    while path:
        page = api.client.get(path).text
        assert f"of {len(cidrs)}" in page
        assert len(page) < 150_000
        assert page.count("csrf") <= 5, "a row has a form or a secret"
        seen += shown(page)
        path = links(page).get("Next page", "")
    assert seen == cidrs
    assert links(page).keys() == {"First page", "Previous page"}
    assert shown(api.client.get(links(page)["Previous page"]).text) == cidrs[100:200]
    assert shown(api.client.get(links(page)["First page"]).text) == cidrs[:100]
    assert shown(api.client.get(f"/console/list?account=acct-1&entry={entries[120].id}").text) == cidrs[100:200]
    assert shown(api.client.get("/console/list?account=acct-1&entry=999999").text) == cidrs[:100]


def test_the_pages_of_a_search_keep_it(api: Api) -> None:
    entries = fill(api, 2 * A_PAGE + 50)
    sign_in(api)
    page = api.client.get("/console/list?account=acct-1&q=SITE 1").text
    wanted = [entry.cidr for entry in entries if "site 1" in (entry.label or "")]
    assert len(wanted) == 111
    assert shown(page) == wanted[:100]
    assert shown(api.client.get(links(page)["Last page"]).text) == wanted[100:]
    assert shown(api.client.get("/console/list?account=acct-1&q=nothing like that").text) == []
    for odd in ("page=0", "page=x", "page=-1", f"q={'x' * 300}", "q=%00", "entry=0"):
        assert api.client.get(f"/console/list?account=acct-1&{odd}").status_code == 422, odd


CHANGES = {
    "list/remove": ({}, ""),
    "list/enable": ({"enabled": "no"}, ""),
    "list/edit": ({"label": "site renamed"}, r"list/edit\?account=acct-1&amp;entry={entry}\b"),
    "list/add": ({"cidrs": "20.1.25.0/24"}, r"list/add\?account=acct-1"),
}


@pytest.mark.parametrize("sought", ["", "site", "20.1.0.0/16"])
@pytest.mark.parametrize("path", CHANGES)
def test_after_a_change_the_page_with_it_is_shown(api: Api, path: str, sought: str) -> None:
    entries = fill(api, 2 * A_PAGE)
    entry = entries[140]
    sign_in(api)
    home = api.client.get("/console/list", params={"account": "acct-1", "q": sought, "page": 2}).text
    fields, form = CHANGES[path]
    if form:
        [opened] = set(re.findall(rf'href="([^"]*/console/{form.format(entry=entry.id)}[^"]*)"', home))
        page = api.client.get(html.unescape(opened)).text
        data = sent(page, path)
    else:
        begins = r'<form hidden id="\w+" method="post"'
        forms = re.findall(rf'{begins} action="[^"]*/console/{path}".*?</form>', home, re.DOTALL)
        data = dict(re.findall(r'name="(\w+)" value="([^"]*)"', forms[0])) | {"entry": str(entry.id)}
    made = api.client.post(f"/console/{path}", data=data | fields)
    assert made.status_code == 303, made.text
    query = parse_qs(urlsplit(made.headers["location"]).query)
    assert query.get("q", [""]) == [sought]
    after = api.client.get(made.headers["location"]).text
    expected = "20.1.25.0/24" if path == "list/add" else entries[139].cidr
    hidden = path == "list/add" and sought == "site"
    assert (expected in shown(after)) is not hidden
    assert ("#entry-" in after) is (path != "list/remove"), "the notice leads to the entry"
    if hidden:
        [way] = re.findall(r'href="([^"]+)#entry-\d+"', after)
        assert expected in shown(api.client.get(html.unescape(way)).text)


def test_a_conflict_leads_to_what_is_listed(api: Api) -> None:
    entries = fill(api, 2 * A_PAGE)
    sign_in(api)
    for typed, wanted in {
        "20.1.24.0/24": ["20.1.24.0/24"],
        "20.1.24.7/32": ["20.1.24.0/24"],
        "20.1.24.0/22": ["20.1.24.0/24", "20.1.26.0/24"],
    }.items():
        page = api.client.get("/console/list/add", params={"account": "acct-1", "cidrs": typed}).text
        [way] = re.findall(r'href="([^"]+)" target="_blank"[^>]*>Show what is listed', page)
        assert shown(api.client.get(html.unescape(way)).text) == wanted
    for typed in ("30.1.1.1", "30.0.0.0/24, 30.0.0.1/32", "10.0.0.0/8"):
        page = api.client.get("/console/list/add", params={"account": "acct-1", "cidrs": typed}).text
        assert "Show what is listed" not in page, typed
    narrower = {"account": "acct-1", "entry": f"{entries[0].id}", "cidr": "20.0.2.0/25"}
    assert "Show what is listed" in api.client.get("/console/list/edit", params=narrower).text


def test_a_long_difference_names_the_first_entries(api: Api) -> None:
    fill(api, 2 * A_PAGE)
    [last] = api.manager.history("acct-1", limit=1)
    sign_in(api)
    page = api.client.get(f"/console/list/undo?account=acct-1&at={last.sequence}").text
    assert page.count('class="goes"') == A_PAGE
    assert "and 100 more" in page
