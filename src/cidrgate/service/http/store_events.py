"""Log events for requests that failed because of the store. They are for operators; clients get less detail."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cidrgate.errors import OutcomeUnknownError, StoreBusyError
from cidrgate.event_log import log_event
from cidrgate.rules.account_names import short_enough_to_log
from cidrgate.service.http.request_ids import REQUEST_ID_KEY

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from cidrgate.errors import StoreError
    from cidrgate.event_log import Event
    from cidrgate.manager.metrics import WaitMetrics

__all__ = ["LOGGER", "log_store_error"]

LOGGER = logging.getLogger("cidrgate.service")


def log_store_error(request: HTTPConnection, error: StoreError) -> None:
    """Log an error of the store that made a request fail, and count it.

    Args:
        request: The request; its account and its id are logged too.
        error: The error of the store. It may name hosts and users, but no passwords.
    """
    event: Event = "store_failed"
    what = "the store failed"
    if isinstance(error, OutcomeUnknownError):
        event, what = "outcome_unknown", "a change may or may not be stored"
    elif isinstance(error, StoreBusyError):
        event, what = "store_busy", "the store is busy"
        waits: WaitMetrics = request.app.state.service.metrics.waits
        waits.refused()
    account = request.path_params.get("account_name")
    log_event(
        logging.ERROR,
        event,
        f"{what}: {error}",
        logger=LOGGER,
        account=short_enough_to_log(account) if isinstance(account, str) else None,
        request_id=request.scope.get(REQUEST_ID_KEY),
        method=request.scope.get("method"),
        route=getattr(request.scope.get("route"), "path_format", None),
    )
