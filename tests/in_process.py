"""Requests of the attack table put to applications in process, as servers put them."""

from __future__ import annotations

import asyncio
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from cidrgate.middleware._asgi_requests import Receive, Scope, Send
    from tests.attacks import Attack

__all__ = [
    "ANSWER_OF",
    "Answer",
    "Body",
    "answer_to_post",
    "asgi_app",
    "asgi_status",
    "status_of",
    "wsgi_app",
    "wsgi_status",
]


class Answer(NamedTuple):
    """What an application answers."""

    status: int
    headers: dict[str, str]
    body: bytes


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the application runs"})


def wsgi_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"the application runs"]


class Body:
    """A body that is no JSON, and knows whether an application has read it."""

    def __init__(self) -> None:
        self.was_read = False

    async def receive(self) -> dict[str, Any]:
        """Give it to an ASGI application, and then nothing more."""
        if self.was_read:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": self.read(), "more_body": False}

    def read(self, *_: int) -> bytes:
        """Give it to a WSGI application."""
        self.was_read = True
        return b"[{},"

    readline = read


def answer_to_post(protocol: str, app: Any, attack: Attack, path: str, body: Body) -> int:
    """The status of the answer to a request with a body."""
    lines = ((b"content-type", b"application/json"), (b"content-length", b"4"))
    sent: list[int] = []
    if protocol == "asgi":

        async def send(message: Any) -> None:
            sent.extend([message["status"]] if "status" in message else [])

        scope = asgi_scope(attack, path) | {"method": "POST"}
        scope["headers"] = [*scope["headers"], *lines]
        asyncio.run(app(scope, body.receive, send))
    else:
        environ = wsgi_environ(attack, path) | {"REQUEST_METHOD": "POST", "wsgi.input": body}
        environ |= {name.decode().upper().replace("-", "_"): value.decode() for name, value in lines}
        parts = app(environ, lambda status, *_: sent.append(int(status.split()[0])))
        getattr(parts, "close", lambda: None)()
    return sent[0]


def asgi_scope(attack: Attack, path: str) -> dict[str, Any]:
    """The scope of a request; header names in lower case, as the specification has it."""
    return {
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


def asgi_answer(app: Any, attack: Attack, path: str = "/") -> Answer:
    """The answer of an ASGI application."""
    sent: list[Any] = []
    events = asyncio.Queue[Any]()
    events.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(asgi_scope(attack, path), events.get, send))
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent))


def asgi_status(app: Any, attack: Attack, path: str = "/") -> int:
    """The status of an ASGI application."""
    return asgi_answer(app, attack, path).status


def wsgi_environ(attack: Attack, path: str) -> dict[str, Any]:
    """The environ of a request; names with underscores are dropped, lines joined, as gunicorn does."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "QUERY_STRING": "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "SERVER_SOFTWARE": "gunicorn/27.0.1",
        "REMOTE_ADDR": attack.peer or "",
        "REMOTE_PORT": str(attack.port),
    }
    for name, value in attack.headers:
        if b"_" not in name:
            key = f"HTTP_{name.decode().upper().replace('-', '_')}"
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


def wsgi_answer(app: Any, attack: Attack, path: str = "/") -> Answer:
    """The answer of a WSGI application."""
    sent: list[tuple[int, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        sent.append((int(status.split()[0]), {name.lower(): value for name, value in headers}))

    parts = app(wsgi_environ(attack, path), start_response)
    try:
        body = b"".join(parts)
    finally:
        getattr(parts, "close", lambda: None)()
    return Answer(*sent[0], body)


def wsgi_status(app: Any, attack: Attack, path: str = "/") -> int:
    """The status of a WSGI application."""
    return wsgi_answer(app, attack, path).status


class _Transport:
    """What aiohttp asks for the peer."""

    def __init__(self, attack: Attack) -> None:
        self._peer = None if attack.peer is None else (attack.peer, attack.port)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._peer if name == "peername" else default


def aiohttp_answer(app: Any, attack: Attack, path: str = "/") -> Answer:
    """The answer of an aiohttp application."""
    from aiohttp.test_utils import make_mocked_request

    request = make_mocked_request("GET", path, transport=_Transport(attack))
    request._message = request._message._replace(raw_headers=attack.headers)

    async def answer() -> web.StreamResponse:
        app.freeze()
        found: web.StreamResponse = await app._handle(request)
        return found

    found: Any = asyncio.run(answer())
    return Answer(found.status, {name.lower(): value for name, value in found.headers.items()}, found.body)


ANSWER_OF: dict[str, Callable[[Any, Attack, str], Answer]] = {
    "aiohttp": aiohttp_answer,
    "asgi": asgi_answer,
    "wsgi": wsgi_answer,
}
"""How an application is asked, by the protocol that it speaks."""


def status_of(protocol: str, app: Any, attack: Attack, path: str) -> int:
    """The status of an application that speaks a protocol."""
    return ANSWER_OF[protocol](app, attack, path).status
