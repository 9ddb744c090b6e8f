"""The aiohttp server middleware; needs aiohttp."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, TypeAlias

from aiohttp.web import Response, middleware

from cidrgate.account_sources import FromHeader, FromPath
from cidrgate.denial import STATUS, denial_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler, Middleware
    from aiohttp.web import Request, StreamResponse

    from cidrgate.gate import Gate

    Account: TypeAlias = Callable[[Request], str | Awaitable[str | None] | None]

__all__ = ["allowlist"]


def allowlist(gate: Gate, account: Account | FromHeader | FromPath) -> Middleware:
    """A middleware that answers 403 for requests, and WebSocket handshakes, that the gate does not admit.

    The peer is the socket's: a `remote` that another middleware has set does not count.

    Args:
        gate: Decides.
        account: From the request to the account it acts for, or None for none, also as a coroutine function; or a
            `FromHeader` or `FromPath`.

    Example:
        >>> from aiohttp import web
        >>> from cidrgate import Gate, Matcher
        >>> app = web.Application(middlewares=[allowlist(Gate(Matcher()), FromHeader("x-account"))])
    """
    account_of = _account_of_request(account)

    @middleware
    async def guard(request: Request, handler: Handler) -> StreamResponse:
        told: str | None = None
        failure: Exception | None = None
        try:
            found = account_of(request)
            told = await found if found is not None and isawaitable(found) else found
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
            failure = error
        verdict = gate.decide(told, _peer_of(request), request.raw_headers, failure=failure)
        if verdict.admitted:
            return await handler(request)
        denial = denial_of(verdict, ",".join(request.headers.getall("accept", ())))
        return Response(status=STATUS, body=denial.body, headers=dict(denial.headers))

    return guard


def _peer_of(request: Request) -> str | None:
    """The address of the socket's other end; a Unix socket has a name, or none."""
    peer = request.get_extra_info("peername")
    host = peer[0] if isinstance(peer, tuple) else peer
    return host if isinstance(host, str) else None


def _account_of_request(account: Account | FromHeader | FromPath) -> Account:
    """What finds the account in an aiohttp request."""
    if isinstance(account, FromHeader):
        source = account
        return lambda request: source.account(request.headers.getall(source.name, ()))
    if isinstance(account, FromPath):
        path_source = account
        return lambda request: path_source.account(request.path)
    return account
