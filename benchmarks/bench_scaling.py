"""How a check and a lookup get slower as there is more: number of accounts, size of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.bench_scalar import MANY, a_dictionary, a_matcher, ask_dictionary, ask_method, measure
from benchmarks.peers import PEERS, Peer
from benchmarks.workloads import ONE_AT_A_TIME, addresses_for, full_table, many_accounts

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


@pytest.mark.parametrize("who", ["cidrgate", "dict[str, PyTricia]"])
@pytest.mark.parametrize("count", [1, 10, 100, 1_000, 10_000, 100_000, MANY])
def bench_number_of_accounts(benchmark: BenchmarkFixture, who: str, count: int) -> None:
    """`allows` over a growing number of accounts of ten entries."""
    accounts = many_accounts(count, 10, 5 * ONE_AT_A_TIME)
    benchmark.extra_info["size"] = count
    questions = accounts.names, accounts.addresses
    if who == "cidrgate":
        arguments = (ask_method, a_matcher(accounts).allows, *questions)
    else:
        arguments = (ask_dictionary, a_dictionary(accounts, 32), *questions)  # type: ignore[assignment]
    measure(benchmark, who, "scaling: number of accounts", *arguments, operations=len(accounts.names))


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.scales and peer.builds], ids=lambda peer: peer.name)
@pytest.mark.parametrize("size", [10, 100, 1_000, 10_000, 100_000, None])
def bench_size_of_table(benchmark: BenchmarkFixture, peer: Peer, size: int | None) -> None:
    """One `str` at a time in a growing IPv4 table."""
    every = full_table(4)
    prefixes = every[:: max(1, len(every) // size)] if size else every
    addresses = addresses_for(prefixes, ONE_AT_A_TIME)
    benchmark.extra_info["size"] = len(prefixes)
    group = "scaling: size of the table"
    measure(benchmark, peer.name, group, peer.ask, peer.build(prefixes), addresses, operations=len(addresses))
