"""Servers as they are started for real: paths that they decode, fold and strip, and peers that they rewrite."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.edges import applications
from tests.rows import rows
from tests.servers.guarded_apps import LISTED, OWN, STRANGER, VICTIM
from tests.servers.path_attacks import PATH_ATTACKS, PathAttack, account_acted_for, raw_answer
from tests.servers.running import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ASGI_APP, WSGI_APP = "tests.servers.guarded_apps:asgi_application", "tests.servers.guarded_apps:wsgi_application"
REWRITING = "tests.servers.rewriting_apps"

UVICORN = ["uvicorn", "--log-level", "critical", "--lifespan", "off", "--port", "{port}"]
HYPERCORN = ["hypercorn", "--bind", "127.0.0.1:{port}"]
GRANIAN = ["granian", "--no-access-log", "--log-level", "critical", "--port", "{port}", "--interface"]
DAPHNE = ["daphne", "--verbosity", "0", "--bind", "127.0.0.1", "--port", "{port}"]
GUNICORN = ["gunicorn", "--log-level", "critical", "--threads", "4", "--bind", "127.0.0.1:{port}"]
WAITRESS = ["waitress", "--listen=127.0.0.1:{port}"]

SERVERS = {
    "uvicorn with httptools": [*UVICORN, "--no-proxy-headers", "--http", "httptools", ASGI_APP],
    "uvicorn with h11": [*UVICORN, "--no-proxy-headers", "--http", "h11", ASGI_APP],
    "uvicorn with a root path": [*UVICORN, "--no-proxy-headers", "--root-path", "/mounted", ASGI_APP],
    "hypercorn": [*HYPERCORN, ASGI_APP],
    "granian": [*GRANIAN, "asgi", ASGI_APP],
    "daphne": [*DAPHNE, ASGI_APP],
    "gunicorn": [*GUNICORN, WSGI_APP],
    "waitress": [*WAITRESS, WSGI_APP],
    "granian for WSGI": [*GRANIAN, "wsgi", WSGI_APP],
    "aiohttp route": ["aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", "tests.servers.guarded_apps:by_route"],
    "aiohttp path": ["aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", "tests.servers.guarded_apps:by_path"],
}

ALIASES = {"TEST_ALLOW_ALIASES": "yes"}
"""For granian's WSGI interface, which passes `X_Account` as `X-Account`; `test_wsgi_headers` tests that."""


@contextmanager
def serving(command: list[str], folder: Path, **environment: str) -> Iterator[int]:
    """The port of a server while the block runs."""
    port = free_port()
    program, *arguments = command
    started = [sys.executable, "-m", program, *(argument.format(port=port) for argument in arguments)]
    with running(started, folder, port, {"PYTHONPATH": str(ROOT), **environment}):
        yield port


def apps_of(server: str) -> list[str]:
    """The applications that a server has, by their names in `X-App`."""
    if server in ("aiohttp route", "aiohttp path"):
        return [server]
    return applications("wsgi" if server.startswith(("gunicorn", "waitress")) or "WSGI" in server else "asgi")


def one_of_each_edge(server: str) -> list[str]:
    """One application of each edge: where the account comes from changes nothing about the client's address."""
    return list({name.split()[0]: name for name in apps_of(server)}.values())


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    with serving(SERVERS[request.param], tmp_path_factory.mktemp("server"), **ALIASES) as port:
        yield request.param, port


def acted(port: int, app: str, source: str, attack: PathAttack) -> tuple[int, str | None]:
    """The status, and the account that an application has acted for if it ran."""
    headers = ((b"X-App", app.encode()), *attack.headers)
    status, body = raw_answer(port, source, attack.target, headers, attack.method)
    return status, account_acted_for(body) if status == 200 else None


def of(account: str, *headers: tuple[bytes, bytes], method: bytes = b"GET") -> PathAttack:
    return PathAttack(
        "", f"/v1/accounts/{account}/calls".encode(), method, ((b"X-Account", account.encode()), *headers)
    )


def test_the_account_that_acts_is_the_one_that_was_asked_about(server: tuple[str, int]) -> None:
    name, port = server
    for app in apps_of(name):
        assert acted(port, app, LISTED, of(VICTIM)) == (200, VICTIM), app
        assert acted(port, app, STRANGER, of(OWN)) == (200, OWN), app
        for source, account in ((STRANGER, VICTIM), (LISTED, OWN), (LISTED, "nobody"), (STRANGER, "nobody")):
            assert acted(port, app, source, of(account)) == (403, None), (app, account)


def test_what_is_exempt_acts_for_nobody(server: tuple[str, int]) -> None:
    name, port = server
    for app in apps_of(name):
        for target in (b"/healthz", b"/static/a/b.css", b"/static/caf%C3%A9"):
            assert acted(port, app, "127.0.0.77", PathAttack("", target)) == (200, None), (app, target)
        preflight = of(VICTIM, (b"Origin", b"https://x.example"), method=b"OPTIONS")
        status, account = acted(port, app, "127.0.0.77", preflight)
        assert (status != 403, account) == (True, None), app


