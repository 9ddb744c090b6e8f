"""The Prometheus metrics of `/metrics`. No label contains an account, an address or other text that a client chose."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cidrgate.manager.metrics import ListsCollector, WaitMetrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from cidrgate.gate.gate import Gate
    from cidrgate.manager import RuleManager

__all__ = ["Metrics", "MetricsMiddleware"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one application.

    Args:
        manager: The manager whose lists the application serves.

    Attributes:
        waits: How long changes waited, and how many requests were refused because a lock was held for too long.
        gates: The gates whose suppressed denials are counted.
    """

    def __init__(self, manager: RuleManager) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "cidrgate_http_requests_total",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "cidrgate_http_request_seconds",
            "Seconds until the response began.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.failed_logins = Counter("cidrgate_failed_logins_total", "Wrong credentials sent.", registry=self._registry)
        self.waits = WaitMetrics(self._registry)
        self.waits.measure(manager, refusals=False)  # refused requests are counted elsewhere, for every cause
        self.gates: list[Gate] = []
        self._registry.register(ListsCollector(manager._replica, suppressed=self._suppressed))
        accounts = Gauge("cidrgate_accounts", "Accounts that the matcher knows.", registry=self._registry)
        accounts.set_function(lambda: len(manager.matcher))

    def _suppressed(self) -> int:
        return sum(gate.denials_suppressed for gate in self.gates)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class MetricsMiddleware:
    """Measures every request by its route.

    Args:
        app: The application.
        metrics: The metrics to update.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, and count its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path_format", "none")
                method = scope["method"] if route != "none" else "any"
                self._metrics.requests.labels(method, route, message["status"]).inc()
                self._metrics.seconds.labels(method, route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counted)
