"""HTTP by hand: servers in threads, and requests of any bytes from any loopback address."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import WSGIApplication

__all__ = ["aiohttp_server", "asgi_server", "raw_status", "wsgi_server"]


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextmanager
def wsgi_server(app: WSGIApplication) -> Iterator[int]:
    """The port of a `wsgiref` server."""
    with make_server("127.0.0.1", 0, app, _ThreadedServer, _QuietHandler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def asgi_server(app: Any, **settings: Any) -> Iterator[int]:
    """The port of a uvicorn server; `settings` are those of `uvicorn.Config`."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", **{"proxy_headers": False, "lifespan": "off", **settings})
    server = uvicorn.Server(config)
    thread = Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def aiohttp_server(app: Any) -> Iterator[int]:
    """The port of a server of aiohttp."""
    from aiohttp import web

    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.SockSite(runner, listener).start())
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(runner.cleanup())
        loop.close()


def raw_status(port: int, source: str, path: str, headers: tuple[tuple[bytes, bytes], ...]) -> int:
    """The status of a request; 0 where the server hung up without one.

    Args:
        port: The server's.
        source: The loopback address to come from.
        path: What is asked for.
        headers: Header lines, sent as they are.
    """
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode() + lines + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0)) as connection:
        try:
            connection.sendall(head)
            answer = connection.makefile("rb").readline()
        except (BrokenPipeError, ConnectionResetError):
            return 0
    return int(answer.split()[1]) if answer else 0
