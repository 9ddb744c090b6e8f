"""What searches across all accounts cost: entries that cover or overlap a network, and accounts by their names.

    python -m benchmarks.searching [--accounts 1000000] [--stores SQLite PostgreSQL]

Imports accounts with one entry each, of which each thousandth has the same network, and prints the best time of several
for each search. On SQLite it prints the times before the rows are in the full-text indexes too, and how long indexing
takes. The PostgreSQL server is started for the purpose, on the same processors. Nothing is written to a page.
"""

from __future__ import annotations

import argparse
import sys
import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psycopg

from cidrgate import NewEntry, RuleManager
from tests.postgres import PostgresServer, find_binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ATTEMPTS = 5
SHARED = "9.9.9.0/24"
"""The network that each thousandth account lists."""

WORDS = ("acme", "globex", "initech", "umbrella", "stark", "wayne", "hooli", "vandelay", "wonka", "tyrell")
SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB"}


def lists(accounts: int) -> Iterator[tuple[str, list[NewEntry]]]:
    """An entry for each account: 70 % IPv4, 30 % IPv6, in no order."""
    source = Random(2026)
    for number in range(accounts):
        if number % 1000 == 999:
            cidr = SHARED
        elif source.random() < 0.7:
            cidr = f"{IPv4Address(source.randrange(20 << 24, 28 << 24))}/32"
        else:
            cidr = f"{IPv6Address(0x2606 << 112 | source.getrandbits(112))}/128"
        yield f"{source.choice(WORDS)}-{source.getrandbits(24):06x}-{number}", [NewEntry(cidr)]


def best(search: Callable[[], list[Any]]) -> str:
    """The best time of some attempts, and how much was found."""
    seconds, found = [], []
    for _ in range(ATTEMPTS):
        began = time.perf_counter()
        found = search()
        seconds.append(time.perf_counter() - began)
    return f"{min(seconds) * 1000:8.2f} ms, {len(found)} found"


def searches(manager: RuleManager) -> dict[str, Callable[[], list[Any]]]:
    """The searches, by what is special about each; a page of 100."""
    some = manager.accounts(limit=10)[-1].name
    [rare] = manager.entries(some)
    part = some.partition("-")[2]
    return {
        "entries that contain a rare address": lambda: manager.find(rare.cidr, limit=100),
        "entries that contain an address of many accounts": lambda: manager.find("9.9.9.9", limit=100),
        "entries that contain an address, none": lambda: manager.find("7.7.7.7", limit=100),
        "entries that overlap a /20": lambda: manager.find(overlaps="20.1.16.0/20", limit=100),
        "entries that overlap a /8": lambda: manager.find(overlaps="20.0.0.0/8", limit=100),
        "entries that overlap everything": lambda: manager.find(overlaps="0.0.0.0/0", limit=100),
        "entries that overlap an IPv6 /48": lambda: manager.find(overlaps="2606:4700:1234::/48", limit=100),
        "names that contain a rare text": lambda: manager.accounts(containing=part[:9].upper(), limit=100),
        "names that contain a common text": lambda: manager.accounts(containing="acme", limit=100),
        "names that contain a text that none contains": lambda: manager.accounts(containing="qqq", limit=100),
        "names that contain two characters": lambda: manager.accounts(containing="e-", limit=100),
        "names that contain two characters, none": lambda: manager.accounts(containing="qq", limit=100),
        "names that start with a rare text": lambda: manager.accounts(starting_with=some[:-2].upper(), limit=100),
        "names that start with a common text": lambda: manager.accounts(starting_with="acme", limit=100),
    }


def show(manager: RuleManager, title: str) -> None:
    """Print the time of each search."""
    print(f"\n{title}")
    for name, search in searches(manager).items():
        print(f"  {name:<50} {best(search)}", flush=True)


def run(name: str, url: str, accounts: int) -> None:
    """Import, search, index, and search again."""
    with RuleManager.open(url, create=True, load=False) as manager:
        began, used = time.perf_counter(), time.process_time()
        manager.import_accounts(lists(accounts))
        seconds, used = time.perf_counter() - began, time.process_time() - used
        print(f"\n{name}: imported {accounts:,} accounts in {seconds:.1f} s, {used:.1f} s of this process")
        if name == "SQLite":
            show(manager, f"{name}, before the rows are indexed")
            began = time.perf_counter()
            while manager._store.index_new_rows():
                pass
            print(f"\n{name}: indexed all rows in {time.perf_counter() - began:.1f} s")
        else:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")  # what the server does by itself, some time after an import
        show(manager, name)


def main() -> int:
    """Measure each store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--stores", nargs="+", choices=["SQLite", "PostgreSQL"], default=["SQLite", "PostgreSQL"])
    asked = parser.parse_args()
    for store in asked.stores:
        if store == "SQLite":
            with TemporaryDirectory() as folder:
                run(store, f"sqlite:///{Path(folder) / 'lists.db'}", asked.accounts)
        else:
            binaries = find_binaries()
            if binaries is None:
                raise SystemExit("needs a PostgreSQL server's programs, on Debian: apt-get install postgresql")
            with PostgresServer(binaries, settings=SERVER) as server:
                run(store, server.take_database(), asked.accounts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
