"""The decision log: one line of JSON for each decision, on the logger `cidrgate.decisions`.

The text is JSON, so no content of a request can start a new line; it has the fields of every line of the log, such as
the time. The attribute `decision` of the `logging.LogRecord` has the decision alone, for formatters that write another
format. Repeated denials are counted;
`cidrgate.gate.repeated_denials` decides which denials are repeated and when their number is written.
"""

from __future__ import annotations

import logging
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from cidrgate.event_log import event_name, json_line, log_event
from cidrgate.gate.repeated_denials import RepeatedDenials, Summary
from cidrgate.process.forking import join_forks
from cidrgate.process.wakeups import WakeUp
from cidrgate.values import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from cidrgate.event_log import Event, Value
    from cidrgate.gate.verdict import Verdict
    from cidrgate.values import Duration

__all__ = [
    "LOGGER",
    "LOG_EVERY",
    "DecisionLog",
    "Log",
    "advise_about_aliases",
    "advise_about_missing_headers",
    "advise_about_rewritten_peers",
    "advise_about_trailers",
    "advise_about_unseen_routes",
    "check_log",
    "check_log_every",
]

LOGGER = logging.getLogger("cidrgate.decisions")

Log: TypeAlias = Literal["denials", "all", "none"]
"""Which decisions are logged, as in `Gate`."""

LOG_EVERY = 60.0
"""Default number of seconds between two lines about the same account and address."""

_LONGEST_CAUSE = 500
"""The most characters of an exception's text in the line about its repetitions."""

_advice_given = WakeUp()
_ADVICE = (
    "a request is denied because the server, or a middleware around this one, replaces the socket's peer with an "
    "address from a header. Let only cidrgate read the headers: run uvicorn with --no-proxy-headers, daphne without "
    "--proxy-headers, waitress without trusted_proxy, and hypercorn and granian without their proxy middlewares "
    "(ProxyFixMiddleware, wrap_asgi_with_proxy_headers, wrap_wsgi_with_proxy_headers); uvicorn's worker in gunicorn "
    "needs --forwarded-allow-ips=''. Then name the proxies in ClientIPResolver(trusted_proxies=[...]). If instead the "
    "server is to find the client address, and reads these headers only from its own proxies, use "
    "ClientIPResolver(resolved_by_server=True). If this is a test with Django's AsyncClient, no server has done that: "
    "its requests have port 0, so give them a client with a port, as docs/howto/django.md shows. This message is "
    "logged once."
)

_told_of_aliases = WakeUp()
_ADVICE_ABOUT_ALIASES = (
    "a request is denied because the WSGI server may pass a client's header such as X_Forwarded_For under the name of "
    "X-Forwarded-For, so that a client could forge its address or its account. Use gunicorn (22 or later) or waitress, "
    "which drop such names, or an ASGI server. Or let the proxy in front drop them, as nginx does by default, and say "
    "so with allow_aliases=True in ClientIPResolver(...) or FromHeader(...), or ALLOW_ALIASES in Django's CIDRGATE. "
    "Do the same in a test whose client looks like a server, as those of httpx and Falcon do. This message is logged "
    "once."
)

_told_of_missing_headers = WakeUp()
_ADVICE_ABOUT_MISSING_HEADERS = (
    "a trusted proxy sent a request without the header that names the client, or the server has removed the header. "
    "waitress removes it by default: start it with --no-clear-untrusted-proxy-headers "
    "(clear_untrusted_proxy_headers=False). Otherwise configure the proxy to write the header. This message is logged "
    "once."
)

_told_of_unseen_routes = WakeUp()
_ADVICE_ABOUT_UNSEEN_ROUTES = (
    "a request is denied because a FromRoute cannot see what the FastAPI application receives for the parameter of the "
    "route, so it could check another account. Give the dependency that allowlist(...) returned to Depends itself, "
    "without a function around it, on routes that FastAPI makes. If that is so, this version of FastAPI, or a library "
    "that changes its routes, is not supported: use a dependency that returns the account instead of FromRoute. This "
    "message is logged once."
)

