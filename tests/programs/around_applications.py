"""The edges around the applications of several frameworks, with networks as objects."""

from ipaddress import IPv4Network, ip_network

from fastapi import FastAPI
from litestar import Litestar, asgi
from litestar.middleware import DefineMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.types import Scope as StarletteScope
from uvicorn import Config

from cidrgate import ClientIPResolver, FromHeader, FromRoute, Gate, Matcher
from cidrgate.authorize import AuthorizeApp
from cidrgate.foresight import recommend
from cidrgate.middleware import asgi as edge, fastapi, starlette
from cidrgate.service import Settings

OFFICE = IPv4Network("8.8.8.0/24")


def account_of(scope: StarletteScope) -> str | None:
    """The account of a request to Starlette."""
    return "acct-1" if scope["path"] == "/" else None


def account_of_litestar(scope: Scope) -> str | None:
    """The account of a request to Litestar."""
    return "acct-1" if scope["path"] == "/" else None


@asgi("/", copy_scope=True)
async def handler(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application inside Litestar."""


def main() -> None:
    """Make each of them."""
    resolver = ClientIPResolver(trusted_proxies=[OFFICE, ip_network("2606:4700::/32"), "unix:"])
    proxies: list[str] = ["10.0.0.0/8"]
    ClientIPResolver(trusted_proxies=proxies)
    ClientIPResolver(trusted_proxies=(network for network in proxies))
    gate = Gate(Matcher(), unlisted="deny_unknown", resolver=resolver)

    guard = DefineMiddleware(edge.AllowlistMiddleware, gate=gate, account=account_of_litestar)
    litestar = Litestar([handler], middleware=[guard])
    checked: ASGIApp = edge.AllowlistMiddleware(litestar, gate, account_of_litestar)
    header = FromHeader("x-account", exempt=["GET /healthz"])
    guarded = Starlette(
        routes=[
            Mount("/authorize", AuthorizeApp(gate, elsewhere=checked)),
            Mount("/of", FastAPI(), middleware=[Middleware(edge.AllowlistMiddleware, gate=gate, account=header)]),
            Route(
                "/{account}",
                FastAPI(),
                middleware=[Middleware(starlette.AllowlistMiddleware, gate, FromRoute("account"))],
            ),
        ]
    )
    guarded.add_middleware(edge.AllowlistMiddleware, gate=gate, account=account_of)
    for app in (guarded, FastAPI()):
        fastapi.install(app)
    Config(edge.AllowlistMiddleware(litestar, gate, header))
    Config(AuthorizeApp(gate))

    print(Settings(allow=(OFFICE,)).allow)
    print(recommend(["1.1.1.1"], forced=[OFFICE], excluded=[ip_network("9.9.9.0/24"), "9.9.8.1"]).cidrs)


if __name__ == "__main__":
    main()
