"""An application of Starlette inside of the ASGI middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cidrgate.middleware.asgi import AllowlistMiddleware
from tests.edges import Edge
from tests.edges.starlette import application

if TYPE_CHECKING:
    from cidrgate import Gate

__all__ = ["EDGE", "guarded"]

EDGE = Edge(
    title="ASGI",
    protocols=("asgi",),
    sources=("path", "header"),
    shape="a middleware around any application",
    verdict='`scope["state"]["cidrgate"]`',
    page=None,
)


def guarded(gate: Gate, account: Any, protocol: str) -> AllowlistMiddleware:
    return AllowlistMiddleware(application(), gate, account)
