"""Prometheus metrics of a gate; needs `cidrgate[metrics]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import needs_extra

with needs_extra("metrics", "cidrgate.gate.metrics"):
    from prometheus_client import REGISTRY, Counter, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from cidrgate.gate.verdict import Verdict, VerdictReason

__all__ = ["GateMetrics"]

_BUCKETS = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 1e-1)


class GateMetrics:
    """A hook of `Gate` that counts decisions, by result and reason, and the time they take.

    Metrics: `cidrgate_decisions_total{result, reason}`, `cidrgate_decision_seconds`, a histogram, and
    `cidrgate_denials_suppressed_total`, those that the log counted in place of a line for each.

    Args:
        registry: Where they are registered; the default registry of `prometheus_client` when None.
        by_account: Whether decisions are counted by account too, in
            `cidrgate_account_decisions_total{account, result}`. That is one series an account and result.

    Example:
        >>> from cidrgate import Gate, Matcher
        >>> from prometheus_client import CollectorRegistry
        >>> registry = CollectorRegistry()
        >>> gate = Gate(Matcher(), unlisted="allow", hooks=[GateMetrics(registry)])
        >>> verdict = gate.decide("acct-1", "203.0.113.9")
        >>> registry.get_sample_value("cidrgate_decisions_total", {"result": "allowed", "reason": "not_enforced"})
        1.0
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, by_account: bool = False) -> None:
        registry = REGISTRY if registry is None else registry
        self._decisions = Counter(
            "cidrgate_decisions", "Decisions about requests.", ["result", "reason"], registry=registry
        )
        # `labels` takes longer than counting.
        self._allowed: dict[str, Counter] = {}
        self._observe = Histogram(
            "cidrgate_decision_seconds", "Time a decision took.", buckets=_BUCKETS, registry=registry
        ).observe
        self._suppressed = Counter(
            "cidrgate_denials_suppressed",
            "Denials that the log counted in place of a line for each.",
            registry=registry,
        )
        self._accounts = (
            Counter(
                "cidrgate_account_decisions",
                "Decisions about requests, by account.",
                ["account", "result"],
                registry=registry,
            )
            if by_account
            else None
        )

    def __call__(self, verdict: Verdict) -> None:
        """Count one verdict."""
        self._decisions.labels(verdict.result, verdict.reason).inc()
        self._observe(verdict.seconds)
        if self._accounts is not None and verdict.account is not None:
            self._accounts.labels(verdict.account, verdict.result).inc()

    def count_suppressed(self) -> None:
        """Count a denial that has no line of its own in the log."""
        self._suppressed.inc()

    def count_allowed(self, account: str, reason: VerdictReason, seconds: float) -> None:
        """Count a request that was allowed, of which there is no verdict."""
        counter = self._allowed.get(reason)
        if counter is None:
            counter = self._allowed[reason] = self._decisions.labels("allowed", reason)
        counter.inc()
        self._observe(seconds)
        if self._accounts is not None:
            self._accounts.labels(account, "allowed").inc()
