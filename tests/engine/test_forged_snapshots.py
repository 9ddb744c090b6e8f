"""Snapshots that somebody made up, with right checksums: refused, or as harmless as what they say."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from functools import partial
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

import pytest

from cidrgate import Matcher, SnapshotError
from cidrgate._engine import _seal_snapshot, _use_vector_form, _vector_forms
from tests.fuzz import snapshots
from tests.fuzz.layout import (
    BRANCH,
    CHILD,
    DEAD,
    FINAL,
    HEADER_FIELDS,
    LEAF,
    PAGE,
    SEGMENT,
    SLOT,
    SPARSE,
    UPPER,
    Block,
    Layout,
    held,
    keyed_hash,
    padded,
    with_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SEED = 7
FORGED_FILES = 40


class File:
    """A sound file, its layout, and the ways to write to it."""

    def __init__(self, path: Path, matcher: Matcher) -> None:
        matcher.save(path)
        self.path = path
        self.image = with_table(path.read_bytes(), SEED)
        self.layout = Layout(bytes(self.image), ranges=True)

    def block(self, name: str) -> Block:
        return next(block for block in self.layout.blocks if block.name == name.encode())

    def at(self, name: str) -> int:
        """Where an account's block begins."""
        return self.layout.arena_offset + self.block(name).at

    def numbers(self, kind: str, name: str | None = None) -> list[int]:
        """Where the numbers of a kind stand, in an account's block or anywhere."""
        first, last = 0, len(self.image)
        if name is not None:
            first, last = self.at(name), self.at(name) + self.block(name).size
        return [
            found.at + found.size * index
            for found in self.layout.ranges
            if found.kind == kind and first <= found.at < last
            for index in range(found.count)
        ]

    def write(self, at: int, size: int, value: int) -> None:
        self.image[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")

    def read(self, at: int, size: int) -> int:
        return int.from_bytes(self.image[at : at + size], "little")

    def slots(self) -> dict[str, int]:
        """Where the slot of each account stands."""
        names = {block.reference: block.name.decode() for block in self.layout.blocks}
        places = [self.layout.slot_at(number) for number in range(self.layout.capacity)]
        return {names[self.read(at + 4, 4)]: at for at in places if self.read(at + 4, 4) in names}

    def open(self) -> Matcher:
        self.path.write_bytes(_seal_snapshot(bytes(self.image)))
        return Matcher.open(self.path)

    def is_inconsistent(self) -> bool:
        """Whether opening the file says so."""
        try:
            self.open()
        except SnapshotError as error:
            return "is not consistent" in str(error)
        return False


def fill_lists(matcher: Matcher) -> Matcher:
    """Publish accounts of every kind, small enough that every number of their file can be changed."""
    matcher.publish("few", ["8.8.4.0/24", "8.8.8.0/24", "8.8.8.128/25", "8.8.8.200/32"])
    matcher.publish("ipv6", ["2600::/12", "2606:4700::/32", "2606:4700:1::/48", "2a00::1/128"])
    matcher.publish("both", ["8.8.8.0/24", "2600::/12"])
    matcher.publish("empty", [])
    matcher.publish("closed", [], when_empty="deny")
    matcher.publish("reports", ["9.0.0.0/8"], mode="report_only")
    matcher.publish("paused", [], when_empty="deny", mode="off")
    matcher.publish("index", [f"9.{n}.0.0/16" for n in range(64)] + ["9.0.0.0/8", "9.1.2.0/24", "9.1.2.3/32"])
    matcher.publish("index6", [f"2600:{n:x}::/32" for n in range(64)] + ["2600::/16", "2600:1:2::/48"])
    matcher.publish("leaves", [f"{n}.1.2.3/32" for n in range(1, 66)])
    matcher.publish("leaves6", [f"{n:x}00::1/128" for n in range(0x20, 0x62)])
    matcher.publish("runs", [f"{n}.1.{m}.3/32" for n in range(1, 40) for m in (1, 2)] + ["9.0.0.0/8"])
    matcher.publish("skips6", [f"2600:0:0:1::{n:x}00/128" for n in range(70)])
    matcher.publish("upper6", [f"2600:{n:x}::/32" for n in range(66)])
    matcher.publish("final", [f"9.8.{n}.0/{23 + n // 2 % 2}" for n in range(2, 182, 2)] + ["9.0.0.0/8"])
    matcher.publish("sparse6", [f"2600:{n:x}::/32" for n in range(70)] + ["2600:1:2::1/128", "2600:2:2::/65"])
    matcher.publish("parent", ["8.0.0.0/8"])
    matcher.publish("other parent", ["9.0.0.0/8"])
    for number in range(3):
        matcher.link(f"sub-{number}", parent="parent")
        matcher.link(f"other-{number}", parent="other parent")
    return matcher


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "forged.snapshot", fill_lists(Matcher()))


def set_prefix4(file: File, name: str, index: int, first: int, length: int) -> None:
    count = len(file.numbers("first4", name))
    file.write(file.numbers("first4", name)[index], 4, first)
    file.write(file.numbers("length4", name)[index], 1, length)
    assert index < count


def set_prefix6(file: File, name: str, index: int, first: int, length: int) -> None:
    file.write(file.numbers("high6", name)[index], 8, first >> 64)
    file.write(file.numbers("low6", name)[index], 8, first)
    file.write(file.numbers("length6", name)[index], 1, length)


