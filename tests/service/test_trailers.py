"""What follows the body of a change is no header: it names no person, no version and no token."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from cidrgate.authorize.connections import GuardedConnection
from cidrgate.service import Settings
from tests.service.test_head import asked, served

if TYPE_CHECKING:
    import asyncio

TRAILERS = {
    "a person": "On-Behalf-Of: ceo",
    "a version": 'If-Match: "nope"',
    "a token": "Authorization: Bearer x",
    "a key": "Idempotency-Key:",
    "a host": "Host: a b",
    "an address": "X-Forwarded-For: 203.0.113.9",
    "100 lines": "\r\n".join(f"X-{number}: a" for number in range(100)),
}


@pytest.mark.parametrize("trailers", TRAILERS.values(), ids=TRAILERS)
@pytest.mark.parametrize(
    ("kind", "pause"), [(GuardedConnection, 0.0), (GuardedConnection, 0.2), ("httptools", 0.2), ("h11", 0.0)]
)
def test_a_change_is_made_as_its_head_says(kind: str | type[asyncio.Protocol], pause: float, trailers: str) -> None:
    """On uvicorn's own parser httptools, what comes at once with the body cannot be told from a header."""
    with served(kind, Settings()) as (url, token):
        place = urlsplit(url)
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as connection:
            known = f"Authorization: Bearer {token}"
            body = json.dumps({"name": "acct-2"})
            lines = [known, "Content-Type: application/json", "Transfer-Encoding: chunked"]
            head = ["POST /v1/accounts HTTP/1.1", "Host: localhost", *lines, "", ""]
            connection.sendall("\r\n".join(head).encode() + f"{len(body):x}\r\n{body}\r\n".encode())
            time.sleep(pause)
            connection.sendall(f"0\r\n{trailers}\r\n\r\n".encode())
            assert b" 201 " in connection.recv(65_536).split(b"\r\n")[0]
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as connection:
            _, _, told = asked(connection, "GET", "/v1/changes", known)
    assert json.loads(told)["items"][0]["origin"]["on_behalf_of"] is None
