"""The aiohttp server middleware; needs aiohttp."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiohttp import web
from aiohttp.web import Request, Response, middleware

from cidrgate.gate.account_sources import Exempt, FromHeader, FromPath, FromRoute
from cidrgate.gate.denial import STATUS, denial_of
from cidrgate.gate.gate import check_gate
from cidrgate.gate.verdict import Verdict, mode_headers
from cidrgate.middleware._asgi_requests import account_of_headers
from cidrgate.middleware._request_account import RequestReader, account_finder, find_account_async

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware
    from aiohttp.web import StreamResponse

    from cidrgate.gate.gate import Gate

__all__ = ["VERDICT", "AccountSource", "allowlist"]

_key: Any = getattr(web, "RequestKey", lambda name, _: name)
VERDICT: Final[web.RequestKey[Verdict]] = _key("cidrgate", Verdict)
"""The key of the verdict in a request. aiohttp before 3.14 has no `RequestKey`; there it is the text `cidrgate`."""

AccountSource: TypeAlias = (
    Callable[[Request], str | Exempt | Awaitable[str | Exempt | None] | None] | FromHeader | FromRoute | FromPath
)
"""What names the account of a request: a callable from the request, which may be a coroutine function, or a source."""


def allowlist(gate: Gate, account: AccountSource) -> Middleware:
    """Return a middleware that answers 403 to requests and WebSocket handshakes that the gate denies.

    It protects nothing if a client can choose the account freely: the gate trusts the account that `account` returns.
    The peer is the other end of the socket; a `remote` that another middleware has set does not count.

    The handler finds the verdict in `request[VERDICT]`.

    A sub-application routes by the whole path, and its guard reads it: a `FromPath` and the rules of `exempt` contain
    the prefix of `add_subapp`, such as `GET /api/healthz`.

    Args:
        gate: Decides about each request.
        account: A callable from the request to its account, None for no account, or `EXEMPT`; it may be a coroutine
            function. Or a `FromRoute`, `FromHeader` or `FromPath`.

    Raises:
        TypeError: If `account` is not a valid account source.

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
        request[VERDICT] = verdict
        if verdict.allowed:
            try:
                response = await handler(request)
            except web.HTTPException as raised:
                raised.headers.extend(mode_headers(verdict))
                raise
            if not response.prepared:  # a handler that streams has sent its headers already
                response.headers.extend(mode_headers(verdict))
            return response
        denial = denial_of(verdict, ",".join(request.headers.getall("accept", ())))
        return Response(status=STATUS, body=denial.body, headers=dict(denial.headers))

    return guard


def _peer_of(request: Request) -> tuple[str | None, int | None]:
    """Return the address and the port of the socket's other end; a Unix socket has a name or no name at all."""
    peer = request.get_extra_info("peername")
    host, port = peer[:2] if isinstance(peer, tuple) else (peer, None)
    return (host, port) if isinstance(host, str) else (None, None)


def _account_of_headers(source: FromHeader) -> Callable[[Request], str | None]:
    of_scope = account_of_headers(source)
    return lambda request: of_scope({"headers": request.raw_headers})


# aiohttp routes by the encoded path: a path that it would decode to something else is unclear.
_READER: RequestReader[Request] = RequestReader(
    method=lambda request: request.method,
    path=lambda request: request.path,
    raw_path=lambda request: request.rel_url.raw_path.encode("latin-1", "replace"),
    of_header=_account_of_headers,
    route_parameters=lambda request: request.match_info,
)
