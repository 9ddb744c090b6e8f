"""Guarded applications that say for which account they act, and how the peer looked: what real servers run for tests.

One process has them side by side; the header `X-App` says which is asked. Each acts for the account that it routes by,
at `/v1/accounts/ACCOUNT/calls`; `/healthz`, `/static/...` and every `OPTIONS` act for none, and are exempt.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from aiohttp import web
from fastapi import Depends, FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from cidrgate import ClientIPResolver, FromHeader, FromPath, FromRoute, Gate, Matcher
from cidrgate.middleware import aiohttp, asgi, flask, starlette, wsgi
from cidrgate.middleware.fastapi import allowlist, install
from tests.servers import guarded_django

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

__all__ = [
    "ASGI",
    "LISTED",
    "OWN",
    "STRANGER",
    "VICTIM",
    "WSGI",
    "aiohttp_application",
    "asgi_application",
    "wsgi_application",
]

VICTIM, OWN = "V", "own"
LISTED, STRANGER = "127.0.0.7", "127.0.0.9"
"""The one address of the victim's list, and the one of the attacker's own."""

EXEMPT = ["GET /healthz", "OPTIONS *", "GET /static/*"]
ROUTE = FromRoute("account", exempt=EXEMPT)
PATH = FromPath(r"/v1/accounts/(?P<account>[^/]+)/calls", exempt=EXEMPT)
HEADER = FromHeader("x-account", exempt=EXEMPT)
CALLS = "/v1/accounts/{account}/calls"
METHODS = ["GET", "HEAD", "POST", "OPTIONS"]


def a_gate() -> Gate:
    """A gate over two lists; the resolver is the one that the environment asks for."""
    matcher = Matcher()
    matcher.publish(VICTIM, [f"{LISTED}/32"])
    matcher.publish(OWN, [f"{STRANGER}/32"])
    trusted = os.environ.get("TEST_TRUSTED_PROXIES", "").split()
    resolver = ClientIPResolver(
        trusted_proxies=trusted or None, resolved_by_server=bool(os.environ.get("TEST_RESOLVED_BY_SERVER"))
    )
    return Gate(matcher, unlisted="deny_unknown", resolver=resolver, require_account=True)


GATE = a_gate()


async def calls(request: Request) -> JSONResponse:
    """Act for an account."""
    acting = None if request.method == "OPTIONS" else request.path_params["account"]
    return JSONResponse({"account": acting})


async def nothing(request: Request) -> JSONResponse:
    """Act for none."""
    return JSONResponse({"account": None})


def _starlette(**settings: Any) -> Starlette:
    return Starlette(
        routes=[
            Route(CALLS, calls, methods=METHODS, **settings),
            Route("/healthz", nothing),
            Route("/static/{path:path}", nothing),
        ]
    )


def _fastapi(source: FromRoute | FromPath) -> FastAPI:
    guard = Depends(allowlist(GATE, source))
    app = FastAPI(dependencies=[guard])
    install(app)

    @app.api_route(CALLS, methods=["GET", "HEAD", "POST"])
    async def act(account: str) -> dict[str, str]:
        return {"account": account}

    @app.options("/{path:path}")
    @app.get("/static/{path:path}")
    @app.get("/healthz")
    async def act_for_none() -> dict[str, None]:
        return {"account": None}

    return app


ASGI: dict[str, Any] = {
    "path": asgi.AllowlistMiddleware(_starlette(), GATE, PATH),
    "header": asgi.AllowlistMiddleware(_starlette(), GATE, HEADER),
    "starlette": _starlette(middleware=[Middleware(starlette.AllowlistMiddleware, gate=GATE, account=ROUTE)]),
    "fastapi": _fastapi(ROUTE),
    "fastapi path": _fastapi(PATH),
    "django": guarded_django.asgi_application(GATE, ROUTE),
    "django path": guarded_django.asgi_application(GATE, PATH),
}


def _flask() -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.route("/v1/accounts/<account>/calls", methods=["GET", "POST"])
    def act(account: str) -> dict[str, str]:
        return {"account": account}

    @app.get("/static/<path:path>")
    @app.get("/healthz")
    def act_for_none(path: str = "") -> dict[str, None]:
        return {"account": None}

    return app


def _guarded_flask(source: FromRoute | FromPath) -> Flask:
    app = _flask()
    flask.Allowlist(GATE, source, app)
    return app


WSGI: dict[str, Any] = {
    "path": wsgi.AllowlistMiddleware(_flask(), GATE, PATH),
    "header": wsgi.AllowlistMiddleware(_flask(), GATE, HEADER),
    "flask": _guarded_flask(ROUTE),
    "flask path": _guarded_flask(PATH),
    "django": guarded_django.wsgi_application(GATE, ROUTE),
    "django path": guarded_django.wsgi_application(GATE, PATH),
}


async def asgi_application(scope: Any, receive: Any, send: Any) -> None:
    """All of them under ASGI; without a start and an end, as none of them has one."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    asked = next((value for name, value in scope["headers"] if name == b"x-app"), b"header")
    await ASGI[asked.decode()](scope, receive, send)


def wsgi_application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """All of them under WSGI."""
    return WSGI[environ.get("HTTP_X_APP", "header")](environ, start_response)


def aiohttp_application(source: FromRoute | FromPath | FromHeader) -> web.Application:
    """The one of aiohttp."""

    async def act(request: web.Request) -> web.Response:
        return web.json_response({"account": None if request.method == "OPTIONS" else request.match_info["account"]})

    async def act_for_none(request: web.Request) -> web.Response:
        return web.json_response({"account": None})

    app = web.Application(middlewares=[aiohttp.allowlist(GATE, source)])
    app.add_routes([web.route(method, CALLS, act) for method in ("GET", "POST", "OPTIONS")])
    app.add_routes([web.get("/healthz", act_for_none), web.get("/static/{path:.*}", act_for_none)])
    return app


def by_route(arguments: list[str]) -> web.Application:
    """For `python -m aiohttp.web`."""
    return aiohttp_application(ROUTE)


def by_path(arguments: list[str]) -> web.Application:
    """For `python -m aiohttp.web`."""
    return aiohttp_application(PATH)
