"""What tables and accounts take in memory: a process for each, and its growth. `python -m benchmarks.memory`."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bench_scalar import MANY, a_dictionary, a_matcher
from benchmarks.mmdb import MappedTable
from benchmarks.peers import PEERS
from benchmarks.workloads import full_table, many_accounts
from cidrgate import Matcher

__all__ = ["measure_all", "resident"]

_PAGE = 4_096
_TABLES = [peer.name for peer in PEERS if peer.scales]
_ACCOUNTS = ["cidrgate", "dict[str, PyTricia]"]


def resident() -> int:
    """Bytes of this process in memory, after giving back what is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _table(who: str) -> Any:
    peer = next(peer for peer in PEERS if peer.name == who)
    return peer.build(full_table(4)), peer.build(full_table(6))


def _growth(kind: str, who: str) -> tuple[int, int]:
    """How many bytes building takes, and for how many things."""
    if kind == "table":
        things = len(full_table(4)) + len(full_table(6))
        before = resident()
        held = _table(who)
        if isinstance(held[0], MappedTable):
            # Only the pages of its file that were read are in memory. All of them are needed.
            return sum(table.nbytes for table in held), things
    else:
        accounts = many_accounts(MANY, 10, 0)
        things = len(accounts.lists)
        before = resident()
        held = a_matcher(accounts) if who == "cidrgate" else a_dictionary(accounts, 32)
    after = resident()
    del held
    return after - before, things


def _private() -> int:
    """Bytes that this process shares with no other."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_")) * 1_024


def _opened(path: str) -> tuple[int, int]:
    """How many bytes are private to a process that opens a snapshot another has open, and asks of every account."""
    accounts = many_accounts(MANY, 10, 0)
    names = list(accounts.lists)
    with subprocess.Popen(
        [sys.executable, "-c", f"from cidrgate import Matcher; m = Matcher.open({path!r}); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as first:
        if first.stdout is None:
            raise AssertionError
        first.stdout.readline()
        before = _private()
        matcher = Matcher.open(path)
        for name in names:
            matcher.allows(name, "8.8.8.8")
        after = _private()
        first.communicate(b"\n")
    return after - before, len(names)


def _snapshot_row() -> dict[str, Any]:
    """The private memory of the second process with a snapshot, beside the size of the matcher."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "accounts.snapshot"
        a_matcher(many_accounts(MANY, 10, 0)).save(path)
        return {
            "kind": "second process",
            "who": "cidrgate",
            "of": path.stat().st_size,
            **_in_a_process("open", str(path)),
        }


def _in_a_process(kind: str, what: str) -> dict[str, Any]:
    """What a process of its own measures."""
    command = [sys.executable, "-m", "benchmarks.memory", kind, what]
    answer: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


def measure_all() -> list[dict[str, Any]]:
    """Each measurement in a process of its own.

    Returns:
        Rows with `kind` (table, accounts or second process), `who`, `bytes` and `things`; the last kind also has
        `of`, the size of the file.
    """
    rows = []
    for kind, everybody in (("table", _TABLES), ("accounts", _ACCOUNTS)):
        for who in everybody:
            rows.append({"kind": kind, "who": who, **_in_a_process(kind, who)})
    return [*rows, _snapshot_row()]


def main() -> None:
    """Measure one thing, or all of them."""
    if len(sys.argv) == 3:
        measure = partial(_opened, sys.argv[2]) if sys.argv[1] == "open" else partial(_growth, *sys.argv[1:])
        size, things = measure()
        print(json.dumps({"bytes": size, "things": things}))
        return
    for row in measure_all():
        print(
            f"{row['kind']:14} {row['who']:22} {row['bytes'] / 1e6:10.1f} MB {row['bytes'] / row['things']:8.0f} B each"
        )


if __name__ == "__main__":
    main()
