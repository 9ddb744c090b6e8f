"""WSGI middleware: accounts, failures, and Werkzeug's `ProxyFix` around it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client

from cidrgate import ClientIPResolver, Gate, Matcher
from cidrgate.account_sources import FromHeader, FromPath
from cidrgate.middleware.wsgi import AllowlistMiddleware

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"the application runs"]


def a_gate(**settings: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])
    return Gate(matcher, **{"unlisted": "allow", "log": "none", **settings})


def client(account: Any = lambda environ: "acct-1", **settings: Any) -> Client:
    return Client(AllowlistMiddleware(app, a_gate(**settings), account))


def peer(address: str) -> dict[str, str]:
    return {"REMOTE_ADDR": address}


def test_a_denial_is_problem_details() -> None:
    denied = client().get("/", environ_base=peer(STRANGER))
    assert denied.status == "403 Forbidden"
    assert denied.mimetype == "application/problem+json"
    assert json.loads(denied.text)["request_id"] == denied.headers["x-request-id"]
    assert LISTED not in denied.text
    page = client().get("/", environ_base=peer(STRANGER), headers={"Accept": "text/html"})
    assert page.mimetype == "text/html"


def test_head_has_no_body() -> None:
    denied = client().head("/", environ_base=peer(STRANGER))
    assert (denied.status_code, denied.data) == (403, b"")
    assert int(denied.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "account",
    [lambda environ: "acct-1", FromHeader("X-Account"), FromPath(r"/v1/(?P<account>[^/]+)")],
)
def test_the_account_decides(account: Any) -> None:
    headers = {"X-Account": "acct-1"}
    for address, status in ((LISTED, 200), (STRANGER, 403)):
        answer = client(account).get("/v1/acct-1/calls", environ_base=peer(address), headers=headers)
        assert answer.status_code == status


def test_the_path_is_that_of_the_client() -> None:
    guarded = client(FromPath(r"/app/v1/(?P<account>[^/]+)"))
    mounted: Any = {"base_url": "http://localhost/app", "environ_base": peer(STRANGER)}
    assert guarded.get("/v1/acct-1", **mounted).status_code == 403
    assert guarded.get("/v1/open", **mounted).status_code == 200
    assert guarded.get("/v1/é", **mounted).status_code == 200
    assert guarded.get("/", **mounted, environ_overrides={"PATH_INFO": "/v1/\xff"}).status_code == 403


@pytest.mark.parametrize("account", [lambda environ: environ["no such key"], lambda environ: 42])
def test_an_account_that_cannot_be_told_denies(account: Any) -> None:
    assert client(account).get("/", environ_base=peer(LISTED)).status_code == 403
    assert client(account, report_only=True).get("/", environ_base=peer(LISTED)).status_code == 200


def test_a_request_without_account_passes_unless_it_may_not() -> None:
    assert client(lambda environ: None).get("/", environ_base=peer(STRANGER)).status_code == 200
    required = client(lambda environ: None, require_account=True)
    assert required.get("/", environ_base=peer(LISTED)).status_code == 403


def test_behind_a_proxy() -> None:
    guarded = client(resolver=ClientIPResolver(trusted_proxies=["127.0.0.2/32"]), request_id_header="x-request-id")
    for forwarded, status in ((f"{STRANGER}, {LISTED}", 200), (f"{LISTED}, {STRANGER}", 403)):
        headers = {"X-Forwarded-For": forwarded, "X-Request-Id": "req-42"}
        answer = guarded.get("/", environ_base=peer("127.0.0.2"), headers=headers)
        assert answer.status_code == status
        assert status == 200 or answer.headers["x-request-id"] == "req-42"
        assert guarded.get("/", environ_base=peer(STRANGER), headers=headers).status_code == 403


def test_proxy_fix_around_it_changes_nothing() -> None:
    for settings in ({}, {"resolver": ClientIPResolver(trusted_proxies=["127.0.0.2/32"])}):
        fixed = Client(ProxyFix(AllowlistMiddleware(app, a_gate(**settings), lambda environ: "acct-1")))
        spoofed = {"X-Forwarded-For": LISTED}
        assert fixed.get("/", environ_base=peer(STRANGER), headers=spoofed).status_code == 403
        assert fixed.get("/", environ_base=peer(LISTED), headers={"X-Forwarded-For": STRANGER}).status_code == 200
