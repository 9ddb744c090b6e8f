"""An application of FastAPI, guarded by a dependency. Annotations are evaluated here, as FastAPI reads them."""

from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Request

from cidrgate import Gate
from cidrgate.middleware.fastapi import AllowlistRoute, allowlist
from tests.edges import CALLS, Edge, told

__all__ = ["EDGE", "guarded"]

EDGE = Edge(
    title="FastAPI",
    protocols=("asgi",),
    shape="a dependency of a route, a router or the application",
    verdict="`request.state.cidrgate`, or the value of the dependency",
    page="fastapi.md",
)

Numbers = Annotated[list[str] | None, Body()]


def guarded(gate: Gate, account: Any, protocol: str) -> FastAPI:
    app = FastAPI(dependencies=[Depends(allowlist(gate, account))])
    app.router.route_class = AllowlistRoute

    @app.api_route(CALLS, methods=["GET", "HEAD"])
    async def act(account: str, request: Request) -> dict[str, Any]:
        return told(account, request.state.cidrgate)

    @app.post(CALLS)
    async def act_with_body(account: str, request: Request, numbers: Numbers = None) -> dict[str, Any]:
        return told(account, request.state.cidrgate)

    @app.options("/{path:path}")
    @app.get("/static/{path:path}")
    @app.get("/healthz")
    async def act_for_none(request: Request) -> dict[str, Any]:
        return told(None, request.state.cidrgate)

    return app
