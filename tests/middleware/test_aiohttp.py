"""The aiohttp middleware, on a real socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, TCPConnector, UnixConnector, WSServerHandshakeError, web
from aiohttp.test_utils import TestServer
from yarl import URL

from cidrgate import ClientIPResolver, Gate, Matcher
from cidrgate.gate.account_sources import FromHeader, FromPath, FromRoute
from cidrgate.middleware.aiohttp import allowlist

if TYPE_CHECKING:
    from pathlib import Path

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"


def an_app(account: Any, **settings: Any) -> web.Application:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])

    @web.middleware
    async def renaming(request: web.Request, handler: Any) -> Any:
        return await handler(request.clone(remote=LISTED))

    async def calls(request: web.Request) -> web.Response:
        return web.Response(text="the handler runs")

    async def events(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    gate = Gate(matcher, **{"unlisted": "allow", "log": "none", **settings})
    app = web.Application(middlewares=[renaming, allowlist(gate, account)])
    app.add_routes([web.get("/v1/{account}/calls", calls), web.get("/v1/{account}/events", events)])
    return app


def asked(app: web.Application, peer: str, headers: Any = None) -> tuple[int, str, str]:
    """Status, media type and body."""

    async def ask() -> tuple[int, str, str]:
        async with (
            TestServer(app, host="127.0.0.1") as server,
            ClientSession(connector=TCPConnector(local_addr=(peer, 0))) as session,
            session.get(server.make_url("/v1/acct-1/calls"), headers=headers) as answer,
        ):
            return answer.status, answer.content_type, await answer.text()

    return asyncio.run(ask())


async def awaited(request: web.Request) -> str:
    await asyncio.sleep(0)
    return "acct-1"


@pytest.mark.parametrize(
    "account",
    [
        lambda request: request.match_info["account"],
        awaited,
        FromHeader("x-account"),
        FromPath(r"/v1/(?P<account>[^/]+)"),
        FromRoute("account"),
    ],
)
def test_the_account_decides(account: Any) -> None:
    headers = {"X-Account": "acct-1"}
    assert asked(an_app(account), LISTED, headers) == (200, "text/plain", "the handler runs")
    status, media_type, body = asked(an_app(account), STRANGER, headers)
    assert (status, media_type) == (403, "application/problem+json")
    assert STRANGER in body
    assert LISTED not in body


def test_a_browser_gets_a_page() -> None:
    assert asked(an_app(awaited), STRANGER, {"Accept": "text/html"})[1] == "text/html"


def test_an_account_that_cannot_be_told_denies() -> None:
    assert asked(an_app(lambda request: request["no such key"]), LISTED)[0] == 403
    twice = [("X-Account", "open"), ("X-Account", "acct-1")]
    assert asked(an_app(FromHeader("x-account")), LISTED, twice)[0] == 403


def test_behind_a_proxy() -> None:
    app = an_app(awaited, resolver=ClientIPResolver(trusted_proxies=["127.0.0.2/32"]))
    assert asked(app, "127.0.0.2", [("X-Forwarded-For", STRANGER), ("X-Forwarded-For", LISTED)])[0] == 200
    app = an_app(awaited, resolver=ClientIPResolver(trusted_proxies=["127.0.0.2/32"]))
    assert asked(app, "127.0.0.2", [("X-Forwarded-For", LISTED), ("X-Forwarded-For", STRANGER)])[0] == 403


def test_a_web_socket_is_denied_in_its_handshake() -> None:
    async def greeted(peer: str) -> str:
        async with (
            TestServer(an_app(awaited), host="127.0.0.1") as server,
            ClientSession(connector=TCPConnector(local_addr=(peer, 0))) as session,
            session.ws_connect(server.make_url("/v1/acct-1/events")) as socket,
        ):
            return await socket.receive_str()

    assert asyncio.run(greeted(LISTED)) == "hello"
    with pytest.raises(WSServerHandshakeError) as caught:
        asyncio.run(greeted(STRANGER))
    assert caught.value.status == 403


def test_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")

    async def status(**settings: Any) -> int:
        runner = web.AppRunner(an_app(awaited, **settings))
        await runner.setup()
        await web.UnixSite(runner, path).start()
        async with (
            ClientSession(connector=UnixConnector(path)) as session,
            session.get("http://test/v1/acct-1/calls", headers={"X-Forwarded-For": LISTED}) as answer,
        ):
            found = answer.status
        await runner.cleanup()
        return found

    assert asyncio.run(status()) == 403
    assert asyncio.run(status(resolver=ClientIPResolver(trusted_proxies=["unix:"]))) == 200


def test_an_encoded_slash_is_read_as_the_route_reads_it() -> None:
    async def statuses(source: Any, *paths: str) -> list[int]:
        found = []
        async with (
            TestServer(an_app(source, unlisted="deny"), host="127.0.0.1") as server,
            ClientSession(connector=TCPConnector(local_addr=(LISTED, 0))) as session,
        ):
            for path in paths:
                async with session.get(URL(f"{server.make_url('/')}{path}", encoded=True)) as answer:
                    found.append(answer.status)
        return found

    paths = ("v1/acct-1/calls", "v1/acct-1%2Fx/calls", "v1/acct-1%252Fx/calls", "v1/%61cct-1/calls")
    assert asyncio.run(statuses(FromRoute("account"), *paths)) == [200, 403, 403, 200]
    assert asyncio.run(statuses(FromPath(r"/v1/(?P<account>[^/]+)"), *paths)) == [200, 403, 403, 200]


def test_what_is_no_source_is_refused() -> None:
    for nothing in ("acct-1", None):
        with pytest.raises(TypeError, match="FromRoute"):
            an_app(nothing)


@pytest.mark.parametrize(
    ("source", "path", "peer", "status"),
    [
        (FromHeader("x-account", exempt=["GET /api/healthz"]), "/api/healthz", STRANGER, 200),
        (FromHeader("x-account", exempt=["GET /healthz"]), "/api/healthz", STRANGER, 403),
        (FromHeader("x-account", exempt=["GET /healthz"]), "/api/healthz", LISTED, 403),
        (FromPath(r"/api/(?P<account>[^/]+)"), "/api/acct-1/calls", LISTED, 200),
        (FromPath(r"/api/(?P<account>[^/]+)"), "/api/acct-1/calls", STRANGER, 403),
        (FromPath(r"/(?P<account>[^/]+)/calls"), "/api/acct-1/calls", LISTED, 403),
        (FromRoute("account"), "/api/acct-1/calls", LISTED, 200),
        (FromRoute("account"), "/api/acct-1/calls", STRANGER, 403),
        (FromRoute("account"), "/api/healthz", LISTED, 403),
        (FromRoute("account"), "/api/nowhere", LISTED, 403),
    ],
)
def test_a_sub_application_routes_by_the_whole_path(source: Any, path: str, peer: str, status: int) -> None:
    """So do its guard's rules and patterns: without the prefix of the sub-application they match nothing."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(text="the handler runs")

    async def ask() -> int:
        matcher = Matcher()
        matcher.publish("acct-1", [f"{LISTED}/32"])
        gate = Gate(matcher, unlisted="deny_unknown", require_account=True, log="none")
        inner = web.Application(middlewares=[allowlist(gate, source)])
        inner.add_routes([web.get("/healthz", handle), web.get("/{account}/calls", handle)])
        app = web.Application()
        app.add_subapp("/api", inner)
        async with (
            TestServer(app, host="127.0.0.1") as server,
            ClientSession(connector=TCPConnector(local_addr=(peer, 0))) as session,
            session.get(server.make_url(path)) as answer,
        ):
            return answer.status

    assert asyncio.run(ask()) == status
