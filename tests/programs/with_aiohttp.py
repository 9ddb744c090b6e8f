"""An aiohttp service on a private network, whose policy accepts private ranges."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from cidrgate import FromRoute, Gate, Policy, RuleManager
from cidrgate.middleware.aiohttp import VERDICT, allowlist


async def calls(request: web.Request) -> web.Response:
    """What the account may see."""
    return web.json_response({"account": request.match_info["account"], "matched": request[VERDICT].matched_cidr})


def make_app(manager: RuleManager) -> web.Application:
    """The service: one route for each account."""
    gate = Gate(manager, unlisted="deny_unknown", log="none")
    app = web.Application(middlewares=[allowlist(gate, FromRoute("account"))])
    app.router.add_get("/v1/{account}/calls", calls)
    return app


async def ask(manager: RuleManager) -> None:
    """Ask it from this machine, for two accounts."""
    async with TestClient(TestServer(make_app(manager))) as client:
        for account in ("acct-1", "acct-2"):
            async with client.get(f"/v1/{account}/calls") as answer:
                body = await answer.json(content_type=None)
                print(answer.status, body.get("matched", body.get("code")))


def main() -> None:
    """Make the lists, and ask."""
    with RuleManager.open("memory://", policy=Policy(allow_special=True)) as manager:
        for account, cidr in (("acct-1", "127.0.0.0/8"), ("acct-2", "8.8.8.0/24")):
            manager.create_account(account)
            manager.add(account, cidr)
        asyncio.run(ask(manager))


if __name__ == "__main__":
    main()
