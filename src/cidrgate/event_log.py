"""The log format: each line is JSON with schema, time, level, event, account and request id, then the other fields.

Every log message is an *event* with a name, so programs do not have to parse English. An application that embeds
cidrgate sees plain text on the logger `cidrgate` and its children. The attribute `cidrgate` of each
`logging.LogRecord` holds the event. Give a handler the `JsonFormatter` to write lines of JSON; `cidrgate serve` and
`cidrgate authorize` do this on standard error, also for errors that nothing has caught. The decision log always writes
lines of JSON.

Requests and errors contain text of strangers, which starts no line, in plain text either: messages and the texts of
exceptions have escapes for line breaks and other control characters.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

from cidrgate.process.interrupts import comes_again

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

__all__ = ["SCHEMA", "Event", "JsonFormatter", "Value"]  # what applications use; the rest is for this package

LOGGER = logging.getLogger("cidrgate")
"""The logger for events about the store, the lists and the snapshot; a child logger writes the decisions."""

Event: TypeAlias = Literal[
    "decision",
    "decisions_suppressed",
    "decision_failed",
    "change",
    "peer_rewritten",
    "aliases_possible",
    "client_header_missing",
    "route_unseen",
    "trailers_possible",
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
    "mode_changed",
    "policy_differs",
    "fork_unsafe",
    "worker_failed",
    "parent_lost",
    "message",
]
"""The names of events, which lines write with `cidrgate.` before them. Later versions may add names.

Messages of other libraries are events named `message`, with nothing before it.
"""

SCHEMA = 1
"""The version of the lines' format. It grows if a field is removed, or means something else; fields may be added."""

Value: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None
"""What a field of a line holds."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that end a line, control a terminal or cannot be encoded."""

_FIRST = ("account", "request_id")

_WITHOUT_MESSAGE = frozenset({"cidrgate.decision", "cidrgate.decisions_suppressed"})
"""Events that need no message, because their fields are complete."""


def event_name(event: Event) -> str:
    """Return the name of an event as lines and records have it.

    Example:
        >>> event_name("decision")
        'cidrgate.decision'
    """
    return event if event == "message" else f"cidrgate.{event}"


def one_line(text: str) -> str:
    r"""Return a text with escapes for control characters, as messages have it.

    Example:
        >>> one_line("no customer for /x\n{}")
        'no customer for /x\\n{}'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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

    A filter or a handler of the program that raises an exception stops nothing: the exception is printed, as `logging`
    prints those of handlers.

    Args:
        level: The level, such as `logging.WARNING`.
        event: The name of the event, for programs.
        message: What happened and what to do about it, for people. It becomes one line.
        logger: The logger that writes the event.
        exc_info: True to log the traceback of the exception being handled, or an exception to log. In plain text, each
            exception of it is one line behind the lines of code.
        attributes: Further attributes of the record, for handlers in this process.
        details: Further fields: `account`, `request_id`, and the fields of this event.
        fields: Further fields, as keyword arguments.
    """
    if not logger.isEnabledFor(level):
        return
    error = sys.exception() if exc_info is True else exc_info or None
    extra = {"cidrgate": {"event": event_name(event), **details, **fields}, **attributes}
    try:
        path, line, function, _ = logger.findCaller(stacklevel=2)
        record = logger.makeRecord(
            logger.name,
            level,
            path,
            line,
            "%s",
            (one_line(message),),
            None if error is None else (type(error), error, error.__traceback__),
            function,
            extra,
        )
        if error is not None:
            record.exc_text = "\n".join(_plain_traceback(error))  # what `logging.Formatter` would make otherwise
        logger.handle(record)
    except Exception:  # noqa: BLE001
        if logging.raiseExceptions and sys.stderr is not None:
            traceback.print_exc()


