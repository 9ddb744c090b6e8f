"""What follows the head of a request to `cidrgate authorize`: it is no header, and it gets no response."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cidrgate.authorize.connections import LARGEST_HEAD
from tests.servers.endpoint import authorize_endpoint, database

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTED, STRANGER = "127.0.0.2", "127.0.0.4"
NEXT = f"GET /v1/authorize HTTP/1.1\r\nHost: a\r\nX-Account: acct-1\r\nX-Forwarded-For: {LISTED}\r\n\r\n"
OWN_NEXT = NEXT.replace(LISTED, STRANGER).encode()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("endpoint")
    with authorize_endpoint(folder, database(folder)) as port:
        yield port


def answers(port: int, *parts: bytes) -> list[tuple[int, str]]:
    """The status and the reason or code of each response to parts that are sent one after the other."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
        with suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
        with suppress(ConnectionError, TimeoutError):
            while data := connection.recv(65_536):
                received += data
    statuses = [int(one) for one in re.findall(rb"HTTP/1\.1 (\d+)", received)]
    reasons = re.findall(rb'x-cidrgate-reason: (\w+)|"code":"(malformed_request|head_too_large)"', received)
    return list(zip(statuses, [(one or other).decode() for one, other in reasons], strict=True))


def head(*lines: str, account: str | None = "acct-1", client: str = STRANGER) -> bytes:
    named = [] if account is None else [f"X-Account: {account}"]
    start = ["POST /v1/authorize HTTP/1.1", "Host: a", *named, f"X-Forwarded-For: {client}"]
    return "\r\n".join([*start, *lines, "", ""]).encode()


CHUNKED = "Transfer-Encoding: chunked"
LATER = [b"3\r\nabc\r\n", b"0\r\n"]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("trailers", "account", "expected"),
    [
        (f"X-Forwarded-For: {LISTED}", "acct-1", (403, "not_listed")),
        (f"X-Forwarded-For: {LISTED}\r\nX-Forwarded-For: {LISTED}", "acct-1", (403, "not_listed")),
        ("X-Account: acct-1", None, (403, "no_account")),
        ("X-Account: acct-2", "acct-1", (403, "not_listed")),
        ("X-Api-Key: a\r\nX-Api-Key: b", "acct-1", (403, "not_listed")),
    ],
)
def test_a_trailer_is_no_header(
    port: int, trailers: str, account: str | None, expected: tuple[int, str], at_once: bool
) -> None:
    sent = [head(CHUNKED, account=account), *LATER, f"{trailers}\r\n\r\n".encode()]
    for parts in [[b"".join(sent)] if at_once else sent]:
        assert answers(port, *parts) == [expected]
        assert answers(port, *parts, NEXT.encode(), OWN_NEXT) == [expected, (200, "matched"), (403, "not_listed")]


def test_a_body_after_its_response_is_no_head(port: int) -> None:
    size = 4 * LARGEST_HEAD
    body = [b"x" * (size // 8)] * 8
    chunks = [f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in body]
    for sent in ([head(f"Content-Length: {size}"), *body], [head(CHUNKED), *chunks, b"0\r\n\r\n"]):
        assert answers(port, *sent) == [(403, "not_listed")]
        assert answers(port, *sent, NEXT.encode()) == [(403, "not_listed"), (200, "matched")]


def ends(port: int, *parts: bytes) -> bool:
    """Whether the server closes the connection while parts are sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            while connection.recv(65_536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
    return True


@pytest.mark.parametrize("begun", [b"0\r\nX-A: ", b"3\r\nabc\r\n0\r\nX-A: ", b"3\r\nabc\r\n1;a="])
def test_what_is_around_a_body_is_bounded(port: int, begun: bytes) -> None:
    """One response at most, and an end: httptools itself would take any number of bytes here."""
    sent = [head(CHUNKED), begun, *[b"a" * 20_000] * 64]
    assert answers(port, *sent) in ([(403, "not_listed")], [])
    assert ends(port, *sent)
