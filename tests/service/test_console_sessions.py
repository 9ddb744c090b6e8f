"""Who is let in to the console, and that nobody acts in somebody else's name."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from cidrgate.credentials import Scope

if TYPE_CHECKING:
    from httpx2 import Response

    from tests.service.conftest import Api


def sign_in(api: Api, token: str) -> Response:
    return api.client.post("/console/sign-in", data={"token": token})


def proof(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    return found[1]


def test_a_token_signs_in_and_out(api: Api) -> None:
    assert api.client.get("/").headers["location"] == "/console"
    for path in ("/console", "/console/sign-out"):
        response = api.client.request("POST" if path.endswith("out") else "GET", path)
        assert (response.status_code, response.headers["location"]) == (303, "/console/sign-in")
    refused = sign_in(api, "nonsense")
    assert refused.status_code == 401
    assert "unknown, revoked or over" in refused.text
    token = api.token("account:acct-1:write", name="<b>Ann</b>")
    done = sign_in(api, token)
    assert (done.status_code, done.headers["location"]) == (303, "/console")
    assert {"HttpOnly", "SameSite=lax", "Path=/console"} <= set(done.headers["set-cookie"].split("; "))
    home = api.client.get("/console")
    assert home.status_code == 200
    assert "acct-1" in home.text
    assert "acct-2" not in home.text
    assert "<b>Ann" not in home.text
    out = api.client.post("/console/sign-out", data={"csrf": proof(home.text)})
    assert out.headers["location"] == "/console/sign-in"
    assert api.client.get("/console").status_code == 303


def test_a_form_without_proof_changes_nothing(api: Api) -> None:
    sign_in(api, api.token("admin"))
    right = proof(api.client.get("/console").text)
    for data in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": right[:-1]}):
        refused = api.client.post("/console/sign-out", data=data)
        assert (refused.status_code, refused.json()["code"]) == (403, "no_csrf_proof")
    assert api.client.get("/console").status_code == 200
    assert api.client.post("/console/sign-out", headers={"X-CSRF-Token": right}).status_code == 303


def test_the_proof_is_of_one_session(api: Api) -> None:
    sign_in(api, api.token("admin"))
    first = proof(api.client.get("/console").text)
    sign_in(api, api.token("admin"))
    assert proof(api.client.get("/console").text) != first
    assert api.client.post("/console/sign-out", data={"csrf": first}).status_code == 403


def test_the_cookie_is_no_token_and_a_token_is_no_cookie(api: Api) -> None:
    token = api.token("admin")
    sign_in(api, token)
    assert api.client.get("/v1/me").status_code == 401
    cookie = api.client.cookies["cidrgate_session"]
    assert api.client.get("/v1/me", headers={"Authorization": f"Bearer {cookie}"}).status_code == 401
    other = api.at("198.51.100.9").client
    other.cookies.set("cidrgate_session", token)
    assert other.get("/console").status_code == 303


def test_a_session_ends_with_its_token(api: Api) -> None:
    made = api.credentials.create_token("short", [Scope("admin")])
    sign_in(api, made.secret)
    assert api.client.get("/console").status_code == 200
    api.credentials.revoke_token(made.token.id)
    assert api.client.get("/console").status_code == 303


def test_a_link_signs_in_once(api: Api) -> None:
    secret = api.credentials.create_link("first admin", [Scope("admin")], lifetime=timedelta(hours=1))
    other = api.at("198.51.100.9").client
    assert api.client.get(f"/console/link/{secret}").status_code == 303
    assert "first admin" in api.client.get("/console").text
    again = other.get(f"/console/link/{secret}")
    assert again.status_code == 401
    assert other.get("/console").status_code == 303
