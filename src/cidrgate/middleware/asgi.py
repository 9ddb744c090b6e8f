"""ASGI middleware for `http` and `websocket`, around Starlette, FastAPI, Litestar or any other application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate.account_sources import FromHeader, FromPath
from cidrgate.denial import STATUS, Denial, denial_of

if TYPE_CHECKING:
    from cidrgate.gate import Gate, Verdict

__all__ = ["AllowlistMiddleware", "account_of_headers", "account_of_scope", "decide", "denial_in"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Account: TypeAlias = Callable[[Scope], str | Awaitable[str | None] | None]

_POLICY_VIOLATION = 1008


class AllowlistMiddleware:
    """Lets requests through that the gate admits, and answers 403 for the others.

    A WebSocket is denied during its handshake, before the application sees it: with the same response where the server
    has the extension `websocket.http.response`, else by a close, which servers make a bare 403. The place of the
    middleware is outside of everything that rewrites `scope["client"]`.

    Args:
        app: The application.
        gate: Decides.
        account: From the scope to the account the request acts for, or None for none, also as a coroutine function;
            or a `FromHeader` or `FromPath`.

    Example:
        >>> import asyncio
        >>> from cidrgate import Gate, Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> async def app(scope, receive, send):
        ...     print("the application runs")
        >>> guarded = AllowlistMiddleware(app, Gate(matcher, log="none"), FromHeader("x-account"))
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
        self.app = app
        self._gate = gate
        self._allows_peer = gate.allows_peer
        self._admits = gate.admits
        self._account = account_of_scope(account)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the gate; run the application or deny."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        account: str | None = None
        failure: Exception | None = None
        admitted = False
        try:
            told = self._account(scope)
            account = await told if told.__class__ is not str and isawaitable(told) else told
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
            failure = error
        else:
            if account is not None:
                try:
                    client = scope["client"]
                    if client[1] == 0:
                        pass
                    elif self._allows_peer is not None:
                        admitted = self._allows_peer(account, client[0])
                    else:
                        admitted = self._admits(account, client[0], scope["headers"])
                except Exception:  # noqa: BLE001, S110 - `decide` finds out what it was
                    pass
        if not admitted:
            verdict = decide(self._gate, account, scope, failure)
            if not verdict.admitted:
                await _deny(verdict, scope, receive, send)
                return
        await self.app(scope, receive, send)


def decide(gate: Gate, account: str | None, scope: Scope, failure: Exception | None = None) -> Verdict:
    """Decide about a connection.

    Args:
        gate: Decides.
        account: The account it acts for; None for none.
        scope: The connection's scope.
        failure: What broke before the account was known.
    """
    host: str | None
    host, port = scope.get("client") or (None, None)
    # No client has port 0: the servers' own proxy middlewares write it for an address out of a header.
    rewritten = port == 0 and host is not None and host[:1] not in ("", "/")
    return gate.decide(account, host, scope.get("headers", ()), rewritten=rewritten, failure=failure)


def account_of_scope(account: Account | FromHeader | FromPath) -> Account:
    """What finds the account in a scope."""
    if isinstance(account, FromHeader):
        return account_of_headers(account)
    if isinstance(account, FromPath):
        path_source = account
        return lambda scope: path_source.account(scope["path"])
    return account


def account_of_headers(source: FromHeader) -> Callable[[Scope], str | None]:
    """What finds the account in the headers of a scope; on the way of every request."""
    field = source.name.lower().encode("latin-1")
    size = len(field)

    def account(scope: Scope) -> str | None:
        found: bytes | None = None
        for name, value in scope["headers"]:
            if len(name) == size and name.lower() == field:
                if found is not None:
                    return source.account([found.decode("latin-1"), value.decode("latin-1")])
                found = value
        return None if found is None else source.of_value(found.decode("latin-1"))

    return account


def denial_in(scope: Scope, verdict: Verdict) -> Denial:
    """The 403 that a verdict makes, in the form that the client of a connection accepts."""
    accept = b",".join(value for name, value in scope.get("headers", ()) if name == b"accept").decode("latin-1")
    return denial_of(verdict, accept)


async def _deny(verdict: Verdict, scope: Scope, receive: Receive, send: Send) -> None:
    """Say 403 in the way of the protocol; another protocol than these ends without the application."""
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
