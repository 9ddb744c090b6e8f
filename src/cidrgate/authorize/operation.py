"""`/healthz`, `/readyz` and `/metrics` of an authorize server, for health checks and monitoring."""

from __future__ import annotations

import json
import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from cidrgate.authorize.workers import WorkerFile, living_workers
from cidrgate.gate.metrics import GateMetrics
from cidrgate.manager.metrics import ListsCollector, WaitMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

    from cidrgate.manager import RuleManager
    from cidrgate.middleware._asgi_requests import Receive, Scope, Send
    from cidrgate.replica.replica import Replica

__all__ = ["MULTIPROCESS", "EndpointMetrics", "Operation"]

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the folder in which `prometheus_client` stores the counts of several processes.

`prometheus_client` reads the variable when it is imported.
"""

_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


class WorkersCollector(Collector):
    """Collects the counts of all workers, even while a worker starts.

    Args:
        folder: The folder in which `prometheus_client` stores their files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the sums over all workers; called by a registry."""
        # A worker creates an empty file and fills it later. `prometheus_client` raises an error for an empty file.
        files = [str(path) for path in self._folder.glob("*.db") if path.stat().st_size]
        return MultiProcessCollector.merge(files)  # type: ignore[no-any-return, no-untyped-call]


class EndpointMetrics:
    """Prometheus metrics about the decisions and the lists of this process and the other workers.

    Args:
        lists: The lists of this process.

    Attributes:
        hook: The hook for a gate.
    """

    def __init__(self, lists: RuleManager) -> None:
        own = CollectorRegistry()
        self.hook = GateMetrics(own)
        WaitMetrics(own).measure(lists)
        self._all = own
        states = None
        if MULTIPROCESS in os.environ:
            folder = Path(os.environ[MULTIPROCESS])
            self._all = CollectorRegistry()
            self._all.register(WorkersCollector(folder))
            self._file = WorkerFile(folder, lists._replica)
            states = partial(living_workers, folder)
        self._all.register(ListsCollector(lists._replica, states))

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._all)


class Operation:
    """An ASGI app for `/healthz`, `/readyz` and `/metrics`; it responds 404 to other paths.

    Args:
        lists: The lists of the endpoint.
        ready_within: The staleness of the lists, in seconds, after which the endpoint is not ready; None for no limit.
        metrics: The metrics for `/metrics`; None responds 404.
    """

    def __init__(self, lists: Replica, *, ready_within: float | None, metrics: EndpointMetrics | None) -> None:
        self._lists = lists
        self._ready_within = math.inf if ready_within is None else ready_within
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI 3 request."""
        status, kind, body = self._answer(scope["path"])
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
            ready = staleness <= self._ready_within
            record = {"status": "ready" if ready else "stale", "staleness": round(staleness, 3)}
            return 200 if ready else 503, b"application/json", json.dumps(record).encode()
        return 404, b"text/plain", b""
