"""`AuthorizeApp`: responds 200 if the client of a proxy may act for an account, otherwise 403.

A proxy sends the account and the client address of a request, but not its body. The app uses no framework, because it
delays every request of an API.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from cidrgate.authorize.client_headers import ClientHeaders
from cidrgate.errors import UnclearAccountError
from cidrgate.gate.account_sources import FromHeader
from cidrgate.gate.denial import STATUS
from cidrgate.gate.gate import check_gate
from cidrgate.gate.request_paths import routed_path
from cidrgate.gate.verdict import mode_headers
from cidrgate.middleware._asgi_requests import account_of_headers, decide, denial_in, peer_of
from cidrgate.values import check_callable, check_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict
    from cidrgate.middleware._asgi_requests import App, Message, Receive, Scope, Send

__all__ = ["AUTHORIZE_PATH", "AuthorizeApp"]

AUTHORIZE_PATH = "/v1/authorize"

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

_MOST_FIELDS = 20
"""The most parameters that the proxy's query may have."""


def _empty(status: int, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"0")]}


_REASON = b"x-cidrgate-reason"
_EMPTY_BODY: Message = {"type": "http.response.body", "body": b""}
_MATCHED = _empty(200, (_REASON, b"matched"))
_NOT_ENFORCED = _empty(200, (_REASON, b"not_enforced"))


class AuthorizeApp:
    """An ASGI app that responds to a proxy at `/v1/authorize` with 200 or 403, for every method.

    If it is mounted below a prefix (`root_path`), it responds at this path below the prefix.

    Do not let clients reach it directly, and let the proxy set the account header itself: the app trusts the account
    that the proxy names.

    The header `X-Cidrgate-Reason` of the response has the reason of the `Verdict`. The proxy must not pass it on to
    clients, because it tells which accounts exist. The body of a 403 is the denial that
    the middleware also sends, and the proxy can pass it on: it names the client address and a request id, but no
    entry of the list. If the gate or the account's list only reports, the response to a request that would be denied is
    200 with the reason. `X-Cidrgate-Mode` has the mode, if only it allows the request.

    Args:
        gate: The gate that decides. Its resolver must trust the proxy, which is the peer here. Set its
            `require_account`, unless the proxy also sends requests that need no account.
        account_header: The header in which the proxy names the account. The app also responds at paths below
            `/v1/authorize/`, because Envoy appends the client's path.
        account_parameter: A query parameter that names the account, instead of the header. Paths below
            `/v1/authorize/` are then not found, because their query comes from the client.
        elsewhere: The ASGI app for all other paths; None responds 404.
        client_headers: The check of the client's headers, if the proxy passes them on; by default a `ClientHeaders`
            with its default settings.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If the header is not a token (RFC 9110 section 5.6.2), or if the parameter is empty.

    Example:
        >>> import asyncio
        >>> from cidrgate import ClientIPResolver, Gate, Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> resolver = ClientIPResolver(trusted_proxies=["127.0.0.1/32"])
        >>> gate = Gate(matcher, unlisted="deny_unknown", resolver=resolver, log="none")
        >>> async def send(message):
        ...     print(message.get("status"), message.get("body"))
        >>> headers = [(b"x-account", b"acct-1"), (b"x-forwarded-for", b"203.0.113.9")]
        >>> scope = {"type": "http", "path": "/v1/authorize", "headers": headers, "client": ("127.0.0.1", 4711)}
        >>> asyncio.run(AuthorizeApp(gate)(scope, None, send))
        200 None
        None b''
    """

    def __init__(
        self,
        gate: Gate,
        *,
        account_header: str = "x-account",
        account_parameter: str | None = None,
        elsewhere: App | None = None,
        client_headers: ClientHeaders | None = None,
    ) -> None:
        check_gate(gate)
        check_type(client_headers, ClientHeaders, "client_headers", or_none=True)
        check_type(account_parameter, str, "account_parameter", or_none=True)
        if elsewhere is not None:
            check_callable(elsewhere, "elsewhere")
        self._gate = gate
        self._at_end: Callable[[], object] = lambda: None
        """Called when the server ends, after the last request."""
        self._headers = ClientHeaders(expected=[account_header]) if client_headers is None else client_headers
        self._elsewhere = _not_found if elsewhere is None else elsewhere
        if account_parameter is not None and not account_parameter:
            raise ValueError("account_parameter must not be empty: name a parameter, or use None for the header")
        self._below = "" if account_parameter else f"{AUTHORIZE_PATH}/"
        self._account: Callable[[Scope], str | None]
        of_header = account_of_headers(FromHeader(account_header), refuse_aliases=False)
        if account_parameter is None:
            self._account = of_header
        else:
            self._account = lambda scope: _account_of_query(scope, account_parameter)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one ASGI 3 connection."""
        kind = scope["type"]
        if kind == "http":
            path: str = routed_path(scope) if scope.get("root_path") else scope["path"]
            if path == AUTHORIZE_PATH or (self._below and path.startswith(self._below)):
                start, body = self._answer(scope)
                await send(start)
                await send(body)
            else:
                await self._elsewhere(scope, receive, send)
        elif kind == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Handle the lifespan events. At shutdown, write the rest of the log."""
        while True:
            message = await receive()
            ended = message["type"] == "lifespan.shutdown"
            if ended:
                self._gate.flush_log()
                self._at_end()
            await send({"type": f"{message['type']}.complete"})
            if ended:
                return

    def _answer(self, scope: Scope) -> tuple[Message, Message]:
        try:
            self._headers.check(scope["headers"])
            account = self._account(scope)
        except Exception as error:  # noqa: BLE001 - the gate decides about every failure
            return _told(decide(self._gate, None, scope, error), scope)
        if account is not None:
            try:
                host, port = peer_of(scope)
                if self._gate.allows(account, host, scope["headers"], port):
                    # What the gate allows in another mode than `enforce` without a verdict is listed.
                    matcher = self._gate.matcher
                    listed = matcher.enforced(account) or matcher.mode(account) != "enforce"
                    return _MATCHED if listed else _NOT_ENFORCED, _EMPTY_BODY
            except Exception:  # noqa: BLE001, S110 - `decide` runs into the same error and logs it
                pass
        return _told(decide(self._gate, account, scope), scope)


