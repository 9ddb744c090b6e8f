"""Who gets in: every route, for everybody who may not use it. A route that is not in the table fails the tests."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cidrgate.service.auth.values import Scope
from tests.observed import store_observed
from tests.rows import rows

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tests.service.conftest import Api

# What each route asks for: nothing, any token, the scope admin, the account of the path to read or to write, or a
# session of one's own.
NEEDS = {
    "GET /healthz": "nothing",
    "GET /readyz": "nothing",
    "GET /metrics": "admin",
    "GET /problems/{code}": "nothing",
    "GET /v1/me": "token",
    "GET /v1/changes": "admin",
    "GET /v1/changes/stream": "admin",
    "GET /v1/entries": "admin",
    "PUT /v1/lists": "admin",
    "GET /v1/policy": "token",
    "PUT /v1/policy": "admin",
    "GET /v1/tokens": "admin",
    "POST /v1/tokens": "admin",
    "POST /v1/links": "admin",
    "GET /v1/tokens/{token_id}": "admin",
    "DELETE /v1/tokens/{token_id}": "admin",
    "GET /v1/sessions": "token",
    "DELETE /v1/sessions/{session_id}": "session",
    "GET /v1/accounts": "token",
    "POST /v1/accounts": "admin",
    "GET /v1/accounts/{account_name}": "read",
    "PATCH /v1/accounts/{account_name}": "admin",
    "DELETE /v1/accounts/{account_name}": "admin",
    "PUT /v1/accounts/{account_name}/mode": "write",
    "GET /v1/accounts/{account_name}/policy": "read",
    "PUT /v1/accounts/{account_name}/policy": "admin",
    "GET /v1/accounts/{account_name}/subaccounts": "read",
    "POST /v1/accounts/{account_name}/subaccounts": "admin",
    "GET /v1/accounts/{account_name}/entries": "read",
    "POST /v1/accounts/{account_name}/entries": "write",
    "PUT /v1/accounts/{account_name}/entries": "write",
    "DELETE /v1/accounts/{account_name}/entries": "write",
    "GET /v1/accounts/{account_name}/entries/{entry_id}": "read",
    "PATCH /v1/accounts/{account_name}/entries/{entry_id}": "write",
    "DELETE /v1/accounts/{account_name}/entries/{entry_id}": "write",
    "GET /v1/accounts/{account_name}/check": "read",
    "GET /v1/accounts/{account_name}/explain": "read",
    "POST /v1/accounts/{account_name}/preview": "read",
    "GET /v1/accounts/{account_name}/history": "read",
    "GET /v1/accounts/{account_name}/recommendation": "read",
    "POST /v1/accounts/{account_name}/restore": "write",
    "POST /v1/accounts/{account_name}/history/{sequence}/undo": "write",
}
BODIES = {
    "POST /v1/tokens": {"name": "new", "scopes": ["metrics"]},
    "POST /v1/links": {"name": "new", "scopes": ["account:acct-1:write"]},
    "POST /v1/accounts": {"name": "new"},
    "PUT /v1/lists": {"accounts": {"acct-1": {"entries": [{"cidr": "8.8.8.0/24"}]}}},
    "PUT /v1/policy": {"max_entries": 20},
    "PATCH /v1/accounts/{account_name}": {"display_name": "new"},
    "PUT /v1/accounts/{account_name}/mode": {"mode": "enforce", "closed": True},
    "PUT /v1/accounts/{account_name}/policy": {"max_entries": 20},
    "POST /v1/accounts/{account_name}/subaccounts": {"name": "new"},
    "POST /v1/accounts/{account_name}/entries": {"cidrs": "9.9.9.0/24"},
    "PUT /v1/accounts/{account_name}/entries": {"cidrs": "9.9.9.0/24"},
    "PATCH /v1/accounts/{account_name}/entries/{entry_id}": {"label": "new"},
    "POST /v1/accounts/{account_name}/preview": {"change": "add", "cidrs": "9.9.9.0/24"},
    "POST /v1/accounts/{account_name}/restore": {"to_sequence": 1},
}
WITH_TOKEN = [route for route, needs in NEEDS.items() if needs != "nothing"]


def routes(app: FastAPI) -> list[str]:
    """The routes an application has, but for those of the console."""
    document = app.openapi()
    return [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]


def filled(route: str, account: str = "acct-1") -> tuple[str, str]:
    """The method and a path of a route."""
    method, _, path = route.partition(" ")
    names = {"account_name": account, "entry_id": "1", "token_id": "1", "session_id": "0" * 16, "code": "not_found"}
    names["sequence"] = "2"
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    if path.endswith(("check", "explain")):
        path += "?address=8.8.8.8"
    elif route.startswith("DELETE") and path.endswith("/entries"):
        path += "?entry_ids=1"
    elif route == "GET /v1/entries":
        path += "?covers=8.8.8.8"
    elif route == "DELETE /v1/accounts/{account_name}":
        path += "?recursive=true&confirm=disable_enforcement"
    return method, path


@pytest.fixture
def listed(api: Api) -> Api:
    """With an entry in the list of each account, and a request of each in the past."""
    for account in ("acct-1", "acct-2"):
        api.manager.add(account, "8.8.8.0/24")
        store_observed(api.manager, (account, "8.8.8.8/32", 1))
    return api


def test_the_table_holds_every_route(api: Api) -> None:
    assert sorted(routes(api.app)) == sorted(NEEDS)


def test_every_path_of_the_application_is_known(api: Api) -> None:
    """Nothing is reached that is neither in the table, nor the console's, nor the document itself."""
    paths = {getattr(route, "path_format", getattr(route, "path", "?")) for route in all_routes(api.app)}
    table = {route.partition(" ")[2] for route in NEEDS}
    rest = {path for path in paths if path not in table and path != "/" and not path.startswith("/console")}
    assert rest == {"/openapi.json"}


