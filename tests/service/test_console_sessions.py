"""Who is let in to the console, and that nobody acts in somebody else's name."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from cidrgate.service.auth.values import Scope

if TYPE_CHECKING:
    from httpx2 import Response

    from tests.service.conftest import Api


OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
"""What a browser says of a form on one of the console's own pages."""


def sign_in(api: Api, token: str) -> Response:
    return api.client.post("/console/sign-in", data={"token": token}, headers=OWN_PAGE)


def proof(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def test_a_token_signs_in_and_out(api: Api) -> None:
    for path in ("/", "/console"):
        assert api.client.get(path).headers["location"] == "/console/"
    assert api.client.get("/console/").headers["location"] == "/console/accounts"
    away = api.client.get("/console/accounts?q=a")
    assert (away.status_code, away.headers["location"]) == (303, "/console/sign-in?then=%2Fconsole%2Faccounts%3Fq%3Da")
    assert api.client.post("/console/sign-out").status_code == 401
    refused = sign_in(api, "nonsense")
    assert refused.status_code == 401
    assert "unknown, revoked or expired" in refused.text
    token = api.token_of_old("account:acct-1:write", "account:other:read", name="<b>Ann</b>")
    done = sign_in(api, token)
    assert (done.status_code, done.headers["location"]) == (303, "/console/accounts")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(done.headers["set-cookie"].split("; "))
    home = api.client.get("/console/list?account=acct-1")
    assert home.status_code == 200
    assert "acct-1" in home.text
    assert "acct-2" not in home.text
    assert "<b>Ann" not in home.text
    out = api.client.post("/console/sign-out", data={"csrf": proof(home.text)})
    assert out.headers["location"] == "/console/sign-in"
    assert api.client.get("/console/accounts").status_code == 303


def test_a_form_without_proof_changes_nothing(api: Api) -> None:
    sign_in(api, api.token("admin"))
    right = proof(api.client.get("/console/accounts").text)
    for data in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": right[:-1]}):
        assert api.client.post("/console/sign-out", data=data).status_code == 403
    assert api.client.get("/console/accounts").status_code == 200
    assert api.client.post("/console/sign-out", data={"csrf": right}).status_code == 303


def test_the_proof_is_of_one_session(api: Api) -> None:
    sign_in(api, api.token("admin"))
    first = proof(api.client.get("/console/accounts").text)
    sign_in(api, api.token("admin"))
    assert proof(api.client.get("/console/accounts").text) != first
    assert api.client.post("/console/sign-out", data={"csrf": first}).status_code == 403


def test_the_cookie_is_no_token_and_a_token_is_no_cookie(api: Api) -> None:
    token = api.token("admin")
    sign_in(api, token)
    assert api.client.get("/v1/me").status_code == 401
    cookie = api.client.cookies["cidrgate_session"]
    assert api.client.get("/v1/me", headers={"Authorization": f"Bearer {cookie}"}).status_code == 401
    other = api.at("198.51.100.9").client
    other.cookies.set("cidrgate_session", token)
    assert other.get("/console/accounts").status_code == 303


def test_a_session_ends_with_its_token(api: Api) -> None:
    made = api.credentials.create_token("short", [Scope("admin")])
    sign_in(api, made.secret)
    assert api.client.get("/console/accounts").status_code == 200
    api.credentials.revoke_token(made.token.id)
    assert api.client.get("/console/accounts").status_code == 303


def test_a_link_signs_in_once(api: Api) -> None:
    secret = api.credentials.create_link("first admin", [Scope("admin")], lifetime=timedelta(hours=1))
    other = api.at("198.51.100.9").client
    assert other.get(f"/console/link/{secret}").status_code == 200  # to look at it does not use it up
    assert api.client.post(f"/console/link/{secret}").status_code == 403
    assert api.client.post(f"/console/link/{secret}", headers=OWN_PAGE).status_code == 303
    assert "first admin" in api.client.get("/console/accounts").text
    again = other.post(f"/console/link/{secret}", headers=OWN_PAGE)
    assert again.status_code == 401
    assert other.get("/console/accounts").status_code == 303
