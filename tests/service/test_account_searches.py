"""A search for names of accounts finds the same for everybody, in the console and in the API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Api

NAMES = ("MÜNCHEN-1", "München-2", "münchen-3")

FOUND = {
    "münchen": {"München-2", "münchen-3"},
    "MÜN": {"MÜNCHEN-1"},
    "mÜnCHen": {"MÜNCHEN-1"},
    "NCHEN-": set(NAMES),
    "ü": {"München-2", "münchen-3"},
    "ß": set(),
}


@pytest.mark.parametrize("scopes", [["admin"], [f"account:{name}:read" for name in NAMES]])
@pytest.mark.parametrize("sought", FOUND)
def test_what_a_search_for_names_finds(api: Api, sought: str, scopes: list[str]) -> None:
    for name in NAMES:
        api.manager.create_account(name)
    token = api.token(*scopes)
    assert {one.name for one in api.manager.accounts(containing=sought)} == FOUND[sought]
    own = {"Authorization": f"Bearer {token}"}
    listed = api.client.get("/v1/accounts", params={"containing": sought}, headers=own).json()
    assert {one["name"] for one in listed["items"]} == FOUND[sought]
    api.client.post("/console/sign-in", data={"token": token}, headers={"Sec-Fetch-Site": "same-origin"})
    page = api.client.get("/console/accounts", params={"q": sought}).text
    assert set(re.findall(r'<th scope="row"><a [^>]*>([^<]+)</a>', page)) == FOUND[sought]