def all_routes(app: FastAPI) -> list[object]:
    found: list[object] = []
    waiting: list[object] = list(app.routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "original_router", None) or (None if hasattr(route, "path") else route)
        if inner is None or not hasattr(inner, "routes"):
            found.append(route)
        else:
            waiting += inner.routes
    return found


@rows("route", WITH_TOKEN)
@pytest.mark.parametrize("sent", [None, "Bearer wrong", "Bearer ", "Basic YTpi", "revoked", "altered"])
def test_nobody_gets_in_without_a_token_that_is_good(listed: Api, route: str, sent: str | None) -> None:
    if sent == "revoked":
        made = listed.credentials.create_token("gone", [Scope("admin")])
        listed.credentials.revoke_token(made.token.id)
        sent = f"Bearer {made.secret}"
    elif sent == "altered":
        token = listed.token("admin")
        sent = f"Bearer {token[:-2]}{'A' if token[-2] != 'A' else 'B'}{token[-1]}"
    method, path = filled(route)
    headers = {} if sent is None else {"Authorization": sent}
    response = listed.client.request(method, path, json=BODIES.get(route), headers=headers)
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"


@rows("route", WITH_TOKEN)
def test_the_token_of_another_account_learns_nothing(listed: Api, route: str) -> None:
    """What it is told of an account is what it is told of one that does not exist, but for the name it sent."""
    needs = NEEDS[route]
    other = listed.caller("account:acct-2:write")
    method, path = filled(route)
    response = other(method, path, BODIES.get(route))
    if needs == "token":
        assert response.status_code == 200
        assert "acct-1" not in response.text
        assert "sub-1" not in response.text
    elif needs == "session":
        assert response.status_code == 404
    elif needs == "admin":
        assert response.status_code == 403
        assert "acct-1" not in response.text
    else:
        assert response.status_code == 404
        method, path = filled(route, "nobody")
        missing = other(method, path, BODIES.get(route))
        assert missing.status_code == 404
        assert response.text == missing.text.replace("nobody", "acct-1")
        own = {name: response.headers[name] for name in ("content-length", "x-request-id") if name in response.headers}
        assert own["content-length"] == str(len(response.content))
        assert dict(response.headers) == {**missing.headers, **own}


@rows("route", WITH_TOKEN)
@pytest.mark.parametrize("account", ["acct-1", "sub-1"])
def test_a_token_that_reads_changes_nothing(listed: Api, route: str, account: str) -> None:
    reader = listed.caller("account:acct-1:read")
    before, known = listed.manager.history(), len(listed.credentials.tokens())
    method, path = filled(route, account)
    response = reader(method, path, BODIES.get(route))
    expected = {"read": {200}, "token": {200}, "write": {403}, "admin": {403}, "session": {404}}[NEEDS[route]]
    if account == "sub-1" and route.endswith(("preview", "recommendation")):
        expected = {409}
    assert response.status_code in expected, response.text
    assert listed.manager.history() == before
    assert len(listed.credentials.tokens()) == known


@pytest.mark.parametrize("route", NEEDS)
def test_who_may_gets_in(listed: Api, route: str) -> None:
    """The smallest scope there is for a route is enough."""
    needs = NEEDS[route]
    listed.token("metrics")
    scopes = {"read": "account:acct-1:read", "write": "account:acct-1:write", "admin": "admin"}
    scope = "metrics" if route == "GET /metrics" else scopes.get(needs, "metrics")
    method, path = filled(route)
    caller = listed.caller(scope)
    if needs == "session":
        token = listed.credentials.authenticate(caller.token or "")
        assert token is not None
        session = listed.credentials.session(listed.credentials.begin_session(token, lifetime=timedelta(hours=1)))
        assert session is not None
        path = path.replace("0" * 16, session.id)
    if path.endswith("/undo"):
        listed.manager.add("acct-1", "4.4.4.0/24")
        path = path.replace("/2/", f"/{listed.manager.history('acct-1', limit=1)[0].sequence}/")
    response = caller(method, path, BODIES.get(route))
    assert response.status_code < 300, response.text


def test_what_is_stored_is_what_is_asked_each_time(api: Api) -> None:
    """A token that is revoked is useless from the next request on."""
    made = api.credentials.create_token("short", [Scope("admin")])
    caller = api.at("198.51.100.7", made.secret)
    assert caller("GET", "/v1/me").status_code == 200
    api.credentials.revoke_token(made.token.id)
    assert caller("GET", "/v1/me").status_code == 401
