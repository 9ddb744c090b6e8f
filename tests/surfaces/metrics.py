"""The Prometheus metrics of a gate, of `cidrgate serve` and of `cidrgate authorize`: names, types, labels, buckets."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from prometheus_client import CollectorRegistry

from cidrgate import Gate, RuleManager
from cidrgate.authorize.metrics import ServerMetrics
from cidrgate.gate import GateMetrics
from cidrgate.service import Settings, create_app

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["describe"]


def describe() -> str:
    """The description of the metrics."""
    lines = set()
    with tempfile.TemporaryDirectory() as folder:
        snapshot = Path(folder) / "lists.snapshot"
        with RuleManager.open(
            Path(folder) / "lists.db", create=True, snapshot=snapshot, refresh_snapshot=60
        ) as manager:
            for server, collectors in (
                ("a gate", _of_gate(manager)),
                ("serve", _of_serve(manager)),
                ("authorize", _of_authorize(manager)),
            ):
                lines |= {f"{line} ({server})" for collector in collectors for line in _families(collector)}
    return "\n".join(sorted(lines)) + "\n"


@contextmanager
def _watched() -> Iterator[list[Any]]:
    """The collectors that are registered in the block, with whichever registry."""
    registered: list[Any] = []
    register = CollectorRegistry.register

    def watched(registry: CollectorRegistry, collector: Any) -> None:
        registered.append(collector)
        register(registry, collector)

    with patch.object(CollectorRegistry, "register", watched):
        yield registered


def _of_gate(manager: RuleManager) -> list[Any]:
    with _watched() as collectors:
        Gate(manager, unlisted="deny", log="none", hooks=[GateMetrics(CollectorRegistry(), by_account=True)])
    return collectors


def _of_serve(manager: RuleManager) -> list[Any]:
    with _watched() as collectors:
        create_app(manager, Settings(authorize=True, unlisted="deny"))
    return collectors


def _of_authorize(manager: RuleManager) -> list[Any]:
    with _watched() as collectors:
        ServerMetrics(manager)
    return collectors


def _families(collector: Any) -> Iterator[str]:
    labels = getattr(collector, "_labelnames", None)
    if labels is not None:
        bounds = [bound for bound in getattr(collector, "_upper_bounds", ()) if bound != float("inf")]
        kind = collector._type
        yield _line(collector._name, kind, labels) + (f", buckets {bounds}" if bounds else "")
        return
    for family in collector.collect():
        names = {name for sample in family.samples for name in sample.labels}
        yield _line(family.name, family.type, sorted(names))


def _line(name: str, kind: str, labels: Iterable[str]) -> str:
    shown = f"{name}_total" if kind == "counter" else name
    return f"{kind} {shown}{{{', '.join(labels)}}}"
