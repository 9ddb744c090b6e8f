"""The best list for 100,000 addresses, and what a heuristic finds: `python -m benchmarks.recommending [--smoke]`.

Writes `benchmarks/results/recommending.md` and the picture of a curve for the docs. The addresses are clustered as
those of clients are: in networks of the routing table, a few of which have most of the addresses, and there in runs of
neighbours. A process for each workload measures how long `recommend` takes, how long the dynamic program in it takes,
and by how much the process grows at most.

The heuristic is the usual one: join the two neighbours whose network has the fewest extra addresses, until the list is
short enough. It is written in Python, so only its lists are compared, not its time.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import subprocess
import sys
import time
from bisect import bisect_left
from fractions import Fraction
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

from benchmarks.memory import resident
from benchmarks.report import machine
from benchmarks.routing_table import routing_table
from cidrgate import Policy
from cidrgate._engine import SmallestCover
from cidrgate.foresight import recommend
from cidrgate.foresight.curve_plots import curve_svg
from cidrgate.rules import special_block
from cidrgate.rules.special_ranges import special_networks

_ROOT = Path(__file__).parents[1]
_RESULTS = _ROOT / "benchmarks" / "results"
_SEED = 12
ADDRESSES = 100_000
ENTRIES = 50
POLICY = Policy(max_entries=ENTRIES)

_NETWORKS = 400
"""From how many networks of the routing table the addresses come."""
_BLOCKS = 12
"""In how many /8 of IPv4 or /16 of IPv6 these networks are: as wide an entry may be, so that a list is possible."""
_HOST_BITS = 64
"""Of a host in IPv6."""


def _origins(source: random.Random, family: int) -> list[tuple[int, int]]:
    """Networks of the routing table in a random order: the first address, and the length."""
    usable = [ip_network(text) for text in routing_table().prefixes if (":" in text) == (family == 6)]
    usable = [network for network in usable if network.prefixlen >= {4: 12, 6: 28}[family]]
    shift = {4: 24, 6: 112}[family]
    blocks = sorted({int(network.network_address) >> shift for network in usable})
    wanted = set(source.sample(blocks, min(_BLOCKS, len(blocks))))
    usable = [network for network in usable if int(network.network_address) >> shift in wanted]
    chosen = [network for network in usable if special_block(str(network)) is None]
    chosen = source.sample(chosen, min(_NETWORKS, len(chosen)))
    return [(int(network.network_address), network.prefixlen) for network in chosen]


@cache
def clients(family: int, count: int) -> dict[str, int]:
    """Addresses of clients of one family with their requests.

    Args:
        family: 4 or 6.
        count: How many addresses.
    """
    source = random.Random(_SEED + family)
    origins = _origins(source, family)
    bits = 32 if family == 4 else 128
    # Zipf's law: the second network has half as many addresses as the first, the third one a third.
    weights = [1 / rank for rank in range(1, len(origins) + 1)]
    found: dict[int, int] = {}
    while len(found) < count:
        [(first, length)] = source.choices(origins, weights)
        free = bits - length
        begin = first | source.getrandbits(free) if free else first
        if family == 6 and free > _HOST_BITS:
            # One of the first networks of a site, and in it hosts with small numbers or random ones.
            begin = first | min(int(source.expovariate(1 / 16)), 2 ** (free - _HOST_BITS) - 1) << _HOST_BITS
            begin |= source.choice([1, source.getrandbits(_HOST_BITS)])
        for one in range(begin, begin + 1 + int(source.expovariate(1 / 4))):
            if one < first + 2**free and len(found) < count:
                found.setdefault(one, 1 + int(source.paretovariate(1)))
    make = IPv4Address if family == 4 else IPv6Address
    texts = {str(make(one)): requests for one, requests in found.items()}
    return {text: requests for text, requests in texts.items() if special_block(f"{text}/{bits}") is None}


def workload(name: str, count: int) -> dict[str, int]:
    """Addresses with their requests: of IPv4, of IPv6, or half of each."""
    if name != "both":
        return clients({"IPv4": 4, "IPv6": 6}[name], count)
    return clients(4, count // 2) | clients(6, count - count // 2)


def heuristic(addresses: list[str], most: int) -> Fraction:
    """Return the extra addresses of the list that joins the cheapest neighbours first, as `CurvePoint.extra`."""
    special = [ip_network(text) for text in special_networks()]
    begins = {version: [int(one[0]) for one in special if one.version == version] for version in (4, 6)}
    ends = {version: [int(one[-1]) for one in special if one.version == version] for version in (4, 6)}
    entries: list[tuple[int, int, int]] = []
    entries += sorted((one.version, int(one), one.max_prefixlen) for one in map(ip_address, addresses))
    after: list[int] = [*range(1, len(entries)), -1]
    before = list(range(-1, len(entries) - 1))
    alive = [True] * len(entries)
    weight = {4: 2**64, 6: 1}
    bits = {4: 32, 6: 128}
    widest = {4: POLICY.widest_ipv4, 6: POLICY.widest_ipv6}

    def size(version: int, length: int) -> int:
        return weight[version] << bits[version] - length

    def joined(left: int, right: int) -> tuple[int, int, int] | None:
        """What it costs to join two neighbours, the first address and the length; None if no entry may be so wide."""
        (version, one, length), (other_version, other, _) = entries[left], entries[right]
        if version != other_version:
            return None
        shared = min(length, bits[version] - (one ^ other).bit_length())
        first = one >> bits[version] - shared << bits[version] - shared
        # None of the special networks contains an entry, so one that overlaps the network begins inside of it.
        inside = bisect_left(begins[version], first)
        end = first + 2 ** (bits[version] - shared)
        if shared < widest[version] or (inside < len(ends[version]) and ends[version][inside] < end):
            return None
        return size(version, shared) - size(version, length) - size(version, entries[right][2]), first, shared

    heap: list[tuple[int, int, int, tuple[int, int, int], tuple[int, int, int]]] = []

    def offer(left: int, right: int) -> None:
        if left >= 0 and right >= 0 and (found := joined(left, right)) is not None:
            heapq.heappush(heap, (found[0], left, right, entries[left], entries[right]))

    for left in range(len(entries) - 1):
        offer(left, left + 1)
    count = len(entries)
    while count > most and heap:
        _, left, right, was, other = heapq.heappop(heap)
        if not (alive[left] and alive[right]) or (entries[left], entries[right]) != (was, other):
            continue
        found = joined(left, right)
        if found is None or after[left] != right:
            continue
        version = entries[left][0]
        entries[left] = (version, found[1], found[2])
        end = found[1] + 2 ** (bits[version] - found[2])
        # The network may contain further neighbours, on both sides.
        while after[left] >= 0 and entries[after[left]][0] == version and entries[after[left]][1] < end:
            gone = after[left]
            alive[gone] = False
            after[left] = after[gone]
            if after[left] >= 0:
                before[after[left]] = left
            count -= 1
        while before[left] >= 0 and entries[before[left]][0] == version and entries[before[left]][1] >= found[1]:
            gone = before[left]
            alive[gone] = False
            before[left] = before[gone]
            if before[left] >= 0:
                after[before[left]] = left
            count -= 1
        offer(before[left], left)
        offer(left, after[left])
    if count > most:
        raise AssertionError(f"{count} entries are left")
    held = sum(size(version, length) for at, (version, _, length) in enumerate(entries) if alive[at])
    return Fraction(held - sum(size(6 if ":" in text else 4, 128 if ":" in text else 32) for text in addresses), 2**64)


def _forget_peak() -> None:
    """Let the most memory that this process had be what it has now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Return the most bytes of this process in memory since then."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1_024


