"""ASGI middleware for one route or mount of Starlette, where the route's parameters are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.gate.account_sources import FromRoute
from cidrgate.middleware import asgi
from cidrgate.middleware._asgi_requests import account_of_scope

if TYPE_CHECKING:
    from cidrgate.gate.gate import Gate
    from cidrgate.middleware._asgi_requests import App

__all__ = ["AllowlistMiddleware"]


class AllowlistMiddleware(asgi.AllowlistMiddleware):
    """Runs a route for requests that the gate allows, and answers 403 to the others.

    It protects nothing if the application does not check the account in the path against the request's credentials.
    Pass it to the `middleware` of a `Route`, a `WebSocketRoute` or a `Mount`. Around a whole application, Starlette has
    not resolved the route yet: a `FromRoute` then finds no parameter, and the request is denied.

    The route finds the verdict in `request.state.cidrgate`.

    Args:
        app: The route's application.
        gate: Decides about each request.
        account: The parameter of the route that names the account.

    Raises:
        TypeError: If `account` is not a `FromRoute`.

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

    def __init__(self, app: App, gate: Gate, account: FromRoute) -> None:
        if not isinstance(account, FromRoute):
            raise TypeError("for sources other than FromRoute, use cidrgate.middleware.asgi.AllowlistMiddleware")
        super().__init__(app, gate, account_of_scope(account))
