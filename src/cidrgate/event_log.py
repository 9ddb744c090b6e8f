"""The log format: each line is JSON with time, level, event, account and request id, followed by the other fields.

Every log message is an *event* with a name, so programs do not have to parse English. An application that embeds
cidrgate sees plain text on the logger `cidrgate` and its children. The attribute `cidrgate` of each
`logging.LogRecord` holds the event. Give a handler the `JsonFormatter` to write lines of JSON; `cidrgate serve` and
`cidrgate authorize` do this on standard error. The decision log always writes lines of JSON.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LOGGER", "Event", "JsonFormatter", "Value", "json_line", "log_event", "log_to_stderr"]

LOGGER = logging.getLogger("cidrgate")
"""The logger for events about the store, the lists and the snapshot; a child logger writes the decisions."""

Event: TypeAlias = Literal[
    "decision",
    "decisions_suppressed",
    "decision_failed",
    "peer_rewritten",
    "store_lost",
    "store_back",
    "store_busy",
    "store_failed",
    "store_exposed",
    "store_outgrown",
    "outcome_unknown",
    "lists_stale",
    "lists_current",
    "publication_delayed",
    "follower_failed",
    "task_failed",
    "works_again",
    "snapshot_written",
    "snapshot_refused",
    "snapshot_failed",
    "snapshot_shared",
    "clock_went_back",
    "fork_unsafe",
    "worker_failed",
    "parent_lost",
    "message",
]
"""The names of events. Messages of other libraries are events named `message`. Later versions may add names."""

Value: TypeAlias = str | int | float | bool | None

_FIRST = ("account", "request_id")

_WITHOUT_MESSAGE = frozenset({"decision", "decisions_suppressed"})
"""Events that need no message, because their fields are complete."""


def log_event(
    level: int,
    event: Event,
    message: str,
    *,
    logger: logging.Logger = LOGGER,
    exc_info: bool | BaseException = False,
    attributes: Mapping[str, object] = MappingProxyType({}),
    details: Mapping[str, Value] = MappingProxyType({}),
    **fields: Value,
) -> None:
    """Log one event.

    Args:
        level: The level, such as `logging.WARNING`.
        event: The name of the event, for programs.
        message: What happened and what to do about it, for people.
        logger: The logger that writes the event.
        exc_info: True to log the traceback of the exception being handled, or an exception to log.
        attributes: Further attributes of the record, for handlers in this process.
        details: Further fields: `account`, `request_id`, and the fields of this event.
        fields: Further fields, as keyword arguments.
    """
    if logger.isEnabledFor(level):
        logger.log(
            level,
            "%s",
            message,
            exc_info=exc_info or None,
            stacklevel=2,
            extra={"cidrgate": {"event": event, **details, **fields}, **attributes},
        )


def json_line(time: float, level: int, event: Event, fields: dict[str, Value], *, message: str | None = None) -> str:
    """Return one line of the log.

    Args:
        time: Seconds since 1970.
        level: The level, such as `logging.WARNING`.
        event: The name of the event.
        fields: The fields of the event. `account` and `request_id` come first; each is null if it is missing.
        message: The message for people, or None if the fields are complete without it.

    Example:
        >>> json_line(0.0, logging.WARNING, "store_lost", {"seconds": 3}, message="the store is not reached")
        ... # doctest: +NORMALIZE_WHITESPACE
        '{"time": "1970-01-01T00:00:00.000+00:00", "level": "warning", "event": "store_lost", "account": null,
          "request_id": null, "message": "the store is not reached", "seconds": 3}'
    """
    moment = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
    record: dict[str, Value] = {"time": moment, "level": logging.getLevelName(level).lower(), "event": event}
    record |= {name: fields.get(name) for name in _FIRST}
    if message is not None:
        record["message"] = message
    record |= {name: value for name, value in fields.items() if name not in record}
    return json.dumps(record, default=str)


class JsonFormatter(logging.Formatter):
    """Formats a record of any logger as a line of JSON; no content of a record can start a new line.

    Example:
        >>> handler = logging.StreamHandler()
        >>> handler.setFormatter(JsonFormatter())
        >>> logging.getLogger("cidrgate").addHandler(handler)
        >>> logging.getLogger("cidrgate").removeHandler(handler)
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields: dict[str, Value] = dict(getattr(record, "cidrgate", {"event": "message"}))
        event: Event = fields.pop("event")  # type: ignore[assignment]
        fields["logger"] = record.name
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        message = None if event in _WITHOUT_MESSAGE else record.getMessage()
        return json_line(record.created, record.levelno, event, fields, message=message)


def log_to_stderr() -> None:
    """Log to standard error as lines of JSON: all of cidrgate, and warnings and errors of other libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(capture=True)
    LOGGER.setLevel(logging.INFO)
