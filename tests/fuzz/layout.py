"""The layout of a snapshot file, read and written in plain Python: what a forger knows.

Independent of the engine's own reader: where both can read a file, they must find the same accounts in it.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 4096
UNIT = 8
SEGMENT_UNITS = 131_072
SEGMENT = SEGMENT_UNITS * UNIT
EXACT = 64
DEAD = 0xFFFFFFFF
KIN, SUBACCOUNT, REPORT_ONLY, OFF = 1, 2, 4, 8
COUNT, FLAG, UPPER, SPARSE = 0x3FFFFFFF, 0x80000000, 0x40000000, 0x40000000
SMALL = 64
ROOTS = 65_536
LEAF, CHILD, BRANCH, FINAL = 0x40000000, -2, -0x40000002, -0x60000002
HEADER = struct.Struct("<8sIIQQQQQQQIIQQ")
HEADER_FIELDS = {
    "version": (8, 4),
    "byte_order": (12, 4),
    "size": (16, 8),
    "seed": (24, 8),
    "table_size": (32, 8),
    "rows_offset": (40, 8),
    "arena_offset": (48, 8),
    "arena_size": (56, 8),
    "note_size": (64, 8),
    "row_count": (72, 4),
    "live": (76, 4),
}
SLOT = struct.Struct("<III")
MASK = 2**64 - 1


def keyed_hash(name: bytes, seed: int) -> int:
    """The tag of a name, as `cidrgate_hash` works it out."""
    odd_a, odd_b = 0x9E3779B97F4A7C15, 0xD1B54A32D192ED03

    def fold(a: int, b: int) -> int:
        product = a * b
        return product & MASK ^ product >> 64

    def number(octets: bytes) -> int:
        return int.from_bytes(octets, "little")

    state, rest = seed ^ odd_a, name
    while len(rest) > 16:
        state = fold(number(rest[:8]) ^ odd_b, number(rest[8:16]) ^ state)
        rest = rest[16:]
    if len(rest) >= 8:
        a, b = number(rest[:8]), number(rest[-8:])
    elif len(rest) >= 4:
        a, b = number(rest[:4]), number(rest[-4:])
    elif rest:
        a, b = rest[0] << 16 | rest[len(rest) >> 1] << 8 | rest[-1], 0
    else:
        a, b = 0, 0
    state = fold(a ^ odd_b, b ^ state)
    return fold(state ^ odd_a, len(name) ^ odd_b) >> 32


@functools.lru_cache(maxsize=1 << 19)
def prefix_text(version: int, number: int, length: int) -> str:
    """A prefix as text; ValueError where bits are set beyond its length."""
    bits = 32 if version == 4 else 128
    if length > bits or number & ((1 << bits - length) - 1):
        raise ValueError(f"{number:x}/{length}")
    return f"{address_text(version, number)}/{length}"


def address_text(version: int, number: int) -> str:
    """An address as text, in canonical form: faster than `ipaddress`."""
    text = inet_ntop(AF_INET if version == 4 else AF_INET6, number.to_bytes(4 if version == 4 else 16, "big"))
    # The C library writes some as a dotted quad, and shortens single zeros otherwise.
    return str(IPv6Address(number)) if version == 6 and ("." in text or number >> 96 == 0) else text


def padded(size: int) -> int:
    return (size + 7) // 8 * 8


def held(size: int) -> int:
    """The bytes a block takes up: those of its size class."""
    units = size // UNIT
    if units <= EXACT or size > SEGMENT // 2:
        return size
    step = 1 << ((units - 1).bit_length() - 3)
    return -(-units // step) * step * UNIT


@dataclass
class Range:
    """`count` numbers of `size` bytes side by side."""

    kind: str
    at: int
    size: int
    count: int = 1


@dataclass
class Block:
    """An account's block as it stands in a file."""

    at: int
    row: int
    flags: int
    name: bytes
    next: int = 0
    parent: int = 0
    prefixes: list[str] = field(default_factory=list)
    closed: bool = False
    size: int = 0

    @property
    def mode(self) -> Literal["enforce", "report_only", "off"]:
        return "off" if self.flags & OFF else "report_only" if self.flags & REPORT_ONLY else "enforce"

    @property
    def reference(self) -> int:
        return self.at // UNIT + SEGMENT_UNITS