def clear_nested(family: int, name: str) -> Callable[[File], None]:
    def forge(file: File) -> None:
        at = file.numbers("counts", name)[family]
        assert file.read(at, 4) & 0x80000000
        file.write(at, 4, file.read(at, 4) & 0x7FFFFFFF)

    return forge


def number(kind: str, name: str, index: int, size: int, value: int) -> Callable[[File], None]:
    def forge(file: File) -> None:
        at = file.numbers(kind, name)[index]
        assert file.read(at, size) != value
        file.write(at, size, value)

    return forge


def change(kind: str, name: str, index: int, by: int) -> Callable[[File], None]:
    def forge(file: File) -> None:
        at = file.numbers(kind, name)[index]
        file.write(at, 4, file.read(at, 4) + by)

    return forge


def flip(file: File, name: str, family: int, flag: int) -> None:
    at = file.numbers("counts", name)[family]
    file.write(at, 4, file.read(at, 4) ^ flag)


def ipv4(index: int, first: int, length: int, name: str = "few") -> Callable[[File], None]:
    return lambda file: set_prefix4(file, name, index, first, length)


def ipv6(index: int, first: int, length: int, name: str = "ipv6") -> Callable[[File], None]:
    return lambda file: set_prefix6(file, name, index, first, length)


def exchange_slots(file: File) -> None:
    slots = list(file.slots().values())
    for one, other in zip(slots[::2], slots[1::2], strict=False):
        file.image[one : one + 12], file.image[other : other + 12] = (
            file.image[other : other + 12],
            file.image[one : one + 12],
        )


def move_slot(file: File) -> None:
    """To an empty slot that no search for it comes to."""
    taken = set(file.slots().values())
    places = [file.layout.slot_at(index) for index in range(file.layout.capacity)]
    at = file.slots()["sub-1"]
    # What is empty now ends the search for it, so it is not found in any other slot.
    before = next(place for place in places if place not in taken)
    file.image[before : before + 12] = file.image[at : at + 12]
    file.image[at : at + 12] = bytes(12)


def kill_what_is_before(file: File) -> None:
    """An empty slot in the middle of a search."""
    slots = {at: file.read(at, 4) * file.layout.capacity >> 32 for at in file.slots().values()}
    moved = [at for at, start in slots.items() if file.layout.slot_at(start) != at]
    start = file.layout.slot_at(slots[moved[0]])
    file.image[start : start + 12] = bytes(12)
    file.write(PAGE + 4, 4, file.layout.used - 1)
    file.write(*HEADER_FIELDS["live"], file.layout.live - 1)


def same_name(file: File) -> None:
    """Two accounts of one name, in slots that a search for it passes one after the other."""
    at = file.at("sub-1") + 16
    file.image[at : at + 5] = b"sub-2"
    file.image[:] = with_table(bytes(file.image))


def name_that_is_not_text(octets: bytes) -> Callable[[File], None]:
    def forge(file: File) -> None:
        at = file.at("few") + 8
        file.image[at : at + 8] = octets.ljust(8, b"\0")
        file.write(at - 4, 2, len(octets))
        file.image[:] = with_table(bytes(file.image))

    return forge


def kin(name: str, field: int, value: Callable[[File], int]) -> Callable[[File], None]:
    def forge(file: File) -> None:
        assert file.read(file.at(name) + 8 + 4 * field, 4) != value(file)
        file.write(file.at(name) + 8 + 4 * field, 4, value(file))

    return forge


def row(name: str, value: Callable[[File], int]) -> Callable[[File], None]:
    return lambda file: file.write(file.layout.rows_offset + 4 * file.block(name).row, 4, value(file))


def flags(name: str, value: int) -> Callable[[File], None]:
    return lambda file: file.write(file.at(name) + 6, 2, value)


def reference(name: str) -> Callable[[File], int]:
    return lambda file: file.block(name).reference


def dead_slot(file: File) -> None:
    file.write(file.slots()["few"] + 4, 4, DEAD)
    file.write(*HEADER_FIELDS["live"], file.layout.live - 1)


def slot(name: str, field: int, value: Callable[[File], int]) -> Callable[[File], None]:
    return lambda file: file.write(file.slots()[name] + 4 * field, 4, value(file))