@rows("attack", PATH_ATTACKS, name=lambda attack: attack.name)
def test_no_path_acts_for_an_account_that_was_not_asked_about(server: tuple[str, int], attack: PathAttack) -> None:
    name, port = server
    for app in apps_of(name):
        if app.endswith(" header"):
            continue
        status, account = acted(port, app, STRANGER, attack)
        assert account in (None, OWN), (app, status, account)
        if status == 200 and account is None:
            exempt = attack.target.startswith((b"/healthz", b"/static/")) or attack.method.upper() == b"OPTIONS"
            assert exempt, (app, "an application that is guarded ran")


LISTED_AS = LISTED.encode()
MAPPED = f"::ffff:{LISTED}".encode()
FORGED = {
    "an address": ((b"X-Forwarded-For", LISTED_AS),),
    "an address and a port": ((b"X-Forwarded-For", LISTED_AS + b":4711"),),
    "an address and port 0": ((b"X-Forwarded-For", LISTED_AS + b":0"),),
    "an address and a port that is none": ((b"X-Forwarded-For", LISTED_AS + b":99999"),),
    "brackets": ((b"X-Forwarded-For", b"[" + MAPPED + b"]"),),
    "brackets and a port": ((b"X-Forwarded-For", b"[" + MAPPED + b"]:4711"),),
    "an IPv4-mapped address": ((b"X-Forwarded-For", MAPPED),),
    "an IPv4-mapped address in hexadecimal": ((b"X-Forwarded-For", b"::ffff:7f00:7"),),
    "the first of two": ((b"X-Forwarded-For", LISTED_AS + b", 198.51.100.7"),),
    "the first of two, with a port": ((b"X-Forwarded-For", LISTED_AS + b":4711, 198.51.100.7"),),
    "the last of two": ((b"X-Forwarded-For", b"198.51.100.7, " + LISTED_AS),),
    "the last of two, with a port": ((b"X-Forwarded-For", b"198.51.100.7, " + LISTED_AS + b":4711"),),
    "spaces": ((b"X-Forwarded-For", b"  " + LISTED_AS + b"\t,  198.51.100.7"),),
    "two lines, first": ((b"X-Forwarded-For", LISTED_AS), (b"X-Forwarded-For", b"198.51.100.7")),
    "two lines, last": ((b"X-Forwarded-For", b"198.51.100.7"), (b"X-Forwarded-For", LISTED_AS)),
    "X-Forwarded-Port": ((b"X-Forwarded-For", LISTED_AS), (b"X-Forwarded-Port", b"4711")),
    "X-Forwarded-Port of two": ((b"X-Forwarded-For", LISTED_AS + b", 198.51.100.7"), (b"X-Forwarded-Port", b"4711")),
    "X-Forwarded-Port that is none": ((b"X-Forwarded-For", LISTED_AS), (b"X-Forwarded-Port", b"x")),
    "Forwarded": ((b"Forwarded", b"for=" + LISTED_AS),),
    "Forwarded with a port": ((b"Forwarded", b'for="' + LISTED_AS + b':4711"'),),
    "Forwarded in brackets": ((b"Forwarded", b'for="[' + MAPPED + b']:4711"'),),
    "Forwarded, the last of two": ((b"Forwarded", b"for=198.51.100.7, for=" + LISTED_AS),),
    "both": ((b"X-Forwarded-For", LISTED_AS), (b"Forwarded", b"for=" + LISTED_AS)),
    "X-Real-IP": ((b"X-Real-IP", LISTED_AS),),
    "every name": tuple(
        (name, LISTED_AS)
        for name in (b"X-Real-IP", b"X-Client-IP", b"CF-Connecting-IP", b"True-Client-IP", b"Client-IP")
    ),
}
REWRITERS = {
    "uvicorn": [*UVICORN, "--forwarded-allow-ips", "*", ASGI_APP],
    "uvicorn with h11": [*UVICORN, "--forwarded-allow-ips", "*", "--http", "h11", ASGI_APP],
    "hypercorn's middleware": [*HYPERCORN, f"{REWRITING}:hypercorn_x_forwarded_for"],
    "hypercorn's middleware for Forwarded": [*HYPERCORN, f"{REWRITING}:hypercorn_forwarded"],
    "granian's middleware": [*GRANIAN, "asgi", f"{REWRITING}:granian_asgi"],
    "granian's middleware for WSGI": [*GRANIAN, "wsgi", f"{REWRITING}:granian_wsgi"],
    "daphne": [*DAPHNE, "--proxy-headers", ASGI_APP],
    "gunicorn": [*GUNICORN, "--forwarded-allow-ips", "*", WSGI_APP],
    "waitress": [*WAITRESS, "--trusted-proxy=*", "--trusted-proxy-headers=x-forwarded-for", WSGI_APP],
    "waitress for Forwarded": [*WAITRESS, "--trusted-proxy=*", "--trusted-proxy-headers=forwarded", WSGI_APP],
    "Werkzeug's middleware for WSGI": [*GUNICORN, f"{REWRITING}:werkzeug_fixed"],
    "Werkzeug's middleware twice for WSGI": [*GUNICORN, f"{REWRITING}:werkzeug_fixed_twice"],
}


