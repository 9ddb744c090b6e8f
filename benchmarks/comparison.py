"""The attack table against the usual Python middlewares: `python -m benchmarks.comparison`, `make comparison`.

Writes `docs/comparison.md`. Each library runs for real, set up as its documentation says for the place where a request
of the table comes in; what it takes for the client's address is then looked up in the list, unless it decides itself.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings
from collections import Counter
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate.middleware import asgi, wsgi
from tests.attacks import ATTACKS, LISTED, LISTED_PEER, LISTED_V6, TRUSTED, Attack, gates
from tests.in_process import asgi_app, asgi_status, wsgi_app, wsgi_status
from tests.middleware.raw_http import raw_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["main"]

PAGE = Path(__file__).parents[1] / "docs" / "comparison.md"
Asked: TypeAlias = "Callable[[Attack], bool | None]"
"""Whether a request passes; None where the library cannot be set up for it."""

LIST = {ip_address(address) for address in (LISTED, LISTED_V6, LISTED_PEER)}
ADDRESSES = ["127.0.0.0", "127.0.0.1", "127.0.0.2", "127.0.0.3", "fd00::2"]


def listed(text: object) -> bool:
    """Whether what a library takes for the address is listed; read strictly, mapped IPv4 as IPv4."""
    try:
        address = ip_address(str(text))
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address in LIST


def wsgi_list(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An application that looks its peer up."""
    start_response("200 OK" if listed(environ.get("REMOTE_ADDR")) else "403 Forbidden", [])
    return []


async def asgi_list(scope: Any, receive: Any, send: Any) -> None:
    """The same for ASGI."""
    client = scope.get("client")
    status = 200 if client and listed(client[0]) else 403
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def by_setup(apps: dict[str, Any], status_of: Callable[[Any, Attack], int]) -> Asked:
    """Ask the application that is set up for the place; one that raises lets nobody pass."""

    def asked(attack: Attack) -> bool | None:
        app = apps.get(attack.setup)
        if app is None:
            return None
        try:
            return status_of(app, attack) == 200
        except Exception:  # noqa: BLE001 - a server answers 500 then
            return False

    return asked


def of_cidrgate(stack: ExitStack) -> Asked:
    """`AllowlistMiddleware` of this library, ASGI."""
    apps = {name: asgi.AllowlistMiddleware(asgi_app, gate, lambda scope: "acct-1") for name, gate in gates().items()}
    return by_setup(apps, asgi_status)


def of_cidrgate_wsgi(stack: ExitStack) -> Asked:
    """`AllowlistMiddleware` of this library, WSGI."""
    apps = {name: wsgi.AllowlistMiddleware(wsgi_app, gate, lambda environ: "acct-1") for name, gate in gates().items()}
    return by_setup(apps, wsgi_status)


def of_werkzeug(stack: ExitStack) -> Asked:
    """`ProxyFix(x_for=1)`, `x_for=2` for two hops."""
    from werkzeug.middleware.proxy_fix import ProxyFix

    one = ProxyFix(wsgi_list, x_for=1)
    return by_setup({"x-forwarded-for": one, "unix socket": one, "two hops": ProxyFix(wsgi_list, x_for=2)}, wsgi_status)


def of_uvicorn(stack: ExitStack) -> Asked:
    """`ProxyHeadersMiddleware` with its default, with the proxies as `trusted_hosts`, with `*` for a Unix socket."""
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    trusted: dict[str, Any] = {"default": "127.0.0.1", "x-forwarded-for": TRUSTED, "unix socket": "*"}
    return by_setup({name: ProxyHeadersMiddleware(asgi_list, hosts) for name, hosts in trusted.items()}, asgi_status)


