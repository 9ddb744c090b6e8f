"""The decision log: one line of JSON a decision, on the logger `cidrgate.decisions`.

The text is JSON, so that nothing a stranger sent can start a line of its own; the same record is the attribute
`decision` of the `logging.LogRecord`, for formatters that make their own lines.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cidrgate.gate import Verdict

__all__ = ["LOGGER", "DecisionLog", "advise_about_rewritten_peers", "log_failure"]

LOGGER = logging.getLogger("cidrgate.decisions")

_OPERATION = logging.getLogger("cidrgate")
_advice_given = threading.Event()
_ADVICE = (
    "a request is denied because the server, or a middleware around this one, puts an address out of a header in the "
    "place of the socket's peer. Leave the headers to cidrgate: run uvicorn with --no-proxy-headers, daphne without "
    "--proxy-headers, waitress without trusted_proxy, and hypercorn and granian without their proxy middlewares "
    "(ProxyFixMiddleware, wrap_asgi_with_proxy_headers, wrap_wsgi_with_proxy_headers); uvicorn's worker in gunicorn "
    "needs --forwarded-allow-ips=''. Then name the proxies in ClientIPResolver(trusted_proxies=[...]). Where the "
    "server shall decide, and reads these headers from its own proxies alone, say "
    "ClientIPResolver(resolved_by_server=True). This is logged once."
)

_LEVELS = {"allowed": logging.INFO, "would_deny": logging.WARNING, "denied": logging.WARNING}


class DecisionLog:
    """Writes verdicts to the logger `cidrgate.decisions`: denials as warnings, what was allowed as information.

    Args:
        allowed: Whether what was allowed is written too.
    """

    def __init__(self, *, allowed: bool = False) -> None:
        self._allowed = allowed

    def __call__(self, verdict: Verdict) -> None:
        """Write one verdict, if it is of those to be written."""
        level = _LEVELS[verdict.result]
        if (self._allowed or verdict.result != "allowed") and LOGGER.isEnabledFor(level):
            record = verdict.record()
            LOGGER.log(level, "%s", json.dumps(record), extra={"decision": record})


def log_failure(message: str) -> None:
    """Write what broke, with the traceback of the exception that is being handled."""
    LOGGER.exception(message)


def advise_about_rewritten_peers() -> None:
    """Say once how a server is started that leaves the socket's peer as it is."""
    if not _advice_given.is_set():
        _advice_given.set()
        _OPERATION.warning(_ADVICE)
