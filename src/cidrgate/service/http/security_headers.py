"""What every answer and every request is held to: security headers, and sizes and times that are bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from cidrgate.service.http.limits import BODY_SECONDS, LARGEST_HEAD, LARGEST_SIGN_IN, LONGEST_QUERY, MOST_HEADERS
from cidrgate.service.http.problems import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit", "HeadLimit", "SecurityHeaders"]

# Scripts and styles come from the package's own files alone; nothing is inline, and nobody frames the console.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_HSTS = "max-age=31536000"


class SecurityHeaders:
    """Gives every answer the headers that keep browsers from being used against the person at them.

    It stands before everything else, so that answers to requests that nobody understood have them too.

    Args:
        app: The application.
        secure: Whether browsers reach it over TLS, although this process may not see it.
    """

    def __init__(self, app: ASGIApp, *, secure: bool = False) -> None:
        self._app = app
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # Lists are nobody's to keep; the package's own files say themselves for how long they are good.
                headers.setdefault("Cache-Control", "no-store")
                if self._secure or scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", _HSTS)
            await send(message)

        await self._app(scope, receive, protected)


class HeadLimit:
    """Refuses requests whose heads are larger than any honest one, whatever the server lets through.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers) + len(scope.get("raw_path") or b"")
        if len(scope.get("query_string", b"")) > LONGEST_QUERY:
            response = problem_response(414, "too_long", f"a query may have {LONGEST_QUERY} bytes")
        elif len(headers) > MOST_HEADERS or size > LARGEST_HEAD:
            response = problem_response(
                431, "too_large", f"a head may have {MOST_HEADERS} lines and {LARGEST_HEAD} bytes"
            )
        else:
            await self._app(scope, receive, send)
            return
        await response(scope, receive, send)


class BodyLimit:
    """Refuses requests that are larger than any honest one before they fill the memory, and those that never end.

    Args:
        app: The application.
        limit: Bytes of the largest body.
        small: Beginnings of paths that people use who are not known yet: their bodies are small.
        seconds: How long a client may take to send its body.
    """

    def __init__(self, app: ASGIApp, limit: int, *, small: tuple[str, ...] = (), seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._limit = limit
        self._small = small
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; one that is too large, or too slow, fails when it is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = min(self._limit, LARGEST_SIGN_IN) if scope["path"].startswith(self._small) else self._limit
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        seen = int(announced) if announced.isdigit() and len(announced) < 20 else 0
        if seen <= limit:
            seen = 0
        ended = False
        deadline: float | None = None

        async def counted() -> Message:
            nonlocal seen, ended, deadline
            if ended:
                return await receive()
            if seen > limit:
                raise _too_large(limit)
            loop = asyncio.get_running_loop()
            if deadline is None:
                deadline = loop.time() + self._seconds
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, f"the body did not come within {self._seconds:g} seconds", {"Connection": "close"}
                ) from None
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                ended = not message.get("more_body", False)
                if seen > limit:
                    raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


def _too_large(limit: int) -> HTTPException:
    # The one error that FastAPI lets through from here.
    return HTTPException(413, f"a request may have {limit} bytes", {"Connection": "close"})
