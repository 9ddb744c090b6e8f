"""Guarded applications whose server is ended by a signal: they record traffic, and count repeated denials.

A request for `/slow` takes half a second, after it has made the file of `TEST_SLOW`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cidrgate import FromHeader, Gate, RuleManager
from cidrgate.middleware import asgi, wsgi
from cidrgate.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

    from cidrgate.middleware._asgi_requests import App, Receive, Scope, Send

__all__ = [
    "ACCOUNT",
    "closing",
    "django",
    "middleware",
    "of_aiohttp",
    "plain_django",
    "with_handler",
    "without_lifespan",
    "wsgi_middleware",
]

ACCOUNT = FromHeader("x-account", allow_aliases=True)  # also under granian's WSGI interface
_SLOW = 0.5


@cache
def _manager() -> RuleManager:
    return RuleManager.open(os.environ["TEST_DATABASE"], traffic=Traffic(days=30))


@cache
def _gate() -> Gate:
    return Gate(_manager(), unlisted="deny_unknown", require_account=True, note_matches=True)


def _seconds(path: str) -> float:
    """How long a request for a path takes."""
    if path != "/slow":
        return 0
    Path(os.environ["TEST_SLOW"]).touch()
    return _SLOW


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http", "no lifespan"
    await asyncio.sleep(_seconds(scope["path"]))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _answer_with_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "lifespan":
        await _answer(scope, receive, send)
        return
    while (kind := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": f"{kind}.complete"})
    await send({"type": f"{kind}.complete"})


def middleware() -> App:
    """The ASGI middleware around an application with a lifespan, twice: both share the manager."""
    return asgi.AllowlistMiddleware(
        asgi.AllowlistMiddleware(_answer_with_lifespan, _gate(), ACCOUNT),
        Gate(_manager(), unlisted="allow", log="none"),
        FromHeader("x-nobody"),
    )


def without_lifespan() -> App:
    """The ASGI middleware around an application that refuses the lifespan."""
    return asgi.AllowlistMiddleware(_answer, _gate(), ACCOUNT)


def closing() -> App:
    """FastAPI's dependency, which sees no lifespan; the application closes the manager, as the how-to page says."""
    from fastapi import Depends, FastAPI

    from cidrgate.middleware.fastapi import allowlist

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        gate.flush_log()
        manager.close()

    manager, gate = _manager(), _gate()
    app = FastAPI(lifespan=lifespan, dependencies=[Depends(allowlist(gate, ACCOUNT))])

    @app.get("/{path:path}")
    async def answer(path: str) -> None:
        await asyncio.sleep(_seconds(f"/{path}"))

    return app


def django() -> App:
    """Django's middleware, with the lifespan that Django lacks."""
    from cidrgate.middleware.django import with_lifespan

    return with_lifespan(plain_django())


def plain_django() -> Any:
    """Django's middleware, in Django's own application."""
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import re_path

    from tests.middleware import django_project

    async def answer(request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(_seconds(request.path))
        return HttpResponse()

    settings.CIDRGATE = {"GATE": _gate(), "ACCOUNT": ACCOUNT}
    django_project.urlpatterns.insert(0, re_path("", answer))
    return get_asgi_application()


@cache
def _of_wsgi() -> Any:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        time.sleep(_seconds(environ["PATH_INFO"]))
        start_response("200 OK", [])
        return [b""]

    return wsgi.AllowlistMiddleware(answer, _gate(), ACCOUNT)


def wsgi_middleware(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """The WSGI middleware; the store is opened at the first request, so by the worker."""
    return _of_wsgi()(environ, start_response)


def with_handler() -> Any:
    """The WSGI middleware in a process that ends as Python does at SIGTERM, as docs/operating.md says."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    return wsgi_middleware


def of_aiohttp(arguments: list[str]) -> web.Application:
    """For `python -m aiohttp.web`."""
    from aiohttp import web

    from cidrgate.middleware.aiohttp import allowlist

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(_seconds(request.path))
        return web.Response()

    app = web.Application(middlewares=[allowlist(_gate(), ACCOUNT)])
    app.router.add_get("/{path:.*}", answer)
    return app


def __getattr__(name: str) -> App:
    """Return an application by `APP_…`, for servers that call no factory."""
    if name.startswith("APP_"):
        made: App = globals()[name.removeprefix("APP_")]()
        return made
    raise AttributeError(name)
