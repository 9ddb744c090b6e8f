"""Which responses have `X-Cidrgate-Mode`, if only a mode allows the request: errors, streams and WebSockets too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import flask
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient, TestServer
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient

from cidrgate import FromHeader, FromRoute, Gate, Matcher
from cidrgate.middleware import aiohttp, asgi, starlette
from cidrgate.middleware.fastapi import AllowlistRoute, allowlist
from cidrgate.middleware.flask import Allowlist

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

SOURCE = FromHeader("x-account")
HEADERS = {"x-account": "acct-1"}
STRANGER = "8.8.8.8"
PATHS = ("answer", "returned", "stream", "raised", "invalid", "unhandled")
ALL = {*PATHS, "websocket"}


def a_gate() -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", ["203.0.113.0/24"], mode="report_only")
    return Gate(matcher, unlisted="deny", log="none")


def modes_of_asgi(app: ASGIApp, prefix: str = "") -> dict[str, list[str]]:
    """The modes that the responses have, by their path."""
    client = TestClient(app, raise_server_exceptions=False, headers=HEADERS, client=(STRANGER, 4711))
    found = {path: client.get(f"{prefix}/{path}").headers.get_list("x-cidrgate-mode") for path in PATHS}
    with client.websocket_connect(f"{prefix}/websocket") as socket:
        accepted: list[tuple[bytes, bytes]] = socket.extra_headers or []
    found["websocket"] = [value.decode() for name, value in accepted if name == b"x-cidrgate-mode"]
    return found


def of_fastapi(route: type[APIRoute]) -> dict[str, list[str]]:
    v1 = APIRouter(route_class=route, dependencies=[Depends(allowlist(a_gate(), SOURCE))])

    @v1.get("/answer")
    def answer() -> int:
        return 1

    @v1.get("/invalid")
    def invalid(number: int) -> int:
        return number

    @v1.get("/returned")
    def returned() -> PlainTextResponse:
        return PlainTextResponse("returned")

    @v1.get("/stream")
    def stream() -> StreamingResponse:
        return StreamingResponse(iter(["streamed"]))

    @v1.get("/raised")
    def raised() -> None:
        raise HTTPException(404)

    @v1.get("/unhandled")
    def unhandled() -> None:
        raise ZeroDivisionError

    @v1.websocket("/websocket")
    async def websocket(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    app = FastAPI()
    app.include_router(v1, prefix="/v1")
    return modes_of_asgi(app, "/v1")


async def answers(request: Request) -> Response:
    match request.url.path.rpartition("/")[2]:
        case "stream":
            return StreamingResponse(iter(["streamed"]))
        case "raised" | "invalid":
            raise HTTPException(404)
        case "unhandled":
            raise ZeroDivisionError
    return PlainTextResponse("answered")


async def accepts(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def of_starlette_routes() -> dict[str, list[str]]:
    guard = [Middleware(starlette.AllowlistMiddleware, gate=a_gate(), account=FromRoute("account"))]
    routes = [WebSocketRoute("/{account}/websocket", accepts, middleware=guard)]
    return modes_of_asgi(Starlette(routes=[*routes, Route("/{account}/{path}", answers, middleware=guard)]), "/acct-1")


def around_starlette() -> dict[str, list[str]]:
    app = Starlette(routes=[WebSocketRoute("/websocket", accepts), Route("/{path}", answers)])
    return modes_of_asgi(asgi.AllowlistMiddleware(app, a_gate(), SOURCE))


def of_flask() -> dict[str, list[str]]:
    app = flask.Flask("test")
    Allowlist(a_gate(), SOURCE, app)

    @app.get("/<path>")
    def answered(path: str) -> flask.Response:
        if path in ("raised", "invalid"):
            flask.abort(404)
        if path == "unhandled":
            raise ZeroDivisionError
        return flask.Response(iter(["streamed"]) if path == "stream" else "answered")

    client, peer = app.test_client(), {"REMOTE_ADDR": STRANGER}
    return {
        path: client.get(f"/{path}", headers=HEADERS, environ_base=peer).headers.getlist("x-cidrgate-mode")
        for path in PATHS
    }


def of_aiohttp() -> dict[str, list[str]]:
    async def answered(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/stream":
                stream = web.StreamResponse()
                await stream.prepare(request)
                return stream
            case "/websocket":
                socket = web.WebSocketResponse()
                await socket.prepare(request)
                await socket.close()
                return socket
            case "/raised" | "/invalid":
                raise web.HTTPNotFound
            case "/unhandled":
                raise ZeroDivisionError
        return web.Response()

    async def ask() -> dict[str, list[str]]:
        app = web.Application(middlewares=[aiohttp.allowlist(a_gate(), SOURCE)])
        app.router.add_get("/{path}", answered)
        found = {}
        async with AiohttpClient(TestServer(app)) as client:
            for path in PATHS:
                async with client.get(f"/{path}", headers=HEADERS) as answer:
                    found[path] = answer.headers.getall("x-cidrgate-mode", [])
            socket = await client.ws_connect("/websocket", headers=HEADERS)
            found["websocket"] = socket._response.headers.getall("x-cidrgate-mode", [])
            await socket.close()
        return found

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("ask", "having"),
    [
        (lambda: of_fastapi(APIRoute), {"answer"}),
        (lambda: of_fastapi(AllowlistRoute), ALL - {"unhandled", "websocket"}),
        (of_starlette_routes, ALL - {"unhandled"}),
        (around_starlette, ALL),
        (of_flask, ALL - {"websocket"}),
        (of_aiohttp, ALL - {"stream", "unhandled", "websocket"}),
    ],
    ids=["fastapi", "fastapi-allowlist-route", "starlette-route", "asgi", "flask", "aiohttp"],
)
def test_each_response_that_passes_the_edge_says_the_mode_once(
    ask: Callable[[], dict[str, list[str]]], having: set[str]
) -> None:
    found = ask()
    assert found == {path: ["report_only"] if path in having else [] for path in found}