def _measure(name: str, count: int, rounds: int) -> dict[str, Any]:
    """One workload in this process."""
    seen = workload(name, count)
    networks = [f"{text}/{128 if ':' in text else 32}" for text in seen]
    barred = special_networks()
    before = resident()
    _forget_peak()
    began = time.perf_counter()
    found = recommend(seen, POLICY)
    first = time.perf_counter() - began
    grown = _peak() - before
    whole, program = [first], []
    for _ in range(rounds):
        began = time.perf_counter()
        recommend(seen, POLICY)
        whole.append(time.perf_counter() - began)
        began = time.perf_counter()
        SmallestCover(networks, barred, ENTRIES, POLICY.widest_ipv4, POLICY.widest_ipv6, bar_mapped=True)
        program.append(time.perf_counter() - began)
    best = found.curve[-1]
    usual = heuristic(list(seen), ENTRIES)
    if usual < best.extra:
        raise AssertionError("the heuristic found a better list")
    return {
        "addresses": len(seen),
        "whole": min(whole),
        "program": min(program),
        "grown": grown,
        "entries": len(found.networks),
        "extra": float(best.extra),
        "more": float(usual / best.extra) if best.extra else 1.0,
        "picture": curve_svg(
            found.curve, len(found.networks), f"The best lists for {len(seen):,} addresses of clients"
        ),
    }


def _page(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        "# Recommendations",
        "",
        f"The best list of at most {ENTRIES} entries for {ADDRESSES:,} addresses. They are clustered as those of",
        f"clients are, in networks of {routing_table().source}.",
        "Written by `python -m benchmarks.recommending`; times are the best of several rounds.",
        "",
        *(f"- {name}: {value}" for name, value in machine(["cidrgate"]).items()),
        "",
        "| addresses | `recommend` | of it the engine | memory | extra addresses | heuristic |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['whole'] * 1e3:.0f} ms | {row['program'] * 1e3:.0f} ms | {row['grown'] / 1e6:.0f} MB | "
            f"{row['extra']:,.0f} | {row['more']:.3f} times |"
        )
    lines += [
        "",
        "- the engine: it reads the texts, sorts them, and finds the best list for every number of entries",
        "- memory: by how much the process grows during the first `recommend`",
        "- extra addresses: addresses of IPv4 and /64 networks of IPv6 that the list allows and nobody used",
        "- heuristic: how many times as many the list has that joins the cheapest neighbours first",
        "",
        "![Extra addresses by the number of entries](../../docs/images/recommend-curve.svg)",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure one workload, or all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="few addresses, and no page")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    count, rounds = (2_000, 1) if chosen.smoke else (ADDRESSES, 5)
    if chosen.one:
        print(json.dumps(_measure(chosen.one, count, rounds)))
        return
    rows = {}
    for name in ("IPv4", "IPv6", "both"):
        command = [
            sys.executable,
            "-m",
            "benchmarks.recommending",
            "--one",
            name,
            *(["--smoke"] if chosen.smoke else []),
        ]
        rows[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        shown = {key: value for key, value in rows[name].items() if key != "picture"}
        print(name, shown, flush=True)
    if not chosen.smoke:
        (_RESULTS / "recommending.md").write_text(_page(rows), encoding="utf-8")
        (_ROOT / "docs" / "images" / "recommend-curve.svg").write_text(rows["IPv4"]["picture"], encoding="utf-8")


if __name__ == "__main__":
    main()
