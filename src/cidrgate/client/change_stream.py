"""Follows the stream of changes: reads server-sent events, and connects again when the connection is lost."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, cast

import httpx

from cidrgate.client.connection_errors import ClosedClientError, cause_of, unreachable
from cidrgate.client.decoding import UnexpectedJsonError, json_of, value_of
from cidrgate.client.errors import ApiConnectionError, ApiError
from cidrgate.client.responses import error_of_another_service
from cidrgate.client.values import ChangeInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["STREAM_SILENCE", "followed_changes"]

STREAM_SILENCE = 45.0
"""Seconds without data after which a connection is taken for lost: three heartbeats of the service."""

_ID = re.compile(r"[0-9]{1,19}", re.ASCII)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds before another attempt to connect, at first and at most."""


def followed_changes(
    connect: Callable[[int | None], AbstractContextManager[httpx.Response]], after: int | None
) -> Generator[ChangeInfo]:
    """Begin the stream of changes, and return its changes without end.

    Args:
        connect: Opens the stream after a sequence; None for the changes from now on.
        after: The sequence of the last change that the caller has; None to begin now.

    Raises:
        ApiError: If the service rejects the request.
        ApiConnectionError: If the service cannot be reached, or the connection is lost before the stream begins.
    """
    changes = _followed(connect, after)
    # Here and not at the first change: what is committed after this call belongs to the changes from now on.
    next(changes)
    return cast("Generator[ChangeInfo]", changes)


def _followed(
    connect: Callable[[int | None], AbstractContextManager[httpx.Response]], after: int | None
) -> Generator[ChangeInfo | None]:
    """Yield None when the stream has begun, and then changes without end.

    The stream has begun when the service has sent its first id: from then on, a connection that is lost is replaced by
    one that continues after the last id.
    """
    pause = _FIRST_PAUSE
    begun = False
    while True:
        try:
            with connect(after) as response:
                for event_id, change in _changes(response):
                    after = event_id
                    pause = _FIRST_PAUSE
                    if not begun:
                        begun = True
                        yield None
                    if change is not None:
                        yield change
            if not begun:
                raise ApiConnectionError("the service could not be reached: the stream of changes ended at its begin")
        except httpx.RequestError as error:
            if not begun:
                raise unreachable(error) from cause_of(error)
        except ClosedClientError:
            raise
        except ApiConnectionError:
            if not begun:
                raise
        except ApiError as error:
            if not begun or error.status < httpx.codes.INTERNAL_SERVER_ERROR:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _changes(response: httpx.Response) -> Iterator[tuple[int, ChangeInfo | None]]:
    """Yield the id of each event of a stream with its change.

    Raises:
        ApiError: If an event is not one of the service.
    """
    try:
        for event_id, data in _events(response.iter_lines()):
            yield event_id, None if data is None else value_of(ChangeInfo, json_of(data))
    except UnexpectedJsonError as error:
        raise error_of_another_service(response, error) from None


def _events(lines: Iterable[str]) -> Iterator[tuple[int, str | None]]:
    """Yield the id of each event with its data; None for an event that only has an id.

    >>> list(_events(["retry: 1000", "id: 7", "", ": comment", "", "id: 8", "event: change", 'data: {"a":1}', ""]))
    [(7, None), (8, '{"a":1}')]
    """
    event_id: int | None = None
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            if not _ID.fullmatch(value):
                raise UnexpectedJsonError("not a number", "an event id")
            event_id = int(value)
        elif name == "data":
            data.append(value)
        elif not line and event_id is not None:
            yield event_id, "\n".join(data) if data else None
            event_id, data = None, []
