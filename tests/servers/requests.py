"""Requests as an attacker would make them: from any address of the loopback, with any header lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Answer", "ask"]

_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def record(self) -> dict[str, Any]:
        """The body as a JSON object."""
        made: dict[str, Any] = json.loads(self.body)
        return made


def ask(
    port: int,
    source: str = "127.0.0.1",
    headers: Sequence[tuple[str, str | bytes]] = (),
    *,
    path: str = "/",
    method: str = "GET",
    body: bytes = b"",
) -> Answer:
    """One request on a connection of its own.

    Args:
        port: Of 127.0.0.1.
        source: The address it comes from, of 127.0.0.0/8.
        headers: Header lines, sent as they are, in order.
        path: The target of the request.
        method: Such as `GET`.
        body: What follows the headers.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE, source_address=(source, 0))
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()
