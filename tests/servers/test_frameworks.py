"""The framework examples on real servers, as their READMEs start them, asked from several loopback addresses."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cidrgate import Policy, RuleManager
from tests.servers.endpoint import database
from tests.servers.fronts import EXAMPLES
from tests.servers.requests import ask
from tests.servers.running import free_port, running
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_1 = ("X-Api-Key", "key-of-acct-1")
KEY_2 = ("X-Api-Key", "key-of-acct-2")
LISTED = "127.0.0.2"
STRANGER = "127.0.0.4"
PROXY = "127.0.0.1"
"""The address the applications trust to forward; to them every other one is a client of its own."""

UVICORN = ["uvicorn", "--no-proxy-headers", "--port", "{port}"]
GUNICORN = ["gunicorn", "--workers", "2", "--preload", "--bind", "127.0.0.1:{port}"]
SERVERS = {
    "fastapi on uvicorn": ("fastapi", [*UVICORN, "app:app"]),
    "fastapi on hypercorn": ("fastapi", ["hypercorn", "--bind", "127.0.0.1:{port}", "app:app"]),
    "fastapi on granian": ("fastapi", ["granian", "--interface", "asgi", "--port", "{port}", "app:app"]),
    "flask on gunicorn": ("flask", [*GUNICORN, "app:app"]),
    "django on gunicorn": ("django", [*GUNICORN, "project:wsgi"]),
    "django on uvicorn": ("django", [*UVICORN, "project:asgi"]),
    "django on granian": ("django", ["granian", "--interface", "asgi", "--port", "{port}", "project:asgi"]),
}


class Api(NamedTuple):
    """A running application, and its store."""

    port: int
    url: str


@pytest.fixture(scope="module", params=SERVERS)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    example, (program, *arguments) = SERVERS[request.param]
    folder = tmp_path_factory.mktemp("api") / example
    shutil.copytree(EXAMPLES / example, folder)
    url = database(folder)
    port = free_port()
    command = [sys.executable, "-m", program, *(argument.format(port=port) for argument in arguments)]
    environment = {"CIDRGATE_DATABASE": url, "TRUSTED_PROXIES": f"{PROXY}/32"}
    with running(command, folder, port, environment):
        yield Api(port, url)


def status(api: Api, source: str, *headers: tuple[str, str]) -> int:
    return ask(api.port, source, headers, path="/v1/calls").status


def forwarded(addresses: str) -> tuple[str, str]:
    return ("X-Forwarded-For", addresses)


def test_an_address_passes_for_the_accounts_that_list_it(api: Api) -> None:
    for source, for_1, for_2 in (
        (LISTED, 200, 403),
        ("127.0.1.77", 200, 403),
        ("127.0.0.3", 403, 200),
        (STRANGER, 403, 403),
    ):
        assert status(api, source, KEY_1) == for_1, source
        assert status(api, source, KEY_2) == for_2, source
        assert status(api, source) == 403
        assert status(api, source, ("X-Api-Key", "another")) == 403
    assert ask(api.port, LISTED, [KEY_1], path="/v1/calls").record["account"] == "acct-1"


def test_a_denial_names_the_address_and_not_the_list(api: Api) -> None:
    answer = ask(api.port, STRANGER, [KEY_1], path="/v1/calls")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.record["address"] == STRANGER
    assert answer.record["request_id"] == answer.headers["x-request-id"]
    assert LISTED.encode() not in answer.body
    page = ask(api.port, STRANGER, [KEY_1, ("Accept", "text/html,*/*;q=0.1")], path="/v1/calls")
    assert page.status == 403
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "forged",
    [
        [forwarded(LISTED)],
        [forwarded(f"{LISTED}, {PROXY}")],
        [forwarded(LISTED), forwarded(LISTED)],
        [("x_forwarded_for", LISTED)],
        [("Forwarded", f"for={LISTED}")],
        [("X-Real-IP", LISTED), ("X-Client-IP", LISTED), ("CF-Connecting-IP", LISTED)],
        [("Remote-Addr", LISTED), ("Client", LISTED)],
    ],
)
def test_headers_of_a_client_count_for_nothing(api: Api, forged: list[tuple[str, str]]) -> None:
    assert status(api, STRANGER, KEY_1, *forged) == 403
    # A peer that stands in a header that names clients is taken for one that the server has put there.
    names = {"x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip", "cf-connecting-ip"}
    claimed = any(name.lower() in names for name, _ in forged)
    assert status(api, LISTED, KEY_1, *forged) == (403 if claimed else 200)
    denied = [(name, value.replace(LISTED, STRANGER)) for name, value in forged]
    assert status(api, LISTED, KEY_1, *denied) == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([forwarded(LISTED)], 200),
        ([forwarded(STRANGER)], 403),
        ([forwarded(f"{LISTED}, {STRANGER}")], 403),
        ([forwarded(f"{STRANGER}, {LISTED}")], 200),
        ([forwarded(f"{STRANGER}, {LISTED}, {PROXY}")], 200),
        ([forwarded(LISTED), forwarded(STRANGER)], 403),
        ([forwarded(STRANGER), forwarded(LISTED)], 200),
        ([forwarded(f"[::ffff:{LISTED}]:4711")], 200),
        ([forwarded(f"{LISTED}, ")], 403),
        ([forwarded(f"{LISTED}, unknown")], 403),
        ([forwarded("127.0.0.02")], 403),
        ([forwarded("2130706434")], 403),
        ([("X-Real-IP", LISTED)], 403),
        ([("X_Forwarded_For", LISTED), forwarded(STRANGER)], 403),
        ([forwarded(STRANGER), ("X_Forwarded_For", LISTED)], 403),
        ([], 403),
    ],
)
def test_a_trusted_proxy_says_who_the_client_is(api: Api, headers: list[tuple[str, str]], expected: int) -> None:
    assert status(api, PROXY, KEY_1, *headers) == expected


def test_a_change_of_the_list_reaches_every_worker(api: Api) -> None:
    newcomer = "127.0.0.9"
    assert status(api, newcomer, KEY_1) == 403
    with RuleManager.open(api.url, policy=Policy(allow_special=True), load=False) as manager:
        manager.add("acct-1", f"{newcomer}/32")
        eventually(lambda: all(status(api, newcomer, KEY_1) == 200 for _ in range(8)))
        manager.remove("acct-1", f"{newcomer}/32")
        eventually(lambda: all(status(api, newcomer, KEY_1) == 403 for _ in range(8)))