@pytest.fixture(scope="module", params=REWRITERS)
def rewriter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int, Path]]:
    folder = tmp_path_factory.mktemp("rewriter")
    with serving(REWRITERS[request.param], folder, **ALIASES) as port:
        yield request.param, port, folder


@rows("forged", FORGED)
def test_a_server_that_believes_everybody_lets_nobody_in(rewriter: tuple[str, int, Path], forged: str) -> None:
    name, port, _ = rewriter
    for app in one_of_each_edge(name):
        status, account = acted(port, app, STRANGER, of(VICTIM, *FORGED[forged]))
        assert (status in (400, 403), account) == (True, None), (app, status)


def test_an_honest_client_of_such_a_server_is_answered_and_the_log_says_what_to_do(
    rewriter: tuple[str, int, Path],
) -> None:
    name, port, folder = rewriter
    for app in one_of_each_edge(name):
        assert acted(port, app, LISTED, of(VICTIM)) == (200, VICTIM), app
        assert acted(port, app, STRANGER, of(VICTIM)) == (403, None), app
        assert acted(port, app, STRANGER, of(VICTIM, *FORGED["an address"]))[0] == 403
        assert acted(port, app, STRANGER, of(VICTIM, *FORGED["Forwarded"]))[0] == 403
    [log] = folder.glob("*.log")
    rewrites = name != "gunicorn" and "Werkzeug's middleware for" not in name
    assert log.read_text().count("--no-proxy-headers") == (1 if rewrites else 0)


TRUSTING = {
    name: command
    for name, command in REWRITERS.items()
    if name in ("uvicorn", "uvicorn with h11", "daphne", "waitress")
} | {name: command for name, command in REWRITERS.items() if "middleware" in name and "WSGI" not in name}


@pytest.mark.parametrize("name", TRUSTING)
def test_a_server_that_puts_a_proxy_in_the_peers_place_lets_nobody_in(name: str, tmp_path: Path) -> None:
    """Server and resolver both believe headers: a mistake that no address alone can show."""
    proxy = b"127.0.0.2"
    forged = [
        (b"X-Forwarded-For", proxy + b":4711, " + LISTED_AS),
        (b"X-Forwarded-For", proxy + b", " + LISTED_AS),
        (b"X-Forwarded-For", LISTED_AS + b", " + proxy + b":4711"),
        (b"X-Forwarded-For", LISTED_AS + b", " + proxy),
        (b"X-Forwarded-For", b"[::ffff:127.0.0.2]:4711, " + LISTED_AS),
    ]
    [header_app, *_] = [app for app in apps_of(name) if app in ("asgi header", "wsgi header")]
    with serving(TRUSTING[name], tmp_path, TEST_TRUSTED_PROXIES="127.0.0.2/32") as port:
        for line in forged:
            for more in ((), ((b"X-Forwarded-Port", b"4711"),), ((b"Forwarded", b"for=" + proxy),)):
                status, account = acted(port, header_app, STRANGER, of(VICTIM, line, *more))
                assert (status in (400, 403), account) == (True, None), (line, more, status)


BY_SERVER = {
    "uvicorn": [*UVICORN, "--forwarded-allow-ips", "127.0.0.1", ASGI_APP],
    "granian": [*GRANIAN, "asgi", f"{REWRITING}:granian_asgi_of_proxies"],
    "waitress": [*WAITRESS, "--trusted-proxy=127.0.0.1", "--trusted-proxy-headers=x-forwarded-for", WSGI_APP],
}


@pytest.mark.parametrize("name", BY_SERVER)
def test_the_servers_answer_counts_where_that_is_said(name: str, tmp_path: Path) -> None:
    with serving(BY_SERVER[name], tmp_path, TEST_RESOLVED_BY_SERVER="yes") as port:
        for app in one_of_each_edge(name):
            # Granian's middleware reads no ports: what it puts there is then no address.
            for listed in (LISTED_AS, *([] if name == "granian" else [LISTED_AS + b":4711"])):
                assert acted(port, app, "127.0.0.1", of(VICTIM, (b"X-Forwarded-For", listed))) == (200, VICTIM), app
                assert acted(port, app, STRANGER, of(VICTIM, (b"X-Forwarded-For", listed))) == (403, None), app
            spoofed = of(VICTIM, (b"X-Forwarded-For", LISTED_AS + b", " + STRANGER.encode()))
            assert acted(port, app, "127.0.0.1", spoofed) == (403, None), app
