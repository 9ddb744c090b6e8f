"""ASGI middleware for one route or mount of Starlette, whose parameters are known there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.gate.account_sources import FromRoute
from cidrgate.middleware import asgi

if TYPE_CHECKING:
    from cidrgate.gate.gate import Gate

__all__ = ["AllowlistMiddleware"]


class AllowlistMiddleware(asgi.AllowlistMiddleware):
    """Lets requests of a route through that the gate allows, and answers 403 for the others.

    It goes into the `middleware` of a `Route`, a `WebSocketRoute` or a `Mount`. Around a whole application Starlette
    has not routed yet: a `FromRoute` then finds no parameter, and denies.

    Args:
        app: The route's application.
        gate: Decides.
        account: What the parameters of the route are asked for.

    Raises:
        TypeError: If the account comes from anything else.

    Example:
        >>> from starlette.applications import Starlette
        >>> from starlette.middleware import Middleware
        >>> from starlette.responses import PlainTextResponse
        >>> from starlette.routing import Route
        >>> from cidrgate import Gate, Matcher
        >>> gate = Gate(Matcher(), unlisted="deny_unknown", log="none")
        >>> guard = Middleware(AllowlistMiddleware, gate=gate, account=FromRoute("account"))
        >>> app = Starlette(routes=[Route("/v1/accounts/{account}", PlainTextResponse("hello"), middleware=[guard])])
    """

    def __init__(self, app: asgi.App, gate: Gate, account: FromRoute) -> None:
        if not isinstance(account, FromRoute):
            raise TypeError("for other sources than FromRoute there is cidrgate.middleware.asgi.AllowlistMiddleware")
        super().__init__(app, gate, asgi.account_of_scope(account))
