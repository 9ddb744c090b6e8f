"""The limits beside the engine: plain C loops, and DPDK's forwarding tables where that is installed.

The C compiler is the one the engine is built with. DPDK runs in a process of its own, as it takes one over.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.workloads import full_table, numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dir_24_8_tables", "dpdk_rates", "interval_edges", "look_up_dir_24_8", "search_intervals"]

_HERE = Path(__file__).parent
_DEEP = 2**15
_DPDK_ADDRESSES = 4_000_000


@cache
def library() -> ctypes.CDLL:
    """`limits.c`, compiled."""
    directory = Path(mkdtemp())
    target = directory / "limits.so"
    compiler = os.environ.get("CC", "cc")
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", str(_HERE / "limits.c"), "-o", str(target)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(target))


def interval_edges(prefixes: tuple[str, ...]) -> NDArray[np.uint32]:
    """Where membership changes along the IPv4 addresses."""
    edges: list[int] = []
    for first, last in sorted((int(network[0]), int(network[-1])) for network in map(ip_network, prefixes)):
        if edges and first <= edges[-1]:
            edges[-1] = max(edges[-1], last + 1)
        else:
            edges += [first, last + 1]
    return np.array(edges, dtype=np.uint64).clip(max=2**32 - 1).astype(np.uint32)


def dir_24_8_tables(prefixes: tuple[str, ...]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """The two tables of DIR-24-8 for IPv4 prefixes; a slot says only whether there is a match, and how long it is."""
    first = np.zeros(2**24, dtype=np.uint16)
    second: list[NDArray[np.uint16]] = []
    for network in sorted(map(ip_network, prefixes), key=lambda network: network.prefixlen):
        start, length = int(network.network_address), network.prefixlen
        if length <= 24:
            first[start >> 8 : (start >> 8) + (1 << (24 - length))] = length + 1
            continue
        slot = int(first[start >> 8])
        if slot < _DEEP:
            second.append(np.full(256, slot, dtype=np.uint16))
            slot = _DEEP + len(second) - 1
            first[start >> 8] = slot
        second[slot - _DEEP][start & 255 : (start & 255) + (1 << (32 - length))] = length + 1
    return first, np.concatenate(second) if second else np.zeros(256, dtype=np.uint16)


def search_intervals(edges: NDArray[np.uint32], addresses: NDArray[np.uint32], found: NDArray[np.bool_]) -> None:
    """Membership of each address by branch-free search."""
    library().interval_search(
        edges.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(len(edges)),
        addresses.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(len(addresses)),
        found.ctypes.data_as(ctypes.c_void_p),
    )


def look_up_dir_24_8(
    tables: tuple[NDArray[np.uint16], NDArray[np.uint16]], addresses: NDArray[np.uint32], slots: NDArray[np.uint16]
) -> None:
    """The slot of each address."""
    library().dir_24_8(
        tables[0].ctypes.data_as(ctypes.c_void_p),
        tables[1].ctypes.data_as(ctypes.c_void_p),
        ctypes.c_uint16(_DEEP),
        addresses.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_size_t(len(addresses)),
        slots.ctypes.data_as(ctypes.c_void_p),
    )


def dpdk_rates() -> list[dict[str, Any]]:
    """DPDK's `rte_fib` and `rte_fib6` over the full table: nanoseconds a lookup in bulks of 64, one core.

    Returns:
        Rows with `family`, `path` (scalar or avx512), `median_ns` and `iqr_ns` (None where the processor lacks the
        path) and `matched`, the part of the addresses in the table; none where `pkg-config` does not know libdpdk.
    """
    if not shutil.which("pkg-config") or subprocess.run(["pkg-config", "--exists", "libdpdk"], check=False).returncode:
        return []
    directory = Path(mkdtemp())
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libdpdk"], check=True, capture_output=True, text=True
    ).stdout.split()
    program = directory / "dpdk_fib"
    command = [os.environ.get("CC", "cc"), "-O3", "-march=native", str(_HERE / "dpdk_fib.c"), "-o", str(program)]
    subprocess.run([*command, *flags], check=True)
    rows = []
    for family in (4, 6):
        prefixes, addresses = directory / f"prefixes{family}", directory / f"addresses{family}"
        networks = [ip_network(prefix) for prefix in full_table(family)]
        prefixes.write_bytes(b"".join(n.network_address.packed + bytes([n.prefixlen]) for n in networks))
        asked = numbers(full_table(family), _DPDK_ADDRESSES)
        addresses.write_bytes(asked.tobytes())
        for path in ("scalar", "avx512"):
            options = ["--no-huge", "--no-pci", "--no-telemetry", "-m", "2048", "-l", "0", "--log-level", "1"]
            options += ["--force-max-simd-bitwidth", "512" if path == "avx512" else "64"]
            run = [str(program), *options, "--", str(family), path, str(prefixes), str(addresses)]
            answer = subprocess.run(run, check=True, capture_output=True, text=True).stdout
            rows.append({"family": family, "path": path, **json.loads(answer.splitlines()[-1])})
    shutil.rmtree(directory)
    return rows
