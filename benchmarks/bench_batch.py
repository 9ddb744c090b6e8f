"""Arrays: many questions at once."""

from __future__ import annotations

import threading
from hashlib import sha256
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.bench_scalar import MANY, a_matcher, ask_method, measure
from benchmarks.limits import dir_24_8_tables, interval_edges, look_up_dir_24_8, search_intervals
from benchmarks.peers import PEERS
from benchmarks.workloads import ONE_AT_A_TIME, SMOKE, addresses_for, full_table, many_accounts, numbers, small_list
from cidrgate import PrefixTrie
from cidrgate._engine import _use_vector_form, _vector_forms

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

LONG = 10_000 if SMOKE else 4_000_000
AGAIN = 10 if SMOKE else 1_000


@pytest.mark.parametrize("who", ["cidrgate", "branch-free search in C", "numpy.searchsorted", "DIR-24-8 in C"])
@pytest.mark.parametrize("table", ["50-entry IPv4 list", "full routing table, IPv4"])
def bench_contains_ipv4(benchmark: BenchmarkFixture, who: str, table: str) -> None:
    """Membership of `uint32` addresses."""
    prefixes = small_list(4) if table.startswith("50") else full_table(4)
    addresses = numbers(prefixes, LONG)
    found = np.empty(LONG, dtype=np.bool_)
    arguments: tuple[Any, ...]
    if who == "cidrgate":
        trie = PrefixTrie(prefixes)
        arguments = (lambda: trie.contains_many(addresses, out=found),)
    elif who == "branch-free search in C":
        arguments = (search_intervals, interval_edges(prefixes), addresses, found)
    elif who == "DIR-24-8 in C":
        arguments = (look_up_dir_24_8, dir_24_8_tables(prefixes), addresses, np.empty(LONG, dtype=np.uint16))
    else:
        edges = interval_edges(prefixes)
        arguments = (lambda: np.searchsorted(edges, addresses, side="right") & 1,)
    measure(benchmark, who, f"{table}, uint32", *arguments, operations=LONG)


@pytest.mark.parametrize("form", _vector_forms())
@pytest.mark.parametrize("size", [64, 1_024])
def bench_short_batches(benchmark: BenchmarkFixture, size: int, form: str) -> None:
    """Batches too short to make tables for, in each form of the search that this processor runs."""
    trie, addresses = PrefixTrie(small_list(4)), numbers(small_list(4), size)
    found = np.empty(size, dtype=np.bool_)

    def run() -> None:
        for _ in range(AGAIN):
            trie.contains_many(addresses, out=found)

    _use_vector_form(form)
    measure(benchmark, form, f"50-entry IPv4 list, batches of {size:,}", run, operations=size * AGAIN)
    _use_vector_form(None)


@pytest.mark.parametrize("family", [4, 6])
def bench_lookup_full_table(benchmark: BenchmarkFixture, family: int) -> None:
    """The index of the longest match."""
    prefixes = full_table(family)
    addresses = numbers(prefixes, LONG)
    group = f"full routing table, IPv{family}, lookup_many"
    measure(benchmark, "cidrgate", group, PrefixTrie(prefixes).lookup_many, addresses, operations=LONG)


def bench_contains_ipv6(benchmark: BenchmarkFixture) -> None:
    """Membership of `uint8[n, 16]` addresses."""
    prefixes = full_table(6)
    addresses = numbers(prefixes, LONG)
    group = "full routing table, IPv6, uint8[n, 16]"
    measure(benchmark, "cidrgate", group, PrefixTrie(prefixes).contains_many, addresses, operations=LONG)


@pytest.mark.parametrize("who", ["cidrgate, Arrow strings", "cidrgate, list of str", "cidrgate, one str at a time"])
def bench_text(benchmark: BenchmarkFixture, who: str) -> None:
    """Text against a list of 50 entries."""
    trie = PrefixTrie(small_list(4))
    texts = addresses_for(small_list(4), 10 * ONE_AT_A_TIME)
    if who.endswith("time"):
        arguments: tuple[Any, ...] = (PEERS[0].ask, trie, texts)
    else:
        arguments = (trie.contains_many, pa.array(texts) if "Arrow" in who else texts)
    measure(benchmark, who, "text, 50-entry IPv4 list", *arguments, operations=len(texts))


@pytest.mark.parametrize("who", ["cidrgate, allows_many", "cidrgate, allows"])
def bench_account_rows(benchmark: BenchmarkFixture, who: str) -> None:
    """Random pairs of account and address, by row and one at a time."""
    accounts = many_accounts(MANY, 10, min(MANY, 10 * ONE_AT_A_TIME))
    matcher = a_matcher(accounts)
    if who.endswith("many"):
        octets = np.array([ip_network(address)[0].packed for address in accounts.addresses]).view(">u4")
        arguments: tuple[Any, ...] = (matcher.allows_many, matcher.rows(accounts.names), octets.astype(np.uint32))
    else:
        arguments = (ask_method, matcher.allows, accounts.names, accounts.addresses)
    measure(benchmark, who, f"pairs of {MANY:,} accounts", *arguments, operations=len(accounts.names))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("work", ["contains_many", "SHA-256, which only computes,"])
def bench_threads(benchmark: BenchmarkFixture, work: str, threads: int) -> None:
    """The same array in one thread and in two: the rate of both together, and what the machine gives two threads."""
    prefixes = full_table(4)
    trie, addresses = PrefixTrie(prefixes), numbers(prefixes, LONG)
    octets = bytes(2 * LONG)
    answers = [np.empty(LONG, dtype=np.bool_) for _ in range(threads)]

    def look_up(thread: int) -> None:
        if work == "contains_many":
            trie.contains_many(addresses, out=answers[thread])
        else:
            sha256(octets)

    def run() -> None:
        workers = [threading.Thread(target=look_up, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    measure(benchmark, f"{threads} threads", f"{work} in threads", run, operations=LONG * threads)