def _plain_traceback(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback as Python prints it, but with each exception in one line.

    The time grows with their number, and nothing recurses: a chain may have any length, and groups any depth.
    """
    pending: list[traceback.TracebackException | str] = [
        traceback.TracebackException.from_exception(error, compact=True)
    ]
    while pending:
        following = pending.pop()
        if isinstance(following, str):
            yield following
        else:
            pending += reversed(list(_in_order(following)))


def _in_order(last: traceback.TracebackException) -> Iterator[traceback.TracebackException | str]:
    """Yield the lines of a chain of exceptions, the earliest first, and the exceptions of its groups."""
    chain = [(last, "")]
    while (found := _before(chain[-1][0])) is not None:
        chain.append(found)
    for one, between in reversed(chain):
        if one.stack:
            yield "Traceback (most recent call last):"
            yield "".join(one.stack.format()).rstrip("\n")
        yield one_line("".join(one.format_exception_only()).rstrip("\n"))
        yield from one.exceptions or ()
        if between:
            yield from ("", between, "")


def _before(error: traceback.TracebackException) -> tuple[traceback.TracebackException, str] | None:
    """Return the exception before another one, and what Python prints between them; None if there is none."""
    if error.__cause__ is not None:
        return error.__cause__, "The above exception was the direct cause of the following exception:"
    if error.__context__ is not None and not error.__suppress_context__:
        return error.__context__, "During handling of the above exception, another exception occurred:"
    return None


def json_line(time: float, level: int, event: str, fields: dict[str, Value], *, message: str | None = None) -> str:
    """Return one line of the log.

    Args:
        time: Seconds since 1970.
        level: The level, such as `logging.WARNING`.
        event: The name of the event, as `event_name` returns it.
        fields: The fields of the event. `account` and `request_id` come first; each is null if it is missing.
        message: The message for people, or None if the fields are complete without it.

    Example:
        >>> json_line(0.0, logging.WARNING, "cidrgate.store_lost", {"seconds": 3}, message="the store is not reached")
        ... # doctest: +NORMALIZE_WHITESPACE
        '{"schema": 1, "time": "1970-01-01T00:00:00.000+00:00", "level": "warning", "event": "cidrgate.store_lost",
          "account": null, "request_id": null, "message": "the store is not reached", "seconds": 3}'
    """
    moment = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
    name = logging.getLevelName(level).lower()
    record: dict[str, Value] = {"schema": SCHEMA, "time": moment, "level": name, "event": event}
    record |= {name: fields.get(name) for name in _FIRST}
    if message is not None:
        record["message"] = message
    record |= {name: value for name, value in fields.items() if name not in record}
    return json.dumps(record, default=str).replace("\x7f", "\\u007f")  # the only control character that JSON leaves


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
        event = str(fields.pop("event"))
        fields["logger"] = record.name
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        message = None if event in _WITHOUT_MESSAGE else record.getMessage()
        return json_line(record.created, record.levelno, event, fields, message=message)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes lines of JSON to standard error, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what libraries log about Ctrl-C before they raise it again: it is no error."""
        if record.exc_info and isinstance(record.exc_info[1], KeyboardInterrupt):
            return False
        return bool(super().filter(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - a method of `logging`
        """Write why a record could not be written, instead of the traceback that `logging` would print."""
        kind, error, _ = sys.exc_info()
        fields: dict[str, Value] = {"logger": record.name, "traceback": traceback.format_exc()}
        said = f"a message of {record.pathname}, line {record.lineno} could not be logged: {error}"
        if kind is None or issubclass(kind, OSError):
            return  # nothing can be written
        self.stream.write(json_line(record.created, logging.ERROR, "message", fields, message=said) + self.terminator)
        self.flush()


def log_to_stderr() -> None:
    """Log to standard error as lines of JSON: all of cidrgate, warnings and errors of other libraries, and tracebacks.

    Errors that nothing catches are logged too, in every thread: Python would print their tracebacks as plain text.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[_StderrHandler()])
    logging.captureWarnings(capture=True)
    LOGGER.setLevel(logging.INFO)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_of_thread
    sys.unraisablehook = _log_unraisable


def _log_uncaught(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        _uncaught("the process ends by an error", error.with_traceback(place))


def _log_uncaught_of_thread(arguments: threading.ExceptHookArgs) -> None:
    name = "unknown" if arguments.thread is None else arguments.thread.name
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
        _uncaught(f"the thread {name} ends by an error", arguments.exc_value)


def _log_unraisable(arguments: sys.UnraisableHookArgs) -> None:
    if not comes_again(arguments) and arguments.exc_value is not None:
        # Not its `repr`, which may fail too.
        name = getattr(arguments.object, "__qualname__", type(arguments.object).__qualname__)
        _uncaught(f"{arguments.err_msg or 'an error was ignored in'} {name}", arguments.exc_value)


def _uncaught(message: str, error: BaseException) -> None:
    logging.getLogger().error("%s: %s", message, error, exc_info=error)
