"""The registry of edges: a module for each one of `cidrgate.middleware`. The attacks run through every one of them.

`python -m tests.edges` says what an edge lacks. A module here has the name of that in `cidrgate.middleware`. Its line
`EDGE` describes the edge; the tables of the documentation and the group `edges` of pyproject.toml are made of these
lines. Its `guarded(gate, account, protocol)` makes a guarded application.

The application acts for the account that it routes by, at `/v1/accounts/ACCOUNT/calls`, and answers with
`told(account, verdict)`: the account, and the verdict as the framework's applications read it. What `EXEMPT` names acts
for none: `/healthz`, `/static/...` and every `OPTIONS`. A framework that answers 404 before its hooks run needs a route
for every other path, so that the attacks reach the gate.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One module of `cidrgate.middleware`: the line `EDGE = Edge(...)` of the module here that has the same name.

    The line holds only literals, because it is read without an import: no test should load every framework.

    Attributes:
        title: What the documentation calls it.
        protocols: What servers speak with its applications: `asgi`, `wsgi`, or the name of its own server.
        sources: The keys of `SOURCES` that it takes.
        shape: What it is in its framework, for the table of edges.
        verdict: How an application reads the verdict.
        requires: The framework, as `pip` names it; None if it needs none, or comes with `cidrgate[all]`.
        page: Its page in `docs/howto/`; None if `docs/edges.md` shows it, as it is for no framework.
        module: The name of the module, which the registry knows.
    """

    title: str
    protocols: tuple[str, ...]
    sources: tuple[str, ...] = ("route", "path", "header")
    shape: str
    verdict: str
    requires: str | None = None
    page: str | None
    module: str = ""


FOLDER = Path(__file__).parent


def _read(path: Path) -> Edge | None:
    """The line of a module; None if it has none."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EDGE" and isinstance(node.value, ast.Call):
            given = {str(one.arg): ast.literal_eval(one.value) for one in node.value.keywords}
            return Edge(**given, module=path.stem)
    return None


EDGES = [edge for path in sorted(FOLDER.glob("*.py")) if not path.stem.startswith("_") and (edge := _read(path))]


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
