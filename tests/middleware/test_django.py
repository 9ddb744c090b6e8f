"""The Django middleware: settings, both kinds of handlers, accounts that are awaited."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncClient, RequestFactory, override_settings
from werkzeug.test import Client

from cidrgate import ClientIPResolver, Gate, Matcher, RuleManager, Verdict
from cidrgate.gate.account_sources import FromHeader, FromPath, FromRoute
from cidrgate.middleware.django import AllowlistMiddleware, Settings
from tests.edges.django import MIDDLEWARE
from tests.middleware import django_project

assert django_project.urlpatterns

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"
TOLD: list[Verdict] = []


def a_gate(**settings: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])
    return Gate(matcher, **{"unlisted": "allow", "log": "none", **settings})


NAMED_GATE = a_gate()


def named_account(request: Any) -> str:
    return "acct-1"


async def awaited_account(request: Any) -> str:
    await asyncio.sleep(0)
    return "acct-1"


async def broken_account(request: Any) -> str:
    raise LookupError("no such user")


def wsgi_status(peer: str, settings: dict[str, Any], path: str = "/", **headers: str) -> int:
    with override_settings(CIDRGATE=settings):
        base = {"REMOTE_ADDR": peer, "SERVER_SOFTWARE": "gunicorn/27.0.1"}
        return Client(WSGIHandler()).get(path, environ_base=base, headers=headers).status_code


def asgi_response(peer: str, settings: dict[str, Any], path: str = "/", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        with override_settings(CIDRGATE=settings):
            transport = httpx.ASGITransport(ASGIHandler(), client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "account",
    [
        named_account,
        "tests.middleware.test_django.named_account",
        FromHeader("x-account"),
        FromPath(r"/v1/(?P<account>[^/]+)"),
    ],
)
def test_the_account_decides(account: Any) -> None:
    for gate in (a_gate(), "tests.middleware.test_django.NAMED_GATE"):
        settings = {"GATE": gate, "ACCOUNT": account}
        for peer, status in ((LISTED, 200), (STRANGER, 403)):
            assert wsgi_status(peer, settings, "/v1/acct-1/calls", **{"X-Account": "acct-1"}) == status
            assert asgi_response(peer, settings, "/v1/acct-1/calls", **{"X-Account": "acct-1"}).status_code == status


def test_a_denial_is_problem_details() -> None:
    settings = {"GATE": a_gate(), "ACCOUNT": named_account}
    denied = asgi_response(STRANGER, settings)
    assert denied.headers["content-type"] == "application/problem+json"
    assert denied.json()["address"] == STRANGER
    with override_settings(CIDRGATE=settings):
        client = Client(WSGIHandler())
    answer = client.get("/", environ_base={"REMOTE_ADDR": STRANGER})
    assert json.loads(answer.data)["request_id"] == answer.headers["x-request-id"]
    page = client.get("/", environ_base={"REMOTE_ADDR": STRANGER}, headers={"Accept": "text/html"})
    assert page.mimetype == "text/html"


def recipe() -> type[AsyncClient]:
    """The client for tests of the guide."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "django.md").read_text()
    names: dict[str, Any] = {}
    exec(page.partition("## Test your project")[2].partition("```python\n")[2].partition("```")[0], names)
    made: type[AsyncClient] = names["ConnectedClient"]
    return made


