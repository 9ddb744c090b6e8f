"""Every route of the console, and who may not use it: by a table that a new route cannot be missing from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount

from cidrgate import RuleManager
from cidrgate.service import create_app

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tests.service.conftest import Api

PUBLIC = {"/", "/sign-in", "/link/{secret}"}
ANYBODY = {"/accounts", "/sign-out", "/sessions", "/sessions/end"}
ADMIN = {"/accounts/new", "/accounts/edit", "/accounts/delete", "/tokens", "/tokens/new", "/tokens/revoke"}
READ = {"/list", "/list/row", "/list/recommendation", "/test", "/history", "/subaccounts"}
WRITE = {
    "/list/add",
    "/list/add/check",
    "/list/add/rewrite",
    "/list/edit",
    "/list/edit/check",
    "/list/edit/rewrite",
    "/list/remove",
    "/list/enable",
    "/list/mode",
    "/list/recommendation/take",
    "/list/restore",
    "/list/undo",
}
FIELDS = {"entry": "1", "version": "0", "at": "1", "way": "0", "token": "1", "cidrs": "8.8.8.0/24", "name": "new"}


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of each of the console's routes."""
    waiting: list[object] = [route.app for route in app.routes if isinstance(route, Mount) and route.path == "/console"]
    found = set()
    while waiting:
        route = waiting.pop()
        if isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods or ()}
        # A router that is included is kept as it is.
        waiting += getattr(getattr(route, "original_router", route), "routes", None) or []
    return sorted(found)


def every_route() -> list[tuple[str, str]]:
    with RuleManager.open("memory://") as manager:
        return routes(create_app(manager))


ROUTES = every_route()


def ask(api: Api, method: str, path: str, account: str, csrf: str = "") -> int:
    data = {**FIELDS, "account": account, "csrf": csrf}
    if method == "GET":
        return api.client.get(f"/console{path}", params=data).status_code
    return api.client.post(f"/console{path}", data=data).status_code


def sign_in(api: Api, token: str) -> str:
    """Sign somebody in; what their forms carry."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    api.client.post("/console/sign-in", data={"token": token}, headers=headers)
    page = api.client.get("/console/accounts?q=a").text
    proofs: set[str] = set(re.findall(r'name="csrf" value="([0-9a-f]{64})"', page))
    [proof] = proofs
    return proof


def test_every_route_is_in_the_table() -> None:
    assert {path for _, path in ROUTES} == PUBLIC | ANYBODY | ADMIN | READ | WRITE


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] not in PUBLIC])
def test_who_may_not(api: Api, method: str, path: str) -> None:
    api.manager.add("acct-1", "1.1.1.1/32")
    assert ask(api, method, path, "acct-1") == (303 if method == "GET" else 401), "nobody is signed in"
    proof = sign_in(api, api.token("admin"))
    if method == "POST":
        assert ask(api, method, path, "acct-1", "0" * 64) == 403, "no proof"
    if path in ANYBODY:
        return
    proof = sign_in(api, api.token_of_old("account:acct-1:read", "account:gone:read"))
    assert ask(api, method, path, "acct-1", proof) == (200 if path in READ else 403), "a reader"
    assert ask(api, method, path, "acct-2", proof) == (403 if path in ADMIN else 404), "another's account"
    assert ask(api, method, path, "nobody", proof) == (403 if path in ADMIN else 404), "no account at all"
    assert [entry.cidr for entry in api.manager.entries("acct-1")] == ["1.1.1.1/32"]


def test_no_link_makes_a_page_say_that_something_was_done(api: Api) -> None:
    """A notice is about a row of the change log, and about one that did it."""
    api.manager.create_account("gone")
    api.manager.create_account("again")
    csrf = sign_in(api, api.token("admin"))
    made = {}
    for name in ("gone", "again"):
        form = {"account": name, "version": "0", "csrf": csrf}
        answer = api.client.post("/console/accounts/delete", data=form)
        made[name] = api.client.get(answer.headers["location"]).text
        assert f'The account <strong class="breakable">{name}</strong> was deleted.' in made[name]
    gone, again = (api.manager.history(name)[0].sequence for name in ("gone", "again"))
    api.manager.create_account("again")
    for query in ("deleted=Call+555", f"done={gone - 1}", f"done={again}", f"done={again + 100}", f"done={2**62}"):
        page = api.client.get(f"/console/accounts?{query}").text
        assert ("was deleted" in page, 'role="status"' in page, "Call 555" in page) == (False, False, False), query
    sign_in(api, api.token_of_old("account:acct-1:read", "account:other:read"))
    assert "gone" not in api.client.get(f"/console/accounts?q=a&done={gone}").text
    for query in (f"done={gone}", f"done={2**62}", "deleted=x"):
        assert 'role="status"' not in api.client.get(f"/console/list?account=acct-1&{query}").text
