"""In every framework the guard checks the account that the route makes of the text, and that the view acts for."""

from __future__ import annotations

import asyncio
from enum import Enum
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from aiohttp import web
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path, register_converter
from django.urls.converters import StringConverter
from flask import Flask, g
from starlette.applications import Starlette
from starlette.convertors import CONVERTOR_TYPES, StringConvertor
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.routing import UnicodeConverter
from werkzeug.test import Client

from cidrgate import FromRoute, Gate, Matcher, Verdict
from cidrgate.middleware.aiohttp import VERDICT, allowlist as aiohttp_allowlist
from cidrgate.middleware.flask import Allowlist
from cidrgate.middleware.starlette import AllowlistMiddleware
from tests.edges import drf  # sets Django up, which REST framework needs when it is imported
from tests.middleware.raw_http import aiohttp_server

from cidrgate.middleware.drf import allowlist as permission  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

SOURCE = FromRoute("account")
GUID = "c0ffee00-0000-4000-8000-000000000007"
ACTED: list[tuple[str, str | None]] = []
"""For each view that ran: the account for which it acted, and the account that was checked."""


def act(account: Any, verdict: Verdict) -> str:
    ACTED.append((str(account), verdict.account))
    return "acts"


class Number(int, Enum):
    SEVEN = 7


CONVERSIONS: dict[str, Callable[[Any, str], Any]] = {
    "lower": lambda _, text: text.lower(),
    "named": lambda _, text: Number(int(text)),
    "switch": lambda _, text: text == "on",
    "parts": lambda _, text: text.split("-"),
}
"""Converters of an application: their name, and what they make of a text."""

for name, convert in CONVERSIONS.items():
    register_converter(type(name, (StringConverter,), {"to_python": convert}), name)
register_converter(StringConverter, "string")


def a_gate() -> Gate:
    matcher = Matcher()
    for account in ("7", "acme"):
        matcher.publish(account, ["127.0.0.1/32"])
    return Gate(matcher, unlisted="allow", log="none")


def flask(kind: str, url: str) -> None:
    app = Flask(__name__)
    app.url_map.converters |= {
        name: type(name, (UnicodeConverter,), {"to_python": convert}) for name, convert in CONVERSIONS.items()
    }
    Allowlist(a_gate(), SOURCE, app)
    app.get(f"/<{kind}:account>/calls")(lambda account: act(account, g.cidrgate))
    ASKING["wsgi"](app, url)


def flask_with_a_preprocessor(kind: str, url: str) -> None:
    app = Flask(__name__)
    Allowlist(a_gate(), SOURCE, app)

    @app.url_value_preprocessor
    def convert(_: Any, values: dict[str, Any] | None) -> None:
        assert values is not None
        values["account"] = CONVERSIONS[kind](None, values["account"]) if kind in CONVERSIONS else values["account"]

    app.get("/<account>/calls" if kind != "path" else "/<path:account>/calls")(lambda account: act(account, g.cidrgate))
    ASKING["wsgi"](app, url)


def django(kind: str, url: str) -> None:
    def view(request: Any, account: Any) -> HttpResponse:
        return HttpResponse(act(account, request.cidrgate))

    middleware = ["cidrgate.middleware.django.AllowlistMiddleware"]
    for protocol, ask in ASKING.items():
        with override_settings(MIDDLEWARE=middleware, CIDRGATE={"GATE": a_gate(), "ACCOUNT": SOURCE}):
            handler: Any = drf.HANDLERS[protocol]()
        handler.patterns = (path(f"<{kind}:account>/calls", view),)
        ask(handler, url)


def django_rest_framework(kind: str, url: str) -> None:
    class View(drf._Guarded):
        permission_classes = (permission(a_gate(), SOURCE),)

        def get(self, request: Any, account: Any = None, path: str = "") -> Any:
            return HttpResponse(act(account, request.cidrgate))

    for protocol, ask in ASKING.items():
        with override_settings(MIDDLEWARE=[]):
            handler: Any = drf.HANDLERS[protocol]()
        handler.patterns = (path(f"<{kind}:account>/calls", View.as_view()),)
        ask(handler, url)


async def starlette_view(request: Request) -> PlainTextResponse:
    return PlainTextResponse(act(request.path_params["account"], request.state.cidrgate))


def starlette(kind: str, url: str) -> None:
    guard = [Middleware(AllowlistMiddleware, gate=a_gate(), account=SOURCE)]
    account = "{account" + ("" if kind == "string" else f":{kind}") + "}"
    for route in (
        Route(f"/{account}/calls", starlette_view, middleware=guard),
        Mount(f"/{account}", routes=[Route("/calls", starlette_view)], middleware=guard),
    ):
        ask_asgi(Starlette(routes=[route]), url)


def aiohttp(kind: str, url: str) -> None:
    async def view(request: web.Request) -> web.Response:
        return web.Response(text=act(request.match_info["account"], request[VERDICT]))

    app = web.Application(middlewares=[aiohttp_allowlist(a_gate(), SOURCE)])
    app.router.add_get("/{account:.+}/calls" if kind == "path" else "/{account}/calls", view)
    with aiohttp_server(app) as port:
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", url)
        connection.getresponse().read()
        connection.close()


def ask_asgi(app: Any, url: str) -> None:
    async def ask() -> None:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.get(url)

    asyncio.run(ask())


ASKING: dict[str, Callable[[Any, str], Any]] = {
    "asgi": ask_asgi,
    "wsgi": lambda app, url: Client(app).get(url, environ_base={"REMOTE_ADDR": "127.0.0.1"}),
}


TEXTS = {
    "string": ("ACME", "ACME"),
    "path": ("acme/7", "acme/7"),
    "int": ("07", "7"),
    "uuid": (GUID, GUID),
    "lower": ("ACME", "acme"),
    "named": ("7", None),
    "switch": ("on", None),
    "parts": ("acme-7", None),
}
"""For each converter a text, and the account that it becomes; None if no account is clear."""

FRAMEWORKS: dict[Callable[[str, str], None], list[str]] = {
    flask: list(TEXTS),
    flask_with_a_preprocessor: ["string", "path", *CONVERSIONS],
    django: list(TEXTS),
    django_rest_framework: list(TEXTS),
    starlette: list(TEXTS),
    aiohttp: ["string", "path"],
}
"""The frameworks, and the converters that each can have."""


@pytest.mark.parametrize(("framework", "kind"), [(one, kind) for one, kinds in FRAMEWORKS.items() for kind in kinds])
def test_the_account_that_is_checked_is_the_one_that_the_view_acts_for(
    framework: Callable[[str, str], None], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, convert in CONVERSIONS.items():
        monkeypatch.setitem(CONVERTOR_TYPES, name, type(name, (StringConvertor,), {"convert": convert})())
    text, received = TEXTS[kind]
    ACTED.clear()
    framework(kind, f"/{quote(text)}/calls")
    assert set(ACTED) == (set() if received is None else {(received, received)})
