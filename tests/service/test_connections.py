"""Connections that are opened and held: the service goes on answering, and lets them go."""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from cidrgate.authorize.connections import HEAD_SECONDS, LARGEST_HEAD, RepeatedRecords
from tests.service.a_server import Server, a_server
from tests.service.conftest import openapi_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT = 6 * HEAD_SECONDS
"""Seconds after which a test gives up."""
FILES = 256
HALF_OPEN = 300
WAITING = 90
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
REQUEST = b"POST /console/sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n"


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that may open few files."""
    folder = tmp_path_factory.mktemp("server")
    arguments = [] if request.param == "plain" else certificate(folder)
    with a_server(f"sqlite:///{folder}/lists.db", *arguments, files=FILES) as server:
        yield server


def certificate(folder: Path) -> list[str]:
    """The arguments for TLS, with a certificate that was just made."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return ["--tls-certificate", str(made), "--tls-key", str(key)]


def connected(server: Server, *, secure: bool | None = None) -> socket.socket:
    """A connection to a service, with its handshake done where it speaks TLS."""
    place = urlsplit(server.url)
    assert place.hostname is not None
    made = socket.create_connection((place.hostname, place.port or 0), timeout=WAIT)
    if secure is False or place.scheme == "http":
        return made
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(made)


def answer(connection: socket.socket) -> bytes:
    """Everything that comes until the other side closes."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionError:
        pass
    return received


HEAD = (
    b"POST /console/sign-in HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
)
UNFINISHED = {
    "no body": HEAD + b"Content-Length: 20\r\n\r\n",
    "half a body": HEAD + b"Content-Length: 20\r\n\r\ntoken=a",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\r\ntok",
    "a body that was asked for": HEAD + b"Content-Length: 20\r\nExpect: 100-continue\r\n\r\n",
}
UNREAD = b"GET /problems/store_busy HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4_000


@pytest.mark.parametrize("secure", [False, True])
def test_a_stop_refuses_what_has_not_arrived_and_leaves_what_is_not_read(secure: bool, tmp_path: Path) -> None:
    """Neither is an error of the service."""
    arguments = certificate(tmp_path) if secure else []
    with (tmp_path / "log").open("w") as log, ExitStack() as stack:
        server = stack.enter_context(a_server(f"sqlite:///{tmp_path}/lists.db", *arguments, log=log))
        unfinished = [stack.enter_context(connected(server)) for _ in UNFINISHED]
        for connection, begun in zip(unfinished, UNFINISHED.values(), strict=True):
            connection.sendall(begun)
        unread = stack.enter_context(connected(server))
        unread.settimeout(1)
        with suppress(TimeoutError):
            unread.sendall(UNREAD)
        unread.settimeout(WAIT)
        assert unread.recv(1) == b"H"  # it has read what came before
        server.process.send_signal(signal.SIGTERM)
        for connection in unfinished:
            head, _, body = answer(connection).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 ")
            assert b"\r\nretry-after: " in head
            assert json.loads(body)["code"] == "body_timeout"
        assert server.process.wait(30) == 0
        assert b"HTTP/1.1 500" not in answer(unread)
    logged = (tmp_path / "log").read_text()
    assert not re.search("Cancel|Traceback|traceback", logged), logged[:2000]


def healthy(server: Server) -> bool:
    with connected(server) as connection:
        connection.sendall(HEALTH)
        return answer(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: loc", REQUEST[:-2], REQUEST, REQUEST + b"token=a"])
def test_connections_that_are_held_keep_nobody_out(server: Server, begun: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(HALF_OPEN):
            held = stack.enter_context(connected(server, secure=False))
            try:
                held.sendall(begun)
            except ConnectionError:
                continue  # it made room already
        assert healthy(server)
    assert healthy(server)


def test_connections_that_came_while_the_service_was_busy_keep_nobody_out(server: Server) -> None:
    """It takes all of them at once, before any has made room for another: none is dropped for want of files."""
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        for _ in range(HALF_OPEN):
            stack.enter_context(connected(server, secure=False))
        assert healthy(server)  # it has taken all of these
        server.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(WAITING):
                stack.enter_context(connected(server, secure=False))
            answered = pool.submit(healthy, server)
            time.sleep(0.2)  # until its connection waits behind the others
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert answered.result()


def test_a_handshake_or_a_head_that_does_not_come_ends_the_connection(server: Server) -> None:
    """All at the same time, as each takes as long as a client has."""
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(server, secure=False))]
        for begun in (b"", b"GET /healthz HTTP/1.1\r\nHost: loc"):
            silent.append(stack.enter_context(connected(server)))
            silent[-1].sendall(begun)
        trickle(stack.enter_context(connected(server)))
        assert [answer(connection) for connection in silent] == [b"", b"", b""]


def trickle(connection: socket.socket) -> None:
    """Send a head line by line; fail if the connection is not ended."""
    connection.sendall(b"GET /healthz HTTP/1.1\r\n")
    connection.settimeout(0.5)
    for number in range(int(2 * WAIT)):
        try:
            connection.sendall(b"X-%d: a\r\n" % number)
            if connection.recv(1) == b"":
                return
        except TimeoutError:
            continue
        except (ConnectionError, ssl.SSLError):
            return
    pytest.fail("the connection was kept")


def test_a_head_that_is_too_large_is_refused(server: Server) -> None:
    with connected(server) as connection:
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (2 * LARGEST_HEAD))
        except ConnectionError:
            return
        received = answer(connection)
    assert received.startswith(b"HTTP/1.1 431 ") or received == b""


@pytest.mark.parametrize(
    "sent", [b"\x00\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"G\r\n\r\n"]
)
def test_what_is_no_request_is_answered_as_carefully_as_the_rest(server: Server, sent: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(sent)
        received = answer(connection).lower()
    assert re.match(rb"http/1\.1 4\d\d ", received), received[:200]
    for header in (b"content-security-policy: ", b"x-frame-options: deny", b"x-content-type-options: nosniff"):
        assert header in received
    problem = json.loads(received.partition(b"\r\n\r\n")[2])
    assert set(problem) == {"type", "title", "status", "detail", "code", "errors", "more_errors", "confirm"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/problems/store_busy", "/v1/me"])
@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: gzip", b"Content-Length: 3\r\nTransfer-Encoding: chunked", b"Content-Length: x"]
)
def test_a_body_of_unclear_length_is_refused_as_documented(server: Server, path: str, framing: bytes) -> None:
    with connected(server) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
        connection.sendall(head + framing + b"\r\n\r\n")
        received = answer(connection)
    assert received.startswith(b"HTTP/1.1 400 ")
    documented = openapi_document()["paths"][path.replace("store_busy", "{code}")]["get"]["responses"]
    assert "400" in documented


TRAILERS = {
    "Authorization: Bearer x": b"HTTP/1.1 401 ",
    "Authorization: Bearer x\r\nAuthorization: Bearer y": b"HTTP/1.1 401 ",
    "Host: a b": b"HTTP/1.1 401 ",
    "X-Forwarded-For: 203.0.113.9": b"HTTP/1.1 401 ",
}
"""What may follow the body of a request, and how the response begins: as if nothing had followed."""


@pytest.mark.parametrize("trailers", TRAILERS)
@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_what_follows_a_body_is_no_header(server: Server, trailers: str, pause: float) -> None:
    head = b"POST /v1/accounts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    with connected(server) as connection:
        connection.sendall(head + b"Content-Type: application/json\r\n\r\n2\r\n{}\r\n")
        time.sleep(pause)
        connection.sendall(f"0\r\n{trailers}\r\n\r\n".encode())
        assert answer(connection).startswith(TRAILERS[trailers])


def test_records_that_are_alike_are_counted_after_a_while() -> None:
    kept = RepeatedRecords(most=2)

    def passes(text: str, argument: int) -> bool:
        return kept.filter(logging.LogRecord("a", logging.ERROR, "f", 1, text, (argument,), None))

    assert [passes("failed: %d", number) for number in range(4)] == [True, True, False, False]
    assert passes("another: %d", 1)
