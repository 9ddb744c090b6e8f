"""How to read ASGI scopes, for every edge that gets them: the account, the peer, the verdict and the denial."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate._engine import _HeaderField
from cidrgate.errors import UnclearAccountError
from cidrgate.gate.account_sources import Exempt
from cidrgate.gate.denial import Denial, denial_of
from cidrgate.gate.header_names import folded_name
from cidrgate.gate.request_paths import route_path
from cidrgate.gate.verdict import mode_headers
from cidrgate.middleware._request_account import RequestReader, account_finder
from cidrgate.middleware._wsgi_requests import environ_name
from cidrgate.middleware._wsgi_servers import (
    may_be_alias,
    may_have_trailers,
    refuse_alias,
    refuses_aliases,
    with_possible_trailers,
)

if TYPE_CHECKING:
    from cidrgate.gate.account_sources import FromHeader, FromPath, FromRoute
    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict

__all__ = [
    "STATE",
    "WSGI_ENVIRON",
    "AccountFinder",
    "App",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "account_of_headers",
    "account_of_scope",
    "decide",
    "denial_in",
    "hand_over",
    "peer_of",
    "port_number",
    "sending_mode",
    "settle_headers",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application. Frameworks type a scope as a mapping or as typed dictionaries, and only `Any` fits them all."""
AccountFinder: TypeAlias = Callable[[Any], str | Exempt | Awaitable[str | Exempt | None] | None]
"""A function from a scope to its account. The scope may have the type of any framework."""

STATE = "cidrgate"
"""Where the application finds the verdict in `scope["state"]`, which Starlette and FastAPI call `request.state`."""

WSGI_ENVIRON = "wsgi_environ"
"""Where a bridge from WSGI, such as a2wsgi's `ASGIMiddleware`, puts the environ that it makes the header lines of."""


def decide(gate: Gate, account: str | Exempt | None, scope: Scope, failure: Exception | None = None) -> Verdict:
    """Decide about a connection.

    Args:
        gate: Decides.
        account: The account of the connection; None for no account, `EXEMPT` if it needs none.
        scope: The connection's scope.
        failure: The error that occurred before the account was known.
    """
    host, port = peer_of(scope)
    headers, aliases = scope.get("headers", ()), False
    environ = scope.get(WSGI_ENVIRON)
    if environ is not None:
        try:
            aliases = may_be_alias(environ, by_server=gate.resolver.resolved_by_server, peer=host)
            if may_have_trailers(environ):
                headers = with_possible_trailers(gate.resolver, headers)
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
            failure = failure or error
    return gate.decide(account, host, headers, port=port, aliases=aliases, failure=failure)


def settle_headers(scope: Scope) -> list[Any]:
    """Replace the header lines of a scope by a copy that nothing adds to, and return the copy.

    uvicorn with httptools appends the trailers of a request, which follow its body, to the list that it has passed to
    the application. The application must see the lines that the gate has decided about, and no others.
    """
    headers = scope.get("headers", ())
    if isinstance(headers, Iterable) and not isinstance(headers, (Mapping, str, bytes, bytearray)):
        lines = list(headers)
    else:
        lines = [headers]  # nothing reads this as a header line, and the gate denies
    scope["headers"] = lines
    return lines


def peer_of(scope: Scope) -> tuple[str | None, int | None]:
    """Return the address and the port of the socket's other end, as the server reports them.

    No client has port 0: the servers' own proxy middlewares write it beside an address from a header. If the port is
    missing beside an address, or is no number, it counts as 0. granian reports it as text.
    """
    client = scope.get("client")
    if not client:
        return None, None
    host = client[0]
    return host, port_number(client[1]) if len(client) > 1 else 0


def port_number(port: object) -> int:
    """Return a port that a server reports, as a number or as text; 0 if it is neither."""
    if isinstance(port, str):
        return int(port) if port.isascii() and port.isdecimal() else 0
    return port if isinstance(port, int) else 0


def account_of_scope(account: AccountFinder | FromHeader | FromRoute | FromPath) -> AccountFinder:
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
    lookup, by_text = source.lookup, source.scheme is None
    refuses_environ, key = refuses_aliases(source), environ_name(source.name)

    def account(scope: Scope) -> str | None:
        if refuses_environ and WSGI_ENVIRON in scope and key in scope[WSGI_ENVIRON]:
            refuse_alias(source, scope[WSGI_ENVIRON])
        text = simple.text(scope["headers"])
        if text is not None:
            if by_text:  # the same as `of_text`, inline to save the time of a call
                return text if lookup is None else lookup(text)
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


def hand_over(scope: Scope, verdict: Verdict) -> None:
    """Let the application, and whatever is around it, read the verdict in the scope's state."""
    # The server has copied the state of the lifespan for this request.
    scope.setdefault("state", {})[STATE] = verdict


def denial_in(scope: Scope, verdict: Verdict) -> Denial:
    """Return the 403 response for a verdict, in the format that the client accepts."""
    try:
        accept = b",".join(value for name, value in scope.get("headers") or () if name == b"accept").decode("latin-1")
    except (TypeError, ValueError):  # not a list of pairs of bytes
        accept = ""
    return denial_of(verdict, accept)


def sending_mode(send: Send, verdict: Verdict) -> Send:
    """Return a `send` that adds the mode to the headers of the response, if only it allows the request."""
    headers = [(name.encode(), value.encode()) for name, value in mode_headers(verdict)]
    if not headers:
        return send

    async def with_mode(message: Message) -> None:
        if message["type"] in _STARTS:
            given = list(message.get("headers") or ())
            said = {name.lower() for name, _ in given}  # by an edge inside this one
            message = {**message, "headers": [*given, *(one for one in headers if one[0] not in said)]}
        await send(message)

    return with_mode


_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
"""The messages with the headers of a response."""


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
