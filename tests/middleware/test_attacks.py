"""The attack table through the resolver and every framework, in process and over real sockets."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from fastapi import Depends, FastAPI
from flask import Flask

from cidrgate import ClientIPResolver
from cidrgate.middleware import aiohttp, asgi, flask, wsgi
from cidrgate.middleware.fastapi import allowlist, install
from tests.attacks import ATTACKS, REWRITTEN, SETUPS, Attack, gates
from tests.in_process import asgi_app, asgi_status, wsgi_app, wsgi_status
from tests.middleware import django_project
from tests.middleware.raw_http import asgi_server, raw_status, wsgi_server
from tests.rows import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

GATES = gates()
PATHS = {name: f"/{number}" for number, name in enumerate(SETUPS)}
TABLE = [*ATTACKS, *REWRITTEN]
attacks = rows("attack", TABLE, name=lambda attack: f"{attack.setup}: {attack.name}")


def test_the_table_is_large_and_says_each_thing_once() -> None:
    assert len(TABLE) >= 160
    assert max(Counter((attack.setup, attack.name) for attack in TABLE).values()) == 1
    assert django_project.urlpatterns


@attacks
def test_resolver(attack: Attack) -> None:
    client = ClientIPResolver(**SETUPS[attack.setup]).resolve(attack.peer, attack.headers, port=attack.port)
    assert client.address == attack.address
    assert (client.problem is None) == (attack.address is not None)


def account(_: object) -> str:
    return "acct-1"


@attacks
def test_asgi(attack: Attack) -> None:
    app = asgi.AllowlistMiddleware(asgi_app, GATES[attack.setup], account)
    assert asgi_status(app, attack) == (200 if attack.allowed else 403)


@attacks
def test_wsgi(attack: Attack) -> None:
    app = wsgi.AllowlistMiddleware(wsgi_app, GATES[attack.setup], account)
    assert wsgi_status(app, attack) == (200 if attack.allowed else 403)


@pytest.fixture(scope="module")
def django_apps() -> dict[str, tuple[WSGIHandler, ASGIHandler]]:
    """The handlers of a Django project, for each setup."""
    handlers = {}
    for name, gate in GATES.items():
        with override_settings(CIDRGATE={"GATE": gate, "ACCOUNT": account}):
            handlers[name] = (WSGIHandler(), ASGIHandler())
    return handlers


@attacks
def test_django(attack: Attack, django_apps: dict[str, tuple[WSGIHandler, ASGIHandler]]) -> None:
    under_wsgi, under_asgi = django_apps[attack.setup]
    assert wsgi_status(under_wsgi, attack) == (200 if attack.allowed else 403)
    assert asgi_status(under_asgi, attack) == (200 if attack.allowed else 403)


def a_fastapi(setup: str) -> FastAPI:
    app = FastAPI(dependencies=[Depends(allowlist(GATES[setup], lambda: "acct-1"))])
    install(app)

    @app.get("/")
    def run() -> str:
        return "the application runs"

    return app


def a_flask(setup: str) -> Flask:
    app = Flask("test")
    app.get("/")(lambda: "the application runs")
    flask.Allowlist(GATES[setup], account, app)
    return app


FASTAPI, FLASK = ({setup: make(setup) for setup in SETUPS} for make in (a_fastapi, a_flask))


@attacks
def test_fastapi(attack: Attack) -> None:
    assert asgi_status(FASTAPI[attack.setup], attack) == (200 if attack.allowed else 403)


@attacks
def test_flask(attack: Attack) -> None:
    assert wsgi_status(FLASK[attack.setup], attack) == (200 if attack.allowed else 403)


class Transport:
    """What aiohttp asks for the peer."""

    def __init__(self, attack: Attack) -> None:
        self._peer = None if attack.peer is None else (attack.peer, attack.port)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._peer if name == "peername" else default


@attacks
def test_aiohttp(attack: Attack) -> None:
    request = make_mocked_request("GET", "/", transport=Transport(attack))
    request._message = request._message._replace(raw_headers=attack.headers)

    async def run(request: web.Request) -> web.StreamResponse:
        return web.Response(text="the handler runs")

    async def guarded() -> web.StreamResponse:
        return await aiohttp.allowlist(GATES[attack.setup], account)(request, run)

    answer = asyncio.run(guarded())
    assert answer.status == (200 if attack.allowed else 403)


@pytest.fixture(scope="module")
def servers(django_apps: dict[str, tuple[WSGIHandler, ASGIHandler]]) -> Iterator[dict[str, int]]:
    """The ports of real servers; the path says which setup is asked."""
    plain_asgi = {PATHS[name]: asgi.AllowlistMiddleware(asgi_app, gate, account) for name, gate in GATES.items()}
    plain_wsgi = {PATHS[name]: wsgi.AllowlistMiddleware(wsgi_app, gate, account) for name, gate in GATES.items()}
    django_wsgi = {PATHS[name]: handlers[0] for name, handlers in django_apps.items()}
    django_asgi = {PATHS[name]: handlers[1] for name, handlers in django_apps.items()}

    def by_scope(apps: dict[str, Any]) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await apps[scope["path"]](scope, receive, send)

        return app

    def by_environ(apps: dict[str, Any]) -> Any:
        return lambda environ, start_response: apps[environ["PATH_INFO"]](environ, start_response)

    with (
        asgi_server(by_scope(plain_asgi), http="h11") as asgi_port,
        wsgi_server(by_environ(plain_wsgi)) as wsgi_port,
        asgi_server(by_scope(django_asgi), http="httptools") as django_asgi_port,
        wsgi_server(by_environ(django_wsgi)) as django_wsgi_port,
    ):
        yield {"asgi": asgi_port, "wsgi": wsgi_port, "django asgi": django_asgi_port, "django wsgi": django_wsgi_port}


REAL_PEER = re.compile(r"127(\.[1-9]?\d){3}", re.ASCII)
# wsgiref, unlike servers for production, reads `_` in names as `-`, and strips more than spaces and tabs.
NOT_WITH_WSGIREF = {"a name with underscores", "a no-break space", "a vertical tab"}


def reaches(server: str, attack: Attack) -> bool:
    """Whether an attack can be sent to a server over a real connection, whose port is another one."""
    return (
        attack.port == 4711
        and not attack.name.startswith("rewritten: a proxy")
        and REAL_PEER.fullmatch(attack.peer or "") is not None
        and not ("wsgi" in server and attack.name in NOT_WITH_WSGIREF)
    )


@pytest.mark.parametrize("server", ["asgi", "wsgi", "django asgi", "django wsgi"])
@attacks
def test_real_servers(server: str, attack: Attack, servers: dict[str, int]) -> None:
    if not reaches(server, attack):
        return
    status = raw_status(servers[server], attack.peer or "", PATHS[attack.setup], attack.headers)
    # Servers refuse odd bytes and long headers themselves.
    assert status in ((200,) if attack.allowed else (0, 400, 403, 431))
