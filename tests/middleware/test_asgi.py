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
from cidrgate.gate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute
from cidrgate.middleware.asgi import AllowlistMiddleware
from tests.middleware.raw_http import asgi_server, raw_status

if TYPE_CHECKING:
    from cidrgate.middleware._asgi_requests import Receive, Scope, Send
    from cidrgate.middleware.asgi import AccountSource

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
    account: AccountSource,
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
def test_the_account_decides(account: AccountSource) -> None:
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


def lifespan_of(inner: Any, monkeypatch: pytest.MonkeyPatch, *received: str) -> list[str]:
    """What the server of a guarded application sees of its lifespan, and when the gate is flushed."""
    seen: list[str] = []
    gate, messages = a_gate(), [{"type": f"lifespan.{kind}"} for kind in received]
    monkeypatch.setattr(gate, "_flush", lambda: seen.append("flushed"))

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        seen.append(message["type"].removeprefix("lifespan."))

    try:
        asyncio.run(AllowlistMiddleware(inner, gate, lambda scope: "acct-1")({"type": "lifespan"}, receive, send))
    except ArithmeticError as error:
        seen.append(type(error).__name__)
    return seen


@pytest.mark.parametrize(
    ("sends", "sees"),
    [
        (["startup.complete", "shutdown.complete"], ["startup.complete", "flushed", "shutdown.complete"]),
        (["startup.complete", "shutdown.failed"], ["startup.complete", "flushed", "shutdown.failed"]),
        (["startup.failed"], ["startup.failed"]),
        (["startup.failed", "raise"], ["startup.failed", "ArithmeticError"]),
        (["raise"], ["ArithmeticError"]),
        ([], []),
        (["startup.complete"], ["startup.complete", "flushed"]),
        (["startup.complete", "raise"], ["startup.complete", "flushed", "ArithmeticError"]),
        (
            ["startup.complete", "shutdown.complete", "raise"],
            ["startup.complete", "flushed", "shutdown.complete", "ArithmeticError"],
        ),
    ],
    ids=" ".join,
)
def test_the_gate_is_flushed_before_the_server_learns_of_the_end_and_the_server_sees_the_same(
    sends: list[str], sees: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        for kind in sends:
            if kind == "raise":
                raise ArithmeticError
            assert (await receive())["type"] == f"lifespan.{kind.partition('.')[0]}"
            await send({"type": f"lifespan.{kind}"})

    assert lifespan_of(inner, monkeypatch, "startup", "shutdown") == sees


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
        assert raw_status(port, LISTED, "/", ((b"X-Forwarded-For", STRANGER.encode()),)) == 200
        assert raw_status(port, LISTED, "/", spoofed) == 403
    assert [verdict.client.problem for verdict in told] == ["rewritten_peer", None, None, None, "rewritten_peer"]


@pytest.mark.parametrize("client", [(LISTED, 0), (LISTED, None), [LISTED, 0], (LISTED,), (f"::ffff:{LISTED}", 0)])
def test_a_client_without_a_port_is_nobody(client: Any) -> None:
    assert asked({"client": client}) == 403
    assert asked({"client": client}, resolver=ClientIPResolver(resolved_by_server=True)) == 200
    assert asked({"client": (LISTED, 4711)}) == 200
    assert asked({"client": [LISTED, 4711]}) == 200


@pytest.mark.parametrize(
    ("server", "clear"), [({"SERVER_SOFTWARE": "another/1.0"}, False), ({"SERVER_SOFTWARE": "gunicorn/27.0.1"}, True)]
)
def test_behind_a_bridge_from_wsgi_the_server_of_the_environ_counts(server: dict[str, str], *, clear: bool) -> None:
    by_server = ClientIPResolver(resolved_by_server=True)
    by_proxy = ClientIPResolver(trusted_proxies=["127.0.0.2/32"])
    environ = {"REMOTE_ADDR": "127.0.0.2", "HTTP_X_FORWARDED_FOR": LISTED, **server}
    headers = [(b"x-forwarded-for", LISTED.encode())]
    for resolver, client in ((by_server, LISTED), (by_proxy, "127.0.0.2")):
        scope = {"headers": headers, "client": (client, 4711), "wsgi_environ": environ}
        for hooks in ([], [lambda verdict: None]):
            assert asked(scope, resolver=resolver, hooks=hooks) == (200 if clear else 403)
    same = {"headers": headers, "client": (LISTED, 4711), "wsgi_environ": {**environ, "REMOTE_ADDR": LISTED}}
    assert asked(same, resolver=by_server) == 200
    for odd in (None, 5, {"SERVER_SOFTWARE": 5}):
        assert asked({**same, "wsgi_environ": odd}, resolver=by_proxy) in (200, 403)


def test_a_port_may_be_text() -> None:
    """So granian reports it."""
    for hooks in ([], [lambda verdict: None]):
        for port, status in (("4711", 200), (4711, 200), ("0", 403), ("", 403), ("x", 403), (b"1", 403), (4.5, 403)):
            assert asked({"client": (LISTED, port)}, hooks=hooks) == status, port
    proxied = [(b"x-account", b"acct-1"), (b"x-forwarded-for", f"127.0.0.2:4711, {LISTED}".encode())]
    resolver = ClientIPResolver(trusted_proxies=["127.0.0.2/32"])
    for port, status in (("80", 200), ("4711", 403)):
        assert asked({"client": ("127.0.0.2", port), "headers": proxied}, resolver=resolver) == status


@pytest.mark.parametrize(
    "name", [b"x-forwarded-for", b"X-Forwarded-For", b"FORWARDED", b"x-real-ip", b"True-Client-IP"]
)
def test_names_of_headers_that_a_server_leaves_as_they_came_are_read_too(name: bytes) -> None:
    """The short way trusts that names are in lower case; no server that rewrites peers hands over others."""
    told: list[Verdict] = []
    headers = [(b"x-account", b"acct-1"), (name, LISTED.encode())]
    status = asked({"client": (LISTED, 4711), "headers": headers}, hooks=[told.append])
    assert (status, told[0].client.problem) == (403, "rewritten_peer")


def asked(scope: dict[str, Any], **settings: Any) -> int:
    """The status of an answer to what a server hands over."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    guarded = AllowlistMiddleware(app, a_gate(**settings), lambda scope: "acct-1")
    asyncio.run(guarded({"type": "http", "headers": [], **scope}, asyncio.Queue().get, send))
    return int(sent[0]["status"])


def test_a_source_that_this_edge_cannot_serve_is_refused_with_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"cidrgate\.middleware\.fastapi"):
        AllowlistMiddleware(app, a_gate(), FromRoute("account"))  # type: ignore[arg-type]
    for nothing in ("acct-1", None, {"account": "acct-1"}):
        with pytest.raises(TypeError, match="FromHeader, FromRoute, FromPath or a callable"):
            AllowlistMiddleware(app, a_gate(), nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [FromHeader("x-account"), FromPath(r"/v1/accounts/(?P<account>[^/]+)")])
def test_what_is_exempt_needs_no_account(source: Any) -> None:
    exempt = type(source)(getattr(source, "name", None) or source.pattern, exempt=["GET /healthz", "OPTIONS *"])
    gate = a_gate(require_account=True)
    for one, status in ((source, 403), (exempt, 200)):
        assert response(one, path="/healthz", gate=gate).status_code == status
    for path in ("/healthz/", "/", "//healthz", "/healthz/../v1", "/healthz%2f", "/x", "/healthz;a"):
        assert response(exempt, path=path, gate=gate).status_code == 403


def test_a_callable_can_say_that_a_request_is_exempt() -> None:
    gate = a_gate(require_account=True)
    assert response(lambda scope: EXEMPT, gate=gate).status_code == 200
    assert response(lambda scope: None, gate=gate).status_code == 403


def test_a_path_that_does_not_match_is_denied() -> None:
    source = FromPath(r"/v1/accounts/(?P<account>[^/]+)")
    assert response(source, LISTED, path="/v1/accounts/acct-1").status_code == 200
    for path in ("/", "/v2/accounts/acct-1", "//v1/accounts/acct-1", "/v1/accounts/acct-1;x", "/v1/accounts//acct-1"):
        assert response(source, LISTED, path=path).status_code == 403


def test_the_path_is_the_one_below_a_mount() -> None:
    source = FromPath(r"/v1/(?P<account>[^/]+)")
    for root, path, status in (
        ("/app", "/app/v1/acct-1", 200),
        ("/app", "/v1/acct-1", 200),
        ("/app", "/app/app/v1/acct-1", 403),
        ("/ap", "/app/v1/acct-1", 403),
        ("/", "/v1/acct-1", 200),
        ("/", "//v1/acct-1", 200),
        ("/", "/v1/open", 403),
        ("/v1/open", "/v1/open/v1/acct-1", 200),
        ("/v1/acct-1", "/v1/open/v1/acct-1", 403),
    ):
        scope = {"type": "http", "method": "GET", "path": path, "root_path": root, "headers": [], "client": (LISTED, 1)}
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        asyncio.run(AllowlistMiddleware(app, a_gate(unlisted="deny"), source)(scope, asyncio.Queue().get, send))
        assert sent[0]["status"] == status, (root, path)


@pytest.mark.parametrize("alias", [b"x_account", b"X_Account", b"x.account", b"x~account"])
@pytest.mark.parametrize("beside", [[], [(b"x-account", b"acct-2")]])
def test_an_alias_of_the_header_names_no_other_account(alias: bytes, beside: list[tuple[bytes, bytes]]) -> None:
    """An application behind a bridge to WSGI takes one name for the other."""
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.4.7/32"])
    gate = Gate(matcher, unlisted="allow", log="none")
    ran: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ran.append("the application")

    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    headers = [*beside, (alias, b"acct-1")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": ("9.9.9.9", 4711)}
    asyncio.run(AllowlistMiddleware(app, gate, FromHeader("X-Account"))(scope, None, send))
    assert (ran, statuses[0]) == ([], 403)


@pytest.mark.parametrize("gate", [None, "gate", Matcher()])
def test_what_is_no_gate_is_refused_when_the_edge_is_made(gate: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match="gate must be an object of the class Gate"):
        AllowlistMiddleware(app, gate, FromHeader("X-Account"))


HEADERS_OF_NO_SERVER: dict[str, Any] = {
    "a name that is text": [("x-account", "acct-1")],
    "a value that is text": [(b"x-account", "acct-1")],
    "no value": [(b"x-account", None)],
    "a name in a bytearray": [(bytearray(b"x-account"), b"acct-1")],
    "a name in a memoryview": [(memoryview(b"x-account"), b"acct-1")],
    "text beside bytes": [(b"x-account", b"acct-2"), ("x-account", "acct-1")],
    "bytes beside text": [("x-account", "acct-1"), (b"x-account", b"acct-2")],
    "three parts": [(b"x-account", b"acct-1", b"")],
    "one part": [(b"x-account",)],
    "no line": [None],
    "none at all": None,
    "an empty dict": {},
    "an empty text": "",
    "empty bytes": b"",
    "zero": 0,
    "a number": 5,
    "a dict": {b"x-account": b"acct-1"},
    "text": "x-account: acct-1",
    "a claim that is text": [(b"x-account", b"acct-1"), ("x-forwarded-for", LISTED)],
}


@pytest.mark.parametrize("kind", HEADERS_OF_NO_SERVER)
@pytest.mark.parametrize("source", [FromHeader("X-Account"), lambda scope: "acct-1"], ids=["header", "callable"])
@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize("again", [list, iter], ids=["list", "iterator"])
def test_headers_that_no_server_hands_over_let_nobody_in(kind: str, source: Any, proxied: bool, again: Any) -> None:
    """They are read with care, or not at all: what cannot be told is denied."""
    headers = HEADERS_OF_NO_SERVER[kind]
    if isinstance(headers, list):
        headers = again(headers)
    resolver = ClientIPResolver(trusted_proxies=[f"{LISTED}/32"]) if proxied else ClientIPResolver()
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.4.7/32"])
    gate = Gate(matcher, unlisted="allow", log="none", resolver=resolver)
    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": (LISTED, 4711)}
    asyncio.run(AllowlistMiddleware(app, gate, source)(scope, None, send))
    assert statuses[0] == 403


def test_a_peer_in_a_header_that_is_text_is_taken_for_one_that_was_rewritten() -> None:
    headers = [(b"x-account", b"acct-1"), ("x-forwarded-for", LISTED)]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": (LISTED, 4711)}
    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    asyncio.run(AllowlistMiddleware(app, a_gate(), FromHeader("X-Account"))(scope, None, send))
    assert statuses[0] == 403


@pytest.mark.parametrize("headers", [list, tuple, iter])
def test_lines_that_come_after_the_decision_are_none_of_the_request(headers: Any) -> None:
    """A server may append trailers to the list that it has passed on, while the application reads the body."""
    lines = [(b"x-account", b"acct-1")]
    seen: list[Any] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        lines.append((b"x-forwarded-for", LISTED.encode()))
        seen.append((list(scope["headers"]), scope["state"]["cidrgate"].reason))

    guarded = AllowlistMiddleware(application, a_gate(), FromHeader("x-account"))
    scope = {"type": "http", "headers": headers(lines), "client": (LISTED, 4711)}
    asyncio.run(guarded(scope, None, None))
    assert seen == [([(b"x-account", b"acct-1")], "matched")]
