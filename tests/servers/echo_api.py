"""An API behind a proxy that trusts everything it gets, on real ASGI and WSGI servers; it notes each request it sees.

A note says for which accounts any server or framework could act, however it reads names and repetitions. `serve` runs
this file with an ordinary server; it needs nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["APIS", "Notes", "serve_api"]

_NOTES = "ECHO_API_NOTES"
_ACCOUNT_OF_KEY = {"key-of-acct-1": "acct-1", "key-of-acct-2": "acct-2"}
_BIG = "/big/"
"""Below this path the answer has as many bytes more as the path says."""


def _folded(name: str) -> str:
    """A header's name as the most careless server reads it: CGI and PHP fold each other character to `_`."""
    return re.sub("[^a-z0-9]", "-", name.lower())


def _accounts(headers: list[tuple[str, str]]) -> list[str]:
    """Every account for which a server could act, by the proxy's header or by a credential."""
    found = set()
    for name, value in headers:
        if _folded(name) == "x-account":
            found |= {part.strip() for part in value.split(",")}
        elif _folded(name) in ("x-api-key", "authorization"):
            for key, account in _ACCOUNT_OF_KEY.items():
                if key in value.lower():
                    found.add(account)
    return sorted(found - {""})


def _note(kind: str, method: str, path: str, headers: list[tuple[str, str]], body: bytes, **more: object) -> bytes:
    note = {
        "kind": kind,
        "method": method,
        "path": path,
        "accounts": _accounts(headers),
        "headers": headers,
        "body": [len(body), hashlib.sha256(body).hexdigest()],
        **more,
    }
    line = json.dumps(note).encode() + b"\n"
    with Path(os.environ[_NOTES]).open("ab", buffering=0) as notes:
        notes.write(line)
    return line + b"x" * int(path.removeprefix(_BIG)) if path.startswith(_BIG) else line


def _headers(scope: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]


async def asgi(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]) -> None:
    """Answer a request with its note; echo one message of a WebSocket."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    more = {"root": scope.get("root_path", ""), "scheme": scope["scheme"], "client": (scope["client"] or [""])[0]}
    if scope["type"] == "websocket":
        _note("websocket", "GET", scope["path"], _headers(scope), b"", **more)
        await receive()
        await send({"type": "websocket.accept"})
        if (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
            await send({"type": "websocket.close"})
        return
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":  # the proxy has refused the rest
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    # Only now, as an API that reads them late: a server may have added trailers.
    answer = _note("http", scope["method"], scope["path"], _headers(scope), body, **more)
    size = str(len(answer)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", size)]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer})


def _read(environ: dict[str, Any]) -> bytes:
    if environ.get("CONTENT_LENGTH"):
        return bytes(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    return bytes(environ["wsgi.input"].read()) if environ.get("wsgi.input_terminated") else b""


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request with its note."""
    headers = [(key[5:].replace("_", "-"), value) for key, value in environ.items() if key.startswith("HTTP_")]
    answer = _note(
        "http",
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        headers,
        _read(environ),
        root=environ.get("SCRIPT_NAME", ""),
        scheme=environ["wsgi.url_scheme"],
        client=environ.get("REMOTE_ADDR", ""),
        user=environ.get("REMOTE_USER", ""),
    )
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer]


APIS = {
    "asgi on hypercorn": ["hypercorn", "--bind", "127.0.0.1:{port}", "echo_api:asgi"],
    "asgi on uvicorn": [
        *("uvicorn", "--log-level", "critical", "--http", "httptools", "--no-proxy-headers", "--port", "{port}"),
        "echo_api:asgi",
    ],
    "wsgi on gunicorn": ["gunicorn", "--threads", "2", "--bind", "127.0.0.1:{port}", "echo_api:wsgi"],
    "wsgi on granian": ["granian", "--interface", "wsgi", "--port", "{port}", "echo_api:wsgi"],
    "wsgi on waitress": ["waitress", "--listen", "127.0.0.1:{port}", "echo_api:wsgi"],
}
"""Servers of the API, with their own defaults: hypercorn takes upgrades to h2c, uvicorn trailers for headers, gunicorn
a script name of a proxy on this host, granian every name with an underscore."""


class Notes:
    """What an API has seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new(self) -> list[dict[str, Any]]:
        """What it has seen since the last call."""
        with self._path.open("rb") as notes:
            notes.seek(self._read)
            lines = notes.read()
        self._read += len(lines)
        return [json.loads(line) for line in lines.splitlines()]


@contextmanager
def serve_api(name: str, folder: Path) -> Iterator[tuple[int, Notes]]:
    """The port of an API of `APIS` while the block runs, and what it has seen."""
    from tests.servers.running import free_port, running

    port = free_port()
    notes = folder / f"{name.replace(' ', '-')}-{port}.jsonl"
    notes.touch()
    module, *arguments = APIS[name]
    shutil.copy(__file__, folder)
    command = [sys.executable, "-m", module, *(argument.format(port=port) for argument in arguments)]
    environment = {_NOTES: str(notes), "PYTHONPATH": str(folder)}
    with running(command, folder, port, environment):
        yield port, Notes(notes)
