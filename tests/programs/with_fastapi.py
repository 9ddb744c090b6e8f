"""A FastAPI service whose customers' addresses are checked before a route runs."""

from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from cidrgate import FromRoute, Gate, RuleManager, Verdict
from cidrgate.middleware.fastapi import allowlist, install


def make_app(manager: RuleManager) -> FastAPI:
    """The service: one route for each account."""
    gate = Gate(manager, unlisted="deny_unknown", require_account=True, log="none")
    allowed = allowlist(gate, FromRoute("account"))
    app = FastAPI()
    install(app)

    @app.get("/v1/{account}/calls")
    async def calls(account: str, verdict: Annotated[Verdict, Depends(allowed)]) -> dict[str, str | None]:
        return {"account": account, "matched": verdict.matched_cidr}

    return app


def main() -> None:
    """Ask it from two addresses."""
    with RuleManager.open("memory://") as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24", label="office")
        app = make_app(manager)
        inside = TestClient(app, client=("8.8.8.8", 50000)).get("/v1/acct-1/calls")
        print(inside.status_code, inside.json())
        outside = TestClient(app, client=("9.9.9.9", 50000)).get("/v1/acct-1/calls")
        print(outside.status_code, outside.json()["code"])


if __name__ == "__main__":
    main()
