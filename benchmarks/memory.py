"""What tables and accounts take in memory: a process for each, and its growth. `python -m benchmarks.memory`."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.bench_scalar import MANY, a_dictionary, a_matcher
from benchmarks.peers import PEERS
from benchmarks.workloads import full_table, many_accounts

__all__ = ["measure_all"]

_PAGE = 4_096
_TABLES = [peer.name for peer in PEERS if peer.scales]
_ACCOUNTS = ["cidrgate", "dict[str, PyTricia]"]


def _resident() -> int:
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
        before = _resident()
        held = _table(who)
    else:
        accounts = many_accounts(MANY, 10, 0)
        things = len(accounts.lists)
        before = _resident()
        held = a_matcher(accounts) if who == "cidrgate" else a_dictionary(accounts, 32)
    after = _resident()
    del held
    return after - before, things


def measure_all() -> list[dict[str, Any]]:
    """Each measurement in a process of its own.

    Returns:
        Rows with `kind` (table or accounts), `who`, `bytes` and `things`.
    """
    rows = []
    for kind, everybody in (("table", _TABLES), ("accounts", _ACCOUNTS)):
        for who in everybody:
            command = [sys.executable, "-m", "benchmarks.memory", kind, who]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append({"kind": kind, "who": who, **json.loads(answer)})
    return rows


def main() -> None:
    """Measure one thing, or all of them."""
    if len(sys.argv) == 3:
        size, things = _growth(sys.argv[1], sys.argv[2])
        print(json.dumps({"bytes": size, "things": things}))
        return
    for row in measure_all():
        print(
            f"{row['kind']:10} {row['who']:22} {row['bytes'] / 1e6:10.1f} MB {row['bytes'] / row['things']:8.0f} B each"
        )


if __name__ == "__main__":
    main()