def of_hypercorn(stack: ExitStack) -> Asked:
    """`ProxyFixMiddleware`, `modern` for `Forwarded`, `trusted_hops=2` for two hops."""
    from hypercorn.middleware import ProxyFixMiddleware

    one: Any = ProxyFixMiddleware(asgi_list)
    apps = {
        "x-forwarded-for": one,
        "unix socket": one,
        "forwarded": ProxyFixMiddleware(asgi_list, mode="modern"),
        "two hops": ProxyFixMiddleware(asgi_list, trusted_hops=2),
    }
    return by_setup(apps, asgi_status)


def of_python_ipware(stack: ExitStack) -> Asked:
    """`IpWare()`; behind proxies with one header in `precedence` and `proxy_count`, and only what it calls trusted."""
    from python_ipware import IpWare

    forwarded, one_value = ("HTTP_X_FORWARDED_FOR",), ("HTTP_CF_CONNECTING_IP",)
    finders = {
        "default": IpWare(),
        "x-forwarded-for": IpWare(precedence=forwarded, proxy_count=0),
        "unix socket": IpWare(precedence=forwarded, proxy_count=0),
        "two hops": IpWare(precedence=forwarded, proxy_count=1),
        "cf-connecting-ip": IpWare(precedence=one_value, proxy_count=0),
    }

    def app_of(finder: Any, *, trusted: bool) -> Any:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            address, route = finder.get_client_ip(environ)
            return wsgi_list({"REMOTE_ADDR": address if route or not trusted else None}, start_response)

        return app

    apps = {name: app_of(finder, trusted=name != "default") for name, finder in finders.items()}
    return by_setup(apps, wsgi_status)


def django_settings(**settings: Any) -> Any:
    """Settings of a Django project, for a while."""
    from django.test import override_settings

    from tests.middleware import django_project

    assert django_project.urlpatterns
    return override_settings(**settings)


def a_request(environ: dict[str, Any]) -> Any:
    """A Django request."""
    from django.core.handlers.wsgi import WSGIRequest

    return WSGIRequest(environ)


def of_django_ipware(stack: ExitStack) -> Asked:
    """`get_client_ip(request)`; behind proxies with one header in `request_header_order` and `proxy_count`."""
    stack.enter_context(django_settings())
    from ipware import get_client_ip

    forwarded = ["HTTP_X_FORWARDED_FOR"]
    arguments: dict[str, dict[str, Any]] = {
        "default": {},
        "x-forwarded-for": {"request_header_order": forwarded, "proxy_count": 0},
        "unix socket": {"request_header_order": forwarded, "proxy_count": 0},
        "two hops": {"request_header_order": forwarded, "proxy_count": 1},
        "cf-connecting-ip": {"request_header_order": ["HTTP_CF_CONNECTING_IP"], "proxy_count": 0},
    }

    def app_of(given: dict[str, Any]) -> Any:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            address, _ = get_client_ip(a_request(environ), **given)
            return wsgi_list({"REMOTE_ADDR": address}, start_response)

        return app

    return by_setup({name: app_of(given) for name, given in arguments.items()}, wsgi_status)


def of_django_xff(stack: ExitStack) -> Asked:
    """`XForwardedForMiddleware` with `XFF_TRUSTED_PROXY_DEPTH`."""
    from xff.middleware import XForwardedForMiddleware

    def app_of(depth: int) -> Any:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            def view(request: Any) -> Any:
                wsgi_list(request.META, start_response)

            with django_settings(XFF_TRUSTED_PROXY_DEPTH=depth):
                response = XForwardedForMiddleware(view)(a_request(environ))
                if response is not None:
                    start_response(f"{response.status_code} {response.reason_phrase}", [])
            return []

        return app

    return by_setup({"x-forwarded-for": app_of(1), "unix socket": app_of(1), "two hops": app_of(2)}, wsgi_status)


def of_django_rest_framework(stack: ExitStack) -> Asked:
    """`get_ident` of its throttles, with `NUM_PROXIES` as it is and as many as there are."""
    stack.enter_context(django_settings())
    from rest_framework.settings import api_settings
    from rest_framework.throttling import BaseThrottle

    def app_of(proxies: int | None) -> Any:
        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            api_settings.NUM_PROXIES = proxies
            return wsgi_list({"REMOTE_ADDR": BaseThrottle().get_ident(a_request(environ))}, start_response)

        return app

    counts = {"default": None, "x-forwarded-for": 1, "unix socket": 1, "two hops": 2}
    return by_setup({name: app_of(count) for name, count in counts.items()}, wsgi_status)