MAPPED = 0xFFFF << 32
FORGERIES: dict[str, Callable[[File], None]] = {
    "host bits below length 0": ipv4(3, 0xFFFFFFFF, 0),
    "host bits below length 15": ipv4(3, 0xFFFF0000, 15),
    "host bits below length 16": ipv4(3, 0xFFFFFF00, 16),
    "host bits below length 23": ipv4(3, 0xFFFFFF00, 23),
    "host bits below length 24": ipv4(3, 0xFFFFFFFF, 24),
    "host bits below length 31": ipv4(3, 0xFFFFFFFF, 31),
    "IPv4 longer than 32": ipv4(3, 0xFFFFFFFF, 33),
    "IPv4 longer than a shift": ipv4(3, 0xFFFFFFFF, 255),
    "an IPv4 prefix twice": ipv4(1, 0x08080400, 24),
    "IPv4 prefixes out of order": ipv4(1, 0x01000000, 24),
    "an IPv4 prefix before what covers it": ipv4(1, 0x08080400, 23),
    "IPv4 prefixes nested in secret": clear_nested(0, "few"),
    "IPv6 prefixes nested in secret": clear_nested(1, "ipv6"),
    "IPv6 host bits in the upper half": ipv6(3, 0x2A01 << 112, 15),
    "IPv6 host bits in the lower half": ipv6(3, 0x2A01 << 112 | 1, 64),
    "IPv6 host bits below length 127": ipv6(3, 2**128 - 1, 127),
    "IPv6 longer than 128": ipv6(3, 2**128 - 1, 129),
    "an IPv6 prefix twice": ipv6(1, 0x2600 << 112, 12),
    "IPv6 prefixes out of order": ipv6(3, 1, 128),
    "an IPv6 prefix out of order in the lower half": ipv6(3, (0x2606 << 112) + 1, 128),
    "an IPv4 prefix written as IPv6": ipv6(0, MAPPED | 0x08080000, 112),
    "all of IPv4 written as IPv6": ipv6(0, MAPPED, 96),
    "a slot of an index with another prefix": lambda file: file.write(
        file.numbers("index word", "index")[-2], 4, file.read(file.numbers("index word", "index")[-2], 4) ^ 1
    ),
    "an index without its first node": number("index", "index", 0, 4, 0xFFFFFFFF),
    "an index that starts elsewhere": number("index", "index", 0, 4, 0xFFFFFFFE),
    "an index that starts at the largest number": number("index", "index", 0, 4, 0x7FFFFFFF),
    "an index that starts at the smallest number": number("index", "index", 0, 4, 0x80000000),
    "an index with a root": number("index", "index", 1, 4, 65_536),
    "a node whose slots are elsewhere": lambda file: file.write(
        file.numbers("base", "index6")[0], 4, file.read(file.numbers("base", "index6")[0], 4) + 1
    ),
    "a node with another span": lambda file: file.write(
        file.numbers("bits", "index")[0], 8, file.read(file.numbers("bits", "index")[0], 8) ^ 6
    ),
    "a node that counts its spans wrongly": number("before", "index", 1, 1, 200),
    "a leaf of another prefix": change("leaf", "leaves", 3, +1),
    "a leaf of no prefix": change("leaf", "leaves", 3, +65),
    "a leaf for a match": change("leaf", "leaves6", 3, -LEAF),
    "a leaf where other prefixes are": change("leaf", "leaves6", 0, +1),
    "a run that begins later": change("run", "runs", 1, +1),
    "a run that begins before": change("run", "runs", 4, -1),
    "a run that ends too soon": change("run", "runs", 0, -1),
    "a run that ends too late": change("run", "runs", 0, +1),
    "a run longer than runs are": change("run", "runs", 0, +62),
    "a run of another match": change("run", "runs", 2, +1),
    "a run in a network without its match": number("run", "index", 2, 4, 0xFFFFFFFF),
    "a run outside of the slots": number("branch", "runs", 0, 4, 0x80000000),
    "a run read from other slots": change("branch", "runs", 0, +1),
    "a run for a leaf": change("branch", "runs", 0, LEAF - BRANCH),
    "a run that is a skip": number("run", "runs", 0, 4, -16 % 2**32),
    "a skip that is a run": number("skip", "skips6", 0, 4, 8),
    "a skip to a depth between nodes": change("skip", "skips6", 0, -1),
    "a skip that goes too deep": change("skip", "skips6", 0, -8),
    "a skip that goes nowhere": number("skip", "skips6", 0, 4, 0),
    "a skip beyond all addresses": number("skip", "skips6", 0, 4, -128 % 2**32),
    "a skip by a length that no integer has": number("skip", "skips6", 0, 4, 2**31),
    "a skip that ends too soon": change("skip", "skips6", 0, +8),
    "a skip by another prefix": change("skip", "skips6", 1, +1),
    "a skip with another match": change("skip", "skips6", 2, +1),
    "a skip to another node": change("skip", "skips6", 3, -1),
    "a skip to no node": number("skip", "skips6", 3, 4, 0),
    "a skip to a skip": lambda file: file.write(
        file.numbers("skip", "skips6")[3], 4, file.read(file.numbers("index", "skips6")[0], 4)
    ),
    "a slot of a final node with another prefix": change("final slot", "final", 4, +1),
    "a slot of a final node with the match around it": number("final slot", "final", 4, 1, 255),
    "a slot of a final node with another one's match": change("final slot", "upper6", 2, -1),
    "a final node of other prefixes": change("final start", "final", 0, +1),
    "a final node with another match around it": change("final inherited", "final", 0, -1),
    "a final node with a match around it": number("final inherited", "upper6", 0, 4, 0),
    "a final node with another span": lambda file: file.write(
        file.numbers("final bits", "final")[0], 8, file.read(file.numbers("final bits", "final")[0], 8) ^ 6
    ),
    "a final node whose first span has no slot": lambda file: file.write(
        file.numbers("final bits", "final")[0], 8, file.read(file.numbers("final bits", "final")[0], 8) & ~1
    ),
    "a final node that counts its spans wrongly": number("final before", "final", 1, 1, 200),
    "a final node that counts before its first span": number("final before", "upper6", 0, 1, 1),
    "a final node outside of the words": number("final", "final", 0, 4, 0x80000000),
    "a final node that ends outside of the words": lambda file: file.write(
        file.numbers("final", "final")[0], 4, FINAL - (len(file.numbers("index word", "final")) - 11)
    ),
    "a final node read from other words": change("final", "final", 0, -1),
    "a final node that is another node": number("final", "final", 0, 4, CHILD),
    "a node that is final": lambda file: file.write(file.numbers("index word", "index")[-2], 4, FINAL),
    "a run that is a final node": change("branch", "runs", 0, FINAL - BRANCH),
    "more lower halves than there are": change("longer count", "sparse6", 0, +1),
    "fewer lower halves than there are": change("longer count", "sparse6", 0, -1),
    "no lower halves": number("longer count", "sparse6", 0, 4, 0),
    "lower halves outside of the file": number("longer count", "sparse6", 0, 4, 0xFFFFFFFF),
    "lower halves whose bytes do not fit in 32 bits": number("longer count", "sparse6", 0, 4, 0x55555555),
    "nodes whose bytes do not fit in 32 bits": number("index", "index", 2, 4, 0x06666666),
    "words whose bytes do not fit in 32 bits": number("index", "index", 3, 4, 0x3FFFFFFC),
    "nodes and words whose bytes do not fit in 32 bits": lambda file: file.write(
        file.numbers("index", "index6")[2], 8, 0x03333333 | 0x1FFFFFFE << 32
    ),
    "IPv4 prefixes whose bytes do not fit in 32 bits": number("counts", "few", 0, 4, 0x33333333),
    "IPv6 prefixes whose bytes do not fit in 32 bits": number("counts", "ipv6", 1, 4, 0x0F0F0F0F),
    "upper halves whose bytes do not fit in 32 bits": number("counts", "upper6", 1, 4, UPPER | 0x1C71C71C),
    "prefixes of both families whose bytes do not fit in 32 bits": lambda file: file.write(
        file.numbers("counts", "both")[0], 8, 0x19999999 | (UPPER | 0x0E38E38E) << 32
    ),
    "a lower half of another prefix": change("longer", "sparse6", 0, +1),
    "two lower halves of a prefix": change("longer", "sparse6", 1, -2),
    "a lower half of no prefix": number("longer", "sparse6", 1, 4, 72),
    "host bits in a lower half of its own": number("sparse low6", "sparse6", 1, 8, 1),
    "a network with a lower half of its own": number("sparse low6", "sparse6", 1, 8, 1 << 62),
    "a sparse list that is called an upper half": lambda file: flip(file, "sparse6", 1, UPPER),
    "a sparse list that is called whole": lambda file: flip(file, "sparse6", 0, SPARSE),
    "an upper half that is called sparse": lambda file: flip(file, "upper6", 0, SPARSE),
    "a whole list that is called sparse": lambda file: flip(file, "skips6", 0, SPARSE),
    "a small list that is called sparse": lambda file: flip(file, "ipv6", 0, SPARSE),
    "an upper half that is called all": lambda file: flip(file, "upper6", 1, UPPER),
    "all that is called an upper half": lambda file: flip(file, "ipv6", 1, UPPER),
    "an upper half of IPv4": lambda file: flip(file, "few", 0, UPPER),
    "slots in each other's places": exchange_slots,
    "a slot where no search comes": move_slot,
    "an empty slot in a search": kill_what_is_before,
    "a dead slot of an account that is there": dead_slot,
    "two accounts of one name": same_name,
    "a tag of another name": slot("few", 0, lambda file: keyed_hash(b"fex", SEED)),
    "a slot with another list": slot("few", 2, reference("both")),
    "a slot of a subaccount with another list": slot("sub-0", 2, reference("other parent")),
    "two slots of one block": slot("few", 1, reference("both")),
    "a row with another list": row("few", reference("both")),
    "a row of a subaccount with another list": row("sub-0", reference("other parent")),
    "a row of a subaccount with its own block": row("sub-0", reference("sub-0")),
    "a chain that goes round": kin("sub-0", 0, reference("sub-2")),
    "a chain into itself": kin("sub-1", 0, reference("sub-1")),
    "a chain that ends too soon": kin("parent", 0, lambda file: 0),
    "a chain into another one": kin("sub-0", 0, reference("other-1")),
    "a chain into a parent": kin("sub-0", 0, reference("other parent")),
    "a chain into an account": kin("parent", 0, reference("few")),
    "a chain out of the file": kin("parent", 0, lambda file: 0xFFFFFFF0),
    "a parent that is another one": kin("sub-0", 1, lambda file: file.block("other parent").row),
    "a parent that is a subaccount": kin("sub-0", 1, lambda file: file.block("sub-1").row),
    "a parent that is no parent": kin("sub-0", 1, lambda file: file.block("few").row),
    "a parent that is nobody": kin("sub-0", 1, lambda file: 0xFFFFFFFF),
    "a name of half a character": name_that_is_not_text(b"ab\xc3"),
    "a name of an overlong character": name_that_is_not_text(b"\xc0\xafa"),
    "a name of a surrogate": name_that_is_not_text(b"\xed\xa0\x80"),
    "a name beyond Unicode": name_that_is_not_text(b"\xf4\x90\x80\x80"),
    "a name of a stray octet": name_that_is_not_text(b"ab\x80"),
    "two modes at once": flags("few", 12),
    "another mode beside its own": flags("reports", 12),
    "a flag that nobody knows": flags("few", 16),
    "a subaccount with a mode": flags("sub-1", 3 | 4),
    "a mode instead of a parent": flags("sub-1", 8),
    "a list that is called a subaccount's": flags("paused", 3),
    "more rows than can be": lambda file: file.write(*HEADER_FIELDS["row_count"], 2**31),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_property_that_does_not_hold_is_found(file: File, forge: Callable[[File], None]) -> None:
    file.open()
    forge(file)
    with pytest.raises(SnapshotError, match="is not consistent"):
        file.open()


ROOT: dict[str, Callable[[File], None]] = {
    "a root that begins later": change("index", "root6", 0, +1),
    "a root that begins before": change("index", "root6", 0, -1),
    "a root that begins nowhere": number("index", "root6", 0, 4, 0x80000000),
    "a root that begins at its end": number("index", "root6", 0, 4, 0xFFFF),
    "a root that is longer": change("index", "root6", 1, +1),
    "a root that is shorter": change("index", "root6", 1, -1),
    "a root of more slots than there are": number("index", "root6", 1, 4, 65_537),
    "no root": number("index", "root6", 1, 4, 0),
    "a root without its first slot": number("root", "root6", 0, 4, 0xFFFFFFFF),
    "a root with another slot": change("root", "root6", 300, -1),
    "a root that ends inside a prefix": change("root", "root6", -1, +1),
}


def test_a_direct_root_has_a_slot_for_every_prefix(tmp_path: Path) -> None:
    matcher = Matcher()
    # The last prefix is shorter than the spans of a root, and the first one longer.
    matcher.publish("root6", [f"{n >> 7:x}{n & 127:02x}:{n:x}::/32" for n in range(0x2000, 0x4200)] + ["8000::/9"])
    file = File(tmp_path / "root.snapshot", matcher)
    sound = bytes(file.image)
    assert len(file.numbers("root", "root6")) < 65_536
    assert file.open().prefixes("root6") == matcher.prefixes("root6")
    for name, forge in ROOT.items():
        file.image[:] = sound
        forge(file)
        assert file.is_inconsistent(), name


def as_sparse(file: File) -> bytes:
    """The image of one account of IPv6, with a lower half only for each prefix longer than 64 bits, however many."""
    (block,) = file.layout.blocks
    start, arena = file.at(block.name.decode()), file.layout.arena_offset
    counts, high, length, index = (file.numbers(kind)[0] for kind in ("counts", "high6", "length6", "index"))
    count = len(block.prefixes)
    networks = [IPv6Network(text) for text in block.prefixes]
    longer = [number for number, network in enumerate(networks) if network.prefixlen > 64]
    flags = file.read(counts + 4, 4) & ~UPPER
    parts = [
        bytes(file.image[start:counts]),
        struct.pack("<II", SPARSE, flags),
        bytes(file.image[high : high + 8 * count] + file.image[length : length + count]),
        struct.pack(f"<{1 + len(longer)}I", len(longer), *longer),
        struct.pack(f"<{len(longer)}Q", *(int(networks[number].network_address) % 2**64 for number in longer)),
        bytes(file.image[index : start + block.size]),
    ]
    written = b"".join(part.ljust(padded(len(part)), b"\0") for part in parts)
    image = file.image[:arena] + written.ljust(-(-len(written) // PAGE) * PAGE, b"\0")
    for name, value in (("size", len(image)), ("arena_size", held(len(written)))):
        at, size = HEADER_FIELDS[name]
        image[at : at + size] = value.to_bytes(size, "little")
    return bytes(image)


@pytest.mark.parametrize("longer", [0, 1, 5, 6, 80])
def test_lower_halves_are_searched_only_if_they_are_few(tmp_path: Path, longer: int) -> None:
    # Of 80 prefixes at most 5: each lower half is read by a search, so many would make opening slow.
    matcher = Matcher()
    matcher.publish("sparse6", [f"2600:{n:x}::{'1/128' if n < longer else '/32'}" for n in range(80)])
    file = File(tmp_path / "sparse.snapshot", matcher)
    sound = _seal_snapshot(bytes(file.image))
    file.image[:] = as_sparse(file)
    if longer in (0, 6, 80):
        assert file.is_inconsistent()
    else:
        assert _seal_snapshot(bytes(file.image)) == sound
        assert file.open().prefixes("sparse6") == matcher.prefixes("sparse6")


def with_one_span(index: bytes) -> bytes:
    """An index that skips 16 bits to a final node, with a direct root instead: the only slot of it that is stored."""
    start, roots, nodes, words = struct.unpack_from("<iIII", index)
    numbers = struct.unpack_from(f"<{words}i", index, 16)
    assert (roots, nodes) == (0, 0)
    assert numbers[BRANCH - start] == -16
    assert numbers[BRANCH - start + 3] == FINAL
    # The word of the root takes the place of the last one, of the skip.
    return struct.pack(f"<iIII{words}i", 0x2600, 1, 0, words - 1, FINAL, *numbers[:-1]).ljust(len(index), b"\0")


def time_of_opening(path: Path, image: bytes) -> float:
    """The processor time of opening an image, in seconds: the shortest of three."""
    times = []
    for _ in range(3):
        path.write_bytes(_seal_snapshot(image))
        begun = time.process_time()
        Matcher.open(path)
        times.append(time.process_time() - begun)
    return min(times)


def test_roots_of_one_span_do_not_make_opening_slow(tmp_path: Path) -> None:
    matcher = Matcher()
    prefixes = [f"2600:{n:x}00::/24" for n in range(65)]
    matcher.publish("acct-0000", prefixes)
    one = File(tmp_path / "one.snapshot", matcher)
    index = bytes(one.image[one.numbers("index")[0] : one.at("acct-0000") + one.block("acct-0000").size])
    for number in range(1, 2_000):
        matcher.publish(f"acct-{number:04}", prefixes)
    path = tmp_path / "roots.snapshot"
    matcher.save(path)
    sound = path.read_bytes()
    assert sound.count(index) == 2_000
    forged = sound.replace(index, with_one_span(index))
    # Such a root is not what the engine builds, but every walk through it is right. With work for each span that a root
    # can have, opening took a hundred times as long.
    assert time_of_opening(path, forged) < 10 * time_of_opening(tmp_path / "sound.snapshot", sound) + 0.02
    opened = Matcher.open(path)
    assert opened.allows("acct-1999", "2600:4000::1")
    assert not opened.allows("acct-1999", "2600:4100::1")
    assert not opened.allows("acct-1999", "2601::1")
    assert opened.prefixes("acct-1999") == matcher.prefixes("acct-1999")


def beside_others(tmp_path: Path, *, before: bool) -> File:
    """The same accounts before or behind so many others that two threads check the file, piece by piece."""
    matcher = Matcher()
    if before:
        fill_lists(matcher)
    matcher.publish("vast", [f"{n >> 16}.{n >> 8 & 255}.{n & 255}.0/24" for n in range(0, 2**22, 50)])
    for number in range(300):
        matcher.publish(f"others-{number}", [f"{n >> 8}.{n & 255}.{number & 255}.9/32" for n in range(256, 1_256)])
    if not before:
        fill_lists(matcher)
    return File(tmp_path / "forged.snapshot", matcher)


@pytest.fixture(scope="module", params=[True, False], ids=["before others", "behind others"])
def large_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> File:
    file = beside_others(tmp_path_factory.mktemp("large"), before=request.param)
    assert file.layout.arena_size > 3 * SEGMENT
    return file


def test_a_property_that_does_not_hold_is_found_among_many_accounts(large_file: File) -> None:
    file, sound = large_file, bytes(large_file.image)
    assert len(file.open()) == len(file.layout.blocks)
    for name, forge in FORGERIES.items():
        file.image[:] = sound
        forge(file)
        assert file.is_inconsistent(), name
    file.image[:] = sound


@pytest.mark.parametrize("claim", [0, 1, 60_000, 120_000, 300_000, 0x3FFFFFFF])
def test_a_large_list_ends_where_it_says(large_file: File, claim: int) -> None:
    # The threads take pieces by the sizes that large lists claim. Here the list has another size.
    file, sound = large_file, bytes(large_file.image)
    file.write(file.numbers("counts", "vast")[0], 4, claim)
    with pytest.raises(SnapshotError, match="is not consistent"):
        file.open()
    file.image[:] = sound


def test_damage_among_many_accounts_is_called_damage(large_file: File) -> None:
    sound = _seal_snapshot(bytes(large_file.image))
    for at in (PAGE, PAGE + 4, PAGE + 9, large_file.at("few") + 6, large_file.at("vast") + 40, len(sound) - 1):
        large_file.path.write_bytes(sound[:at] + bytes([sound[at] ^ 0x80]) + sound[at + 1 :])
        with pytest.raises(SnapshotError, match="does not match its checksum"):
            Matcher.open(large_file.path)


def wrong_prefixes(count: int) -> Iterator[tuple[int, int, int]]:
    """For each prefix of a list of networks, every kind of wrong one in its place: index, network, length."""
    for index in range(count):
        yield index, 9 << 24 | index << 8, 33
        yield index, 9 << 24 | index << 8, 255
        yield index, 9 << 24 | index << 8 | 1, 24
        yield index, 9 << 24 | index << 8 | 128, 24
        if index:
            yield index, 9 << 24 | (index - 1) << 8, 24
            yield index, 9 << 24 | (index - 1) << 8, 25
            yield index, 8 << 24, 24


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 15, 16, 17, 24, 33, 64])
@pytest.mark.parametrize("form", _vector_forms())
def test_every_form_of_the_check_finds_every_wrong_prefix(tmp_path: Path, form: str, count: int) -> None:
    matcher = Matcher()
    matcher.publish("few", [f"9.0.{n}.0/24" for n in range(count)])
    file = File(tmp_path / "forged.snapshot", matcher)
    sound = bytes(file.image)
    _use_vector_form(form)
    try:
        assert len(file.open().prefixes("few")) == count
        for wrong in wrong_prefixes(count):
            file.image[:] = sound
            set_prefix4(file, "few", *wrong)
            assert file.is_inconsistent(), wrong
    finally:
        _use_vector_form(None)


@pytest.mark.parametrize("octets", ["é".encode(), "名".encode(), "\U0010ffff".encode(), b"\0", "\ud7ff\ue000".encode()])
def test_every_name_that_is_text_is_opened(file: File, octets: bytes) -> None:
    name_that_is_not_text(octets)(file)
    opened = file.open()
    assert octets.decode() in opened
    assert opened.prefixes(octets.decode())[0] == "8.8.4.0/24"


@pytest.mark.slow
def test_every_number_of_a_file_is_checked_or_harmless(file: File, tmp_path: Path) -> None:
    source = random.Random(1)
    sound = bytes(file.image)
    accepted = 0
    for found in file.layout.ranges:
        for index in range(found.count):
            at, size = found.at + index * found.size, found.size
            before = int.from_bytes(sound[at : at + size], "little")
            for value in {before + 1, before - 1, 0, before ^ 1 << (8 * size - 1), source.getrandbits(8 * size)}:
                file.image[:] = sound
                file.write(at, size, value)
                try:
                    matcher = file.open()
                except SnapshotError:
                    continue
                accepted += 1
                model = snapshots.Model(Layout(bytes(file.image)))
                if accepted % 25 == 0:
                    snapshots.change(source, matcher, model)
                snapshots.check(source, matcher, model, 200, some=1)
    assert accepted > 100


@pytest.mark.parametrize("number", range(FORGED_FILES))
def test_a_damaged_file_is_refused_or_used_without_harm(tmp_path: Path, number: int) -> None:
    snapshots.run(number, tmp_path)


def with_dead_run(layout: Layout, name: bytes, count: int) -> bytes:
    """The image with so many dead slots before the slot of an account, as earlier versions left them behind."""
    image = bytearray(layout.image)
    kept = [SLOT.unpack_from(image, layout.slot_at(number)) for number in range(layout.capacity)]
    taken = [slot for slot in kept if slot[1] not in (0, DEAD)]
    tag = keyed_hash(name, layout.seed)
    slots: list[tuple[int, int, int]] = [(0, 0, 0)] * layout.capacity
    start = min(tag * layout.capacity >> 32, layout.capacity - count - 1)
    slots[start : start + count] = [(0, DEAD, 0)] * count
    for slot in sorted(taken, key=lambda slot: slot[0]):
        place = slot[0] * layout.capacity >> 32
        while slots[place][1]:
            place = (place + 1) % layout.capacity
        slots[place] = slot
    for number, slot in enumerate(slots):
        SLOT.pack_into(image, layout.slot_at(number), *slot)
    image[PAGE + 4 : PAGE + 8] = sum(slot[1] != 0 for slot in slots).to_bytes(4, "little")
    return _seal_snapshot(bytes(image))


def test_names_of_one_tag_in_one_run_do_not_make_opening_slow(tmp_path: Path) -> None:
    # As many discarded names as the index holds before it grows stand in one run of slots, and searches pass them all.
    matcher = Matcher()
    for index in range(20_000):
        matcher.publish(f"acct-{index}", ["8.8.8.0/24"])
    matcher.publish("busy", ["9.9.9.0/24"])
    matcher.save(tmp_path / "busy.snapshot")
    layout = Layout((tmp_path / "busy.snapshot").read_bytes())
    (tmp_path / "busy.snapshot").write_bytes(with_dead_run(layout, b"busy", 6_000))
    layout = Layout((tmp_path / "busy.snapshot").read_bytes())
    tags = [layout.slot_at(place) for place in range(layout.capacity)]
    dead = sum(struct.unpack_from("<I", layout.image, at + 4)[0] == DEAD for at in tags)
    assert dead > 1_000
    opened = Matcher.open(tmp_path / "busy.snapshot")
    assert len(opened) == 20_001
    assert opened.prefixes("busy") == ["9.9.9.0/24"]
    image = bytearray(layout.image)
    # One of two names of one tag: the second one of a run that is checked by sorting.
    first, second = (block for block in layout.blocks if block.name in (b"acct-10000", b"acct-10001"))
    place = layout.arena_offset + second.at + 8
    image[place : place + len(first.name)] = first.name
    (tmp_path / "twice.snapshot").write_bytes(_seal_snapshot(bytes(with_table(bytes(image)))))
    with pytest.raises(SnapshotError, match="is not consistent"):
        Matcher.open(tmp_path / "twice.snapshot")


def with_long_searches(layout: Layout, steps: int) -> bytes:
    """The image with dead slots instead of empty ones, but one, and names so many slots behind their places."""
    image = bytearray(layout.image)
    slots: list[tuple[int, int, int]] = [(0, DEAD, 0)] * layout.capacity
    slots[0] = (0, 0, 0)
    for block in layout.blocks:
        tag = keyed_hash(block.name, layout.seed)
        place = tag * layout.capacity >> 32
        # No search may go over the end, to the slot that is empty.
        place += steps if place < layout.capacity - 2 * steps else 1
        while slots[place][1] != DEAD:
            place += 1
        slots[place] = (tag, block.reference, block.reference)
    for number, slot in enumerate(slots):
        SLOT.pack_into(image, layout.slot_at(number), *slot)
    image[PAGE + 4 : PAGE + 8] = (layout.capacity - 1).to_bytes(4, "little")
    return _seal_snapshot(bytes(image))


@pytest.mark.parametrize("steps", [2, 250, 1_000])
def test_long_searches_are_checked_together(tmp_path: Path, steps: int) -> None:
    # Beyond some steps, of one search or of all, the names are checked run by run: as strictly.
    matcher = Matcher()
    names = [f"acct-{number}" for number in range(4_000)]
    for name in names:
        matcher.publish(name, ["8.8.8.0/24"])
    path = tmp_path / "long.snapshot"
    matcher.save(path)
    image = with_table(path.read_bytes(), SEED)
    layout = Layout(bytes(image))
    path.write_bytes(with_long_searches(layout, steps))
    opened = Matcher.open(path)
    assert all(opened.allows(name, "8.8.8.8") and not opened.allows(name, "9.9.9.9") for name in names)
    place = layout.arena_offset + layout.blocks[7].at + 8
    assert image[place : place + 6] == b"acct-7"
    image[place : place + 6] = b"acct-8"
    path.write_bytes(with_long_searches(Layout(bytes(image)), steps))
    with pytest.raises(SnapshotError, match="is not consistent"):
        Matcher.open(path)


def time_of(ask: Callable[[], object], times: int = 5) -> float:
    """The least seconds that a call takes."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - start)
    return min(taken)


def with_slots(layout: Layout, slots: list[tuple[int, int, int]]) -> bytes:
    """The image with an index of these slots."""

    def paged(octets: bytes) -> bytes:
        return octets + bytes(-len(octets) % PAGE)

    image = layout.image
    used = sum(slot[1] != 0 for slot in slots)
    table = struct.pack("<II", len(slots), used) + b"".join(SLOT.pack(*slot) for slot in slots) + bytes(SLOT.size)
    rows = paged(image[layout.rows_offset : layout.rows_offset + 4 * layout.row_count])
    arena = paged(image[layout.arena_offset : layout.arena_offset + layout.arena_size])
    made = bytearray(image[:PAGE] + paged(table) + rows + arena)
    offset = PAGE + len(paged(table))
    fields = {"size": len(made), "table_size": len(table), "rows_offset": offset, "arena_offset": offset + len(rows)}
    for name, value in fields.items():
        at, size = HEADER_FIELDS[name]
        made[at : at + size] = value.to_bytes(size, "little")
    return _seal_snapshot(bytes(made))


def crowded(layout: Layout, capacity: int, is_dead: Callable[[int], bool]) -> bytes:
    """The image with a larger index that has dead slots, but in which no search for a name is long."""
    rows = struct.unpack_from(f"<{layout.row_count}I", layout.image, layout.rows_offset)
    slots = [(0, DEAD if is_dead(number) else 0, 0) for number in range(capacity)]
    for block in layout.blocks:
        tag = keyed_hash(block.name, layout.seed)
        place = tag * capacity >> 32
        while slots[place][1] not in (0, DEAD):
            place = (place + 1) % capacity
        slots[place] = (tag, block.reference, rows[block.row])
    return with_slots(layout, slots)


def at_the_end(layout: Layout, capacity: int) -> bytes:
    """The image with a larger index of dead slots, and all names at its end, just before the one that is empty."""
    rows = struct.unpack_from(f"<{layout.row_count}I", layout.image, layout.rows_offset)
    slots = [(0, DEAD, 0)] * capacity
    slots[-1] = (0, 0, 0)
    tagged = sorted((keyed_hash(block.name, layout.seed), block.reference, rows[block.row]) for block in layout.blocks)
    start = capacity - 1 - len(tagged)
    slots[start:-1] = tagged
    return with_slots(layout, slots)


@pytest.mark.parametrize(
    "forge",
    [
        lambda layout: crowded(layout, 300_000, lambda number: number != 150_000),
        lambda layout: crowded(layout, 300_000, lambda number: number % 5_000 < 2_000),
        lambda layout: crowded(layout, 300_000, lambda number: number % 400 > 0),
        lambda layout: at_the_end(layout, 300_000),
    ],
    ids=["one run", "some runs", "overfull", "names at the end"],
)
def test_an_index_that_makes_searches_long_is_replaced(tmp_path: Path, forge: Callable[[Layout], bytes]) -> None:
    matcher = Matcher()
    matcher.publish("parent", ["8.8.8.0/24"])
    names = [f"sub-{number}" for number in range(500)]
    for name in names:
        matcher.link(name, parent="parent")
    path = tmp_path / "crowded.snapshot"
    matcher.save(path, note=b"")
    layout = Layout(path.read_bytes())
    path.write_bytes(forge(layout))
    opened = Matcher.open(path)
    assert opened.nbytes < 300_000 * 12
    assert sorted(opened) == sorted(matcher)
    assert opened.rows([*names, "unknown"]).tolist() == matcher.rows([*names, "unknown"]).tolist()
    for asks in (
        lambda lists: [lists.allows(f"unknown-{number}", "9.9.9.9") for number in range(500)],
        lambda lists: [lists.allows(name, "8.8.8.8") and not lists.allows(name, "9.9.9.9") for name in names],
    ):
        assert all(asks(opened))
        assert time_of(partial(asks, opened)) < 20 * time_of(partial(asks, matcher)) + 0.001
    published = time_of(lambda: matcher.publish("parent", ["8.8.9.0/24"]))
    assert time_of(lambda: opened.publish("parent", ["8.8.9.0/24"])) < 20 * published + 0.001
    assert all(opened.allows(name, "8.8.9.8") and not opened.allows(name, "8.8.8.8") for name in names)
    # It is saved as any other, by another seed than that of the file.
    opened.save(path)
    again = Layout(path.read_bytes())
    assert again.seed != layout.seed
    assert sorted(Matcher.open(path)) == sorted(matcher)
    # A process that says that it has checked the file itself gets the index that is in it.
    path.write_bytes(forge(layout))
    assert Matcher.open(path, trusted=True).nbytes > 300_000 * 12


@pytest.mark.parametrize("count", [0, 1, 10, 900, 3_000, 9_900, 40_000])
def test_an_index_that_was_filled_as_usual_is_used_as_it_is(tmp_path: Path, count: int) -> None:
    matcher = Matcher()
    for number in range(count):
        matcher.publish(f"acct-{number}", ["8.8.8.0/24"])
        if number % 7 == 0:
            matcher.discard(f"acct-{number // 2}")
    path = tmp_path / "usual.snapshot"
    matcher.save(path)
    Matcher.open(path).save(tmp_path / "again.snapshot")
    assert (tmp_path / "again.snapshot").read_bytes() == path.read_bytes()


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused: list[BaseException] = []

    def open_pipe() -> None:
        try:
            Matcher.open(tmp_path / "pipe")
        except SnapshotError as error:
            refused.append(error)

    thread = threading.Thread(target=open_pipe, daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert [str(error).endswith("Matcher.save wrote") for error in refused] == [True]
    for special in ("/dev/null", "/dev/zero"):
        with pytest.raises(SnapshotError, match="not a snapshot"):
            Matcher.open(special)
