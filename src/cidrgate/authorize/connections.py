"""Limits for every connection to a server of this package.

Uvicorn waits for ever for the head of a request and for a client that does not read its response, and nearly as long
for a TLS handshake. It also responds itself to requests that its parser rejects. `GuardedConnection` is placed between
uvicorn and the network and enforces these limits:

- A head must be complete within `HEAD_SECONDS` after the connection or the last response, and within `LARGEST_HEAD`
  bytes. Chunk extensions and trailers have the same limit of bytes.
- A client must read a part of its response within `STALL_SECONDS`.
- If the server stops, requests have a limited time to end. Then a request whose body has not arrived is refused. Others
  get no response, because it is unknown what they have changed. Uvicorn would send an error 500.
- If the server has reached its limit of connections, a new connection replaces the one that has waited longest for its
  client. Among the waiting connections, those of the client with the most connections are replaced first, so that one
  client cannot block others.

This module does not know what is served. Times are those of the event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import Counter
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

from cidrgate.problem_types import problem_details

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

__all__ = [
    "END_SECONDS",
    "HEAD_SECONDS",
    "LARGEST_HEAD",
    "MOST_CONNECTIONS",
    "STALL_SECONDS",
    "GuardedConnection",
    "RepeatedRecords",
    "connection_backlog",
    "connection_limit",
    "quiet",
]

MOST_CONNECTIONS: Final = 1_000
"""The most connections at a time; fewer if the process may open fewer files."""
LARGEST_HEAD: Final = 1 << 16
"""Bytes of a request's head."""
HEAD_SECONDS: Final = 10.0
"""Seconds a client has for the head of a request, and for a TLS handshake."""
STALL_SECONDS: Final = 30.0
"""Seconds that a client may read nothing of a response."""
END_SECONDS: Final = 1
"""Seconds before a stopping server cancels its requests, at which their connections end."""

_SWEEP_SECONDS = 0.5
_RETRY_AFTER = 5
"""Seconds after which a client sends a request again that a stopping server has refused."""
_KEPT_FILES = 64
"""Files reserved for the store, for snapshots and for modules that are imported late."""
_FEWEST_CONNECTIONS = 8
_MOST_WAITING = 128
"""The most connections that wait to be accepted."""

_HEADERS = (
    b"content-type: application/problem+json\r\nconnection: close\r\ncache-control: no-store\r\n"
    b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\nx-content-type-options: nosniff\r\n"
    b"x-frame-options: DENY\r\nreferrer-policy: no-referrer\r\ncross-origin-opener-policy: same-origin\r\n"
    b"cross-origin-resource-policy: same-origin\r\npermissions-policy: camera=(), geolocation=(), microphone=()\r\n"
)


def connection_limit() -> int:
    """Return the most connections that a server of this process may have at a time."""
    return max(_FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, _files() - connection_backlog()))


