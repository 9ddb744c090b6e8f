"""The metrics of a server for Prometheus, of one process or several workers: one registry for decisions and lists."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cidrgate.errors import needs_extra

with needs_extra("metrics", "cidrgate.authorize.metrics"):
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.registry import Collector

from cidrgate.authorize.workers import WorkerFile, living_workers
from cidrgate.gate.metrics import GateMetrics
from cidrgate.manager.metrics import ListsCollector, TrafficMetrics, WaitMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prometheus_client import Metric

    from cidrgate.manager import RuleManager

__all__ = ["MULTIPROCESS", "ServerMetrics", "WorkersCollector"]

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the folder in which `prometheus_client` stores the counts of several processes.

`prometheus_client` reads the variable when it is imported.
"""


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


class ServerMetrics:
    """The metrics that every server of the package has: of decisions, lists, waits for locks, and recorded traffic.

    Args:
        manager: The lists of this process.
        workers: The folder in which the workers of the server store their counts, to report the sums of all; None if
            this process is the only one.
        processes: How many workers the server should have.
        refusals: Whether changes that reached the lock timeout are counted here; see `WaitMetrics.measure`.

    Attributes:
        hook: The hook for a gate.
        waits: How long changes waited, and how many requests were refused because a lock was held for too long.
        registry: The registry of this process, for further metrics.
    """

    def __init__(
        self, manager: RuleManager, *, workers: Path | None = None, processes: int = 1, refusals: bool = True
    ) -> None:
        self.registry = CollectorRegistry()
        self.hook = GateMetrics(self.registry)
        self.waits = WaitMetrics(self.registry)
        self.waits.measure(manager, refusals=refusals)
        TrafficMetrics(self.registry).measure(manager)
        self._all = self.registry
        states = None
        if workers is not None:
            self._all = CollectorRegistry()
            self._all.register(WorkersCollector(workers))
            self._file = WorkerFile(workers, manager._replica)
            states = partial(living_workers, workers)
        self._all.register(ListsCollector(manager, states, processes=processes))

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._all)
