"""One format for what cidrgate logs: a line of JSON with time, level, event, account and request id, then the rest.

Every message of cidrgate is an *event* with a name, so that programs need not read English. A service in which
cidrgate is embedded sees plain text on the loggers `cidrgate` and below, with the event as the attribute `cidrgate` of
each `logging.LogRecord`; give a handler the `JsonFormatter` to write lines of JSON. `cidrgate serve` and `cidrgate
authorize` do that on standard error. The decision log writes lines of JSON anywhere.
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
"""Where events about the store, the lists and the snapshot go; decisions have a logger below it."""

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
"""The names of events; `message` is what other libraries log. More may come: a program must expect unknown ones."""

Value: TypeAlias = str | int | float | bool | None

_FIRST = ("account", "request_id")

_WITHOUT_MESSAGE = frozenset({"decision", "decisions_suppressed"})
"""Events whose fields say it all."""


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
        level: Such as `logging.WARNING`.
        event: What kind of thing happened, for programs.
        message: What happened and what to do about it, for people.
        logger: Where.
        exc_info: Whether the traceback of the exception being handled is logged too; or an exception.
        attributes: What the record has besides the event, for handlers in this process.
        details: What else is known: `account`, `request_id`, and whatever the event has of its own.
        fields: The same.
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
    """A line of the log.

    Args:
        time: Seconds since 1970.
        level: Such as `logging.WARNING`.
        event: What kind of thing happened.
        fields: What is known of it; `account` and `request_id` come first, and are null where there is none.
        message: For people; left out where the fields say it all.

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
    """Formats a record of any logger as a line of JSON; nothing in a record can start a line of its own.

    Example:
        >>> handler = logging.StreamHandler()
        >>> handler.setFormatter(JsonFormatter())
        >>> logging.getLogger("cidrgate").addHandler(handler)
        >>> logging.getLogger("cidrgate").removeHandler(handler)
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields: dict[str, Value] = dict(getattr(record, "cidrgate", {"event": "message"}))
        event: Event = fields.pop("event")  # type: ignore[assignment]
        fields["logger"] = record.name
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        message = None if event in _WITHOUT_MESSAGE else record.getMessage()
        return json_line(record.created, record.levelno, event, fields, message=message)


def log_to_stderr() -> None:
    """Write what this process logs to standard error, as lines of JSON; of other libraries, warnings and worse."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(capture=True)
    LOGGER.setLevel(logging.INFO)