def connection_backlog() -> int:
    """Return how many connections may wait for a server of this process to accept them.

    The server accepts all of them at once, before it can close others to make room. Each needs a file: if there are no
    more files, libuv drops all waiting connections, including those of honest clients. Further connections wait in the
    network.
    """
    return max(_FEWEST_CONNECTIONS, min(_MOST_WAITING, _files() // 2))


def _files() -> int:
    """Return how many files this process may open for connections; `sys.maxsize` if there is no known limit."""
    import resource  # which only POSIX has

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if files == resource.RLIM_INFINITY else files - _KEPT_FILES


class _Places:
    """The connections of one server."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._limit = connection_limit()
        self._held: dict[GuardedConnection, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def take(self, connection: GuardedConnection) -> bool:
        """Take a place for a connection; return False if no other connection can be closed for it."""
        if len(self._held) >= self._limit:
            leaving = self._longest_waiting()
            if leaving is None:
                return False
            leaving.abort()
        self._held[connection] = None
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        return True

    def give_back(self, connection: GuardedConnection) -> None:
        """Free the place of a closed connection."""
        self._held.pop(connection, None)

    def _longest_waiting(self) -> GuardedConnection | None:
        now = self._loop.time()
        waiting = [one for one in self._held if one.waits_since(now) is not None]
        peers = Counter(one.peer for one in waiting)
        most = max(peers.values(), default=0)
        # They are in order of arrival.
        return next((one for one in waiting if peers[one.peer] == most), None)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._held):
            connection.look(now)
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep) if self._held else None


_places: WeakKeyDictionary[Any, _Places] = WeakKeyDictionary()


class GuardedConnection(asyncio.Protocol):
    """One connection: uvicorn's protocol behind the limits of this module. For `uvicorn.Config(http=...)`.

    Args:
        config: Uvicorn's configuration. If it has an attribute `tls`, an SSL context, the connection begins with a
            handshake. `ssl` must then be None, so that connections are counted from their first byte.
        server_state: Uvicorn's server state.
        app_state: Uvicorn's application state.
    """

    def __init__(
        self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._loop = _loop or asyncio.get_running_loop()
        inner: Callable[..., Any] = _inner_class()
        self._make_inner: Callable[[], Any] = partial(
            inner, config=config, server_state=server_state, app_state=app_state, _loop=self._loop
        )
        self._tls: ssl.SSLContext | None = getattr(config, "tls", None)
        places = _places.get(server_state)
        if places is None:
            places = _places[server_state] = _Places(self._loop)
        self._held_in = places
        self._inner: Any = None
        self._transport: asyncio.Transport | None = None
        self._early = b""
        self._handshake: asyncio.Task[None] | None = None
        self._between, self._waiting_since = True, 0.0
        self._head = 0
        self._unsent, self._stalled_since = 0, 0.0
        self.peer: object = None

    # ------------------------------------------------------------------------------------- network events

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        """Handle a new connection."""
        transport = cast("asyncio.Transport", made)  # uvloop's transports are not subclasses of this class
        self._transport = transport
        self._waiting_since = self._loop.time()
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else name
        if not self._held_in.take(self):
            transport.abort()
        elif self._tls is None:
            self._begin(transport)
        else:
            transport.pause_reading()
            self._handshake = self._loop.create_task(self._shake_hands(transport, self._tls))

    def data_received(self, data: bytes) -> None:
        """Handle data from the client."""
        if self._inner is None:
            self._early += data
            return
        if self._inner.reads_body:
            self._inner.around_body += len(data)
        elif self._cycle() is None:
            self._head += len(data)
        self._inner.data_received(data)
        if self._inner.around_body > LARGEST_HEAD:
            self.abort()  # a response may have been sent already
            return
        self.waits_since(self._loop.time())
        if self._head > LARGEST_HEAD and not self._transport_closing():
            self._refuse("head_too_large", f"a head may have at most {LARGEST_HEAD} bytes")

    def eof_received(self) -> bool | None:
        """Handle the end of the client's data."""
        return None if self._inner is None else self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Handle the end of the connection."""
        self._held_in.give_back(self)
        if self._inner is not None:
            self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """Pause writing, because the client reads too slowly."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Resume writing, because the client has read enough."""
        if self._inner is not None:
            self._inner.resume_writing()

    # ------------------------------------------------------------------------------------------ limits

    def waits_since(self, now: float) -> float | None:
        """Return since when the connection waits for a head or a body; None while a request is carried out."""
        cycle = self._cycle()
        if cycle is not None:
            self._head = 0
        if (cycle is None) != self._between:
            self._between = cycle is None
            self._waiting_since = now
        return None if cycle is not None and not cycle.more_body else self._waiting_since

    def look(self, now: float) -> None:
        """Abort the connection if its client takes too long."""
        transport = self._transport
        if transport is None:
            return
        unsent = transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent or self._unsent == 0:
            self._stalled_since = now
        self._unsent = unsent
        since = self.waits_since(now)
        # The application limits the time for a body.
        late = since is not None and self._between and unsent == 0 and now - since > HEAD_SECONDS
        if late or (unsent and now - self._stalled_since > STALL_SECONDS):
            self.abort()

    def abort(self) -> None:
        """Close the connection at once, without sending the rest."""
        self._held_in.give_back(self)
        if self._handshake is not None:
            self._handshake.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _cycle(self) -> Any:
        """Return the request that is being received or carried out; None between requests."""
        cycle = None if self._inner is None else self._inner.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _transport_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _begin(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._inner = self._make_inner()
        self._inner.connection_made(transport)
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    async def _shake_hands(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        if transport.is_closing():
            return
        transport.pause_reading()  # again: uvloop starts to read after `connection_made` even if it was paused
        shaking = self._loop.create_task(
            self._loop.start_tls(transport, self, context, server_side=True, ssl_handshake_timeout=HEAD_SECONDS)
        )
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # TLS is installed now and reads on; nothing was read in between
            if self._early and not shaking.done():
                self._hand_over(transport)
            secured = await shaking
        except (TimeoutError, OSError):
            secured = None
        finally:
            self._handshake = None
            shaking.cancel()
        if secured is None:
            self.abort()
        else:
            self._begin(secured)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        """Pass on to TLS the data that arrived before it was installed, as happens with many new connections."""
        tls = cast("asyncio.BufferedProtocol", transport.get_protocol())
        early, self._early = memoryview(self._early), b""
        while early:
            room = memoryview(tls.get_buffer(len(early)))
            taken = min(len(room), len(early))
            room[:taken] = early[:taken]
            tls.buffer_updated(taken)
            early = early[taken:]

    def _refuse(self, code: str, detail: str) -> None:
        assert self._transport is not None  # noqa: S101
        self._transport.write(_refusal(code, detail))
        self._transport.close()


@cache
def _inner_class() -> type[Any]:
    """Return uvicorn's protocol with changes.

    Requests that its parser rejects get a response like every other error. The trailers of a request, which httptools
    reads like headers, do not get into its headers: nothing that has checked the headers has seen them.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class Http(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        reads_body = False
        """Whether the parser has read a head, and not yet all that follows it: the body and its trailers.

        h11 does not say so. It limits trailers itself, and reads no body after a response.
        """
        around_body = 0
        """Bytes since the last piece of the body: chunk extensions and trailers, which httptools does not limit."""

        def on_header(self, name: bytes, value: bytes) -> None:
            if not self.reads_body:
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self.reads_body = True
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self.around_body = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self.reads_body, self.around_body = False, 0
            super().on_message_complete()

        def shutdown(self) -> None:
            super().shutdown()
            limit = self.config.timeout_graceful_shutdown
            if limit is not None:
                self.loop.call_later(max(0, limit - END_SECONDS), self.give_up)

        def give_up(self) -> None:
            """End the connection, because the server stops and its request or its response has not ended in time."""
            cycle, transport = self.cycle, self.transport
            awaits_body = False
            if cycle is not None and not cycle.response_complete:
                # With a pipeline, the request that is carried out is another one.
                awaits_body = cycle.more_body and not cycle.response_started and not getattr(self, "pipeline", None)
                cycle.disconnected = True  # nothing that the application sends from now on reaches the client
                cycle.message_event.set()
            if awaits_body and not transport.is_closing() and not transport.get_write_buffer_size():
                detail = "the server stops, and the body of the request had not arrived: send it again"
                transport.write(_refusal("body_timeout", detail, retry_after=_RETRY_AFTER))
                transport.close()
                self.loop.call_later(END_SECONDS / 2, transport.abort)  # TLS waits for the client to close too
            else:
                transport.abort()

        def send_400_response(self, msg: str) -> None:
            self.transport.write(_refusal("malformed_request", "this is not a valid HTTP request"))
            self.transport.close()

    return Http


def _refusal(code: str, detail: str, *, retry_after: int | None = None) -> bytes:
    problem = problem_details(code, detail, more_errors=0, confirm=[])  # all members that the API's errors have
    body = json.dumps(problem, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {problem['status']} {problem['title']}\r\n".encode()
    retry = b"" if retry_after is None else b"retry-after: %d\r\n" % retry_after
    return b"%s%s%scontent-length: %d\r\n\r\n%s" % (head, _HEADERS, retry, len(body), body)


class RepeatedRecords(logging.Filter):
    """Prevents clients from filling a log: it writes only some similar records per minute, and then their number.

    Records are similar if they have the same event or the same template, and the same error from the same line.

    Args:
        most: How many similar records are written per minute.
    """

    _SECONDS = 60.0
    _MOST_KINDS = 1_000

    def __init__(self, most: int = 5) -> None:
        super().__init__()
        self._most = most
        self._kinds: dict[object, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written."""
        now = time.monotonic()
        kind = _kind_of(record)
        began, count = self._kinds.get(kind, (now, 0))
        left_out = 0
        if now - began >= self._SECONDS:
            began, left_out, count = now, max(0, count - self._most), 0
        if kind not in self._kinds and len(self._kinds) >= self._MOST_KINDS:
            self._kinds.clear()
        self._kinds[kind] = (began, count + 1)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out:,} more like this before)", ()
            event = getattr(record, "cidrgate", None)
            if event is not None:
                record.__dict__["cidrgate"] = {**event, "repeated": left_out}
        return count < self._most


def _kind_of(record: logging.LogRecord) -> object:
    error = record.exc_info[1] if record.exc_info else None
    place = error.__traceback__ if error is not None else None
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = None if place is None else (place.tb_frame.f_code.co_filename, place.tb_lineno)
    what = getattr(record, "cidrgate", {}).get("event", str(record.msg))
    return record.name, record.levelno, what, type(error), where


def quiet(names: Iterable[str] = ("uvicorn.error", "asyncio", "cidrgate.service")) -> None:
    """Add `RepeatedRecords` to the loggers whose records clients can cause."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(one, RepeatedRecords) for one in logger.filters):
            logger.addFilter(RepeatedRecords())
