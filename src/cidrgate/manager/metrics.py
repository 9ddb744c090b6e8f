"""Prometheus metrics of the lists: staleness, followers, accounts, and how long changes wait.

Both servers of the package export them, for one process or for several. `cidrgate.gate.metrics` counts decisions.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, Protocol

from cidrgate.errors import CidrgateError, needs_extra
from cidrgate.process.clock import since_boot

with needs_extra("metrics", "cidrgate.manager.metrics"):
    from prometheus_client import Counter, Histogram
    from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from cidrgate._engine import Matcher
    from cidrgate.manager import RuleManager
    from cidrgate.traffic.recorder import TrafficCounts

__all__ = ["ListsCollector", "ListsState", "TrafficMetrics", "WaitMetrics"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


_LENIENT: tuple[Literal["report_only", "off"], ...] = ("report_only", "off")


class _Lists(Protocol):
    """The lists of a process, such as a `RuleManager`."""

    @property
    def known_at(self) -> float: ...

    @property
    def follows(self) -> bool: ...

    @property
    def snapshot_age(self) -> float | None: ...

    @property
    def matcher(self) -> Matcher: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsState:
    """The state of the lists in one process.

    Attributes:
        known_at: The time of `since_boot` at which they were last known to equal the store; -inf if they never were.
        follows: Whether a thread follows the store.
    """

    known_at: float
    follows: bool

    @classmethod
    def of(cls, lists: _Lists) -> ListsState:
        """Return the state of the lists in this process."""
        return cls(known_at=lists.known_at, follows=lists.follows)


class ListsCollector:
    """Reports the version, the accounts and the current state of the lists to Prometheus.

    If several processes serve the same lists, it reports the worst of their states.

    Args:
        lists: The lists of this process, a `RuleManager`. All processes have the same accounts and share its snapshot.
        states: Returns the states of all live processes; None for only this process.
        processes: How many processes should serve the lists, those included that do not run at the moment.
    """

    def __init__(
        self, lists: _Lists, states: Callable[[], Iterable[ListsState]] | None = None, *, processes: int = 1
    ) -> None:
        self._lists = lists
        self._processes = processes
        self._states = states if states is not None else lambda: [ListsState.of(lists)]
        self._version = version("cidrgate")

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; a registry calls this."""
        states = list(self._states())
        known_at = min((state.known_at for state in states), default=-math.inf)
        yield GaugeMetricFamily(
            "cidrgate_staleness_seconds",
            "Seconds since the lists were last known to equal the store, in the process where that is longest.",
            value=since_boot() - known_at,
        )
        yield GaugeMetricFamily(
            "cidrgate_followers",
            "Processes in which a thread follows the store.",
            value=sum(state.follows for state in states),
        )
        yield GaugeMetricFamily(
            "cidrgate_processes", "Processes that should run and follow the store.", value=self._processes
        )
        age = self._lists.snapshot_age
        if age is not None:
            yield GaugeMetricFamily(
                "cidrgate_snapshot_age_seconds",
                "Seconds since the shared snapshot was written; infinite if the file is missing.",
                value=age,
            )
        matcher: Matcher | None = None
        with suppress(CidrgateError):  # nothing is loaded
            matcher = self._lists.matcher
        if matcher is not None:
            yield GaugeMetricFamily("cidrgate_accounts", "Accounts of the store.", value=len(matcher))
            yield GaugeMetricFamily(
                "cidrgate_enforced_accounts",
                "Accounts whose list decides: those that have entries, expired ones included, or are closed, and their "
                "subaccounts, in the mode enforce.",
                value=matcher._count_enforced(),
            )
            modes = GaugeMetricFamily(
                "cidrgate_mode_accounts",
                "Accounts whose list is not enforced because of its mode, and their subaccounts.",
                labels=["mode"],
            )
            for mode in _LENIENT:
                modes.add_metric([mode], matcher._count_mode(mode))
            yield modes
        build = GaugeMetricFamily("cidrgate_build_info", "The version of cidrgate; always 1.", labels=["version"])
        build.add_metric([self._version], 1.0)
        yield build


class WaitMetrics:
    """Measures how long changes of lists wait for locks and for their turn.

    Metrics: the histogram `cidrgate_lock_wait_seconds`, and `cidrgate_store_busy_total`, which counts the changes and
    requests that reached the lock timeout, and each lock timeout for which the feed of changes waits for a transaction.

    Args:
        registry: The registry of the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waits = Histogram(
            "cidrgate_lock_wait_seconds",
            "Seconds that a change waited for locks, a connection and its turn.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self._busy = Counter(
            "cidrgate_store_busy", "Changes and requests refused because of locks held for too long.", registry=registry
        )

    def measure(self, manager: RuleManager, *, refusals: bool = True) -> None:
        """Measure the changes of a manager.

        Args:
            manager: The manager that makes the changes.
            refusals: Whether changes that reached the lock timeout are counted here. Otherwise the code that answers
                the request calls `refused`.
        """
        manager.measure_waits(self._waits.observe, self.refused if refusals else None)

    def refused(self) -> None:
        """Count a change, a request or a wait of the feed of changes that reached the lock timeout."""
        self._busy.inc()


class TrafficMetrics:
    """Counts the requests that are recorded as traffic; see `cidrgate.traffic`. The numbers grow about once a minute.

    Metrics: `cidrgate_traffic_noted_total`, `cidrgate_traffic_stored_total` and `cidrgate_traffic_lost_total`.

    Args:
        registry: The registry of the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._noted = Counter(
            "cidrgate_traffic_noted", "Requests that were noted for the record of traffic.", registry=registry
        )
        self._stored = Counter(
            "cidrgate_traffic_stored", "Requests that were added to the record of traffic.", registry=registry
        )
        self._lost = Counter(
            "cidrgate_traffic_lost",
            "Requests that are missing in the record of traffic: there were too many at once, too many networks of an "
            "account, or the account is gone.",
            registry=registry,
        )

    def measure(self, manager: RuleManager) -> None:
        """Count the requests that a manager records. It does nothing if the manager records none."""
        if manager._recorder is not None:
            manager._recorder.on_counts = self._count

    def _count(self, counts: TrafficCounts) -> None:
        self._noted.inc(counts.noted)
        self._stored.inc(counts.stored)
        self._lost.inc(counts.lost)
