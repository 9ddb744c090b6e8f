"""The registry of edges: a line for each module of `cidrgate.middleware`. The attacks run through every one of them.

A module here, named as that of `cidrgate.middleware`, makes the guarded application of an edge: `guarded(gate, account,
protocol)`. The application acts for the account that it routes by, at `/v1/accounts/ACCOUNT/calls`, and answers with
`told(account, verdict)`: the account, and the verdict as the framework's applications read it. What `EXEMPT` names acts
for none: `/healthz`, `/static/...` and every `OPTIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cidrgate import FromHeader, FromPath, FromRoute

if TYPE_CHECKING:
    from cidrgate import Gate, Verdict

__all__ = ["CALLS", "EDGES", "EXEMPT", "SOURCES", "Edge", "applications", "calls_of", "guarded", "told"]

EXEMPT = ["GET /healthz", "OPTIONS *", "GET /static/*"]
CALLS = "/v1/accounts/{account}/calls"
SOURCES = {
    "route": FromRoute("account", exempt=EXEMPT),
    "path": FromPath(r"/v1/accounts/(?P<account>[^/]+)/calls", exempt=EXEMPT),
    "header": FromHeader("x-account", exempt=EXEMPT),
}


@dataclass(frozen=True, slots=True)
class Edge:
    """One module of `cidrgate.middleware`.

    Attributes:
        module: Its name, there and here.
        title: What the documentation calls it.
        protocols: What servers speak with its applications: `asgi`, `wsgi`, or the name of its own server.
        sources: The keys of `SOURCES` that it takes.
    """

    module: str
    title: str
    protocols: tuple[str, ...]
    sources: tuple[str, ...] = ("route", "path", "header")


EDGES = [
    Edge("asgi", "ASGI", ("asgi",), ("path", "header")),
    Edge("wsgi", "WSGI", ("wsgi",), ("path", "header")),
    Edge("django", "Django", ("asgi", "wsgi")),
    Edge("drf", "Django REST framework", ("asgi", "wsgi")),
    Edge("fastapi", "FastAPI", ("asgi",)),
    Edge("starlette", "Starlette", ("asgi",), ("route",)),
    Edge("flask", "Flask", ("wsgi",)),
    Edge("aiohttp", "aiohttp", ("aiohttp",)),
]


def guarded(edge: str, gate: Gate, account: Any, protocol: str) -> Any:
    """The application of an edge: `edge` is its module."""
    return import_module(f"{__name__}.{edge}").guarded(gate, account, protocol)


def applications(protocol: str) -> list[str]:
    """The names of all applications that a server of a protocol can have, each an edge and a source."""
    return [f"{edge.module} {source}" for edge in EDGES if protocol in edge.protocols for source in edge.sources]


def told(account: str | None, verdict: Verdict) -> dict[str, Any]:
    """What an application answers: the account for which it acts, and the verdict that it has read."""
    return {"account": account, "verdict": verdict.record()}


def calls_of(account: str) -> str:
    """The path at which an application acts for an account."""
    return CALLS.format(account=account)
