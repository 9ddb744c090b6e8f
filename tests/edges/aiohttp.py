"""An application of aiohttp inside of the middleware; aiohttp is its server too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from cidrgate.middleware.aiohttp import VERDICT, allowlist
from tests.edges import CALLS, Edge, told

if TYPE_CHECKING:
    from cidrgate import Gate

__all__ = ["EDGE", "guarded"]

EDGE = Edge(
    title="aiohttp",
    protocols=("aiohttp",),
    shape="a middleware",
    verdict="`request[VERDICT]`, with `VERDICT` from `cidrgate.middleware.aiohttp`",
    requires="aiohttp>=3.10",
    page="aiohttp.md",
)


async def act(request: web.Request) -> web.Response:
    """Act for an account."""
    return web.json_response(
        told(None if request.method == "OPTIONS" else request.match_info["account"], request[VERDICT])
    )


async def act_for_none(request: web.Request) -> web.Response:
    """Act for none."""
    return web.json_response(told(None, request[VERDICT]))


def guarded(gate: Gate, account: Any, protocol: str) -> web.Application:
    app = web.Application(middlewares=[allowlist(gate, account)])
    app.add_routes([web.route(method, CALLS, act) for method in ("GET", "POST", "OPTIONS")])
    app.add_routes([web.get("/healthz", act_for_none), web.get("/static/{path:.*}", act_for_none)])
    return app
