"""Lists of long prefixes, from 64 to 200,000 of them, beside the peers: `python -m benchmarks.deep_lists [--smoke]`.

Writes `benchmarks/results/deep-lists.md`. A process for each table measures what it takes in memory, how long it takes
to build from text, and how long a question takes; half of the addresses are in the list. Times are the best of several
rounds, because everything else on a machine only adds to them.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.memory import resident
from benchmarks.peers import PEERS
from benchmarks.report import machine
from benchmarks.routing_table import routing_table
from benchmarks.workloads import addresses_for, full_table
from cidrgate import PrefixTrie

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (64, 65, 1_000, 4_096, 9_000, 200_000)
ASKED = 40_000
ARRAY = 400_000
_RESULTS = Path(__file__).parent / "results"
_SEED = 9

# A shape: the bits of an address, the length of the prefixes, and the number of one at random.
_SHAPES: dict[str, tuple[int, int, Callable[[random.Random], int]]] = {
    "random /32 of IPv4": (32, 32, lambda source: source.getrandbits(32)),
    "random /128": (128, 128, lambda source: source.getrandbits(128)),
    "/64 in one /32": (128, 64, lambda source: 0x26064700 << 96 | source.getrandbits(32) << 64),
    "/128 in one /48": (128, 128, lambda source: 0x260647000001 << 80 | source.getrandbits(80)),
}
_PEERS = [peer for peer in PEERS if peer.scales and peer.builds]


def _text(bits: int, number: int) -> str:
    return str((IPv4Address if bits == 32 else IPv6Address)(number))


def _best(work: Callable[[], object], rounds: int) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _measure(shape: str, size: int, who: str, asked: int) -> dict[str, float]:
    """One table of one peer."""
    bits, length, number = _SHAPES[shape]
    source = random.Random(_SEED)
    numbers: set[int] = set()
    while len(numbers) < size:
        numbers.add(number(source))
    listed = sorted(numbers)
    prefixes = [f"{_text(bits, one)}/{length}" for one in listed]
    source.shuffle(prefixes)
    wanted = [
        source.choice(listed) ^ (source.getrandbits(1) << source.randrange(bits - length, bits)) for _ in range(asked)
    ]
    texts = [_text(bits, one) for one in wanted]
    peer = next(peer for peer in _PEERS if peer.name == who)
    # Several tables, as one of 64 prefixes is less than what a process gets at once.
    copies = max(1, 20_000 // size)
    before = resident()
    tables = [peer.build(prefixes) for _ in range(copies)]
    held = (resident() - before) / copies / size
    rounds = 3 if size > 10_000 else 9
    result = {
        "bytes": held,
        "build": _best(lambda: peer.build(prefixes), rounds) * 1e3,
        "single": _best(lambda: peer.ask(tables[0], texts), rounds) / asked * 1e9,
    }
    if isinstance(tables[0], PrefixTrie):
        result["bytes"] = tables[0].nbytes / size
        array: Any = (
            np.array(wanted, dtype=np.uint32)
            if bits == 32
            else np.frombuffer(b"".join(one.to_bytes(16, "big") for one in wanted), dtype=np.uint8).reshape(-1, 16)
        )
        array = np.concatenate([array] * max(1, ARRAY // asked))
        found = np.empty(len(array), dtype=np.int32)
        result["array"] = _best(lambda: tables[0].lookup_many(array, out=found), 7) / len(array) * 1e9
        result["bytes with the index for arrays"] = tables[0].nbytes / size
    return result


def _full_table() -> dict[str, float]:
    """What the global routing table takes, and a question of its IPv6 part."""
    trie = PrefixTrie(routing_table().prefixes)
    ipv6 = PrefixTrie(full_table(6))
    texts = addresses_for(full_table(6), ASKED)
    single = _best(lambda: PEERS[0].ask(ipv6, texts), 9) / ASKED * 1e9
    return {"prefixes": len(trie), "bytes": trie.nbytes, "single": single}


def _in_a_process(*what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.deep_lists", "--one", *what]
    answer: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


def main() -> None:
    """Measure one table, or all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="small tables, and no page")
    parser.add_argument("--one", nargs="*", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        shape, size, who, asked = chosen.one
        print(json.dumps(_full_table() if shape == "full table" else _measure(shape, int(size), who, int(asked))))
        return
    sizes, asked, peers = ((65,), 200, _PEERS[:2]) if chosen.smoke else (SIZES, ASKED, _PEERS)
    lines = ["# Lists of long prefixes", "", "Written by `python -m benchmarks.deep_lists`.", ""]
    lines += [
        f"- {name}: {value}" for name, value in machine(["cidrgate", "pytricia", "py-radix", "pysubnettree"]).items()
    ]
    if not chosen.smoke:
        full = _in_a_process("full table", "0", "", "0")
        lines += [
            "",
            f"The global routing table of {full['prefixes']:,.0f} prefixes takes {full['bytes'] / 1e6:.1f} MB. "
            f"One address at a time in its IPv6 part takes {full['single']:.0f} ns, measured like the tables below.",
        ]
    for shape in _SHAPES:
        lines += ["", f"## {shape[0].upper() + shape[1:]}", ""]
        lines += [
            "| prefixes | table | bytes a prefix | build, ms | one at a time, ns | array, ns |",
            "|---|---|---|---|---|---|",
        ]
        for size in sizes:
            for peer in peers:
                found = _in_a_process(shape, str(size), peer.name, str(asked))
                array = f"{found['array']:.1f}" if "array" in found else ""
                more = found.get("bytes with the index for arrays", found["bytes"])
                held = f"{found['bytes']:.0f}" + (
                    f" ({more:.0f} with the index for arrays)" if more > found["bytes"] else ""
                )
                lines.append(
                    f"| {size:,} | {peer.name} | {held} | {found['build']:.3g} | {found['single']:.0f} | {array} |"
                )
    page = "\n".join([*lines, ""])
    print(page)
    if not chosen.smoke:
        (_RESULTS / "deep-lists.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
