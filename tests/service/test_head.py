"""`HEAD` on a connection that is used again: the response has the length of that to `GET`, no body, and no end."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
import uvicorn

from cidrgate import RuleManager
from cidrgate.service import Settings, create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.service.a_server import a_server

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

PATHS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/problems/snapshot",
    "/v1/me",
    "/v1/accounts",
    "/v1/accounts/nobody",
    "/v1/accounts/a%2Fb/entries",
    "/v1/nothing",
    "/v1/accounts?limit=x",
    "/v1/accounts/acct-1/restore",
    "/v1/authorize",
    "/v1/authorize?account=acct-1",
    "/console/sign-in",
    "/console/static/console.css",
    "/",
)
CHANGING = ("/metrics", "/readyz")
"""Paths of which each response is another."""


def asked(connection: socket.socket, method: str, path: str, *lines: str) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers and the body of a response; nothing may follow it."""
    head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: localhost", *lines, ""))
    connection.sendall(head.encode())
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65_536)
        assert part, f"the connection ended before the response to {method} {path}"
        received += part
    told, _, body = received.partition(b"\r\n\r\n")
    first, *rest = told.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
    status = int(first.split(" ")[1])
    length = 0 if method == "HEAD" or status == 304 else int(headers["content-length"])
    while len(body) < length:
        part = connection.recv(65_536)
        assert part, f"the connection ended in the response to {method} {path}"
        body += part
    assert len(body) == length, f"a body of {len(body)} bytes came in the response to {method} {path}"
    return status, headers, body


@contextmanager
def served(kind: str | type[asyncio.Protocol], settings: Settings) -> Iterator[tuple[str, str]]:
    """A service in a thread on uvicorn's parser of this kind, or on a protocol: its address and a token."""
    with RuleManager.open("memory://") as manager:
        manager.create_account("acct-1")
        token = Credentials(manager._store).create_token("t", [Scope("admin")]).secret
        config = uvicorn.Config(create_app(manager, settings), port=0, http=cast("Any", kind), log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            host, port = server.servers[0].sockets[0].getsockname()
            yield f"http://{host}:{port}", token
        finally:
            server.should_exit = True
            thread.join(20)


def keeps(url: str, *lines: str) -> None:
    """Fail unless one connection gets each response by `HEAD`, and then by `GET`."""
    place = urlsplit(url)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 0), timeout=20) as connection:
        for path in PATHS:
            status, headers, _ = asked(connection, "HEAD", path, *lines)
            then, whole, body = asked(connection, "GET", path, *lines)
            assert (status, headers.get("content-length") is None) == (then, False), path
            if path not in CHANGING:
                assert headers["content-length"] == whole["content-length"] == str(len(body)), path
            if "etag" in whole:
                tag = f"If-None-Match: {whole['etag']}"
                assert asked(connection, "HEAD", path, *lines, tag)[0] == 304, path
                assert asked(connection, "GET", path, *lines, tag)[0] == 304, path


@pytest.mark.parametrize("kind", ["httptools", "h11"])
@pytest.mark.parametrize("allow", [None, ("192.0.2.0/24",)], ids=["open", "denied"])
def test_a_connection_outlives_head(kind: str, allow: tuple[str, ...] | None) -> None:
    settings = Settings(authorize=True, unlisted="deny", allow=allow, login_failures=10_000)
    with served(kind, settings) as (url, token):
        keeps(url, f"Authorization: Bearer {token}")
        keeps(url)


def test_a_connection_to_the_command_outlives_head(tmp_path: Path) -> None:
    log, url = tmp_path / "log", f"sqlite:///{tmp_path}/lists.db"
    RuleManager.open(url, create=True).close()
    options = ("--trusted-proxy", "127.0.0.1/32", "--authorize", "--unlisted", "deny")
    with log.open("w") as written, a_server(url, *options, log=written) as server:
        keeps(server.url)
    assert "RuntimeError" not in log.read_text()
