"""The FastAPI dependency. Annotations are evaluated here: FastAPI would not find names of functions by their text."""

import asyncio
import json
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Form, Header, HTTPException, Request, UploadFile, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from pydantic import StringConstraints
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from cidrgate import Gate, Matcher, Verdict
from cidrgate.gate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute
from cidrgate.middleware.fastapi import AddressDeniedError, AllowlistRoute, allowlist, install
from tests.attacks import Attack
from tests.in_process import Body as UnparsedBody, answer_to_post
from tests.middleware.raw_http import asgi_server

LISTED, STRANGER = "127.0.0.7", "127.0.0.9"


def a_gate(**settings: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32"])
    return Gate(matcher, **{"unlisted": "allow", "log": "none", **settings})


async def account_of_key(x_api_key: Annotated[str, Header()]) -> str:
    """A dependency as an application has it."""
    if x_api_key != "k-42":
        raise HTTPException(401, "unknown key")
    return "acct-1"


def an_app(account: Any, *, installed: bool = True) -> FastAPI:
    app = FastAPI()
    if installed:
        install(app)
    listed = allowlist(a_gate(), account)

    @app.get("/v1/{account}/calls")
    def calls(account: str, verdict: Annotated[Verdict, Depends(listed)]) -> dict[str, Any]:
        return {"entry": verdict.matched_cidr}

    @app.get("/public")
    def public() -> str:
        return "public"

    @app.websocket("/v1/{account}/events")
    async def events(websocket: WebSocket, account: str, verdict: Annotated[Verdict, Depends(listed)]) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    return app


def response(app: FastAPI, peer: str, path: str = "/v1/acct-1/calls", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "account", [account_of_key, FromHeader("x-account"), FromPath(r"/v1/(?P<account>[^/]+)"), FromRoute("account")]
)
def test_the_account_decides(account: Any) -> None:
    app = an_app(account)
    headers = {"X-API-Key": "k-42", "X-Account": "acct-1"}
    allowed = response(app, LISTED, **headers)
    assert (allowed.status_code, allowed.json()) == (200, {"entry": f"{LISTED}/32"})
    denied = response(app, STRANGER, **headers)
    assert (denied.status_code, denied.json()["address"]) == (403, STRANGER)
    assert denied.headers["content-type"] == "application/problem+json"
    assert response(app, STRANGER, "/public").status_code == 200


def test_what_the_account_dependency_raises_is_the_answer() -> None:
    app = an_app(account_of_key)
    assert response(app, LISTED, **{"X-API-Key": "k-43"}).status_code == 401
    assert response(app, LISTED).status_code == 422


def test_a_browser_gets_a_page() -> None:
    denied = response(an_app(FromHeader("x-account")), STRANGER, **{"X-Account": "acct-1", "Accept": "text/html"})
    assert denied.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("accept", ["", "text/html"])
def test_a_denial_is_the_same_response_where_nothing_is_installed(accept: str) -> None:
    headers = {"X-Account": "acct-1", "Accept": accept}
    answers = []
    for installed in (True, False):
        denied = response(an_app(FromHeader("x-account"), installed=installed), STRANGER, **headers)
        assert denied.status_code == 403
        assert denied.headers["x-request-id"] in denied.text
        answers.append((denied.text.replace(denied.headers["x-request-id"], "ID"), sorted(denied.headers)))
    assert answers[0] == answers[1]


def test_a_handler_of_the_application_comes_first() -> None:
    for key in (AddressDeniedError, 403):
        app = an_app(FromHeader("x-account"), installed=False)
        app.add_exception_handler(key, lambda request, error: PlainTextResponse(error.verdict.reason, 418))
        for _ in range(2):
            denied = response(app, STRANGER, **{"X-Account": "acct-1"})
            assert (denied.status_code, denied.text) == (418, "not_listed")
    app = an_app(FromHeader("x-account"), installed=False)  # one for every HTTPException is for others
    app.add_exception_handler(HTTPException, lambda request, error: PlainTextResponse("own", 418))
    assert response(app, STRANGER, **{"X-Account": "acct-1"}).status_code == 403


def test_the_error_says_what_it_can_where_no_handler_is_found() -> None:
    """As in a framework that looks for handlers elsewhere."""
    error = AddressDeniedError(a_gate().decide("acct-1", STRANGER))
    assert (error.status_code, STRANGER in str(error.detail)) == (403, True)
    assert error.headers == {"x-request-id": error.verdict.request_id}


def test_an_account_named_twice_denies() -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(an_app(FromHeader("x-account")), client=(LISTED, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/v1/acct-1/calls", headers=[("x-account", "open"), ("x-account", "acct-1")])

    assert asyncio.run(ask()).status_code == 403


def test_a_web_socket_is_denied_in_its_handshake() -> None:
    with asgi_server(an_app(FromPath(r"/v1/(?P<account>[^/]+)"))) as port:
        url = f"ws://127.0.0.1:{port}/v1/acct-1/events"
        with connect(url, source_address=(LISTED, 0)) as connection:
            assert connection.recv() == "hello"
        with pytest.raises(InvalidStatus) as caught:
            connect(url, source_address=(STRANGER, 0))
    assert caught.value.response.status_code == 403
    assert json.loads(caught.value.response.body)["address"] == STRANGER
    assert caught.value.response.headers["Content-Type"] == "application/problem+json"


def test_a_web_socket_is_closed_where_the_server_knows_no_better() -> None:
    sent: list[Any] = []
    events: Any = asyncio.Queue()
    events.put_nowait({"type": "websocket.connect"})

    async def send(message: Any) -> None:
        sent.append(message)

    path = "/v1/acct-1/events"
    scope = {"type": "websocket", "path": path, "headers": [], "query_string": b"", "client": (STRANGER, 4711)}
    asyncio.run(an_app(FromRoute("account"))(scope, events.get, send))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "address not allowed"}]


def test_a_route_without_the_parameter_is_denied_unless_it_is_exempt() -> None:
    for rules, status in (([], 403), (["GET /healthz"], 200)):
        app = FastAPI(dependencies=[Depends(allowlist(a_gate(), FromRoute("account", exempt=rules)))])

        @app.get("/healthz")
        def healthz() -> str:
            return "up"

        @app.get("/accounts/{other}")
        def act(other: str) -> str:
            return other

        assert response(app, STRANGER, "/healthz").status_code == status
        assert response(app, LISTED, "/accounts/acct-1").status_code == 403


def test_a_mounted_application_is_asked_by_its_own_route() -> None:
    for source in (FromRoute("account"), FromPath(r"/v1/(?P<account>[^/]+)")):
        around = FastAPI()
        around.mount("/api", an_app(source))
        assert response(around, LISTED, "/api/v1/acct-1/calls").status_code == 200
        assert response(around, STRANGER, "/api/v1/acct-1/calls").status_code == 403


def test_a_dependency_can_say_that_a_request_is_exempt() -> None:
    app = FastAPI()
    guard = Depends(allowlist(a_gate(require_account=True), lambda: EXEMPT))
    app.get("/", dependencies=[guard])(lambda: "the route runs")
    assert response(app, STRANGER, "/").status_code == 200


def test_what_is_no_source_is_refused() -> None:
    for nothing in ("acct-1", None):
        with pytest.raises(TypeError, match="FromRoute"):
            allowlist(a_gate(), nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("annotation", "own", "others"),
    [
        (int, "7", ["07", "+7", "7.0", "0_7", "00007"]),
        (
            UUID,
            "c0ffee00-0000-4000-8000-000000000007",
            ["C0FFEE00-0000-4000-8000-000000000007", "c0ffee00000040008000000000000007"],
        ),
        (Annotated[str, StringConstraints(to_lower=True)], "acme", ["ACME", "Acme"]),
        (Annotated[str, StringConstraints(strip_whitespace=True)], "acme", ["acme%20", "%20acme"]),
        (float, "none", ["7", "7.0"]),
    ],
)
def test_an_account_that_the_route_converts_is_not_another_one(annotation: Any, own: str, others: list[str]) -> None:
    """The endpoint acts for what the text becomes, so a text that becomes something else is nobody's."""
    matcher = Matcher()
    matcher.publish(own, ["8.8.4.7/32"])
    app = FastAPI()
    listed = allowlist(Gate(matcher, unlisted="allow", log="none"), FromRoute("account"))

    @app.get("/{account}", dependencies=[Depends(listed)])
    def show(account: annotation) -> str:
        return "the route runs"

    async def status(client: str, text: str) -> int:
        transport = httpx.ASGITransport(app, client=(client, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as caller:
            return (await caller.get(f"/{text}")).status_code

    for text in [own, *others]:
        assert asyncio.run(status(STRANGER, text)) in (403, 422), text
    if own != "none":
        assert asyncio.run(status("8.8.4.7", own)) == 200


CALLS = "/v1/acct-1/calls"
GUARDED: list[Any] = []


async def account_of_cookie(request: Request) -> str:
    """A dependency that must not run more often than is documented."""
    GUARDED.append(request)
    return "acct-1"


def in_json(account: str, numbers: list[str]) -> str:
    return "the route runs"


def embedded(account: str, numbers: Annotated[list[str], Body(embed=True)], name: Annotated[str, Body()]) -> str:
    return "the route runs"


def in_form(account: str, name: Annotated[str, Form()]) -> str:
    return "the route runs"


def uploaded(account: str, file: UploadFile) -> str:
    return "the route runs"


def guarded_app(place: str, endpoint: Any, listed: Any) -> FastAPI:
    """An application with one route for calls; `place` says where the guard stands."""
    guard = Depends(listed)
    app = FastAPI(dependencies=[guard] if place == "application" else [])
    app.router.route_class = AllowlistRoute
    router = APIRouter(route_class=AllowlistRoute, dependencies=[guard] if place == "router" else [])
    outer = APIRouter(prefix="/v1", dependencies=[guard] if place == "outer router" else [])

    async def nested(verdict: Annotated[Verdict, guard]) -> Verdict:
        return verdict

    around = {"route": [guard], "nested": [Depends(nested)]}.get(place, [])
    if place == "application itself":
        app.post("/v1/{account}/calls", dependencies=[guard])(endpoint)
        return app
    router.post("/{account}/calls", dependencies=around)(endpoint)
    outer.include_router(router, dependencies=[guard] if place == "included" else [])
    app.include_router(outer)
    return app


@pytest.mark.parametrize("endpoint", [in_json, embedded, in_form, uploaded])
@pytest.mark.parametrize(
    "place",
    ["application", "application itself", "router", "outer router", "included", "route", "nested"],
)
@pytest.mark.parametrize(
    "account", [FromRoute("account"), FromHeader("x-account"), FromPath(r"/v1/(?P<account>[^/]+)"), account_of_cookie]
)
def test_the_gate_is_asked_before_the_body_is_read(account: Any, place: str, endpoint: Any) -> None:
    told: list[Verdict] = []
    app = guarded_app(place, endpoint, allowlist(a_gate(hooks=[told.append]), account))
    for peer, status in ((STRANGER, 403), (LISTED, 422)):
        told.clear()
        body = UnparsedBody()
        asked = Attack("", "default", peer, ((b"x-account", b"acct-1"),), None)
        assert answer_to_post("asgi", app, asked, CALLS, body) == status
        assert [verdict.allowed for verdict in told] == [peer == LISTED]
        assert peer == LISTED or not body.was_read


def test_the_account_of_a_dependency_is_found_again_where_there_is_a_body() -> None:
    told: list[Verdict] = []
    app = guarded_app("router", in_json, allowlist(a_gate(hooks=[told.append]), account_of_cookie))
    app.get("/v1/{account}/calls", dependencies=[Depends(allowlist(a_gate(), account_of_cookie))])(lambda: "runs")
    for method, times in (("POST", 2), ("GET", 1)):
        GUARDED.clear()
        assert asked_with_json(app, method, ["a"]) == 200
        assert len(GUARDED) == times
    assert len(told) == 1


def asked_with_json(app: FastAPI, method: str, body: Any) -> int:
    async def ask() -> int:
        transport = httpx.ASGITransport(app, client=(LISTED, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.request(method, CALLS, json=body)).status_code

    return asyncio.run(ask())


def test_an_account_in_the_body_is_found_after_it_is_read() -> None:
    def account_of_body(account_name: Annotated[str, Body(embed=True)]) -> str:
        return account_name

    def act(account: str) -> str:
        return "the route runs"

    app = guarded_app("router", act, allowlist(a_gate(unlisted="deny"), account_of_body))
    for name, status in (("acct-1", 200), ("acct-2", 403)):
        assert asked_with_json(app, "POST", {"account_name": name}) == status


def test_another_account_after_the_body_is_asked_about_too() -> None:
    """The verdict counts for the account that it is about, and no other."""
    names = iter(["acct-1", "acct-2"])
    told: list[Verdict] = []
    app = guarded_app("router", in_json, allowlist(a_gate(unlisted="deny", hooks=[told.append]), lambda: next(names)))
    assert asked_with_json(app, "POST", ["a"]) == 403
    assert [verdict.account for verdict in told] == ["acct-1", "acct-2"]


def test_what_an_account_dependency_refuses_is_refused_before_the_body_is_read() -> None:
    app = guarded_app("router", in_json, allowlist(a_gate(), account_of_key))
    for headers, status in (((), 422), (((b"x-api-key", b"k-43"),), 401)):
        body = UnparsedBody()
        assert answer_to_post("asgi", app, Attack("", "default", LISTED, headers, None), CALLS, body) == status
        assert not body.was_read


def test_an_override_replaces_the_guard_before_the_body_too() -> None:
    listed = allowlist(a_gate(), FromRoute("account"))
    app = guarded_app("router", in_json, listed)
    app.dependency_overrides[listed] = lambda: None
    asked = Attack("", "default", STRANGER, (), None)
    assert answer_to_post("asgi", app, asked, CALLS, UnparsedBody()) == 422


@pytest.mark.parametrize("route_class", [AllowlistRoute, APIRoute])
@pytest.mark.parametrize("account", [account_of_key, FromHeader("x-api-key", {"k-42": "acct-1"}.get)])
@pytest.mark.parametrize("reads", ["itself", "by a parameter"])
def test_a_key_in_a_line_that_comes_with_the_body_is_none_or_is_asked_about(
    account: Any, route_class: type[APIRoute], reads: str
) -> None:
    """A server may append trailers to the headers that it has passed on; the endpoint trusts what it finds there."""
    lines = [(b"host", b"test"), (b"content-type", b"application/json")]
    acted: list[bytes] = []
    router = APIRouter(route_class=route_class, dependencies=[Depends(allowlist(a_gate(), account))])

    async def by_itself(request: Request) -> None:
        await request.body()
        acted.extend(value for name, value in request.scope["headers"] if name == b"x-api-key")
        acted.extend(value.encode() for value in request.headers.getlist("x-api-key"))

    async def by_a_parameter(request: Request, numbers: list[int]) -> None:
        await by_itself(request)

    router.post("/calls")(by_itself if reads == "itself" else by_a_parameter)
    app = FastAPI()
    app.include_router(router)

    async def receive() -> dict[str, Any]:
        if len(lines) == 2:
            lines.append((b"x-api-key", b"k-42"))
        return {"type": "http.request", "body": b"[1]", "more_body": False}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/calls", "query_string": b"", "headers": lines}
    asyncio.run(app({**scope, "client": (STRANGER, 4711)}, receive, send))
    assert not acted
    assert sent[0]["status"] in (200, 401, 403, 422)
