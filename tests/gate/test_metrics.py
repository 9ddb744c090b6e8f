"""The Prometheus metrics of a gate."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("prometheus_client", reason="needs prometheus_client: pip install 'cidrgate[metrics]'")

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from cidrgate import Gate, Matcher
from cidrgate.gate.metrics import GateMetrics


def gate_with(metrics: GateMetrics) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    matcher.publish("open", [])
    return Gate(matcher, unlisted="allow", hooks=[metrics], log="none")


def test_decisions_are_counted_by_result_and_reason() -> None:
    registry = CollectorRegistry()
    gate = gate_with(GateMetrics(registry))
    for account, peer in [("acct-1", "8.8.8.8"), ("acct-1", "9.9.9.9"), ("acct-1", "9.9.9.9"), ("open", "9.9.9.9")]:
        gate.decide(account, peer)

    def count(result: str, reason: str) -> float | None:
        return registry.get_sample_value("cidrgate_decisions_total", {"result": result, "reason": reason})

    assert count("allowed", "matched") == 1
    assert count("denied", "not_listed") == 2
    assert count("allowed", "not_enforced") == 1
    assert registry.get_sample_value("cidrgate_decision_duration_seconds_count") == 4
    assert b"acct-1" not in generate_latest(registry)


def test_what_is_allowed_is_counted_alike_with_and_without_a_verdict() -> None:
    """As an edge asks: the short way first."""
    counted = []
    for short in (True, False):
        registry = CollectorRegistry()
        gate = gate_with(GateMetrics(registry, by_account=True))
        for account, peer in [("acct-1", "8.8.8.8"), ("acct-1", "9.9.9.9"), ("open", "9.9.9.9"), ("acct-1", "8.8.8.9")]:
            admitted = short and gate.allows(account, peer, [])
            assert admitted == (short and (account, peer) != ("acct-1", "9.9.9.9"))
            if not admitted:
                gate.decide(account, peer)
        lines = generate_latest(registry).decode().splitlines()
        counted.append([line for line in lines if "_total" in line or "seconds_count" in line])
    assert counted[0] == counted[1]
    assert 'cidrgate_decisions_total{reason="matched",result="allowed"} 2.0' in counted[0]


def test_accounts_are_counted_when_asked() -> None:
    registry = CollectorRegistry()
    gate = gate_with(GateMetrics(registry, by_account=True))
    gate.decide("acct-1", "9.9.9.9")
    gate.decide(None, "9.9.9.9")
    labels = {"account": "acct-1", "result": "denied"}
    assert registry.get_sample_value("cidrgate_account_decisions_total", labels) == 1


@pytest.mark.parametrize("unlisted", ["allow", "deny_unknown", "deny"])
def test_names_that_strangers_invent_are_one_series(unlisted: Any) -> None:
    registry = CollectorRegistry()
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    gate = Gate(matcher, unlisted=unlisted, hooks=[GateMetrics(registry, by_account=True)], log="none")
    for number in range(200):
        for name in (f"made-up-{number}", f"{number} " * 2_000, f"{number}\n"):
            if not gate.allows(name, "9.9.9.9", []):
                gate.decide(name, "9.9.9.9")
    gate.decide("acct-1", "8.8.8.8")
    lines = [line for line in generate_latest(registry).decode().splitlines() if "account=" in line]
    counted = [line for line in lines if line.startswith("cidrgate_account_decisions_total")]
    assert sorted(line.partition(",")[0] for line in counted) == sorted(
        f'cidrgate_account_decisions_total{{account="{name}"'
        for name in (["", "", "acct-1"] if unlisted == "allow" else ["", "acct-1"])
    )
    assert sum(float(line.rpartition(" ")[2]) for line in counted) == 401  # a name that is too long is no name


def test_the_default_registry_is_that_of_the_process() -> None:
    metrics = GateMetrics()
    gate_with(metrics).decide("acct-1", "8.8.8.8")
    count = REGISTRY.get_sample_value("cidrgate_decisions_total", {"result": "allowed", "reason": "matched"})
    assert count == 1