def _told(verdict: Verdict, scope: Scope) -> tuple[Message, Message]:
    """Return the response for a verdict."""
    reason = (_REASON, verdict.reason.encode())
    if verdict.allowed:
        mode = [(name.encode(), value.encode()) for name, value in mode_headers(verdict)]
        return _empty(200, reason, *mode, (b"x-request-id", verdict.request_id.encode())), _EMPTY_BODY
    denial = denial_in(scope, verdict)
    headers = [reason, *((name.encode(), value.encode()) for name, value in denial.headers)]
    body = b"" if scope.get("method") == "HEAD" else denial.body
    return {"type": "http.response.start", "status": STATUS, "headers": headers}, {
        "type": "http.response.body",
        "body": body,
    }


def _account_of_query(scope: Scope, parameter: str) -> str | None:
    """Return the account that a query parameter names; None if it names none.

    Raises:
        UnclearAccountError: If the parameter is repeated, or if the query is not valid.
    """
    text: bytes = scope["query_string"]
    if _BROKEN_ESCAPE.search(text):
        raise UnclearAccountError("the query is not valid: write % as %25")
    try:
        query = parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise UnclearAccountError(f"the query is not valid: {error}") from error
    named = [value for name, value in query if name == parameter]
    if len(named) > 1:
        raise UnclearAccountError(f"the query contains the parameter {parameter} {len(named)} times")
    return named[0] or None if named else None


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_empty(404))
    await send(_EMPTY_BODY)