@pytest.mark.parametrize("proxied", [False, True])
def test_the_client_for_tests_needs_a_port(
    proxied: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one, its peer looks like one that a server has rewritten, and the log says so."""
    monkeypatch.setattr("cidrgate.gate.decision_log._advice_given", threading.Event())
    resolver = ClientIPResolver(trusted_proxies=["127.0.0.1/32"] if proxied else None)
    headers = {"X-Forwarded-For": LISTED} if proxied else {}
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32" if proxied else "127.0.0.1/32"])
    gate = Gate(matcher, unlisted="deny_unknown", log="none", resolver=resolver)

    async def status(client: type[AsyncClient]) -> int:
        response = await client().get("/", headers=headers)
        return int(response.status_code)

    with override_settings(CIDRGATE={"GATE": gate, "ACCOUNT": named_account}):
        assert asyncio.run(status(AsyncClient)) == 403
        assert "AsyncClient" in caplog.text
        assert asyncio.run(status(recipe())) == 200
        matcher.publish("acct-1", ["9.9.9.9/32"])
        assert asyncio.run(status(recipe())) == 403


def test_an_account_may_be_awaited_under_asgi() -> None:
    settings = {"GATE": a_gate(), "ACCOUNT": awaited_account}
    assert asgi_response(LISTED, settings).status_code == 200
    assert asgi_response(STRANGER, settings).status_code == 403
    assert wsgi_status(LISTED, settings) == 403


def test_an_account_that_cannot_be_told_denies() -> None:
    for account in (broken_account, lambda request: request.no_such_attribute, lambda request: 42):
        settings = {"GATE": a_gate(), "ACCOUNT": account}
        assert asgi_response(LISTED, settings).status_code == 403
        assert wsgi_status(LISTED, settings) == 403


def test_the_settings_describe_a_gate(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/lists.db"
    with RuleManager.open(url, follow=False, create=True) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
    settings = {
        "DATABASE": url,
        "UNLISTED": "allow",
        "OPEN": {"follow": False},
        "ACCOUNT": named_account,
        "TRUSTED_PROXIES": ["127.0.0.2/32"],
        "CLIENT_HEADER": "x-real-ip",
        "LOG": "none",
        "LOG_EVERY": 0,
        "HOOKS": [TOLD.append],
        "REQUEST_ID_HEADER": "x-request-id",
    }
    headers = {"X-Real-IP": "8.8.8.8", "X-Request-ID": "req-42"}
    assert wsgi_status("127.0.0.2", settings, **headers) == 200
    assert wsgi_status("127.0.0.3", settings, **headers) == 403
    assert wsgi_status("127.0.0.3", settings | {"REPORT_ONLY": True}, **headers) == 200
    unlisted = settings | {"ACCOUNT": lambda request: "acct-2", "HOOKS": []}
    assert wsgi_status("127.0.0.3", unlisted) == 200
    assert wsgi_status("127.0.0.3", unlisted | {"UNLISTED": "deny"}) == 403
    assert wsgi_status("127.0.0.3", unlisted | {"ACCOUNT": lambda request: None, "REQUIRE_ACCOUNT": True}) == 403
    assert [(verdict.result, verdict.request_id) for verdict in TOLD] == [
        ("allowed", "req-42"),
        ("denied", "req-42"),
        ("would_deny", "req-42"),
    ]


@pytest.mark.parametrize("every_second", [1e-9, timedelta(microseconds=1)])
def test_stale_lists_deny_where_the_settings_say_so(tmp_path: Path, every_second: Any) -> None:
    url = f"sqlite:///{tmp_path}/lists.db"
    with RuleManager.open(url, follow=False, create=True) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
    settings = {
        "DATABASE": url,
        "UNLISTED": "deny",
        "OPEN": {"follow": False},
        "LOG": "none",
        "LOG_EVERY": timedelta(1),
    }
    settings |= {"ACCOUNT": lambda request: "acct-1", "MAX_STALENESS": every_second}
    assert wsgi_status("8.8.8.8", settings) == 200
    assert wsgi_status("8.8.8.8", settings | {"ON_STALE": "deny"}) == 403


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "set CIDRGATE"),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "UNLISTED": "deny", "OPEN": {"on_stale": "deny"}},
            "OPEN.* has on_stale: set the keys of CIDRGATE",
        ),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "UNLISTED": "deny", "ON_STALE": "deny"},
            "max_staleness",
        ),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "UNLISTED": "deny", "MAX_STALENESS": "60"},
            "max_staleness",
        ),
        ({}, "needs ACCOUNT, and DATABASE or GATE"),
        ({"ACCOUNT": named_account}, "DATABASE or GATE"),
        ({"DATABASE": "memory://"}, "needs ACCOUNT"),
        ({"ACCOUNT": named_account, "DATABASE": "memory://", "GATE": NAMED_GATE}, "DATABASE or GATE"),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "TRUSTED_PROXY": []},
            "unknown keys: TRUSTED_PROXY; the known keys are",
        ),
        ({"ACCOUNT": named_account, "DATABASE": "memory://", "TRUSTED_PROXIES": ["*"]}, "trusted proxy"),
        ({"ACCOUNT": named_account, "DATABASE": "memory://"}, "unlisted='deny_unknown'"),
        ({"ACCOUNT": named_account, "DATABASE": "memory://", "UNLISTED": "open"}, "'allow', 'deny_unknown' or 'deny'"),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "REQUIRE_LIST": True},
            "unknown keys: REQUIRE_LIST; the known keys are",
        ),
        (
            {"ACCOUNT": named_account, "GATE": NAMED_GATE, "REQUIRE_ACCOUNT": True},
            "REQUIRE_ACCOUNT would have no effect",
        ),
        ({"ACCOUNT": named_account, "GATE": NAMED_GATE, "UNLISTED": "deny"}, "UNLISTED would have no effect"),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "UNLISTED": "deny", "REPORT_ONLY": "false"},
            "report_only must be True or False",
        ),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "UNLISTED": "deny", "LOG_EVERY": "60"},
            "log_every must be a number of seconds",
        ),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "UNLISTED": "deny", "TRUSTED_PROXIES": ["::/0"]},
            "trust_everybody=True",
        ),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "UNLISTED": "deny", "ALLOW_ALIASES": True},
            "allow_aliases is about the header of a proxy",
        ),
        (
            {"ACCOUNT": named_account, "DATABASE": "memory://", "UNLISTED": "deny", "REQUEST_ID_HEADER": "x id"},
            "header with the request's id",
        ),
        (
            {
                "ACCOUNT": named_account,
                "DATABASE": "memory://",
                "UNLISTED": "deny",
                "RESOLVED_BY_SERVER": True,
                "TRUSTED_HOPS": 1,
            },
            "resolved_by_server",
        ),
        ({"ACCOUNT": named_account, "GATE": "tests.middleware.test_django.named_account"}, "not a cidrgate.Gate"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: Any, message: str) -> None:
    with override_settings(CIDRGATE=settings), pytest.raises(ImproperlyConfigured, match=message):
        Settings.read().make_gate()


def test_it_stands_in_a_chain_of_plain_functions() -> None:
    with override_settings(CIDRGATE={"GATE": a_gate(), "ACCOUNT": named_account}):
        middleware = AllowlistMiddleware(lambda request: "the view runs")
    request = RequestFactory().get("/", REMOTE_ADDR=LISTED)
    assert middleware(request) == "the view runs"


BY_ROUTE = {"MIDDLEWARE": MIDDLEWARE}


@pytest.mark.parametrize("exempt", [[], ["GET /healthz"]])
def test_the_route_decides_under_wsgi_and_asgi(exempt: list[str]) -> None:
    """Django resolves the route behind the middlewares' first half."""
    settings = {"GATE": a_gate(require_account=True), "ACCOUNT": FromRoute("account", exempt=exempt)}
    with override_settings(**BY_ROUTE):
        for path, listed, stranger in (
            ("/v1/accounts/acct-1/calls", 200, 403),
            ("/v1/accounts/acct-1/calls/", 404, 404),
            ("/healthz", 200 if exempt else 403, 200 if exempt else 403),
            ("/static/a.css", 403, 403),
            ("/nowhere", 404, 404),
        ):
            for peer, status in ((LISTED, listed), (STRANGER, stranger)):
                assert wsgi_status(peer, settings, path) == status, path
                assert asgi_response(peer, settings, path).status_code == status, path


def test_what_is_no_source_is_refused() -> None:
    for nothing in (5, None):
        with (
            override_settings(CIDRGATE={"GATE": a_gate(), "ACCOUNT": nothing}),
            pytest.raises(TypeError, match="FromRoute"),
        ):
            AllowlistMiddleware(lambda request: "the view runs")
