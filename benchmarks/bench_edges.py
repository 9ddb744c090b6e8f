"""What the ASGI and WSGI middlewares add to a request, in process: the bare application beside the guarded one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.bench_scalar import measure
from benchmarks.workloads import SMOKE
from cidrgate import ClientIPResolver, Gate, RuleManager
from cidrgate.account_sources import FromHeader
from cidrgate.metrics import GateMetrics
from cidrgate.middleware import asgi, wsgi

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

__all__ = ["ASGI", "WSGI"]

ASGI, WSGI = "ASGI request, in process", "WSGI request, in process"
REQUESTS = 200 if SMOKE else 20_000
CLIENT = "8.8.8.8"
HEADERS = [
    (b"host", b"api.example"),
    (b"user-agent", b"python-httpx/0.28.1"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"x-forwarded-for", CLIENT.encode()),
    (b"x-account", b"acct-1"),
]
SCOPE = {"type": "http", "path": "/", "headers": HEADERS, "client": (CLIENT, 4711)}
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "REMOTE_ADDR": CLIENT,
    **{f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode() for name, value in HEADERS},
}


def a_gate(**settings: Any) -> Gate:
    """A gate over a list of 50 entries."""
    manager = RuleManager.open("memory://", follow=False)
    manager.create_account("acct-1")
    manager.add("acct-1", [f"8.8.8.{8 + 4 * number}/30" for number in range(50)])
    return Gate(manager, **settings)


def gates() -> dict[str, Gate | None]:
    """Who is measured; None is the bare application."""
    from prometheus_client import CollectorRegistry

    return {
        "bare application": None,
        "guarded": a_gate(),
        "guarded, behind a trusted proxy": a_gate(resolver=ClientIPResolver(trusted_proxies=[f"{CLIENT}/32"])),
        "guarded, with metrics": a_gate(hooks=[GateMetrics(CollectorRegistry())]),
    }


async def asgi_app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """The smallest application."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def wsgi_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The smallest application."""
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


@pytest.mark.parametrize("who", gates())
def bench_asgi(benchmark: BenchmarkFixture, who: str) -> None:
    """Requests one after the other in one event loop."""
    gate = gates()[who]
    app: Any = asgi_app if gate is None else asgi.AllowlistMiddleware(asgi_app, gate, FromHeader("x-account"))

    async def send(message: asgi.Message) -> None:
        pass

    async def ask() -> None:
        for _ in range(REQUESTS):
            await app(SCOPE, None, send)

    measure(benchmark, who, ASGI, lambda: asyncio.run(ask()), operations=REQUESTS)


@pytest.mark.parametrize("who", gates())
def bench_wsgi(benchmark: BenchmarkFixture, who: str) -> None:
    """Requests one after the other."""
    gate = gates()[who]
    app: Any = wsgi_app if gate is None else wsgi.AllowlistMiddleware(wsgi_app, gate, FromHeader("x-account"))

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        pass

    def ask() -> None:
        for _ in range(REQUESTS):
            app(ENVIRON, start_response)

    measure(benchmark, who, WSGI, ask, operations=REQUESTS)
