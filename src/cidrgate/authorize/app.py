"""`AuthorizeApp`: 200 if the client of a proxy may act for an account, 403 for everything else.

A proxy hands over the request's account and its client's address; the body of the request never comes here. There is
no framework between the server and the matcher, as this stands in the way of every request of an API.
"""

from __future__ import annotations

import json
import logging
import os
import re
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from cidrgate.accounts import can_name_account

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from cidrgate.client_ip import ClientIPResolver
    from cidrgate.serving import ServedLists

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["AUTHORIZE_PATH", "AuthorizeApp"]

AUTHORIZE_PATH = "/v1/authorize"

_log = logging.getLogger("cidrgate")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")
"""What a request id from outside may look like; another one is replaced."""

_MOST_FIELDS = 20
"""Parameters a query may have that the proxy has written."""

_DETAILS = {
    "not_listed": "The address {address} is not on the allowlist of this account.",
    "stale": "The allowlist of this account is too old to be trusted.",
    "unresolved_client": "The address of the client cannot be told.",
    "no_account": "The request names no account.",
    "not_enforced": "This account has no allowlist.",
    "error": "The allowlist cannot be read.",
}

_EMPTY_BODY: Message = {"type": "http.response.body", "body": b""}
_NOT_FOUND: Message = {"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]}


class AuthorizeApp:
    """An ASGI app that answers a proxy at `/v1/authorize`, whatever the method: 200 or 403, and nothing else.

    The answer names the reason in `X-Cidrgate-Reason`: `matched` or `not_enforced` with 200; `not_listed`,
    `unresolved_client`, `no_account`, `not_enforced`, `stale` or `error` with 403. A 403 is a problem document (RFC
    9457) that a proxy may hand on to the client: it names the address seen and a request id, never the list.

    Args:
        lists: Such as a `RuleManager`.
        resolver: Finds the client's address; the proxy is the peer, so it must be trusted.
        account_header: The header in which the proxy names the account. Paths below `/v1/authorize/` are answered too,
            as Envoy appends the path of the client.
        account_parameter: A parameter of the query that names the account, in place of the header. Paths below
            `/v1/authorize/` are then not found: the query of such a request is the client's.
        allow_missing_account: Whether requests that name no account are allowed. The proxy must then send no request
            here without an account that needs one.
        deny_unenforced: Whether an account without a list, or an unknown one, is denied.

    Example:
        >>> from cidrgate import RuleManager
        >>> from cidrgate.client_ip import ClientIPResolver
        >>> manager = RuleManager.open("memory://")
        >>> app = AuthorizeApp(manager, ClientIPResolver(trusted_proxies=["127.0.0.1/32"]))
    """

    def __init__(
        self,
        lists: ServedLists,
        resolver: ClientIPResolver,
        *,
        account_header: str = "x-account",
        account_parameter: str | None = None,
        allow_missing_account: bool = False,
        deny_unenforced: bool = False,
    ) -> None:
        self._lists = lists
        self._matcher = lists.matcher
        self._resolver = resolver
        self._client_field = (resolver.header or "").encode("latin-1")
        self._account_field = b"" if account_parameter else account_header.lower().encode("latin-1")
        self._account_parameter = account_parameter
        self._allow_missing_account = allow_missing_account
        self._deny_unenforced = deny_unenforced
        self._request_ids = map(f"{os.urandom(6).hex()}-{{:x}}".format, count())

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer as ASGI 3 asks."""
        kind = scope["type"]
        if kind == "http":
            path: str = scope["path"]
            if path == AUTHORIZE_PATH or (self._account_field and path.startswith(AUTHORIZE_PATH + "/")):
                start, body = self._answer(scope)
            else:
                start, body = _NOT_FOUND, _EMPTY_BODY
            await send(start)
            await send(body)
        elif kind == "lifespan":
            await _live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _answer(self, scope: Mapping[str, Any]) -> tuple[Message, Message]:
        request_id = b""
        accounts: list[bytes] = []
        hops: list[bytes] = []
        address: str | None = None
        try:
            for name, value in scope["headers"]:
                if name == self._client_field:
                    hops.append(value)
                if name == self._account_field:
                    accounts.append(value)
                elif name == b"x-request-id":
                    request_id = value
            peer = scope["client"]
            address = self._resolver.resolve_values(peer[0] if peer else None, hops).address
            allowed, reason = self._decide(self._account(accounts, scope), address)
        except Exception:  # noqa: BLE001 - whatever it is, the proxy is told to deny
            _log.exception("a request is denied: whether it may pass cannot be told")
            allowed, reason = False, "error"
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = next(self._request_ids).encode()
        headers = [(b"x-cidrgate-reason", reason.encode()), (b"x-request-id", request_id)]
        if allowed:
            start = {"type": "http.response.start", "status": 200, "headers": [*headers, (b"content-length", b"0")]}
            return start, _EMPTY_BODY
        body = _problem(reason, address, request_id.decode())
        headers += [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        start = {"type": "http.response.start", "status": 403, "headers": headers}
        return start, {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}

    def _account(self, values: list[bytes], scope: Mapping[str, Any]) -> str:
        """The account the proxy names; empty when it names none, or more than one."""
        if self._account_parameter is not None:
            try:
                query = parse_qsl(
                    scope["query_string"].decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
                )
            except ValueError:
                return ""
            values = [value.encode() for name, value in query if name == self._account_parameter]
        if len(values) != 1:
            return ""
        try:
            return values[0].decode()
        except UnicodeDecodeError:
            return ""

    def _decide(self, account: str, address: str | None) -> tuple[bool, str]:
        if not account:
            return self._allow_missing_account, "no_account"
        if address is None:
            if self._matcher.enforced(account):
                return False, "unresolved_client"
        elif not self._lists.allows(account, address):
            # They differ only where lists that are too old count as none.
            return False, "stale" if self._matcher.allows(account, address) else "not_listed"
        elif self._matcher.enforced(account):
            return True, "matched"
        if self._deny_unenforced:
            return False, "not_enforced"
        return (True, "not_enforced") if can_name_account(account) else (False, "no_account")


def _problem(reason: str, address: str | None, request_id: str) -> bytes:
    """A problem document (RFC 9457) for the client."""
    return json.dumps(
        {
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
            "detail": _DETAILS[reason].format(address=address),
            "reason": reason,
            "address": address,
            "request_id": request_id,
        }
    ).encode()


async def _live(receive: Receive, send: Send) -> None:
    """Agree to the start and the end of the server."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
