"""`/v1/changes/stream`: the change log of all accounts as server-sent events, as it grows.

Each row is one event, whose id is its sequence. A client that reconnects with `Last-Event-ID` continues after that row,
so it gets each row exactly once. `cidrgate.manager.change_feed` decides the order.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from starlette.types import Receive, Scope, Send

from cidrgate.errors import HistoryError, StoreError
from cidrgate.manager.change_feed import Subscription
from cidrgate.serialization import change_record
from cidrgate.service.api.history import After
from cidrgate.service.api.openapi import answers
from cidrgate.service.auth.access import Admin
from cidrgate.service.auth.principals import Principal
from cidrgate.service.http.limits import GREATEST_INTEGER, MOST_STREAMS
from cidrgate.service.http.problems import InvalidRequestError, ServiceError
from cidrgate.service.http.read_requests import HEAD_ONLY
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import Service, service_of
from cidrgate.values import Change

__all__ = ["HEARTBEAT", "router"]

HEARTBEAT = 15.0
"""Seconds after which a stream without events sends a comment, so that both ends notice a lost connection."""

_RECONNECT = 1_000
"""Milliseconds after which a browser reconnects."""

_RETRY = 1.0
"""Seconds before another attempt to read a store that does not answer."""

_HEADERS = {
    "Content-Type": "text/event-stream",  # it is always UTF-8
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect events before it passes them on
}

_WORKS = ": the connection works\n\n"
_HELD_BACK = (
    ": the connection works, but a transaction that has written to the change log does not end, and holds back all "
    "later changes\n\n"
)

router = APIRouter(prefix="/v1", tags=["history"], route_class=StrictRoute)

LastEventId = Annotated[
    str | None,
    Header(description="The id of the last event that the client got; it takes precedence over `after`."),
]


@router.get(
    "/changes/stream",
    response_class=Response,
    responses=answers(404)
    | {
        200: {
            "description": "Server-sent events without end. The id of each event is the sequence of a change, its name "
            "is `change`, and its data are the object that `/v1/changes` has.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def follow_changes(
    request: Request, principal: Admin, after: After = None, last_event_id: LastEventId = None
) -> Response:
    """Follow the changes of every account and the events of the store, the oldest first. Only for admins.

    Without `after` and `Last-Event-ID` it begins with the next change. A comment every 15 seconds shows that the
    connection works, and says if a transaction that does not end holds back all later changes.
    """
    service = service_of(request)
    begin = _sequence(last_event_id) if last_event_id else after
    if request.scope.get(HEAD_ONLY):
        response = Response(headers=_HEADERS)
        del response.headers["content-length"]
        return response
    woken = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(woken.set)

    # Without a place to begin at, this waits for the transactions that have written to the log.
    subscription = await service.stream_threads.run(partial(service.feed.subscribe, begin, wake))
    if subscription is None:
        raise ServiceError(
            "too_many_streams",
            f"{MOST_STREAMS} clients follow the changes of this process already, or it is stopping: connect later",
            {"Retry-After": "5"},
        )
    return _EventStream(service, principal, subscription, woken)


def _sequence(event_id: str) -> int:
    """Return the sequence that an event's id is.

    Raises:
        InvalidRequestError: If it is none.
    """
    if event_id.isascii() and event_id.isdecimal() and len(event_id) <= len(f"{GREATEST_INTEGER}"):
        number = int(event_id)
        if number <= GREATEST_INTEGER:
            return number
    detail = "send the id of an event of this stream, which is a sequence"
    raise InvalidRequestError([{"code": "invalid_value", "detail": detail, "header": "Last-Event-ID"}])


class _EventStream(Response):
    """Sends the events of one subscription until the client leaves, the token ends or the service stops."""

    def __init__(
        self, service: Service, principal: Principal, subscription: Subscription, woken: asyncio.Event
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._service = service
        self._principal = principal
        self._subscription = subscription
        self._woken = woken
        self._left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        leaving = asyncio.create_task(self._wait_for_end(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for text in self._events():
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            return  # the client is gone
        finally:
            leaving.cancel()
            self._subscription.close()

    async def _wait_for_end(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._woken.set()

    async def _events(self) -> AsyncIterator[str]:
        """Yield the text of events and heartbeats."""
        # The id lets a client that loses the connection before the first event continue from here.
        yield f"retry: {_RECONNECT}\nid: {self._subscription.reader.after}\n\n"
        checked = time.monotonic()
        while not (self._left or self._service.feed.closed):
            self._woken.clear()
            try:
                rows = await self._next()
            except HistoryError:
                return  # the answer to the next request says what is wrong
            except StoreError:
                rows = None
            for row in rows or ():
                if self._revokes_own_token(row):
                    return
                yield _event(row)
            if time.monotonic() - checked >= HEARTBEAT:
                checked = time.monotonic()
                if not await self._is_still_permitted():
                    return
                yield _HELD_BACK if self._service.feed.held_back else _WORKS
            if not rows:
                wait = checked + HEARTBEAT - time.monotonic()
                if rows is None or self._subscription.reader.unsettled:
                    wait = min(wait, _RETRY)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), max(wait, 0.0))

    async def _next(self) -> list[Change]:
        rows = self._subscription.recent()
        if rows is None:
            rows = await self._service.feed_threads.run(self._subscription.read)
        return rows

    def _revokes_own_token(self, row: Change) -> bool:
        token = self._principal.token_id
        before = (row.details or {}).get("before") or {}
        return row.action == "revoke_token" and token is not None and before.get("token") == token

    async def _is_still_permitted(self) -> bool:
        token = self._principal.token_id
        try:
            return token is None or await self._service.feed_threads.run(
                partial(self._service.credentials.is_usable, token)
            )
        except StoreError:
            return True  # no row comes from a store that does not answer


def _event(change: Change) -> str:
    """Return the text of one event. JSON has no line breaks outside of texts, where they are escaped."""
    data = json.dumps(change_record(change), ensure_ascii=False, separators=(",", ":"))
    return f"id: {change.sequence}\nevent: change\ndata: {data}\n\n"
