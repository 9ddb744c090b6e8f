"""The five proxies for real, in front of an API: who passes, who cannot cheat, and what happens in a fault."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import pytest

from cidrgate import Policy, RuleManager
from tests.servers.endpoint import authorize_endpoint, database
from tests.servers.fronts import EXAMPLES, FRONTS, front
from tests.servers.requests import Answer, ask
from tests.servers.upstream import upstream
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY_1 = ("X-Api-Key", "key-of-acct-1")
KEY_2 = ("X-Api-Key", "key-of-acct-2")
LISTED = "127.0.0.2"
STRANGER = "127.0.0.4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proxies")


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return database(folder)


@pytest.fixture(scope="module")
def api() -> Iterator[int]:
    with upstream() as port:
        yield port


@pytest.fixture(scope="module")
def endpoint(folder: Path, url: str) -> Iterator[int]:
    with authorize_endpoint(folder, url) as port:
        yield port


@pytest.fixture(scope="module", params=FRONTS)
def proxy(request: pytest.FixtureRequest, folder: Path, endpoint: int, api: int) -> Iterator[int]:
    with front(request.param, folder, endpoint=endpoint, api=api) as port:
        yield port


def passed(answer: Answer) -> bool:
    """Whether the API has seen the request; if not, whatever the proxy said must not look as if."""
    seen = answer.status == 200
    assert seen == (b'"headers"' in answer.body)
    return seen


def test_an_address_passes_for_the_accounts_that_list_it(proxy: int) -> None:
    for source, for_1, for_2 in (
        ("127.0.0.2", True, False),
        ("127.0.1.77", True, False),
        ("127.0.0.3", False, True),
        (STRANGER, False, False),
        ("127.0.0.1", False, False),
    ):
        assert passed(ask(proxy, source, [KEY_1])) is for_1, source
        assert passed(ask(proxy, source, [KEY_2])) is for_2, source
        assert not passed(ask(proxy, source)), source
        assert not passed(ask(proxy, source, [("X-Api-Key", "another")])), source


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_every_method_is_asked_about_and_the_body_arrives(proxy: int, method: str) -> None:
    body = b"" if method in ("GET", "HEAD") else b"a body" * 3_000
    path = "/things/1?account=empty&x=%20"
    allowed = ask(proxy, LISTED, [KEY_1], path=path, method=method, body=body)
    assert allowed.status == 200
    if method != "HEAD":
        assert (allowed.record["method"], allowed.record["path"]) == (method, path)
        assert allowed.record["body"] == body.decode()
    assert ask(proxy, STRANGER, [KEY_1], path=path, method=method, body=body).status == 403


def test_a_denial_is_a_problem_document_without_the_list(proxy: int) -> None:
    answer = ask(proxy, STRANGER, [KEY_1])
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert "x-cidrgate-reason" not in answer.headers  # it tells which accounts exist
    record = answer.record
    assert (record["status"], record["address"]) == (403, STRANGER)
    assert (record["type"], record["code"]) == ("/problems/address_not_allowed", "address_not_allowed")
    assert STRANGER in record["detail"]
    assert record["request_id"] == answer.headers["x-request-id"] != ""
    for listed in (LISTED, "127.0.1.", "127.0.0.3"):
        assert listed.encode() not in answer.body
    assert "x-cidrgate-reason" not in ask(proxy, LISTED).headers


@pytest.mark.parametrize("name", FRONTS)
def test_a_stranger_cannot_tell_which_accounts_exist(name: str, folder: Path, url: str, api: int) -> None:
    with (
        authorize_endpoint(folder, url, "--unlisted", "deny_unknown") as endpoint,
        front(name, folder, endpoint=endpoint, api=api, edits={"acct-2": "invented"}) as proxy,
    ):
        known, invented = (ask(proxy, STRANGER, [("X-Api-Key", f"key-of-{one}")]) for one in ("acct-1", "invented"))
    for answer in (known, invented):
        assert answer.status == 403
        for header in ("x-request-id", "date", "x-envoy-upstream-service-time"):
            answer.headers.pop(header, None)
    assert known.headers == invented.headers
    assert known.record | {"request_id": ""} == invented.record | {"request_id": ""}


@pytest.mark.parametrize(
    "forged",
    [
        [("X-Forwarded-For", LISTED)],
        [("X-Forwarded-For", LISTED), ("X-Forwarded-For", LISTED)],
        [("x-forwarded-for", f"{LISTED}, 127.0.0.1")],
        [("X-FORWARDED-FOR", f"{STRANGER}, {LISTED}")],
        [("X-Forwarded-For", "127.0.0.1, " * 50 + LISTED)],
        [("X-Forwarded-For", ", ".join([LISTED] * 400))],
        [("X-Forwarded-For", "unknown")],
        [("X-Forwarded-For", "")],
        [("X_Forwarded_For", LISTED)],
        [("Forwarded", f"for={LISTED}")],
        [("Forwarded", f'for="{LISTED}:80";by=127.0.0.1, for={LISTED}')],
        [("X-Real-IP", LISTED)],
        [("X-Real-IP", LISTED), ("X-Real-IP", STRANGER)],
        [("X-Client-IP", LISTED), ("True-Client-IP", LISTED), ("CF-Connecting-IP", LISTED), ("Fly-Client-IP", LISTED)],
        [("X-Envoy-External-Address", LISTED), ("X-Original-Forwarded-For", LISTED)],
        [("Connection", "close, X-Forwarded-For, X-Account"), ("X-Forwarded-For", LISTED)],
        [("Connection", "X-Forwarded-For, X-Account, X-Real-IP")],
        [("X-Account", "empty")],
        [("X-Account", "empty"), ("X-Account", "acct-2")],
        [("X-Api-Key", "")],
        [("X-Original-URL", "/v1/authorize?account=empty"), ("X-Rewrite-URL", "/v1/authorize")],
        [("X-Forwarded-Uri", "/"), ("X-Forwarded-Method", "OPTIONS")],
        [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Key", "YSBub25jZSBvZiAxNiBieQ==")],
    ],
)
def test_no_header_of_the_client_lets_it_pass(proxy: int, forged: list[tuple[str, str]]) -> None:
    for headers in ([KEY_1, *forged], [*forged, KEY_1]):
        answer = ask(proxy, STRANGER, headers)
        assert not passed(answer)
        assert answer.status in (400, 403)  # Envoy refuses to have X-Forwarded-For taken out by Connection


def test_no_header_of_the_client_keeps_out_who_is_listed_or_reaches_the_api(proxy: int) -> None:
    forged = [("X-Forwarded-For", STRANGER), ("Forwarded", f"for={STRANGER}"), ("X-Account", "acct-2")]
    forged += [("X-Real-IP", STRANGER), ("X_Forwarded_For", STRANGER)]
    answer = ask(proxy, LISTED, [*forged, KEY_1, *forged])
    assert answer.status == 200
    seen = answer.record["headers"]
    [hops] = [value for name, value in seen if name == "x-forwarded-for"]
    assert hops.rpartition(",")[2] == LISTED
    kinds = [value for name, value in seen if name.replace("_", "-") in ("forwarded", "x-real-ip", "x-forwarded-for")]
    assert {value for value in kinds if value != hops} <= {LISTED}
    assert [value for name, value in seen if name == "x-account"] == ["acct-1"]


def test_a_key_that_names_two_accounts_opens_neither_to_a_stranger(proxy: int) -> None:
    for keys in ([KEY_1, KEY_2], [KEY_2, KEY_1], [("X-Api-Key", "key-of-acct-1, key-of-acct-2")]):
        assert ask(proxy, STRANGER, keys).status == 403


@pytest.mark.parametrize(
    "preamble",
    [
        b"PROXY TCP4 127.0.0.2 127.0.0.1 4000 80\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x02\x7f\x00\x00\x01\x0f\xa0\x00\x50",
    ],
    ids=["v1", "v2"],
)
def test_a_proxy_protocol_header_of_the_client_is_no_address(proxy: int, preamble: bytes) -> None:
    with socket.create_connection(("127.0.0.1", proxy), 10, source_address=(STRANGER, 0)) as connection:
        connection.sendall(
            preamble + b"GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: key-of-acct-1\r\nConnection: close\r\n\r\n"
        )
        answer = b""
        with suppress(ConnectionResetError):
            while data := connection.recv(65536):
                answer += data
    assert b" 200 " not in answer
    assert b'"headers"' not in answer


def test_a_change_of_the_list_reaches_the_proxy(proxy: int, url: str) -> None:
    newcomer = "127.0.0.9"
    assert ask(proxy, newcomer, [KEY_1]).status == 403
    with RuleManager.open(url, policy=Policy(allow_special=True), load=False) as manager:
        manager.add("acct-1", f"{newcomer}/32")
        eventually(lambda: ask(proxy, newcomer, [KEY_1]).status == 200)
        manager.remove("acct-1", f"{newcomer}/32")
        eventually(lambda: ask(proxy, newcomer, [KEY_1]).status == 403)


@pytest.mark.parametrize("name", FRONTS)
def test_its_readme_starts_it_as_these_tests_do(name: str) -> None:
    lines = (EXAMPLES / name / "README.md").read_text().splitlines()
    [written] = [line.removeprefix("$ ") for line in lines if line.startswith(f"$ {FRONTS[name][0]} ")]
    assert " ".join(FRONTS[name]).replace("{folder}", '"$PWD"').startswith(written)


class FaultyEndpoint:
    """Something at the endpoint's port that is none, or a broken one."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.answer: bytes | None = b""
        self._silent: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self._silent:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self.answer is None:
                self._silent.append(connection)
                continue
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(self.answer)


FAULTS = {
    "closes": b"",
    "garbage": b"\x00\xff no HTTP at all\r\n\r\n",
    "half an answer": b"HTTP/1.1 200",
    "401": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "302": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "says nothing": None,
}


STATUS_WITHOUT_AN_ENDPOINT = {"nginx": 500, "caddy": 502, "haproxy": 403, "envoy": 403, "traefik": 500}


@pytest.mark.parametrize("name", FRONTS)
def test_a_proxy_that_gets_no_proper_answer_lets_nobody_pass(name: str, folder: Path, api: int) -> None:
    with FaultyEndpoint() as faulty, front(name, folder, endpoint=faulty.port, api=api, patient=False) as port:
        for fault, answer in FAULTS.items():
            if name == "traefik" and answer is None:
                continue  # it waits for half a minute
            faulty.answer = answer
            assert not passed(ask(port, LISTED, [KEY_1])), fault
        faulty.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        assert passed(ask(port, LISTED, [KEY_1]))
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed = unused.getsockname()[1]
    with front(name, folder, endpoint=closed, api=api) as port:
        unanswered = ask(port, LISTED, [KEY_1])
        assert not passed(unanswered)
        assert unanswered.status == STATUS_WITHOUT_AN_ENDPOINT[name]
