"""A MaxMind DB file with nothing but membership: a table for `maxminddb`, which reads such files but writes none.

The format is https://maxmind.github.io/MaxMind-DB/: a binary trie over the bits of an address, whose records lead to a
node, to nothing, or to data. Here all data is one `true`.
"""

from __future__ import annotations

import tempfile
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import maxminddb

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MappedTable", "mapped_table", "mmdb_file"]

_TEXT, _UINT16, _UINT32, _MAP, _UINT64, _ARRAY = 2, 5, 6, 7, 9, 11
_BYTES = {_UINT16: 2, _UINT32: 4, _UINT64: 8}
_TRUE = b"\x01\x07"
_METADATA = b"\xab\xcd\xefMaxMind.com"
_SEPARATOR = 16
_NOTHING, _LISTED = -1, -2


@dataclass(frozen=True, slots=True)
class MappedTable:
    """A reader over a mapped file, and the size of the file in bytes."""

    reader: Any
    nbytes: int


def _edges(prefixes: Sequence[str]) -> list[int]:
    """Where membership changes along the addresses."""
    edges: list[int] = []
    for first, last in sorted((int(network[0]), int(network[-1])) for network in map(ip_network, prefixes)):
        if edges and first <= edges[-1]:
            edges[-1] = max(edges[-1], last + 1)
        else:
            edges += [first, last + 1]
    return edges


def _nodes(edges: list[int], bits: int) -> list[list[int]]:
    """The nodes of the trie, the root first: pairs of the number of a node, _NOTHING or _LISTED."""
    nodes: list[list[int]] = []

    def grow(first: int, size: int, low: int, high: int) -> int:
        low = bisect_right(edges, first, low, high)
        high = bisect_left(edges, first + size, low, high)
        # Every address of a span without an edge inside is listed, or none is. The root must be a node.
        if low == high and nodes:
            return _LISTED if low & 1 else _NOTHING
        number = len(nodes)
        nodes.append([_NOTHING, _NOTHING])
        half = size >> 1
        nodes[number] = [grow(first, half, low, high), grow(first + half, half, low, high)]
        return number

    grow(0, 1 << bits, 0, len(edges))
    return nodes


def _field(kind: int, size: int) -> bytes:
    return bytes([kind << 5 | size] if kind <= _MAP else [size, kind - 7])


def _number(kind: int, value: int) -> bytes:
    return _field(kind, _BYTES[kind]) + value.to_bytes(_BYTES[kind], "big")


def _text(value: str) -> bytes:
    return _field(_TEXT, len(value)) + value.encode()


def mmdb_file(prefixes: Sequence[str]) -> bytes:
    """The file of prefixes of one family."""
    ipv6 = ":" in prefixes[0]
    nodes = _nodes(_edges(prefixes), 128 if ipv6 else 32)
    width = 3 if len(nodes) + _SEPARATOR < 2**24 else 4
    special = {_NOTHING: len(nodes), _LISTED: len(nodes) + _SEPARATOR}
    tree = b"".join(special.get(child, child).to_bytes(width, "big") for node in nodes for child in node)
    metadata = {
        "binary_format_major_version": _number(_UINT16, 2),
        "binary_format_minor_version": _number(_UINT16, 0),
        "build_epoch": _number(_UINT64, int(time.time())),
        "database_type": _text("membership"),
        "description": _field(_MAP, 0),
        "ip_version": _number(_UINT16, 6 if ipv6 else 4),
        "languages": _field(_ARRAY, 0),
        "node_count": _number(_UINT32, len(nodes)),
        "record_size": _number(_UINT16, 8 * width),
    }
    described = b"".join(_text(name) + value for name, value in metadata.items())
    return b"".join([tree, bytes(_SEPARATOR), _TRUE, _METADATA, _field(_MAP, len(metadata)), described])


def mapped_table(prefixes: Sequence[str]) -> MappedTable:
    """Write a file of prefixes, and open it with the C extension of `maxminddb`, which maps it."""
    image = mmdb_file(prefixes)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "membership.mmdb"
        path.write_bytes(image)
        return MappedTable(maxminddb.open_database(path, maxminddb.MODE_MMAP_EXT), len(image))
