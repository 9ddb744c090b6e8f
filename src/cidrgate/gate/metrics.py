"""Prometheus metrics of a gate; needs `cidrgate[metrics]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.errors import needs_extra
from cidrgate.values import check_switches, check_type

with needs_extra("metrics", "cidrgate.gate.metrics"):
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

if TYPE_CHECKING:
    from cidrgate.gate.verdict import Verdict, VerdictReason

__all__ = ["GateMetrics"]

_BUCKETS = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 1e-1)


class GateMetrics:
    """A hook of `Gate` that counts decisions by result and reason, and measures the time they take.

    The metrics are `cidrgate_decisions_total{result, reason}`, the histogram `cidrgate_decision_duration_seconds`, and
    `cidrgate_denials_suppressed_total`, the number of denials that the log only counted.

    Args:
        registry: The registry for the metrics; by default, the default registry of `prometheus_client`.
        by_account: Whether to count decisions by account too, in `cidrgate_account_decisions_total{account, result}`.
            This makes one time series for each account and result. Decisions that no account's list made count with an
            empty `account`: anyone may invent names of accounts.

    Raises:
        TypeError: If an argument is of another type.

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
        check_type(registry, CollectorRegistry, "registry", or_none=True)
        check_switches(by_account=by_account)
        registry = REGISTRY if registry is None else registry
        self._decisions = Counter(
            "cidrgate_decisions", "Decisions about requests.", ["result", "reason"], registry=registry
        )
        # Calling `labels` takes longer than counting, so its results are stored.
        self._allowed: dict[str, Counter] = {}
        self._observe = Histogram(
            "cidrgate_decision_duration_seconds", "Seconds that a decision took.", buckets=_BUCKETS, registry=registry
        ).observe
        self._suppressed = Counter(
            "cidrgate_denials_suppressed",
            "Denials that the log counted without writing a line.",
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
            known = verdict.account if verdict.list_account is not None else ""
            self._accounts.labels(known, verdict.result).inc()

    def count_suppressed(self) -> None:
        """Count a denial for which the log writes no line."""
        self._suppressed.inc()

    def count_allowed(self, account: str, reason: VerdictReason, seconds: float) -> None:
        """Count an allowed request for which the gate made no verdict."""
        counter = self._allowed.get(reason)
        if counter is None:
            counter = self._allowed[reason] = self._decisions.labels("allowed", reason)
        counter.inc()
        self._observe(seconds)
        if self._accounts is not None:
            self._accounts.labels(account, "allowed").inc()
