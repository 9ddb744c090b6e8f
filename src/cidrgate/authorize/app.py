"""`AuthorizeApp`: 200 if the client of a proxy may act for an account, 403 for everything else.

A proxy hands over the request's account and its client's address; the body of the request never comes here. There is
no framework between the server and the matcher, as this stands in the way of every request of an API.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from cidrgate.authorize.client_headers import ClientHeaders
from cidrgate.errors import UnclearAccountError
from cidrgate.gate.account_sources import FromHeader
from cidrgate.gate.denial import STATUS
from cidrgate.middleware.asgi import account_of_headers, decide, denial_in, peer_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict
    from cidrgate.middleware.asgi import App, Message, Receive, Scope, Send

__all__ = ["AUTHORIZE_PATH", "AuthorizeApp"]

AUTHORIZE_PATH = "/v1/authorize"

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

_MOST_FIELDS = 20
"""Parameters a query may have that the proxy has written."""


def _empty(status: int, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"0")]}


_REASON = b"x-cidrgate-reason"
_EMPTY_BODY: Message = {"type": "http.response.body", "body": b""}
_MATCHED = _empty(200, (_REASON, b"matched"))
_NOT_ENFORCED = _empty(200, (_REASON, b"not_enforced"))


class AuthorizeApp:
    """An ASGI app that answers a proxy at `/v1/authorize`, whatever the method: 200 or 403, and nothing else.

    The answer names the reason of the `Verdict` in `X-Cidrgate-Reason`. A 403 is what the middleware tells a client
    too, for the proxy to hand on: it names the address seen and a request id, never the list. In a gate that only
    reports, what would be denied is a 200 with the reason.

    Args:
        gate: Decides; its resolver must trust the proxy, which is the peer here. Let it `require_account`, unless the
            proxy asks about requests that need none.
        account_header: The header in which the proxy names the account. Paths below `/v1/authorize/` are answered too,
            as Envoy appends the path of the client.
        account_parameter: A parameter of the query that names the account, in place of the header. Paths below
            `/v1/authorize/` are then not found: the query of such a request is the client's.
        elsewhere: The ASGI app that answers other paths; 404 if None.
        client_headers: Which headers of the client are denied, where the proxy passes them on; the defaults of
            `ClientHeaders` if None.

    Raises:
        ValueError: If the header is no token (RFC 9110 section 5.6.2), or the parameter is empty.

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
        self._gate = gate
        self._headers = ClientHeaders(expected=[account_header]) if client_headers is None else client_headers
        self._elsewhere = _not_found if elsewhere is None else elsewhere
        if account_parameter is not None and not account_parameter:
            raise ValueError("the parameter with the account has a name, or is None for the header")
        self._below = "" if account_parameter else f"{AUTHORIZE_PATH}/"
        self._account: Callable[[Scope], str | None]
        of_header = account_of_headers(FromHeader(account_header), refuse_aliases=False)
        if account_parameter is None:
            self._account = of_header
        else:
            self._account = lambda scope: _account_of_query(scope, account_parameter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as ASGI 3 asks."""
        kind = scope["type"]
        if kind == "http":
            path: str = scope["path"]
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
        """Agree to the start and the end of the server, at which the log is completed."""
        while True:
            message = await receive()
            ended = message["type"] == "lifespan.shutdown"
            if ended:
                self._gate.flush_log()
            await send({"type": f"{message['type']}.complete"})
            if ended:
                return

    def _answer(self, scope: Scope) -> tuple[Message, Message]:
        try:
            self._headers.check(scope["headers"])
            account = self._account(scope)
        except Exception as error:  # noqa: BLE001 - whatever broke, the gate decides
            return _told(decide(self._gate, None, scope, error), scope)
        if account is not None:
            try:
                host, port = peer_of(scope)
                if self._gate.admits(account, host, scope["headers"], port):
                    return _MATCHED if self._gate.matcher.enforced(account) else _NOT_ENFORCED, _EMPTY_BODY
            except Exception:  # noqa: BLE001, S110 - `decide` finds out what it was
                pass
        return _told(decide(self._gate, account, scope), scope)


def _told(verdict: Verdict, scope: Scope) -> tuple[Message, Message]:
    """The answer that a verdict makes."""
    reason = (_REASON, verdict.reason.encode())
    if verdict.admitted:
        return _empty(200, reason, (b"x-request-id", verdict.request_id.encode())), _EMPTY_BODY
    denial = denial_in(scope, verdict)
    headers = [reason, *((name.encode(), value.encode()) for name, value in denial.headers)]
    body = b"" if scope.get("method") == "HEAD" else denial.body
    return {"type": "http.response.start", "status": STATUS, "headers": headers}, {
        "type": "http.response.body",
        "body": body,
    }


def _account_of_query(scope: Scope, parameter: str) -> str | None:
    """The account that a parameter of the query names; None when it names none.

    Raises:
        UnclearAccountError: If the parameter comes more than once, or the query cannot be read.
    """
    text: bytes = scope["query_string"]
    if _BROKEN_ESCAPE.search(text):
        raise UnclearAccountError("the query cannot be read: % is written as %25")
    try:
        query = parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise UnclearAccountError(f"the query cannot be read: {error}") from error
    named = [value for name, value in query if name == parameter]
    if len(named) > 1:
        raise UnclearAccountError(f"the parameter {parameter} came {len(named)} times")
    return named[0] or None if named else None


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_empty(404))
    await send(_EMPTY_BODY)
