"""Bytes to a server and back over a bare socket, as no HTTP client would send them."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["exchange", "exchange_h2"]

_PATIENCE = 15.0
_SHORT_PATIENCE = 0.5
"""Seconds that a server may leave a request without an answer of which it is unclear where it ends."""

_LATER = 0.2
"""Seconds before the rest of a request."""


class _Connection:
    """A connection to a port of 127.0.0.1, and what came over it so far."""

    def __init__(self, port: int, source: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), _PATIENCE, source_address=(source, 0))
        self.received = b""
        self.ended = False

    def send(self, data: bytes) -> None:
        """Send as much as the server takes: it may answer, and close, before it has read a body."""
        with suppress(ConnectionError, TimeoutError):
            self.socket.sendall(data)

    def more(self) -> bytes:
        """What comes next; nothing at the end, or when nothing comes in time."""
        try:
            data = self.socket.recv(262_144)
        except (ConnectionError, TimeoutError):
            data = b""
        self.ended = not data
        self.received += data
        return data

    def read_answer(self, start: int, *, head_only: bool = False, until: bytes | None = None) -> int:
        """Read until a whole answer stands at `start`, or `until` has come, or all; returns where it ends."""
        while (end := _end_of_answer(self.received, start, head_only=head_only, ended=self.ended)) is None:
            if until is not None and until in self.received:
                return len(self.received)
            self.more()
        return end

    def read_on(self, start: int, until: bytes | None) -> None:
        """Read until the server closes the connection, says in an answer that it will, or `until` has come.

        The answers start at `start`.
        """
        while not self.ended and (until is None or until not in self.received):
            end = self.read_answer(start, until=until)
            head = self.received[start:end].partition(b"\r\n\r\n")[0].lower()
            if b"\r\nconnection: close" in head:
                return
            start = end


def _end_of_answer(received: bytes, start: int, *, head_only: bool, ended: bool) -> int | None:
    body = received.find(b"\r\n\r\n", start) + 4
    if body < 4:
        return len(received) if ended else None
    head = received[start:body].lower()
    status = head.split(None, 2)[1]
    if head_only or status in (b"100", b"101", b"204", b"304"):
        return body
    if b"\r\ntransfer-encoding: chunked" in head:
        last = received.find(b"0\r\n\r\n", body)
        if last >= 0:
            return last + 5
    elif b"\r\ncontent-length:" in head:
        end = body + int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0])
        if len(received) >= end:
            return end
    return len(received) if ended else None


def exchange(
    port: int,
    source: str,
    sent: bytes,
    then: bytes = b"",
    *,
    later: bytes = b"",
    patient: bool = True,
    until: bytes | None = None,
) -> bytes:
    """Send bytes, and return what comes back until the server closes the connection, or says that it will.

    Args:
        port: Of 127.0.0.1.
        source: The address that they come from, of 127.0.0.0/8.
        sent: What is sent; a body waits for `100 Continue` if the head expects it.
        then: What is sent on the same connection after the first answer.
        later: The rest of the request, sent when a server has had time to begin with the request.
        patient: Whether an answer must come; else the client stops to send when none has come for half a second.
        until: What ends the wait too, when it has come.
    """
    connection = _Connection(port, source)
    with connection.socket:
        head, gap, body = sent.partition(b"\r\n\r\n")
        head_only = sent.startswith(b"HEAD ")
        start = 0
        if b"\r\nExpect: 100-continue" in head:
            connection.send(head + gap)
            start = connection.read_answer(0)
            if not connection.received.startswith(b"HTTP/1.1 100"):
                return connection.received
            connection.send(body)
        else:
            connection.send(sent)
        if later:
            time.sleep(_LATER)
            connection.send(later)
        if not patient:
            connection.socket.settimeout(_SHORT_PATIENCE)
        end = connection.read_answer(start, head_only=head_only)
        connection.socket.settimeout(_PATIENCE)
        if then:
            connection.send(then)
        elif b"\r\nConnection: close\r\n" not in sent[: len(head) + 4]:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
        connection.read_on(end if then else start, until)
        return connection.received


def exchange_h2(port: int, source: str, fields: Iterable[tuple[bytes, bytes]]) -> int:
    """Send a request over HTTP/2 without asking first whether the server speaks it, with any fields.

    Returns:
        The status of the answer; 0 if there is none.
    """
    # Nothing of this side is checked: the server is what is tested.
    client = H2Connection(H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False))
    client.initiate_connection()
    client.send_headers(1, list(fields), end_stream=True)
    connection = _Connection(port, source)
    status = 0
    with connection.socket:
        connection.send(client.data_to_send())
        while data := connection.more():
            try:
                events = client.receive_data(data)
            except ProtocolError:
                break  # an answer in HTTP/1.1
            connection.send(client.data_to_send())
            for event in events:
                if isinstance(event, ResponseReceived):
                    status = int(dict(event.headers or [])[b":status"])
            if any(isinstance(event, StreamEnded | StreamReset | ConnectionTerminated) for event in events):
                break
    return status
