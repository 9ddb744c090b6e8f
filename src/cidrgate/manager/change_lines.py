"""Log lines about changes: each row of the change log that this process commits, on the logger `cidrgate.changes`.

A change is logged once, by the process that makes it, after its commit. The attribute `change` of the
`logging.LogRecord` has the whole row as the API has it. A line of JSON has the networks instead of the entries.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from cidrgate.event_log import log_event
from cidrgate.serialization import change_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cidrgate.event_log import Value
    from cidrgate.values import Change, Entry

__all__ = ["LOGGER", "ChangeLines"]

LOGGER = logging.getLogger("cidrgate.changes")


class ChangeLines:
    """Writes the lines; see `cidrgate.stores.listener.ChangeListener`."""

    def wants(self) -> bool:
        """Return whether the logger writes lines of this level."""
        return LOGGER.isEnabledFor(logging.INFO)

    def committed(self, changes: Sequence[Change]) -> None:
        """Write a line for each change. If a log handler fails, lines are lost, but no error is raised."""
        with suppress(Exception):
            for change in changes:
                _write(change)


def _write(change: Change) -> None:
    origin = change.origin
    about: dict[str, Value] = {
        "account": change.account,
        "request_id": None if origin is None else origin.request_id,
        "sequence": change.sequence,
        "action": change.action,
        "actor": change.actor,
        "before": _networks(change.before),
        "after": _networks(change.after),
        "details": change.details,
        "origin": None if origin is None else asdict(origin),
    }
    what = f"{change.action} by {change.actor or 'nobody who was named'}"
    log_event(
        logging.INFO,
        "change",
        what if change.account is None else f"{change.account}: {what}",
        logger=LOGGER,
        attributes={"change": change_record(change)},
        details=about,
    )


def _networks(entries: Sequence[Entry]) -> Value:
    return [entry.cidr for entry in entries]
