"""An application of FastAPI, guarded by a dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI

from cidrgate.middleware.fastapi import allowlist, install
from tests.edges import CALLS

if TYPE_CHECKING:
    from cidrgate import Gate

__all__ = ["guarded"]


def guarded(gate: Gate, account: Any, protocol: str) -> FastAPI:
    app = FastAPI(dependencies=[Depends(allowlist(gate, account))])
    install(app)

    @app.api_route(CALLS, methods=["GET", "HEAD", "POST"])
    async def act(account: str) -> dict[str, str]:
        return {"account": account}

    @app.options("/{path:path}")
    @app.get("/static/{path:path}")
    @app.get("/healthz")
    async def act_for_none() -> dict[str, None]:
        return {"account": None}

    return app
