"""An application of Flask, guarded by the extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask

from cidrgate.middleware.flask import Allowlist

if TYPE_CHECKING:
    from cidrgate import Gate

__all__ = ["application", "guarded"]


def application() -> Flask:
    """The application; it answers `OPTIONS` by itself."""
    app = Flask(__name__, static_folder=None)

    @app.route("/v1/accounts/<account>/calls", methods=["GET", "POST"])
    def act(account: str) -> dict[str, str]:
        return {"account": account}

    @app.get("/static/<path:path>")
    @app.get("/healthz")
    def act_for_none(path: str = "") -> dict[str, None]:
        return {"account": None}

    return app


def guarded(gate: Gate, account: Any, protocol: str) -> Flask:
    app = application()
    Allowlist(gate, account, app)
    return app
