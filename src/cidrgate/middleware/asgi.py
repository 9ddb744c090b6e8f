"""ASGI middleware for `http` and `websocket`, around Starlette, FastAPI, Litestar or any other application."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate._engine import _HeaderField, _HeaderNames
from cidrgate.gate.account_sources import FromHeader, FromPath, FromRoute
from cidrgate.gate.denial import STATUS
from cidrgate.gate.gate import check_gate
from cidrgate.gate.late_verdict import LateVerdict
from cidrgate.gate.rewritten_peers import CLIENT_HEADERS
from cidrgate.gate.trailers import TRANSFER_ENCODING
from cidrgate.middleware._asgi_lifespan import pass_lifespan
from cidrgate.middleware._asgi_requests import (
    STATE,
    WSGI_ENVIRON,
    AccountFinder,
    account_of_scope,
    decide,
    denial_in,
    port_number,
    sending_mode,
    settle_headers,
)
from cidrgate.values import check_callable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.gate.account_sources import Exempt
    from cidrgate.gate.denial import Denial
    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict
    from cidrgate.middleware._asgi_requests import App, Receive, Scope, Send

__all__ = ["AccountSource", "AllowlistMiddleware"]

AccountSource: TypeAlias = AccountFinder | FromHeader | FromPath
"""What names the account of a request: a callable from the scope, which may be a coroutine function, or a source."""

_POLICY_VIOLATION = 1008
_new = object.__new__


class AllowlistMiddleware:
    """Runs the application for requests that the gate allows, and answers 403 to the others.

    It protects nothing if a client can choose the account freely: the gate trusts the account that `account` returns.
    It also trusts `scope["client"]` as the peer: place it outside of everything that rewrites that value.

    The application finds the verdict in `scope["state"]["cidrgate"]`.

    When the lifespan of the application ends, the counts of the decision log are written, and the manager stores its
    last matches and its traffic, for which it waits some seconds at most. Nothing is closed. An application without a
    lifespan stays one.

    A WebSocket is denied during its handshake, before the application sees it. If the server has the extension
    `websocket.http.response`, the client gets the same response as for HTTP; otherwise the middleware closes the
    connection, which servers turn into a 403 without a body.

    Args:
        app: The application.
        gate: Decides about each request.
        account: A callable from the scope to the account of the request, None for no account, or `EXEMPT`; it may be a
            coroutine function. Or a `FromHeader` or `FromPath`. `FromRoute` does not work here, because the route of
            the application is not known yet: use it in the edge of the framework.

    Raises:
        TypeError: If an argument is of another type, or this edge does not support the account source.

    Example:
        >>> import asyncio
        >>> from cidrgate import FromHeader, Gate, Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> async def app(scope, receive, send):
        ...     print("the application runs")
        >>> gate = Gate(matcher, unlisted="deny_unknown", log="none")
        >>> guarded = AllowlistMiddleware(app, gate, FromHeader("x-account"))
        >>> async def send(message):
        ...     print(message["type"], message.get("status"))
        >>> scope = {"type": "http", "headers": [(b"x-account", b"acct-1")], "client": ("8.8.8.8", 4711)}
        >>> asyncio.run(guarded(scope, None, send))
        http.response.start 403
        http.response.body None
        >>> asyncio.run(guarded(scope | {"client": ("203.0.113.9", 4711)}, None, send))
        the application runs
    """

    def __init__(self, app: App, gate: Gate, account: AccountSource) -> None:
        if isinstance(account, FromRoute):
            raise TypeError(
                "the route of an ASGI application is not known around it: use FromRoute in "
                "cidrgate.middleware.fastapi, or in cidrgate.middleware.starlette for one route or mount of "
                "Starlette, or FromPath here"
            )
        check_callable(app, "app")
        check_gate(gate)
        self.app = app
        self._gate = gate
        self._allows_peer = gate.allows_peer
        self._allows = gate.allows
        self._portless = gate.resolver.resolved_by_server
        claims = () if self._portless else CLIENT_HEADERS
        # A server that has replaced the peer may have read a trailer.
        self._claims = _HeaderNames(claims or [TRANSFER_ENCODING])
        self._watched = _HeaderNames((*claims, TRANSFER_ENCODING))
        self._account = account_of_scope(account)
        # The account of most requests is in a simple header: one pass finds it, and sees that no client header is there
        # in which a rewritten peer could stand, and that no trailers can follow.
        self._field: _HeaderField | None = None
        self._lookup: Callable[[str], str | None] | None = None
        if isinstance(account, FromHeader) and account.scheme is None and not account.exempt and gate.allows_peer:
            self._field = _HeaderField(account.name.lower().encode("latin-1"))
            self._lookup = account.lookup

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Ask the gate, then run the application or deny."""
        if scope["type"] == "lifespan":
            await pass_lifespan(self.app, self._gate, scope, receive, send)
            return
        headers = scope.get("headers")
        if headers.__class__ is not list:
            headers = settle_headers(scope)
        found: Any
        clear: str | None
        account: str | Exempt | None = None
        failure: Exception | None = None
        allowed = False
        # The same as `find_account_async`, inline to save the time of a call.
        try:
            if self._field is None or WSGI_ENVIRON in scope:
                found = clear = None
            else:
                found = clear = self._field.text_without(headers, self._watched)
            if clear is None:
                headers = settle_headers(scope)
                found = self._account(scope)
            elif self._lookup is not None:
                found = self._lookup(clear)
            account = await found if found.__class__ is not str and isawaitable(found) else found
        except Exception as error:  # noqa: BLE001 - the gate decides
            failure = error
        else:
            if account.__class__ is str:
                try:
                    host, port = scope["client"]
                    if port.__class__ is not int:
                        port = port_number(port)
                    if clear is None and WSGI_ENVIRON in scope:
                        pass  # `decide` looks at the server of the bridge too
                    elif self._allows_peer is None or (clear is None and self._claims.may_be_in(headers)):
                        allowed = self._allows(account, host, headers, port)
                    elif port or self._portless:
                        allowed = self._allows_peer(account, host)
                except Exception:  # noqa: BLE001, S110 - `decide` finds out what it was
                    pass
        verdict: Verdict
        if allowed:
            verdict = _new(LateVerdict)
            verdict._late = (self._gate, account, host, headers, port)
        else:
            verdict = decide(self._gate, account, scope, failure)
        # The same as `hand_over`, inline too.
        if "state" in scope:
            scope["state"][STATE] = verdict
        else:
            scope["state"] = {STATE: verdict}
        if allowed:
            await self.app(scope, receive, send)
        elif verdict.allowed:
            await self.app(scope, receive, sending_mode(send, verdict))
        else:
            await _deny(verdict, scope, receive, send)


async def _deny(verdict: Verdict, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the 403 of the protocol; a connection with another protocol ends before the application sees it."""
    denial = denial_in(scope, verdict)
    if scope["type"] == "http":
        await _respond(denial, "http.response", send)
    elif scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" in scope.get("extensions", ()):
            await _respond(denial, "websocket.http.response", send)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "address not allowed"})


async def _respond(denial: Denial, kind: str, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in denial.headers]
    await send({"type": f"{kind}.start", "status": STATUS, "headers": headers})
    await send({"type": f"{kind}.body", "body": denial.body})
