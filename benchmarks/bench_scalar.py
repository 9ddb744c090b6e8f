"""One question at a time, as a service asks: small lists, the full table, and the lists of many accounts."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pytest
import pytricia
from Cython.Build import cythonize
from setuptools import Distribution, Extension

from benchmarks.peers import PEERS, Peer
from benchmarks.workloads import ONE_AT_A_TIME, SMOKE, Accounts, addresses_for, full_table, many_accounts, small_list
from cidrgate import Matcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_benchmark.fixture import BenchmarkFixture

MANY = 1_000 if SMOKE else 1_000_000


def measure(benchmark: BenchmarkFixture, who: str, group: str, ask: Any, *arguments: Any, operations: int) -> None:
    """Measure rounds of many operations each."""
    benchmark.group = group
    benchmark.extra_info.update(who=who, operations=operations)
    benchmark.pedantic(ask, arguments, rounds=2 if SMOKE else 15, warmup_rounds=1)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
@pytest.mark.parametrize("family", [4, 6])
def bench_small_list(benchmark: BenchmarkFixture, peer: Peer, family: int) -> None:
    """A list of 50 entries."""
    prefixes = small_list(family)
    addresses = addresses_for(prefixes, ONE_AT_A_TIME if peer.scales else ONE_AT_A_TIME // 50)
    group = f"50-entry IPv{family} list"
    measure(benchmark, peer.name, group, peer.ask, peer.build(prefixes), addresses, operations=len(addresses))


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.scales], ids=lambda peer: peer.name)
@pytest.mark.parametrize("family", [4, 6])
def bench_full_table(benchmark: BenchmarkFixture, peer: Peer, family: int) -> None:
    """The full routing table."""
    prefixes = full_table(family)
    addresses = addresses_for(prefixes, 5 * ONE_AT_A_TIME)
    group = f"full routing table, IPv{family}"
    measure(benchmark, peer.name, group, peer.ask, peer.build(prefixes), addresses, operations=len(addresses))


def ask_method(ask: Any, names: list[str], addresses: list[str]) -> None:
    """Ask by a method of two arguments."""
    for name, address in zip(names, addresses, strict=True):
        ask(name, address)


def ask_dictionary(tables: dict[str, Any], names: list[str], addresses: list[str]) -> None:
    """Ask one table an account."""
    for name, address in zip(names, addresses, strict=True):
        address in tables[name]  # noqa: B015


def a_matcher(accounts: Accounts) -> Matcher:
    """All accounts in a matcher."""
    matcher = Matcher()
    for name, listed in accounts.lists.items():
        matcher.publish(name, listed)
    return matcher


def a_dictionary(accounts: Accounts, bits: int) -> dict[str, Any]:
    """All accounts as one pytricia table each."""
    tables = {}
    for name, listed in accounts.lists.items():
        tables[name] = pytricia.PyTricia(bits)
        for prefix in listed:
            tables[name][prefix] = True
    return tables


@pytest.fixture(scope="module")
def floor() -> Iterator[Any]:
    """An object whose method does nothing, compiled as the engine is."""
    directory = Path(mkdtemp())
    shutil.copy(Path(__file__).with_name("floor.pyx"), directory)
    extension = cythonize([Extension("floor", [str(directory / "floor.pyx")])], quiet=True)
    command: Any = Distribution({"ext_modules": extension}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = str(directory)
    command.ensure_finalized()
    command.run()
    specification = importlib.util.spec_from_file_location("floor", next(directory.glob("floor*.so")))
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module.Floor()
    shutil.rmtree(directory)


def bench_floor(benchmark: BenchmarkFixture, floor: Any) -> None:
    """The call alone."""
    accounts = many_accounts(1_000, 50, ONE_AT_A_TIME)
    questions = accounts.names, accounts.addresses
    measure(
        benchmark,
        "no-op method",
        "1,000 accounts of 50",
        ask_method,
        floor.allows,
        *questions,
        operations=ONE_AT_A_TIME,
    )


@pytest.mark.parametrize("who", ["cidrgate", "dict[str, PyTricia]"])
@pytest.mark.parametrize(
    ("count", "entries", "family"), [(1_000, 50, 4), (1_000, 50, 6), (100_000, 10, 4), (MANY, 10, 4)]
)
def bench_accounts(benchmark: BenchmarkFixture, who: str, count: int, entries: int, family: int) -> None:
    """`allows(account, address)` over many accounts, met at random."""
    accounts = many_accounts(min(count, MANY), entries, 5 * ONE_AT_A_TIME, family)
    group = f"{count:,} accounts of {entries}" + (", IPv6" if family == 6 else "")
    questions = accounts.names, accounts.addresses
    if who == "cidrgate":
        ask, target = ask_method, a_matcher(accounts).allows
    else:
        ask, target = ask_dictionary, a_dictionary(accounts, 32 if family == 4 else 128)  # type: ignore[assignment]
    measure(benchmark, who, group, ask, target, *questions, operations=len(accounts.names))
