"""ASGI middleware: accounts, failures, WebSockets, and a server that rewrites the peer."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from cidrgate import ClientIPResolver, Gate, Matcher, Verdict
from cidrgate.account_sources import FromHeader, FromPath
from cidrgate.middleware.asgi import AllowlistMiddleware, Receive, Scope, Send
from tests.middleware.raw_http import asgi_server, raw_status

if TYPE_CHECKING:
    from cidrgate.middleware.asgi import Account

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers requests, and echoes one message over WebSockets."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        await send({"type": "websocket.close"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the application runs"})


def a_gate(**settings: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])
    return Gate(matcher, **{"unlisted": "allow", "log": "none", **settings})


def response(
    account: Account | FromHeader | FromPath,
    peer: str = STRANGER,
    *,
    path: str = "/",
    headers: list[tuple[str, str]] | None = None,
    gate: Gate | None = None,
) -> httpx.Response:
    """What a client gets."""
    guarded = AllowlistMiddleware(app, gate or a_gate(), account)
    transport = httpx.ASGITransport(guarded, client=(peer, 4711))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


async def in_time(scope: Scope) -> str | None:
    await asyncio.sleep(0)
    return "acct-1"


async def too_late(scope: Scope) -> str | None:
    await asyncio.sleep(0)
    raise LookupError("no such key")


def broken(scope: Scope) -> str | None:
    raise LookupError("no such key")


def test_a_denial_is_problem_details() -> None:
    denied = response(lambda scope: "acct-1")
    assert denied.status_code == 403
    assert denied.headers["content-type"] == "application/problem+json"
    problem = denied.json()
    assert problem["address"] == STRANGER
    assert problem["request_id"] == denied.headers["x-request-id"]
    assert LISTED not in denied.text


def test_a_denial_is_a_page_for_browsers() -> None:
    denied = response(lambda scope: "acct-1", headers=[("accept", "text/html"), ("accept", "*/*;q=0.1")])
    assert denied.headers["content-type"] == "text/html; charset=utf-8"
    assert STRANGER in denied.text


@pytest.mark.parametrize(
    "account", [lambda scope: "acct-1", in_time, FromHeader("X-Account"), FromPath("/(?P<account>.*)")]
)
def test_the_account_decides(account: Account) -> None:
    headers = [("x-account", "acct-1")]
    assert response(account, LISTED, path="/acct-1", headers=headers).status_code == 200
    assert response(account, STRANGER, path="/acct-1", headers=headers).status_code == 403


@pytest.mark.parametrize("account", [broken, too_late, lambda scope: 42, lambda scope: b"acct-1"])
def test_an_account_that_cannot_be_told_denies(account: Any) -> None:
    assert response(account, LISTED).status_code == 403
    assert response(account, LISTED, gate=a_gate(report_only=True)).status_code == 200


def test_an_account_named_twice_denies() -> None:
    headers = [("x-account", "open"), ("x-account", "acct-1")]
    assert response(FromHeader("x-account"), LISTED, headers=headers).status_code == 403


def test_a_request_without_account_passes_unless_it_may_not() -> None:
    assert response(lambda scope: None).status_code == 200
    assert response(lambda scope: None, gate=a_gate(require_account=True)).status_code == 403


def test_reporting_denies_nothing() -> None:
    told: list[Verdict] = []
    assert response(lambda scope: "acct-1", gate=a_gate(report_only=True, hooks=[told.append])).status_code == 200
    assert [verdict.result for verdict in told] == ["would_deny"]


def test_behind_a_proxy() -> None:
    gate = a_gate(resolver=ClientIPResolver(trusted_proxies=["127.0.0.2/32"]))
    for forwarded, status in ((f"{STRANGER}, {LISTED}", 200), (f"{LISTED}, {STRANGER}", 403)):
        headers = [("X-Forwarded-For", forwarded)]
        assert response(lambda scope: "acct-1", "127.0.0.2", headers=headers, gate=gate).status_code == status
        assert response(lambda scope: "acct-1", headers=headers, gate=gate).status_code == 403


def test_lifespan_and_only_that_needs_no_decision() -> None:
    reached: list[str] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["type"])

    guarded = AllowlistMiddleware(inner, a_gate(), lambda scope: "acct-1")
    for kind in ("lifespan", "http", "webtransport"):
        events: Any = None if kind != "http" else asyncio.Queue().put
        asyncio.run(guarded({"type": kind, "headers": []}, events, events))
    assert reached == ["lifespan"]


def test_a_web_socket_is_denied_in_its_handshake() -> None:
    with asgi_server(AllowlistMiddleware(app, a_gate(), lambda scope: "acct-1")) as port:
        url = f"ws://127.0.0.1:{port}/"
        with connect(url, source_address=(LISTED, 0)) as connection:
            connection.send("hello")
            assert connection.recv() == "hello"
        with pytest.raises(InvalidStatus) as caught:
            connect(url, source_address=(STRANGER, 0))
    assert caught.value.response.status_code == 403
    assert json.loads(caught.value.response.body)["address"] == STRANGER


def test_a_web_socket_is_closed_where_the_server_knows_no_better() -> None:
    sent: list[Any] = []
    events: Any = asyncio.Queue()
    events.put_nowait({"type": "websocket.connect"})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "headers": [], "client": (STRANGER, 4711)}
    asyncio.run(AllowlistMiddleware(app, a_gate(), lambda scope: "acct-1")(scope, events.get, send))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "address not allowed"}]


def test_a_peer_that_the_server_rewrote_is_nobody() -> None:
    told: list[Verdict] = []
    guarded = AllowlistMiddleware(app, a_gate(hooks=[told.append]), lambda scope: "acct-1")
    spoofed = ((b"X-Forwarded-For", LISTED.encode()),)
    with asgi_server(guarded, proxy_headers=True, forwarded_allow_ips="*") as port:
        assert raw_status(port, STRANGER, "/", spoofed) == 403
        assert raw_status(port, LISTED, "/", ()) == 200
    with asgi_server(guarded) as port:
        assert raw_status(port, STRANGER, "/", spoofed) == 403
        assert raw_status(port, LISTED, "/", spoofed) == 200
    assert [verdict.client.problem for verdict in told] == ["rewritten_peer", None, None, None]