_told_of_trailers = WakeUp()
_ADVICE_ABOUT_TRAILERS = (
    "a request is denied because its body came in chunks and the last hop in its header with the client's address may "
    "be a trailer, which follows the body, so that a client could forge its address: uvicorn with httptools appends "
    "trailers to the headers, and a bridge from ASGI to WSGI joins them to the other lines. Under an ASGI server, let "
    "the proxy write one line: in HAProxy by http-request set-header instead of option forwardfor. Under a WSGI server "
    "that may be a bridge (hypercorn, or one that cidrgate does not know), let the proxy send Content-Length, as nginx "
    "does by default, or use gunicorn or waitress; put the ASGI middleware around a bridge. To keep trailers from the "
    "application too, drop them in the proxy (HAProxy 3.2 or later: option http-drop-request-trailers), or start "
    "uvicorn with --http h11, which ignores them. This message is logged once."
)

_LEVELS = {"allowed": logging.INFO, "would_deny": logging.WARNING, "denied": logging.WARNING}


@dataclass(frozen=True, slots=True)
class _Failure:
    """A failed decision. The exception itself is not stored, because it would keep many objects alive.

    Attributes:
        message: What failed.
        cause: The beginning of the exception's text, which may contain text of a request.
        account: The account of the request.
        request_id: The id of the request.
    """

    message: str
    cause: str
    account: str | None
    request_id: str | None


_Line: TypeAlias = "Verdict | _Failure"


class DecisionLog:
    """Writes verdicts to the logger `cidrgate.decisions`: denials at level WARNING, allowed requests at level INFO.

    The first denial of an account and an address is written at once. Its repetitions are counted, and one line a window
    gives their number. A thread writes that line when the window ends; the thread exists only while there is something
    to write. Errors are treated in the same way: the first has its traceback, then they are counted. Everything
    is written when the log is no longer used and when the process ends.

    Args:
        allowed: Whether to write allowed requests too.
        every: Seconds of a window; 0 writes every denial.
        suppressed: Functions to call for each denial that is counted without a line.
    """

    def __init__(
        self, *, allowed: bool = False, every: Duration = LOG_EVERY, suppressed: Iterable[Callable[[], object]] = ()
    ) -> None:
        self._allowed = allowed
        self._counted = _Counted(check_log_every(every), tuple(suppressed))
        self._close = weakref.finalize(self, self._counted.flush)

    def __call__(self, verdict: Verdict) -> None:
        """Write or count one verdict, unless the log leaves it out."""
        if verdict.result == "allowed":
            if self._allowed:
                _write(verdict)
        elif LOGGER.isEnabledFor(_LEVELS[verdict.result]):
            # Of names that no account can have, anyone may invent any number.
            named = verdict.account if verdict.reason != "unclear_account" else (None, verdict.reason)
            self._counted.add((named, verdict.client.address), verdict)

    def failed(
        self, message: str, error: BaseException, *, account: str | None = None, request_id: str | None = None
    ) -> None:
        """Write an error, or count it if the same error was written in this window."""
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = None if place is None else (place.tb_frame.f_code.co_filename, place.tb_lineno)
        cause = f"{type(error).__name__}: {error}"[:_LONGEST_CAUSE]
        failure = _Failure(message, cause, account, request_id)
        self._counted.add((_Failure, message, type(error), where), failure, error)

    def flush(self) -> None:
        """Write the numbers of all denials and errors that were counted so far."""
        self._counted.flush()

    @property
    def suppressed(self) -> int:
        """How many denials were counted without a line."""
        return self._counted.suppressed


