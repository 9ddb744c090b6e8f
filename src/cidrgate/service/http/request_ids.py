"""`X-Request-ID`: the id of each request, in the response and in the log."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from cidrgate.gate.gate import REQUEST_ID

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["REQUEST_ID_KEY", "RequestIds"]

REQUEST_ID_KEY = "cidrgate.request_id"
"""The key of the scope with the id of the request. Clients cannot set keys of a scope."""

_HEADER = b"x-request-id"


class RequestIds:
    """Gives every request an id: the `X-Request-ID` that it was sent with, if that is valid, or a new one.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add its id to the response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = [value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER]
        known = sent[0] if len(sent) == 1 and REQUEST_ID.fullmatch(sent[0]) else secrets.token_hex(12)
        scope[REQUEST_ID_KEY] = known

        async def named(message: Message) -> None:
            # The gate in front of the service gives its denials ids of its own.
            if message["type"] == "http.response.start" and not any(
                name.lower() == _HEADER for name, _ in message["headers"]
            ):
                message["headers"] = [*message["headers"], (_HEADER, known.encode("ascii"))]
            await send(message)

        await self._app(scope, receive, named)
