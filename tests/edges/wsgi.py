"""An application of Flask inside of the WSGI middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from cidrgate.middleware.wsgi import AllowlistMiddleware
from tests.edges import Edge
from tests.edges.flask import application

if TYPE_CHECKING:
    from cidrgate import Gate

__all__ = ["EDGE", "guarded"]

EDGE = Edge(
    title="WSGI",
    protocols=("wsgi",),
    sources=("path", "header"),
    shape="a middleware around any application",
    verdict='`environ["cidrgate.verdict"]`',
    page=None,
)


def guarded(gate: Gate, account: Any, protocol: str) -> AllowlistMiddleware:
    return AllowlistMiddleware(application(lambda: request.environ["cidrgate.verdict"]), gate, account)