def of_flask_realip(stack: ExitStack) -> Asked:
    """`RealIP(app)`; with `trusted_proxies`."""
    from flask import Flask, request
    from flask_realip import RealIP

    def app_of(**settings: Any) -> Any:
        app = Flask("comparison")
        RealIP(app, **settings)

        @app.get("/")
        def view() -> tuple[str, int]:
            return "", 200 if listed(request.remote_addr) else 403

        return app

    return by_setup({"default": app_of(), "x-forwarded-for": app_of(trusted_proxies=ADDRESSES)}, wsgi_status)


def of_fastapi_guard(stack: ExitStack) -> Asked:
    """`SecurityMiddleware` with a `whitelist` and nothing else; with `trusted_proxies`, `trusted_proxy_depth=2`."""
    from fastapi import FastAPI
    from guard import SecurityConfig, SecurityMiddleware

    def app_of(**settings: Any) -> Any:
        app = FastAPI()

        @app.get("/")
        async def view() -> str:
            return ""

        config = SecurityConfig(
            whitelist=(LISTED, LISTED_V6, LISTED_PEER),
            enable_redis=False,
            enable_penetration_detection=False,
            enable_rate_limiting=False,
            enable_ip_banning=False,
            **settings,
        )
        app.add_middleware(SecurityMiddleware, config=config)
        return app

    apps = {
        "default": app_of(),
        "x-forwarded-for": app_of(trusted_proxies=tuple(TRUSTED)),
        "two hops": app_of(trusted_proxies=("0.0.0.0/0", "::/0"), trusted_proxy_depth=2),
    }
    return by_setup(apps, asgi_status)


@contextmanager
def aiohttp_server(tool: Any) -> Iterator[int]:
    """The port of an aiohttp server with one of the tools of aiohttp-remotes."""
    from aiohttp import web
    from aiohttp_remotes import setup

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=200 if listed(request.remote) else 403)

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        if tool is not None:
            await setup(app, tool)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield runner.addresses[0][1]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def of_aiohttp_remotes(tools: dict[str, Any], stack: ExitStack) -> Asked:
    """Real sockets: only what a peer can have for an address there."""
    ports = {name: stack.enter_context(aiohttp_server(tool)) for name, tool in tools.items()}

    def asked(attack: Attack) -> bool | None:
        try:
            real = ip_address(attack.peer or "").is_loopback
        except ValueError:
            real = False
        if attack.setup not in ports or not real:
            return None
        return raw_status(ports[attack.setup], str(attack.peer), "/", attack.headers) == 200

    return asked


def of_aiohttp_strict(stack: ExitStack) -> Asked:
    """`XForwardedStrict` and `ForwardedStrict` with the proxies."""
    from aiohttp_remotes import ForwardedStrict, XForwardedStrict

    tools = {"x-forwarded-for": XForwardedStrict([TRUSTED]), "forwarded": ForwardedStrict([TRUSTED])}
    return of_aiohttp_remotes(tools, stack)


def of_aiohttp_filtered(stack: ExitStack) -> Asked:
    """`XForwardedFiltered` with the proxies, `XForwardedRelaxed(num=2)` for two hops, `ForwardedRelaxed`."""
    from aiohttp_remotes import ForwardedRelaxed, XForwardedFiltered, XForwardedRelaxed

    tools = {
        "x-forwarded-for": XForwardedFiltered(set(TRUSTED)),
        "forwarded": ForwardedRelaxed(),
        "two hops": XForwardedRelaxed(num=2),
    }
    return of_aiohttp_remotes(tools, stack)


