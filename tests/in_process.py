"""Requests of the attack table put to applications in process, as servers put them."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from tests.attacks import Attack

__all__ = ["STATUS_OF", "aiohttp_status", "asgi_app", "asgi_status", "wsgi_app", "wsgi_status"]


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the application runs"})


def wsgi_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"the application runs"]


def asgi_status(app: Any, attack: Attack, path: str = "/") -> int:
    """The status of an ASGI application; header names in lower case, as the specification has it."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in attack.headers],
        "client": None if attack.peer is None else (attack.peer, attack.port),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []
    events = asyncio.Queue[Any]()
    events.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, events.get, send))
    return int(sent[0]["status"])


def wsgi_status(app: Any, attack: Attack, path: str = "/") -> int:
    """The status of a WSGI application; names with underscores are dropped, lines joined, as gunicorn does."""
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "REMOTE_ADDR": attack.peer or "",
        "REMOTE_PORT": str(attack.port),
    }
    for name, value in attack.headers:
        if b"_" not in name:
            key = f"HTTP_{name.decode().upper().replace('-', '_')}"
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
    sent: list[int] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        sent.append(int(status.split()[0]))

    app(environ, start_response)
    return sent[0]


class _Transport:
    """What aiohttp asks for the peer."""

    def __init__(self, attack: Attack) -> None:
        self._peer = None if attack.peer is None else (attack.peer, attack.port)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._peer if name == "peername" else default


def aiohttp_status(app: Any, attack: Attack, path: str = "/") -> int:
    """The status of an aiohttp application."""
    from aiohttp.test_utils import make_mocked_request

    request = make_mocked_request("GET", path, transport=_Transport(attack))
    request._message = request._message._replace(raw_headers=attack.headers)

    async def answer() -> web.StreamResponse:
        app.freeze()
        found: web.StreamResponse = await app._handle(request)
        return found

    return asyncio.run(answer()).status


STATUS_OF: dict[str, Callable[[Any, Attack, str], int]] = {
    "aiohttp": aiohttp_status,
    "asgi": asgi_status,
    "wsgi": wsgi_status,
}
"""How an application is asked, by the protocol that it speaks."""