class _Counted:
    """Counts repeated lines, and runs the thread that writes their numbers."""

    def __init__(self, every: float, on_suppressed: tuple[Callable[[], object], ...]) -> None:
        self._every = every
        self._on_suppressed = on_suppressed
        self.suppressed = 0
        self._begin_anew()
        join_forks(self, stage=0)

    def _begin_anew(self) -> None:
        self._denials: RepeatedDenials[_Line] = RepeatedDenials(self._every)
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None
        self._flushed = WakeUp()

    def before_fork(self) -> None:
        """Do nothing: the parent writes what it has counted."""

    def after_fork(self, *, certain: bool) -> None:  # the child uses no state of the parent
        """Reset all counts: the parent writes them, and the child has no copy of its thread."""
        self.suppressed = 0
        self._begin_anew()

    def add(self, key: Hashable, line: _Line, error: BaseException | None = None) -> None:
        """Write or count one line, and write the summaries that are due."""
        summaries = self._denials.add(key, line)
        at_once = [one for one in summaries if not one.count]
        if not at_once:
            if not isinstance(line, _Failure):
                with self._lock:
                    self.suppressed += 1
                for told in self._on_suppressed:
                    told()
            self._have_writer()
        self._write(one for one in summaries if one.count)
        for _ in at_once:
            _write(line, error=error)

    def flush(self) -> None:
        """Write what was counted. If a log handler fails, these numbers are lost, but no error is raised."""
        with suppress(Exception):
            self._write(self._denials.flush())
        self._flushed.set()

    def _have_writer(self) -> None:
        with self._lock:
            if self._writer is None or not self._writer.is_alive():
                self._flushed.clear()
                self._writer = threading.Thread(target=self._write_when_due, name="cidrgate-log", daemon=True)
                try:
                    self._writer.start()
                except RuntimeError:  # the next denial or the end of the process writes the numbers
                    self._writer = None

    def _write_when_due(self) -> None:
        while True:
            with self._lock:
                left = self._denials.seconds_left()
                if left is None:
                    self._writer = None
                    return
                self._flushed.clear()
            self._flushed.wait(left)
            with suppress(Exception):  # a log handler may fail; the thread must continue
                self._write(self._denials.due())

    def _write(self, summaries: Iterable[Summary[_Line]]) -> None:
        for one in summaries:
            _write(one.record, repeated=one.count, window=self._every)


def _write(
    line: _Line | None, *, error: BaseException | None = None, repeated: int | None = None, window: float = 0.0
) -> None:
    """Write one line: the decision or error itself, or how often it was repeated."""
    again: dict[str, Value] = {} if repeated is None else {"repeated": repeated, "window_seconds": window}
    if isinstance(line, _Failure):
        message = line.message if repeated is None else f"{line.message}, again {repeated:,} times: {line.cause}"
        log_event(
            logging.ERROR,
            "decision_failed",
            message,
            logger=LOGGER,
            exc_info=error or False,
            account=line.account,
            request_id=line.request_id,
            details=again,
        )
        return
    record: dict[str, Value] = {} if line is None else dict(line.record())
    level = logging.WARNING if line is None else _LEVELS[line.result]
    event: Event = "decision" if repeated is None else "decisions_suppressed"
    fields = {**again, **record}
    # The text is complete without a formatter: many applications write only the message of a record.
    text = json_line(time(), level, event_name(event), fields)
    attributes = {"decision": record} if repeated is None else {}
    log_event(level, event, text, logger=LOGGER, attributes=attributes, details=fields)


def check_log(log: Log) -> Log:
    """Return the setting `log`: which decisions are logged.

    Raises:
        ValueError: If it is none of the three values.
    """
    if log not in get_args(Log):
        raise ValueError(f"log must be 'denials', 'all' or 'none', not {log!r}")
    return log


def check_log_every(duration: Duration) -> float:
    """Return the setting `log_every` in seconds: the time between two lines about the same account and address.

    Raises:
        TypeError: If it is neither a number nor a `timedelta`.
        ValueError: If it is negative or infinite.

    Example:
        >>> check_log_every(-1)
        Traceback (most recent call last):
        ...
        ValueError: log_every must be a number of seconds from 0 on, not -1
    """
    return seconds(duration, "log_every")


def advise_about_rewritten_peers() -> None:
    """Log once how to start a server so that it does not rewrite the peer."""
    _log_once(_advice_given, "peer_rewritten", _ADVICE)


def advise_about_aliases() -> None:
    """Log once what to do about a server that does not drop header names such as `X_Account`."""
    _log_once(_told_of_aliases, "aliases_possible", _ADVICE_ABOUT_ALIASES)


def advise_about_missing_headers() -> None:
    """Log once why the header of a trusted proxy may be missing."""
    _log_once(_told_of_missing_headers, "client_header_missing", _ADVICE_ABOUT_MISSING_HEADERS)


def advise_about_unseen_routes() -> None:
    """Log once why the account in a route of FastAPI is unclear for every request."""
    _log_once(_told_of_unseen_routes, "route_unseen", _ADVICE_ABOUT_UNSEEN_ROUTES)


def advise_about_trailers() -> None:
    """Log once what to do about a repeated header that may be a trailer."""
    _log_once(_told_of_trailers, "trailers_possible", _ADVICE_ABOUT_TRAILERS)


def _log_once(told: WakeUp, event: Event, advice: str) -> None:
    if not told.is_set():
        told.set()
        log_event(logging.WARNING, event, advice)
