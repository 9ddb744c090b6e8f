"""`/healthz`, `/readyz` and `/metrics` of an authorize server, for health checks and monitoring."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from cidrgate.gate.request_paths import routed_path

if TYPE_CHECKING:
    from cidrgate.authorize.metrics import ServerMetrics
    from cidrgate.middleware._asgi_requests import Receive, Scope, Send
    from cidrgate.replica.replica import Replica

__all__ = ["Operation"]

_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


class Operation:
    """An ASGI app for `/healthz`, `/readyz` and `/metrics`; it responds 404 to other paths.

    Args:
        lists: The lists of the endpoint.
        ready_within: The staleness of the lists, in seconds, after which the endpoint is not ready; None for no limit.
            It is never ready while the staleness is infinite.
        metrics: The metrics for `/metrics`; None responds 404.
    """

    def __init__(self, lists: Replica, *, ready_within: float | None, metrics: ServerMetrics | None) -> None:
        self._lists = lists
        self._ready_within = math.inf if ready_within is None else ready_within
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI 3 request."""
        status, kind, body = self._answer(routed_path(scope))
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, path: str) -> tuple[int, bytes, bytes]:
        if path == "/metrics" and self._metrics is not None:
            return 200, _PROMETHEUS, self._metrics.text()
        if path == "/healthz":
            return 200, b"application/json", json.dumps({"status": "ok"}).encode()
        if path == "/readyz":
            staleness = self._lists.staleness
            # Without a limit too: lists of an unknown age may be wrong. JSON has no infinity (RFC 8259 section 6).
            known = math.isfinite(staleness)
            ready = known and staleness <= self._ready_within
            record = {"status": "ready" if ready else "stale", "staleness": round(staleness, 3) if known else None}
            return 200 if ready else 503, b"application/json", json.dumps(record).encode()
        return 404, b"text/plain", b""
