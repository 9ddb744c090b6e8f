"""The Prometheus metrics of `/metrics`. No label contains an account, an address or other text that a client chose."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

from cidrgate.authorize.metrics import ServerMetrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from cidrgate.gate.hooks import DecisionHook
    from cidrgate.gate.metrics import GateMetrics
    from cidrgate.gate.verdict import Verdict, VerdictReason
    from cidrgate.manager import RuleManager

__all__ = ["Metrics", "MetricsMiddleware"]

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""The methods that the metrics name; a client can send any other."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics(ServerMetrics):
    """The metrics of one application: those of every server, and those of its requests.

    Args:
        manager: The manager whose lists the application serves.
    """

    def __init__(self, manager: RuleManager) -> None:
        super().__init__(manager, refusals=False)  # refused requests are counted elsewhere, for every cause
        self.requests = Counter(
            "cidrgate_http_requests_total",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "cidrgate_http_request_duration_seconds",
            "Seconds until the response began.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.failed_logins = Counter(
            "cidrgate_authentication_failures_total", "Wrong credentials sent.", registry=self.registry
        )

    def of_own_allowlist(self) -> DecisionHook:
        """Return the hook for the gate in front of the service. Its decisions are not those about accounts."""
        return _Suppressions(self.hook)


class _Suppressions:
    """A hook that counts only the denials for which the log writes no line."""

    def __init__(self, metrics: GateMetrics) -> None:
        self._metrics = metrics

    def __call__(self, verdict: Verdict) -> None:
        """Count nothing."""

    def count_allowed(self, account: str, reason: VerdictReason, seconds: float) -> None:
        """Count nothing, so that the gate makes no verdict."""

    def count_suppressed(self) -> None:
        """Count a denial for which the log writes no line."""
        self._metrics.count_suppressed()


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
        # By the conventions of OpenTelemetry.
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path_format", "")
                self._metrics.requests.labels(method, route, message["status"]).inc()
                self._metrics.seconds.labels(method, route).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counted)
