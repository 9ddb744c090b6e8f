"""The middleware of one route or mount of Starlette."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from cidrgate import FromHeader, FromRoute, Gate, Matcher
from cidrgate.middleware.starlette import AllowlistMiddleware

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"
RUNS = PlainTextResponse("the route runs")


def a_gate() -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])
    return Gate(matcher, unlisted="deny", log="none")


def guard(*rules: str) -> Middleware:
    return Middleware(AllowlistMiddleware, gate=a_gate(), account=FromRoute("account", exempt=rules))


def status(app: Starlette, peer: str, path: str, method: str = "GET") -> int:
    async def ask() -> int:
        transport = httpx.ASGITransport(app, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.request(method, path)).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "app",
    [
        Starlette(routes=[Route("/v1/{account}/calls", RUNS, middleware=[guard()])]),
        Starlette(routes=[Mount("/v1/{account}", routes=[Route("/calls", RUNS)], middleware=[guard()])]),
        Starlette(routes=[Mount("/v1", routes=[Route("/{account}/calls", RUNS, middleware=[guard()])])]),
    ],
)
def test_the_parameter_of_the_route_decides(app: Starlette) -> None:
    assert status(app, LISTED, "/v1/acct-1/calls") == 200
    assert status(app, STRANGER, "/v1/acct-1/calls") == 403
    assert status(app, LISTED, "/v1/acct-2/calls") == 403
    assert status(app, LISTED, "/v1//calls") in (403, 404)


def test_a_preflight_is_exempt_where_a_rule_says_so() -> None:
    app = Starlette(routes=[Route("/v1/{account}/calls", RUNS, middleware=[guard("OPTIONS *")])])
    assert status(app, STRANGER, "/v1/acct-1/calls", "OPTIONS") == 200
    assert status(app, STRANGER, "/v1/acct-1/calls") == 403


def test_around_an_application_it_denies() -> None:
    app = Starlette(routes=[Route("/v1/{account}/calls", RUNS)], middleware=[guard()])
    assert status(app, LISTED, "/v1/acct-1/calls") == 403


@pytest.mark.parametrize("source", [FromHeader("x-account"), "account", None, lambda scope: "acct-1"])
def test_other_sources_have_a_middleware_of_their_own(source: Any) -> None:
    with pytest.raises(TypeError, match=r"cidrgate\.middleware\.asgi"):
        AllowlistMiddleware(RUNS, a_gate(), source)
