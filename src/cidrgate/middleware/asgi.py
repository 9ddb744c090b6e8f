"""ASGI middleware for `http` and `websocket`, around Starlette, FastAPI, Litestar or any other application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate._engine import _HeaderField, _HeaderNames
from cidrgate.errors import UnclearAccountError
from cidrgate.gate.account_sources import FromRoute
from cidrgate.gate.denial import STATUS, Denial, denial_of
from cidrgate.gate.gate import check_gate
from cidrgate.gate.header_names import folded_name
from cidrgate.gate.request_paths import route_path
from cidrgate.gate.rewritten_peers import CLIENT_HEADERS
from cidrgate.middleware._request_account import RequestReader, account_finder

if TYPE_CHECKING:
    from cidrgate.gate.account_sources import Exempt, FromHeader, FromPath
    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict

__all__ = ["AllowlistMiddleware", "account_of_headers", "account_of_scope", "decide", "denial_in"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Account: TypeAlias = "Callable[[Scope], str | Exempt | Awaitable[str | Exempt | None] | None]"

_POLICY_VIOLATION = 1008


class AllowlistMiddleware:
    """Runs the application for requests that the gate allows, and answers 403 to the others.

    It protects nothing if a client can choose the account freely: the gate trusts the account that `account` returns.
    It also trusts `scope["client"]` as the peer: place it outside of everything that rewrites that value.

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
        TypeError: If this edge does not support the account source.

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

    def __init__(self, app: App, gate: Gate, account: Account | FromHeader | FromPath) -> None:
        if isinstance(account, FromRoute):
            raise TypeError(
                "the route of an ASGI application is not known around it: use FromRoute in "
                "cidrgate.middleware.fastapi, or in cidrgate.middleware.starlette for one route or mount of "
                "Starlette, or FromPath here"
            )
        check_gate(gate)
        self.app = app
        self._gate = gate
        self._allows_peer = gate.allows_peer
        self._allows = gate.allows
        self._portless = gate.resolver.resolved_by_server
        self._claims = _HeaderNames(() if self._portless else CLIENT_HEADERS)
        self._account = account_of_scope(account)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the gate, then run the application or deny."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope.get("headers").__class__ is not list:
            scope = {**scope, "headers": _as_list(scope.get("headers"))}
        account: str | Exempt | None = None
        failure: Exception | None = None
        allowed = False
        # The same as `find_account_async`, inline to save the time of a call.
        try:
            told = self._account(scope)
            account = await told if told.__class__ is not str and isawaitable(told) else told
        except Exception as error:  # noqa: BLE001 - the gate decides
            failure = error
        else:
            if account.__class__ is str:
                try:
                    host, port = scope["client"]
                    headers = scope["headers"]
                    if self._allows_peer is None or self._claims.may_be_in(headers):
                        allowed = self._allows(account, host, headers, port or 0)
                    elif port or self._portless:
                        allowed = self._allows_peer(account, host)
                except Exception:  # noqa: BLE001, S110 - `decide` finds out what it was
                    pass
        if not allowed:
            verdict = decide(self._gate, account, scope, failure)
            if not verdict.allowed:
                await _deny(verdict, scope, receive, send)
                return
        await self.app(scope, receive, send)


def _as_list(headers: Any) -> list[Any]:
    """Return the headers as a list, which can be read more than once."""
    try:
        return list(headers or ())
    except TypeError:
        return [headers]  # nothing reads this as a header line


def decide(gate: Gate, account: str | Exempt | None, scope: Scope, failure: Exception | None = None) -> Verdict:
    """Decide about a connection.

    Args:
        gate: Decides.
        account: The account of the connection; None for no account, `EXEMPT` if it needs none.
        scope: The connection's scope.
        failure: The error that occurred before the account was known.
    """
    host, port = peer_of(scope)
    return gate.decide(account, host, scope.get("headers", ()), port=port, failure=failure)


def peer_of(scope: Scope) -> tuple[str | None, int | None]:
    """Return the address and the port of the socket's other end, as the server reports them.

    No client has port 0: the servers' own proxy middlewares write it beside an address from a header. If the port is
    missing beside an address, it counts as 0.
    """
    client = scope.get("client")
    if not client:
        return None, None
    host = client[0]
    return host, (client[1] if len(client) > 1 else None) or 0


def account_of_scope(account: Account | FromHeader | FromRoute | FromPath) -> Account:
    """Return the function that finds the account in a scope.

    Raises:
        TypeError: If `account` is not a valid account source.
    """
    return account_finder(account, _READER)


def account_of_headers(source: FromHeader, *, refuse_aliases: bool = True) -> Callable[[Scope], str | None]:
    """Return the function that finds the account in the headers of a scope; it runs for every request.

    Args:
        source: The header.
        refuse_aliases: Whether the account is unclear if the request contains `X_Account`, with or without `X-Account`:
            an application behind a bridge to WSGI cannot distinguish the two.
    """
    field = source.name.lower().encode("latin-1")
    folded = folded_name(field)
    size = len(field)
    simple = _HeaderField(field)

    def account(scope: Scope) -> str | None:
        text = simple.text(scope["headers"])
        if text is not None:
            return source.of_text(text)
        found: bytes | None = None
        for name, value in scope["headers"]:
            if not (isinstance(name, bytes) and isinstance(value, bytes)):
                raise UnclearAccountError("a header of the request does not consist of bytes")
            if len(name) == size and (name == field or folded_name(name) == folded):
                if name != field and name.lower() != field:
                    if refuse_aliases:
                        raise UnclearAccountError(f"the header {name.decode('latin-1')} can be read as {source.name}")
                    continue
                if found is not None:
                    return source.account([found.decode("latin-1"), value.decode("latin-1")])
                found = value
        return None if found is None else source.of_value(found.decode("latin-1"))

    return account


def denial_in(scope: Scope, verdict: Verdict) -> Denial:
    """Return the 403 response for a verdict, in the format that the client accepts."""
    try:
        accept = b",".join(value for name, value in scope.get("headers") or () if name == b"accept").decode("latin-1")
    except (TypeError, ValueError):  # not a list of pairs of bytes
        accept = ""
    return denial_of(verdict, accept)


def _path_of(scope: Scope) -> str:
    """Return the path that the application routes by."""
    return route_path(scope["path"], scope.get("root_path", ""))


# The handshake of a WebSocket is a GET, but its scope contains no method.
_READER: RequestReader[Scope] = RequestReader(
    method=lambda scope: scope.get("method", "GET"),
    path=_path_of,
    raw_path=lambda scope: scope.get("raw_path"),
    of_header=account_of_headers,
    route_parameters=lambda scope: scope.get("path_params"),
)


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
