"""An application of Flask, guarded by the extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, g

from cidrgate.middleware.flask import Allowlist
from tests.edges import Edge, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate import Gate, Verdict

__all__ = ["EDGE", "application", "guarded"]

EDGE = Edge(
    title="Flask",
    protocols=("wsgi",),
    shape="an extension",
    verdict="`flask.g.cidrgate`",
    requires="Flask>=3.0",
    page="flask.md",
)


def application(verdict: Callable[[], Verdict]) -> Flask:
    """The application; it answers `OPTIONS` by itself, and reads the verdict in one way or another."""
    app = Flask(__name__, static_folder=None)

    @app.route("/v1/accounts/<account>/calls", methods=["GET", "POST"])
    def act(account: str) -> dict[str, Any]:
        return told(account, verdict())

    @app.get("/static/<path:path>")
    @app.get("/healthz")
    def act_for_none(path: str = "") -> dict[str, Any]:
        return told(None, verdict())

    return app


def guarded(gate: Gate, account: Any, protocol: str) -> Flask:
    app = application(lambda: g.cidrgate)
    Allowlist(gate, account, app)
    return app
