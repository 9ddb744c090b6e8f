"""What an evaluation costs: `python -m benchmarks.evaluations`.

It evaluates the change of one list against many observed addresses, and a plan of many accounts on SQLite. There the
memory is what one list and the names in the evaluation need.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cidrgate import Observation, RuleManager
from cidrgate.foresight import ChangedList, PastTraffic, evaluate
from cidrgate.manager.evaluations import changed_list, evaluation_of
from cidrgate.stores.observations import add_observations

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.manager import ListOutcome

_NOW = datetime.now(UTC)
_RANDOM = Random(1)
_TIMES = 5


def _seen(account: str, network: str) -> Observation:
    return Observation(account=account, network=network, allowed=True, requests=3, first_seen=_NOW, last_seen=_NOW)


def _best(run: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_TIMES):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return best


def _one_list(number: int) -> None:
    change = ChangedList(
        accounts=("acct-1",),
        before=[f"8.{part * 5}.0.0/16" for part in range(50)],
        after=[f"8.{part * 5}.0.0/17" for part in range(50)],
    )
    addresses = [f"8.{_RANDOM.randrange(256)}.{_RANDOM.randrange(256)}.{_RANDOM.randrange(256)}" for _ in range(number)]
    hosts = [_seen("acct-1", f"{address}/32") for address in addresses]
    wide = [_seen("acct-1", f"{address.rpartition('.')[0]}.0/24") for address in addresses]
    for kind, observations in (("addresses", hosts), ("/24 networks", wide)):
        seconds = _best(lambda seen=observations: evaluate([(change, PastTraffic(seen))], at=_NOW))  # type: ignore[misc]
        print(f"{number:>9,} observations of {kind:<12} {seconds:8.3f} s  {seconds / number * 1e6:6.2f} µs each")


def _many_lists(number: int, folder: Path) -> None:
    names = [f"acct-{place:06}" for place in range(number)]
    with RuleManager.open(folder / f"{number}.db", create=True, load=False) as manager:
        manager.import_accounts((name, "8.8.8.0/24, 9.9.9.9/32") for name in names)
        later = datetime.now(UTC)
        for first in range(0, number, 1_000):
            seen = [
                Observation(
                    account=name,
                    network=f"8.8.8.{host}/32",
                    allowed=True,
                    requests=host + 1,
                    first_seen=later,
                    last_seen=later,
                )
                for name in names[first : first + 1_000]
                for host in range(10)
            ]
            with manager._store.write() as transaction:
                add_observations(transaction, seen)
        tried: list[ListOutcome] = []
        manager.with_hooks(before_store=tried.append).plan(dict.fromkeys(names, "9.9.9.9/32"), prune=True)
        changes = [changed_list(one, later) for one in tried]
        del tried
        tracemalloc.start()
        begin = time.perf_counter()
        found = evaluation_of(manager._store, changes, at=later)
        seconds = time.perf_counter() - begin
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    told = f"{found.newly_denied.addresses:,} addresses denied"
    print(f"{number:>9,} lists {seconds:8.2f} s while memory is traced, {peak / 2**20:6.1f} MiB at most, {told}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--observations", type=int, default=100_000)
    parser.add_argument("--lists", type=int, nargs="+", default=[1_000, 4_000])
    asked = parser.parse_args()
    _one_list(asked.observations)
    with TemporaryDirectory() as folder:
        for number in asked.lists:
            _many_lists(number, Path(folder))


if __name__ == "__main__":
    main()