class Layout:
    """The sections of a file, and where its numbers stand; reads what it can of a damaged one."""

    def __init__(self, image: bytes, *, ranges: bool = False) -> None:
        self.image = image
        self.ranges: list[Range] = []
        self.wanted = ranges
        for name, (at, size) in HEADER_FIELDS.items():
            setattr(self, name, int.from_bytes(image[at : at + size], "little"))
            self.note("header", at, size)
        self.capacity, self.used = struct.unpack_from("<II", image, PAGE)
        self.note("table", PAGE, 4, 2)
        for number in range(self.capacity if ranges else 0):
            for offset, kind in enumerate(("tag", "block", "list")):
                self.note(kind, self.slot_at(number) + 4 * offset, 4)
        self.note("row", self.rows_offset, 4, self.row_count)
        self.blocks = list(self.walk())

    seed: int
    rows_offset: int
    arena_offset: int
    arena_size: int
    row_count: int
    live: int

    def note(self, kind: str, at: int, size: int, count: int = 1) -> None:
        if self.wanted and count:
            self.ranges.append(Range(kind, at, size, count))

    @staticmethod
    def slot_at(number: int) -> int:
        return PAGE + 8 + 12 * number

    def walk(self) -> Iterator[Block]:
        """Every block of the arena."""
        at = 0
        while at < self.arena_size:
            if self.image[self.arena_offset + at : self.arena_offset + at + 8] == bytes(8):
                at = (at + UNIT + SEGMENT - 1) // SEGMENT * SEGMENT
                continue
            block = self.block(at)
            yield block
            size = held(block.size)
            at = at + size if size <= SEGMENT // 2 else (at + size + SEGMENT - 1) // SEGMENT * SEGMENT

    def block(self, at: int) -> Block:
        start = place = self.arena_offset + at
        row, name_size, flags = struct.unpack_from("<IHH", self.image, place)
        self.note("block row", place, 4)
        self.note("name size", place + 4, 2)
        self.note("flags", place + 6, 2)
        block = Block(at, row, flags, b"")
        place += 8
        if flags & KIN:
            block.next, block.parent = struct.unpack_from("<II", self.image, place)
            self.note("next", place, 4)
            self.note("parent", place + 4, 4)
            place += 8
        block.name = self.image[place : place + name_size]
        self.note("name", place, 1, name_size)
        place += padded(name_size)
        if not flags & SUBACCOUNT:
            place = self.lists(block, place)
        block.size = place - start
        return block

    def lists(self, block: Block, place: int) -> int:
        """Read the prefixes and pass over the indexes; returns where the block ends."""
        ipv4, ipv6 = struct.unpack_from("<II", self.image, place)
        self.note("counts", place, 4, 2)
        n4, n6 = ipv4 & COUNT, ipv6 & COUNT
        sparse = bool(ipv4 & SPARSE)
        block.closed = not n4 and not n6 and bool(ipv4)
        place += 8
        firsts = struct.unpack_from(f"<{n4}I", self.image, place)
        lengths = self.image[place + 4 * n4 : place + 5 * n4]
        block.prefixes += [prefix_text(4, *pair) for pair in zip(firsts, lengths, strict=True)]
        self.note("first4", place, 4, n4)
        self.note("length4", place + 4 * n4, 1, n4)
        place += padded(5 * n4)
        upper = bool(ipv6 & UPPER)
        highs = struct.unpack_from(f"<{n6}Q", self.image, place)
        self.note("high6", place, 8, n6)
        place += 8 * n6
        width = 9 if upper or sparse else 17
        lows = [0] * n6 if width == 9 else struct.unpack_from(f"<{n6}Q", self.image, place)
        self.note("low6", place, 8, 0 if width == 9 else n6)
        place += 0 if width == 9 else 8 * n6
        lengths = self.image[place : place + n6]
        self.note("length6", place, 1, n6)
        place += n6 + padded(n6 * width) - n6 * width
        if sparse:
            place, lows = self.longer(place, n6)
        block.prefixes += [
            prefix_text(6, high << 64 | low, length) for high, low, length in zip(highs, lows, lengths, strict=True)
        ]
        for count in (n4, n6):
            if count > SMALL:
                place = self.index(place)
        return place

    def longer(self, place: int, count: int) -> tuple[int, list[int]]:
        """Read the last 64 bits of the few prefixes that have them; returns where they end, and those of all."""
        (longer,) = struct.unpack_from("<I", self.image, place)
        self.note("longer count", place, 4)
        self.note("longer", place + 4, 4, longer)
        numbers = struct.unpack_from(f"<{longer}I", self.image, place + 4)
        place += padded(4 + 4 * longer)
        self.note("sparse low6", place, 8, longer)
        lows = [0] * count
        for number, low in zip(numbers, struct.unpack_from(f"<{longer}Q", self.image, place), strict=True):
            lows[number] = low
        return place + 8 * longer, lows

    def index(self, place: int) -> int:
        start = place
        _, roots, nodes, words = struct.unpack_from("<iIII", self.image, place)
        self.note("index", place, 4, 4)
        place += 16
        for number in range(nodes if self.wanted else 0):
            self.note("bits", place + 40 * number, 8, 4)
            self.note("base", place + 40 * number + 32, 4)
            self.note("before", place + 40 * number + 36, 1, 4)
        place += 40 * nodes
        self.note("root", place, 4, roots)
        self.note("index word", place + 4 * roots, 4, words)
        if self.wanted:
            self.branches(start, place, roots, words)
        return place + padded(4 * (roots + words))

    def branches(self, start: int, place: int, roots: int, words: int) -> None:
        """Note the leaves, runs, skips and final nodes that the start, the root and the words of an index refer to."""
        end = place + 4 * (roots + words)
        for at in (start, *range(place, end, 4)):
            (slot,) = struct.unpack_from("<i", self.image, at)
            branch = place + 4 * (roots + BRANCH - slot)
            final = place + 4 * (roots + FINAL - slot)
            if slot >= LEAF:
                self.note("leaf", at, 4)
            elif slot <= FINAL and final + 44 <= end:
                self.note("final", at, 4)
                self.note("final bits", final, 8, 4)
                self.note("final start", final + 32, 4)
                self.note("final inherited", final + 36, 4)
                self.note("final before", final + 40, 1, 4)
                count = int.from_bytes(self.image[final : final + 32], "little").bit_count()
                self.note("final slot", final + 44, 1, min(count, end - final - 44))
            elif FINAL < slot <= BRANCH and branch + 16 <= end:
                self.note("branch", at, 4)
                is_run = int.from_bytes(self.image[branch : branch + 4], "little", signed=True) > 0
                self.note("run" if is_run else "skip", branch, 4, 3 if is_run else 4)


def with_table(image: bytes, seed: int | None = None) -> bytearray:
    """The image with the index that its blocks call for, by this seed or its own; dead slots are gone."""
    layout = Layout(image)
    made = bytearray(image)
    seed = layout.seed if seed is None else seed
    made[24:32] = seed.to_bytes(8, "little")
    if layout.capacity <= len(layout.blocks):
        raise ValueError(f"{len(layout.blocks)} accounts in {layout.capacity} slots")
    slots: list[tuple[int, int, int]] = [(0, 0, 0)] * layout.capacity
    rows = struct.unpack_from(f"<{layout.row_count}I", image, layout.rows_offset)
    for block in layout.blocks:
        tag = keyed_hash(block.name, seed)
        place = tag * layout.capacity >> 32
        while slots[place][1]:
            place = (place + 1) % layout.capacity
        slots[place] = (tag, block.reference, rows[block.row] if block.row < len(rows) else 0)
    for number, slot in enumerate(slots):
        SLOT.pack_into(made, layout.slot_at(number), *slot)
    made[PAGE + 4 : PAGE + 8] = len(layout.blocks).to_bytes(4, "little")
    made[76:80] = len(layout.blocks).to_bytes(4, "little")
    return made
