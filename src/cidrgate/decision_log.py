"""The decision log: one line of JSON a decision, on the logger `cidrgate.decisions`.

The text is JSON, so that nothing a stranger sent can start a line of its own; the same record is the attribute
`decision` of the `logging.LogRecord`, for formatters that make their own lines.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cidrgate.gate import Verdict

__all__ = ["LOGGER", "DecisionLog", "log_failure"]

LOGGER = logging.getLogger("cidrgate.decisions")

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
