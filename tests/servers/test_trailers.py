"""Servers as they are started for real, and what follows the body of a request: no edge takes it for what it is not.

uvicorn with httptools appends trailers to the headers, also while the application reads the body; the others drop them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.guarded_apps import LISTED, OWN, STRANGER, VICTIM
from tests.servers.path_attacks import account_acted_for
from tests.servers.raw import exchange
from tests.servers.test_servers import ALIASES, DAPHNE, GRANIAN, HYPERCORN, SERVERS, UVICORN, one_of_each_edge, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = "tests.servers.trailer_apps:asgi_application"
APPLICATIONS = ("asgi", "fastapi", "fastapi, before the body", "django")
"""What the header `X-App` of a request can name."""

PROXY = "127.0.0.1"
TRUSTING = {"TEST_TRUSTED_PROXIES": f"{PROXY}/32", **ALIASES}

ASGI_SERVERS = {
    "uvicorn with httptools": [*UVICORN, "--no-proxy-headers", "--http", "httptools", APP],
    "uvicorn with h11": [*UVICORN, "--no-proxy-headers", "--http", "h11", APP],
    "hypercorn": [*HYPERCORN, APP],
    "granian": [*GRANIAN, "asgi", APP],
    "daphne": [*DAPHNE, APP],
}
MERGING = {"uvicorn with httptools", "uvicorn with a root path"}
"""Servers that take trailers for headers. The documentation has the same table."""

WAYS = ("at once", "later", "in two parts")


def answer(
    port: int, source: str, target: str, lines: list[str], trailers: list[str], way: str
) -> tuple[int, str | None]:
    """The status of a request in chunks with trailers, and the account that an application has acted for."""
    head = [f"POST {target} HTTP/1.1", "Host: api.example", "Transfer-Encoding: chunked", "Connection: close"]
    sent = "\r\n".join([*head, "Content-Type: application/json", *lines, "", "3\r\n[1]\r\n"]).encode()
    end = "\r\n".join(["0", *trailers, "", ""]).encode()
    cut = {"at once": len(end), "later": 0, "in two parts": len(end) - 2}[way]
    received = exchange(port, source, sent + end[:cut], later=end[cut:])
    start, _, body = received.partition(b"\r\n\r\n")
    status = int(start.split()[1])
    return status, account_acted_for(body) if status == 200 else None


@pytest.fixture(scope="module", params=ASGI_SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(ASGI_SERVERS[request.param], tmp_path_factory.mktemp("server"), **TRUSTING) as port:
        yield port


@pytest.mark.parametrize("target", ["/calls", "/calls-with-body"])
@pytest.mark.parametrize("app", APPLICATIONS)
def test_a_key_after_the_body_acts_for_no_account_that_was_not_asked_about(server: int, app: str, target: str) -> None:
    victim, own = f"X-Api-Key: key-of-{VICTIM}", f"X-Api-Key: key-of-{OWN}"
    for way in WAYS:
        for first in ([], [own]):
            status, account = answer(server, STRANGER, target, [f"X-App: {app}", *first], [victim], way)
            assert account != VICTIM, (way, first, status)
        assert answer(server, STRANGER, target, [f"X-App: {app}", own], [], way) == (200, OWN)


@pytest.mark.parametrize("app", APPLICATIONS)
def test_an_address_after_the_body_is_not_the_one_of_the_proxy(server: int, app: str) -> None:
    lines = [f"X-App: {app}", f"X-Api-Key: key-of-{VICTIM}", f"X-Forwarded-For: {STRANGER}"]
    honest = [*lines[:2], f"X-Forwarded-For: {LISTED}"]
    for target in ("/calls", "/calls-with-body"):
        for way in WAYS:
            for trailers in ([f"X-Forwarded-For: {LISTED}"], [f"x-forwarded-for: {LISTED}"] * 2):
                assert answer(server, PROXY, target, lines, trailers, way) == (403, None), (target, way)
            assert answer(server, PROXY, target, honest, [], way) == (200, VICTIM), (target, way)


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_the_server_takes_no_address_after_the_body_for_the_one_of_the_proxy(http: str, tmp_path: Path) -> None:
    """Uvicorn replaces the peer by the last line of the header, which may be a trailer."""
    command = [*UVICORN, "--forwarded-allow-ips", PROXY, "--http", http, APP]
    with serving(command, tmp_path, TEST_RESOLVED_BY_SERVER="yes", **ALIASES) as port:
        for app in APPLICATIONS:
            lines = [f"X-App: {app}", f"X-Api-Key: key-of-{VICTIM}"]
            for target in ("/calls", "/calls-with-body"):
                for way in WAYS:
                    forged = [*lines, f"X-Forwarded-For: {STRANGER}"]
                    for name in ("X-Forwarded-For", "x-forwarded-for"):
                        told = answer(port, PROXY, target, forged, [f"{name}: {LISTED}"], way)
                        assert told == (403, None), (app, target, way)
                    honest = [*lines, f"X-Forwarded-For: {LISTED}"]
                    assert answer(port, PROXY, target, honest, [], way) == (200, VICTIM), (app, target, way)


@pytest.mark.parametrize("name", SERVERS)
def test_no_edge_takes_an_address_after_the_body_for_the_one_of_the_proxy(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("server")
    target = f"/v1/accounts/{VICTIM}/calls"
    with serving(SERVERS[name], folder, **TRUSTING) as port:
        for app in one_of_each_edge(name):
            lines = [f"X-App: {app}", f"X-Account: {VICTIM}"]
            for way in WAYS:
                forged = [*lines, f"X-Forwarded-For: {STRANGER}"]
                assert answer(port, PROXY, target, forged, [f"X-Forwarded-For: {LISTED}"], way) == (403, None), (
                    app,
                    way,
                )
            status, account = answer(port, PROXY, target, [*lines, f"X-Forwarded-For: {LISTED}"], [], "at once")
            assert account in (VICTIM, None), app
            assert (status == 403) is (name == "waitress"), (app, status)  # it removes the header by default
    [log] = folder.glob("*.log")
    assert ("--http h11" in log.read_text()) is (name in MERGING)
