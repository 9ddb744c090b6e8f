"""The aiohttp server middleware; needs aiohttp."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, TypeAlias

from aiohttp.web import Response, middleware

from cidrgate.gate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute, check_source, required
from cidrgate.gate.denial import STATUS, denial_of
from cidrgate.gate.gate import check_gate
from cidrgate.middleware.asgi import account_of_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler, Middleware
    from aiohttp.web import Request, StreamResponse

    from cidrgate.gate.account_sources import Exempt
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
        >>> from cidrgate import Gate, Matcher
        >>> gate = Gate(Matcher(), unlisted="deny_unknown")
        >>> app = web.Application(middlewares=[allowlist(gate, FromRoute("account", exempt=["GET /healthz"]))])
    """
    check_gate(gate)
    account_of = _account_of_request(account)

    @middleware
    async def guard(request: Request, handler: Handler) -> StreamResponse:
        told: str | Exempt | None = None
        failure: Exception | None = None
        try:
            found = account_of(request)
            told = await found if isawaitable(found) else found
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
            failure = error
        peer, port = _peer_of(request)
        verdict = gate.decide(told, peer, request.raw_headers, port=port, failure=failure)
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


def _account_of_request(account: Account | FromHeader | FromRoute | FromPath) -> Account:
    """What finds the account in an aiohttp request."""
    if not isinstance(account, (FromHeader, FromRoute, FromPath)):
        check_source(account)
        return account
    source = account

    def exempt(request: Request) -> bool:
        return source.exemptions.match(request.method, request.path, _raw_path_of(request))

    of_headers = account_of_headers(source) if isinstance(source, FromHeader) else None

    def named(request: Request) -> str | None:
        if of_headers is not None:
            return of_headers({"headers": request.raw_headers})
        assert not isinstance(source, FromHeader)  # noqa: S101 - such a source has `of_headers`
        if isinstance(source, FromRoute):
            return required(source.account(request.match_info))
        # aiohttp routes by the encoded path: what it would decode to something else is not clear.
        return required(source.account(request.path, _raw_path_of(request)))

    if not source.exempt:
        return named
    return lambda request: EXEMPT if exempt(request) else named(request)


def _raw_path_of(request: Request) -> bytes:
    return request.rel_url.raw_path.encode("latin-1", "replace")
