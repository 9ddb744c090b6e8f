"""The smallest applications, bare and guarded: what `benchmarks/edges.py` measures in process and runs on servers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cidrgate import ClientIPResolver, Gate, RuleManager
from cidrgate.gate.account_sources import FromHeader
from cidrgate.middleware import asgi, wsgi

if TYPE_CHECKING:
    from cidrgate.middleware._asgi_requests import Receive, Scope, Send

__all__ = [
    "CLIENT",
    "PROXY_VARIABLE",
    "WAYS",
    "a_gate",
    "asgi_application",
    "asgi_on_the_way",
    "fastapi_application",
    "wsgi_application",
    "wsgi_on_the_way",
]

CLIENT = "127.0.0.1"
WAYS = ("bare", "empty", "guarded")
PROXY_VARIABLE = "CIDRGATE_BENCH_PROXY"


def a_gate(*, proxied: bool = False, **settings: Any) -> Gate:
    """A gate over a list of 50 entries that the client is on, behind a proxy that has its address."""
    manager = RuleManager.open("memory://", follow=False)
    manager.create_account("acct-1")
    manager.policy = type(manager.policy)(allow_special=True)
    manager.add("acct-1", [f"{CLIENT}/32", *(f"8.8.8.{8 + 4 * number}/30" for number in range(49))])
    if proxied:
        settings["resolver"] = ClientIPResolver(trusted_proxies=[f"{CLIENT}/32"])
    return Gate(manager, **{"unlisted": "deny_unknown", **settings})


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    """The smallest ASGI application."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The smallest WSGI application."""
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


class EmptyASGI:
    """A middleware that does nothing."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        await self.app(scope, receive, send)


class EmptyWSGI:
    """A middleware that does nothing."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Run the application."""
        return self.app(environ, start_response)


def asgi_on_the_way(way: str, gate: Gate) -> Any:
    """The smallest ASGI application, bare, behind an empty middleware, or guarded."""
    if way == "guarded":
        return asgi.AllowlistMiddleware(asgi_app, gate, FromHeader("x-account"))
    return EmptyASGI(asgi_app) if way == "empty" else asgi_app


def wsgi_on_the_way(way: str, gate: Gate) -> Any:
    """The smallest WSGI application, bare, behind an empty middleware, or guarded."""
    if way == "guarded":
        return wsgi.AllowlistMiddleware(wsgi_app, gate, FromHeader("x-account"))
    return EmptyWSGI(wsgi_app) if way == "empty" else wsgi_app


# What a server runs: one process with the three ways side by side, the path says which.


def _gate() -> Gate:
    return a_gate(proxied=PROXY_VARIABLE in os.environ)


def _by_scope(apps: dict[str, Any]) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await apps[scope["path"]](scope, receive, send)

    return app


def asgi_application() -> Any:
    """The smallest, for uvicorn."""
    return _by_scope({f"/{way}": asgi_on_the_way(way, _gate()) for way in WAYS})


def wsgi_application() -> Any:
    """The smallest, for gunicorn."""
    apps = {f"/{way}": wsgi_on_the_way(way, _gate()) for way in WAYS}
    return lambda environ, start_response: apps[environ["PATH_INFO"]](environ, start_response)


def fastapi_application() -> Any:
    """One route of FastAPI, for uvicorn."""
    from fastapi import FastAPI

    async def answer() -> dict[str, str]:
        return {"answer": "ok"}

    apps = {}
    for way in WAYS:
        app = FastAPI()
        app.get(f"/{way}")(answer)
        if way == "guarded":
            app.add_middleware(asgi.AllowlistMiddleware, gate=_gate(), account=FromHeader("x-account"))
        elif way == "empty":
            app.add_middleware(EmptyASGI)
        apps[f"/{way}"] = app
    return _by_scope(apps)
