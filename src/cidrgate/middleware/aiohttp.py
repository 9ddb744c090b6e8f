"""The aiohttp server middleware; needs aiohttp."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from aiohttp.web import Request, Response, middleware

from cidrgate.gate.denial import STATUS, denial_of
from cidrgate.gate.gate import check_gate
from cidrgate.middleware._request_account import RequestReader, account_finder, find_account_async
from cidrgate.middleware.asgi import account_of_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler, Middleware
    from aiohttp.web import StreamResponse

    from cidrgate.gate.account_sources import Exempt, FromHeader, FromPath, FromRoute
    from cidrgate.gate.gate import Gate

    Account: TypeAlias = Callable[[Request], str | Exempt | Awaitable[str | Exempt | None] | None]

__all__ = ["allowlist"]


def allowlist(gate: Gate, account: Account | FromHeader | FromRoute | FromPath) -> Middleware:
    """A middleware that answers 403 for requests, and WebSocket handshakes, that the gate does not admit.

    The peer is the socket's: a `remote` that another middleware has set does not count.

    Args:
        gate: Decides.
        account: From the request to the account it acts for, None for none, or `EXEMPT`, also as a coroutine function;
            or a `FromRoute`, `FromHeader` or `FromPath`.

    Raises:
        TypeError: If the account comes from what is no source.

    Example:
        >>> from aiohttp import web
        >>> from cidrgate import FromRoute, Gate, Matcher
        >>> gate = Gate(Matcher(), unlisted="deny_unknown")
        >>> app = web.Application(middlewares=[allowlist(gate, FromRoute("account", exempt=["GET /healthz"]))])
    """
    check_gate(gate)
    finder = account_finder(account, _READER)

    @middleware
    async def guard(request: Request, handler: Handler) -> StreamResponse:
        named, failure = await find_account_async(finder, request)
        peer, port = _peer_of(request)
        verdict = gate.decide(named, peer, request.raw_headers, port=port, failure=failure)
        if verdict.admitted:
            return await handler(request)
        denial = denial_of(verdict, ",".join(request.headers.getall("accept", ())))
        return Response(status=STATUS, body=denial.body, headers=dict(denial.headers))

    return guard


def _peer_of(request: Request) -> tuple[str | None, int | None]:
    """The address and the port of the socket's other end; a Unix socket has a name, or none."""
    peer = request.get_extra_info("peername")
    host, port = peer[:2] if isinstance(peer, tuple) else (peer, None)
    return (host, port) if isinstance(host, str) else (None, None)


def _account_of_headers(source: FromHeader) -> Callable[[Request], str | None]:
    of_scope = account_of_headers(source)
    return lambda request: of_scope({"headers": request.raw_headers})


# aiohttp routes by the encoded path: what it would decode to something else is not clear.
_READER: RequestReader[Request] = RequestReader(
    method=lambda request: request.method,
    path=lambda request: request.path,
    raw_path=lambda request: request.rel_url.raw_path.encode("latin-1", "replace"),
    of_header=_account_of_headers,
    route_parameters=lambda request: request.match_info,
)
