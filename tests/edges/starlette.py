"""An application of Starlette whose routes are guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from cidrgate.middleware.starlette import AllowlistMiddleware
from tests.edges import CALLS, Edge, told

if TYPE_CHECKING:
    from starlette.requests import Request

    from cidrgate import Gate

__all__ = ["EDGE", "application", "guarded"]

EDGE = Edge(
    title="Starlette",
    protocols=("asgi",),
    sources=("route",),
    shape="around the application, a mount or a route",
    verdict="`request.state.cidrgate`",
    page="starlette.md",
)


async def calls(request: Request) -> JSONResponse:
    """Act for an account."""
    acting = None if request.method == "OPTIONS" else request.path_params["account"]
    return JSONResponse(told(acting, request.state.cidrgate))


async def nothing(request: Request) -> JSONResponse:
    """Act for none."""
    return JSONResponse(told(None, request.state.cidrgate))


def application(**settings: Any) -> Starlette:
    """The application; `settings` are those of its routes."""
    return Starlette(
        routes=[
            Route(CALLS, calls, methods=["GET", "HEAD", "POST", "OPTIONS"], **settings),
            Route("/healthz", nothing, **settings),
            Route("/static/{path:path}", nothing, **settings),
        ]
    )


def guarded(gate: Gate, account: Any, protocol: str) -> Starlette:
    return application(middleware=[Middleware(AllowlistMiddleware, gate=gate, account=account)])
