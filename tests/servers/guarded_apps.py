"""The guarded applications of all edges, as servers run them for tests: they say for which account they act.

One process has them side by side. The header `X-App` says which is asked, as `fastapi route`: an edge, and where its
account comes from. An application is made when it is first asked, so that a server loads no framework for nothing.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from cidrgate import ClientIPResolver, FromHeader, Gate, Matcher
from tests.edges import SOURCES, guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

__all__ = ["LISTED", "OWN", "STRANGER", "VICTIM", "asgi_application", "by_path", "by_route", "gate", "wsgi_application"]

VICTIM, OWN = "V", "own"
LISTED, STRANGER = "127.0.0.7", "127.0.0.9"
"""The one address of the victim's list, and the one of the attacker's own."""


def _allows_aliases() -> bool:
    return bool(os.environ.get("TEST_ALLOW_ALIASES"))


@cache
def gate() -> Gate:
    """A gate over two lists; the resolver is the one that the environment asks for."""
    matcher = Matcher()
    matcher.publish(VICTIM, [f"{LISTED}/32"])
    matcher.publish(OWN, [f"{STRANGER}/32"])
    trusted = os.environ.get("TEST_TRUSTED_PROXIES", "").split()
    hops = os.environ.get("TEST_TRUSTED_HOPS")
    by_server = bool(os.environ.get("TEST_RESOLVED_BY_SERVER"))
    resolver = ClientIPResolver(
        trusted_proxies=trusted or None,
        trusted_hops=int(hops) if hops else None,
        allow_aliases=_allows_aliases() and bool(trusted or hops or by_server),
        resolved_by_server=by_server,
    )
    return Gate(matcher, unlisted="deny_unknown", resolver=resolver, require_account=True)


@cache
def _application(name: str, protocol: str) -> Any:
    edge, source = name.split()
    asked = SOURCES[source]
    if isinstance(asked, FromHeader):
        asked = replace(asked, allow_aliases=_allows_aliases())
    return guarded(edge, gate(), asked, protocol)


async def asgi_application(scope: Any, receive: Any, send: Any) -> None:
    """All of them under ASGI; without a start and an end, as none of them has one."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    asked = next((value for name, value in scope["headers"] if name == b"x-app"), b"asgi header")
    await _application(asked.decode(), "asgi")(scope, receive, send)


def wsgi_application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """All of them under WSGI."""
    return _application(environ.get("HTTP_X_APP", "wsgi header"), "wsgi")(environ, start_response)


def by_route(arguments: list[str]) -> web.Application:
    """For `python -m aiohttp.web`."""
    app: web.Application = _application("aiohttp route", "aiohttp")
    return app


def by_path(arguments: list[str]) -> web.Application:
    """For `python -m aiohttp.web`."""
    app: web.Application = _application("aiohttp path", "aiohttp")
    return app
