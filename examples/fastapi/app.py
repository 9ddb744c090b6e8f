"""An API with FastAPI whose routes under /v1 admit listed addresses only."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI

from cidrgate import ClientIPResolver, FromHeader, Gate, RuleManager, Verdict
from cidrgate.middleware.fastapi import AllowlistRoute, allowlist, install

KEYS = {"key-of-acct-1": "acct-1", "key-of-acct-2": "acct-2"}  # an application asks its own database

manager = RuleManager.open(os.environ.get("CIDRGATE_DATABASE", "sqlite:///lists.db"))
gate = Gate(
    manager,
    unlisted="deny_unknown",  # every account is created; see docs/edges.md for the other cases
    # The addresses of the proxies in front, if there are any; else the socket's peer is the client.
    resolver=ClientIPResolver(trusted_proxies=os.environ.get("TRUSTED_PROXIES", "").split()),
    require_account=True,
)
listed = allowlist(gate, FromHeader("x-api-key", KEYS.get))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Write what is counted before uvicorn ends, which runs nothing afterwards."""
    yield
    gate.flush_log()
    manager.close()


app = FastAPI(lifespan=lifespan)
install(app)
v1 = APIRouter(prefix="/v1", route_class=AllowlistRoute, dependencies=[Depends(listed)])


@v1.get("/calls")
def calls(verdict: Annotated[Verdict, Depends(listed)]) -> dict[str, str | None]:
    """What the account may see."""
    return {"account": verdict.account, "address": verdict.client.address}


@app.get("/health")
def health() -> dict[str, bool]:
    """Whether the service is up; from anywhere."""
    return {"up": True}


app.include_router(v1)
