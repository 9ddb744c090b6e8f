"""What every request that reads may use: `HEAD` wherever there is `GET`, and `If-None-Match`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.gate.request_paths import routed_path
from cidrgate.service.http.conditional_requests import matches_none

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEAD_ONLY", "ReadRequests"]

HEAD_ONLY = "cidrgate.head_only"
"""The key of the scope that says that a `GET` was a `HEAD`, for a response without end."""

_FOUND = ("route", "endpoint", "path_params")
"""The keys of the scope in which the router says what it found."""


class ReadRequests:
    """Answers `HEAD` like `GET` without the body, and 304 if the client has what it asks for already.

    Args:
        app: The application.
        exempt: Paths, and what is below them, at which `HEAD` is a method of its own.
    """

    def __init__(self, app: ASGIApp, exempt: Collection[str] = ()) -> None:
        self._app = app
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its response without what the client does not need."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or self._is_exempt(routed_path(scope)):
            await self._app(scope, receive, send)
            return
        bodyless = scope["method"] == "HEAD"
        # A copy: the server reads the method from its own, to know that the response to `HEAD` has no body.
        inner = {**scope, "method": "GET", HEAD_ONLY: bodyless}
        known = b", ".join(value for name, value in scope["headers"] if name == b"if-none-match").decode("latin-1")

        def tell_route() -> None:
            """Let the middlewares around this one read the route that was found."""
            scope.update({name: inner[name] for name in _FOUND if name in inner})

        async def answered(message: Message) -> None:
            nonlocal bodyless
            if message["type"] == "http.response.start":
                tell_route()
            if message["type"] == "http.response.start" and message["status"] == 200 and known:
                tags = [value for name, value in message["headers"] if name.lower() == b"etag"]
                if tags and not matches_none(known, tags[0].decode("latin-1")):
                    kept = [one for one in message["headers"] if not one[0].lower().startswith(b"content-")]
                    message = {**message, "status": 304, "headers": kept}
                    bodyless = True
            elif message["type"] == "http.response.body" and bodyless:
                if message.get("more_body", False):
                    return
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(inner, receive, answered)
        finally:
            tell_route()  # also to what answers an unexpected error

    def _is_exempt(self, path: str) -> bool:
        return any(path == one or path.startswith(f"{one}/") for one in self._exempt)