WHO: list[tuple[str, str, Callable[[ExitStack], Asked]]] = [
    ("cidrgate, ASGI", "cidrgate", of_cidrgate),
    ("cidrgate, WSGI", "cidrgate", of_cidrgate_wsgi),
    ("Werkzeug ProxyFix", "Werkzeug", of_werkzeug),
    ("uvicorn ProxyHeaders", "uvicorn", of_uvicorn),
    ("Hypercorn ProxyFix", "Hypercorn", of_hypercorn),
    ("aiohttp-remotes, strict", "aiohttp-remotes", of_aiohttp_strict),
    ("aiohttp-remotes, others", "aiohttp-remotes", of_aiohttp_filtered),
    ("python-ipware", "python-ipware", of_python_ipware),
    ("django-ipware", "django-ipware", of_django_ipware),
    ("django-xff", "django-xff", of_django_xff),
    ("DRF get_ident", "djangorestframework", of_django_rest_framework),
    ("Flask-RealIP", "Flask-RealIP", of_flask_realip),
    ("fastapi-guard", "fastapi-guard", of_fastapi_guard),
]


def outcome(attack: Attack, passed: bool | None) -> str:
    """What a library made of a request: `right`, `wrongly allowed`, `wrongly denied`, or empty if not asked."""
    if passed is None:
        return ""
    if passed == attack.allowed:
        return "right"
    return "wrongly allowed" if passed else "wrongly denied"


def page(columns: dict[str, list[str]], notes: dict[str, tuple[str, str]]) -> str:
    """The whole page."""
    lines = [
        "# The same attacks on other libraries",
        "",
        f"This page sends the {len(ATTACKS)} requests of the attack table (`tests/attacks.py`) to the libraries with",
        "which Python applications find the client address. `make comparison` writes it. It runs every library for",
        "real, set up as the library's documentation says for each place: no proxy (`default`), a trusted proxy that",
        "sends one of the headers, two hops, a Unix socket. If a library only returns an address, the page looks that",
        "address up in the list, read strictly.",
        "",
        "- **wrongly allowed**: the library allowed a request that it had to deny",
        "- **wrongly denied**: the library denied an honest request of a listed client",
        "- an empty cell: the library cannot be set up for the place, or its real socket cannot have such a peer",
        "",
        "Most of these libraries were not made for access control. Some count hops and never check the peer, which",
        "is as safe as the network in front of the application. Some accept text that is not an address.",
        "Not every wrongly allowed request can pass through every proxy, but a client that reaches the application's",
        "own port can send all of them.",
        "",
        "| library | version | set up as | asked | right | wrongly allowed | wrongly denied |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, outcomes in columns.items():
        counts = Counter(outcomes)
        asked = len(outcomes) - counts[""]
        number, how = notes[name]
        row = f"{asked} | {counts['right']} | {counts['wrongly allowed']} | {counts['wrongly denied']} |"
        lines.append(f"| {name} | {number} | {how} | {row}")
    lines += ["", "## Request by request", "", "Only requests that at least one library got wrong; `·` is right.", ""]
    lines += [f"| place: request | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    signs = {"right": "·", "wrongly allowed": "**allowed**", "wrongly denied": "denied", "": ""}
    for index, attack in enumerate(ATTACKS):
        outcomes = [column[index] for column in columns.values()]
        if set(outcomes) - {"right", ""}:
            lines.append(f"| {attack.setup}: {attack.name} | {' | '.join(signs[one] for one in outcomes)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run all, write the page, print the summary."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    columns: dict[str, list[str]] = {}
    notes: dict[str, tuple[str, str]] = {}
    for name, distribution, prepare in WHO:
        with ExitStack() as stack:
            asked = prepare(stack)
            columns[name] = [outcome(attack, asked(attack)) for attack in ATTACKS]
        notes[name] = (version(distribution), (prepare.__doc__ or "").rstrip("."))
    text = page(columns, notes)
    print("\n".join(line for line in text.split("## Request by request")[0].splitlines() if line.startswith("|")))
    if "--smoke" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
