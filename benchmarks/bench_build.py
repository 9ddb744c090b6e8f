"""Building and changing: the full table from text, one list again, one account beside many, a saved file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from benchmarks.bench_scalar import MANY, a_matcher, measure
from benchmarks.peers import PEERS, Peer
from benchmarks.workloads import SMOKE, full_table, many_accounts, small_list
from cidrgate import Matcher

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

AGAIN = 10 if SMOKE else 1_000


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.scales and peer.builds], ids=lambda peer: peer.name)
def bench_build_full_table(benchmark: BenchmarkFixture, peer: Peer) -> None:
    """The full table of both families from text."""

    def build() -> tuple[object, object]:
        return peer.build(full_table(4)), peer.build(full_table(6))

    benchmark.group = "build the full table from text"
    benchmark.extra_info.update(who=peer.name, operations=1)
    benchmark.pedantic(build, rounds=1 if SMOKE else 5)


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.builds], ids=lambda peer: peer.name)
def bench_rebuild(benchmark: BenchmarkFixture, peer: Peer) -> None:
    """A list of 50 entries from text."""

    def rebuild() -> None:
        for _ in range(AGAIN):
            peer.build(small_list(4))

    measure(benchmark, peer.name, "rebuild a 50-entry list", rebuild, operations=AGAIN)


@pytest.mark.parametrize("beside", [0, MANY])
def bench_publish(benchmark: BenchmarkFixture, beside: int) -> None:
    """Publish one account of 50 entries beside others."""
    matcher = a_matcher(many_accounts(beside, 10, 0)) if beside else Matcher()
    listed = list(small_list(4))

    def publish() -> None:
        for _ in range(AGAIN):
            matcher.publish("acct", listed)

    measure(benchmark, f"beside {beside:,} others", "publish a 50-entry account", publish, operations=AGAIN)


@pytest.mark.parametrize(
    "who", ["cidrgate, Matcher.open", "cidrgate, Matcher.open of a trusted file", "cidrgate, publish one by one"]
)
def bench_open(benchmark: BenchmarkFixture, who: str, tmp_path: Path) -> None:
    """All accounts from a saved file, or from their lists as text."""
    accounts = many_accounts(MANY, 10, 0)
    group = f"make {MANY:,} accounts ready"
    if "open" in who:
        a_matcher(accounts).save(tmp_path / "accounts.snapshot")
        opening = partial(Matcher.open, tmp_path / "accounts.snapshot", trusted="trusted" in who)
        measure(benchmark, who, group, opening, operations=1)
    else:
        benchmark.group = group
        benchmark.extra_info.update(who=who, operations=1)
        benchmark.pedantic(a_matcher, (accounts,), rounds=3)
