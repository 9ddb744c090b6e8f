"""Security headers for every response, and limits on the size and the duration of every request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from cidrgate.gate.request_paths import routed_path
from cidrgate.middleware._asgi_requests import settle_headers
from cidrgate.service.http.limits import BODY_SECONDS, LARGEST_HEAD, LARGEST_SIGN_IN, LONGEST_QUERY, MOST_HEADERS
from cidrgate.service.http.problems import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["BodyLimit", "HeadLimit", "SecurityHeaders"]

# Scripts and styles come only from files of this package; none is inline, and no page may frame the console.
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
    """Adds to every response the headers that protect the user of a browser from attacks.

    Install it as the outermost middleware, so that responses to invalid requests have the headers too.

    Args:
        app: The application.
        secure: Whether browsers reach the service over TLS, even if this process does not see it.
    """

    def __init__(self, app: ASGIApp, *, secure: bool = False) -> None:
        self._app = app
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, and add the headers to its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # No cache may store lists. The static files of the package set this header themselves.
                headers.setdefault("Cache-Control", "no-store")
                if self._secure or scope["scheme"] == "https":
                    headers.setdefault("Strict-Transport-Security", _HSTS)
            await send(message)

        await self._app(scope, receive, protected)


class HeadLimit:
    """Refuses requests with a head that is larger than the limits, whatever the server accepts.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = settle_headers(scope)  # under another server than `serve` starts, trailers may come later
        size = sum(len(name) + len(value) for name, value in headers) + len(scope.get("raw_path") or b"")
        if len(scope.get("query_string", b"")) > LONGEST_QUERY:
            response = problem_response("query_too_long", f"a query may have at most {LONGEST_QUERY} bytes")
        elif len(headers) > MOST_HEADERS or size > LARGEST_HEAD:
            response = problem_response(
                "head_too_large", f"a head may have at most {MOST_HEADERS} lines and {LARGEST_HEAD} bytes"
            )
        else:
            await self._app(scope, receive, send)
            return
        await response(scope, receive, send)


class BodyLimit:
    """Refuses a body that is too large, before it fills the memory, and a body that takes too long.

    Args:
        app: The application.
        limit: The largest body, in bytes.
        small: Prefixes of paths for clients that have not logged in yet: `LARGEST_SIGN_IN` limits their bodies.
        seconds: How long a client may take to send its body.
    """

    def __init__(self, app: ASGIApp, limit: int, *, small: tuple[str, ...] = (), seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._limit = limit
        self._small = small
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request. If its body is too large or too slow, reading the body fails."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = min(self._limit, LARGEST_SIGN_IN) if routed_path(scope).startswith(self._small) else self._limit
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
                    408, f"the body was not received within {self._seconds:g} seconds", {"Connection": "close"}
                ) from None
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                ended = not message.get("more_body", False)
                if seen > limit:
                    raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


def _too_large(limit: int) -> HTTPException:
    # FastAPI passes on no other type of error from here.
    return HTTPException(413, f"a request body may have at most {limit} bytes", {"Connection": "close"})
