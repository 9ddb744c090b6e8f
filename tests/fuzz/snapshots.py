"""A structured fuzzer over snapshot files: damage one, seal it, open it, and use what is opened in every way.

    python tests/fuzz/snapshots.py --files 50000 --seconds 1500

Each file follows from its number alone. A file is refused, or it holds what a reader in plain Python finds in it:
every question, one by one and in batches of 1 to 100,000, is answered as those lists answer it, and so it stays through
changes, an adoption, and another file. Run it on an engine that was built with AddressSanitizer and
UndefinedBehaviorSanitizer (`make fuzz`, `make sanitize`). The file is written before it is opened: one that crashes the
process is kept in `build/fuzz-findings`, and its number is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import random
import shutil
import struct
import subprocess
import sys
import time
from bisect import bisect_right
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import numpy as np

from cidrgate import AccountNotFoundError, InvalidAccountError, Matcher, SnapshotError, SubaccountError
from cidrgate._engine import _seal_snapshot, canonical_prefix
from tests.fuzz.layout import (
    DEAD,
    HEADER_FIELDS,
    KIN,
    PAGE,
    SUBACCOUNT,
    Layout,
    Range,
    address_text,
    held,
    prefix_text,
    with_table,
)

Mode: TypeAlias = Literal["enforce", "report_only", "off"]

BASES = 24
LARGE = {5, 7, 15, 17, 23}
MOST_ASKED = 100_000
FINDINGS = Path("build/fuzz-findings")
SPECIAL = [0, 1, 2, 3, 7, 8, 32, 33, 64, 65, 96, 127, 128, 129, 255, 256, 4095, 4096, 131_071, 131_072, 131_073]
SPECIAL += [0x7FFFFFFF, 0x80000000, 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF, 0x3FFFFFFF, 0x40000000, 2**32, 2**63, 2**64 - 1]
MAPPED = 0xFFFF << 32


# ------------------------------------------------------------------------------------------------------- bases


def ipv4_list(source: random.Random, size: int) -> list[str]:
    found = []
    for _ in range(size):
        length = source.choice([8, 12, 16, 20, 22, 24, 24, 24, 28, 31, 32, 32])
        number = source.getrandbits(32) if source.random() < 0.7 else 8 << 24 | source.getrandbits(14) << 8
        found.append(prefix_text(4, number >> (32 - length) << (32 - length), length))
    return found + (["0.0.0.0/0"] if source.random() < 0.05 else [])


def ipv6_list(source: random.Random, size: int) -> list[str]:
    found = []
    for _ in range(size):
        length = source.choice([12, 20, 32, 32, 40, 48, 48, 56, 64, 65, 96, 112, 127, 128])
        number = 0x26 << 120 | source.getrandbits(source.choice([16, 120])) << source.choice([0, 4])
        found.append(prefix_text(6, number % 2**128 >> (128 - length) << (128 - length), length))
    return found + (["::/0"] if source.random() < 0.05 else [])


@functools.cache
def base(number: int) -> tuple[bytes, Layout, dict[str, list[Range]]]:
    """One of BASES sound files of every kind of list, its layout, and where its numbers stand by their kind."""
    source = random.Random(number)
    matcher = Matcher()
    accounts = source.choice([0, 1, 3, 8, 20, 60])
    sizes = [0, 0, 1, 2, 5, 40, 63, 64, 65, 80, 127, 128] if number % 3 else [1, 3, 5, 50]
    for index in range(accounts):
        name = f"acct-{index}" + source.choice(["", "", "é", "x" * source.randrange(40), "名" * 5])
        size = source.choice(sizes)
        matcher.publish(
            name,
            ipv4_list(source, size) + ipv6_list(source, source.choice([0, 0, 1, 3, size])),
            when_empty="deny" if source.random() < 0.3 else "allow",
            mode=source.choice(["enforce", "enforce", "enforce", "report_only", "off"]),
        )
    if number % 4 == 1:  # leaves, runs and skips of both families, and IPv6 prefixes without a lower half
        matcher.publish(
            "lone", [f"{n}.{n}.{n}.{n}/32" for n in range(1, 81)] + [f"{n:x}00::1/128" for n in range(32, 99)]
        )
        matcher.publish("deep", [f"2600:0:0:{n >> 3:x}::{n:x}/128" for n in range(source.choice([70, 200]))])
        matcher.publish(
            "sparse", [f"2600:{n >> 4:x}:{n:x}::/48" for n in range(90)] + ["2600::5/128", "2600:1:0:8::/66"]
        )
        matcher.publish("final", [f"8.8.{n}.0/{22 + n % 3}" for n in range(0, 252, 4)] + ["8.0.0.0/8", "8.8.64.0/18"])
        matcher.publish("upper", [f"2600:{n >> 4:x}:{n:x}:7::/64" for n in range(90)] + ["2600::/20", "2600:1::/32"])
    if number in LARGE and number % 8 == 7:
        matcher.publish("large", ipv4_list(source, source.choice([4_200, 9_000])) + ipv6_list(source, 70))
    if number in LARGE and number % 12 == 5:  # longer than half a segment, so that it has segments of its own
        matcher.publish("vast", [f"{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}.0/24" for n in range(0, 2**22, 50)])
    if number % 12 == 11:  # segments that two threads take by turns
        for index in range(200):
            matcher.publish(f"many-{index}", [f"{index}.{n >> 8}.{n & 255}.9/32" for n in range(1_500)])
    for index in range(source.choice([0, 2, 9, 30])):
        parent = f"acct-{source.randrange(4)}"
        if parent not in matcher:
            matcher.publish(parent, [])
        matcher.link(f"sub-{index}", parent)
    for index in range(0, accounts, 7):
        matcher.discard(f"acct-{index}")
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "base.snapshot"
        matcher.save(path, note=source.randbytes(source.choice([0, 0, 5, 5000])))
        image = bytes(with_table(path.read_bytes(), source.getrandbits(64)))
    layout = Layout(image, ranges=True)
    kinds: dict[str, list[Range]] = {}
    for found in layout.ranges:
        kinds.setdefault(found.kind, []).append(found)
    return image, layout, kinds


# ------------------------------------------------------------------------------------------------------ damage


class Forgery:
    """A file in the making; each method is one way to damage it."""

    def __init__(self, source: random.Random, image: bytes, layout: Layout, kinds: dict[str, list[Range]]) -> None:
        self.source = source
        self.image = bytearray(image)
        self.layout = layout
        self.kinds = kinds

    def place(self, kind: str | None = None) -> tuple[int, int]:
        """Where a number of a kind stands, and its size; of any kind, each as likely."""
        kind = kind if kind in self.kinds else self.source.choice(sorted(self.kinds))
        found = self.source.choice(self.kinds[kind])
        return found.at + found.size * self.source.randrange(found.count), found.size

    def read(self, at: int, size: int) -> int:
        return int.from_bytes(self.image[at : at + size], "little")

    def write(self, at: int, size: int, value: int) -> None:
        self.image[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")

    def flip_bits(self) -> None:
        for _ in range(self.source.choice([1, 1, 2, 8])):
            at = self.source.choice([self.source.randrange(len(self.image)), self.place()[0]])
            self.image[at] ^= 1 << self.source.randrange(8)

    def set_number(self) -> None:
        at, size = self.place()
        self.write(at, size, self.source.choice([*SPECIAL, self.source.getrandbits(64), len(self.image)]))

    def count_number(self) -> None:
        at, size = self.place()
        self.write(at, size, self.read(at, size) + self.source.choice([-8, -2, -1, 1, 2, 3, 8, 256]))

    def copy_number(self) -> None:
        kind = self.source.choice(sorted(self.kinds))
        (at, size), (other, _) = self.place(kind), self.place(kind)
        self.write(at, size, self.read(other, size))

    def exchange_numbers(self) -> None:
        kind = self.source.choice(sorted(self.kinds))
        (at, size), (other, _) = self.place(kind), self.place(kind)
        one, two = self.read(at, size), self.read(other, size)
        self.write(at, size, two)
        self.write(other, size, one)

    def splice(self) -> None:
        donor = self.image if self.source.random() < 0.6 else base(self.source.randrange(BASES))[0]
        size = self.source.choice([4, 8, 12, 24, 64, 512])
        unit = self.source.choice([1, 4, 8])
        start = self.source.randrange(0, max(len(donor) - size, 1)) // unit * unit
        at = self.source.choice([self.place()[0], self.source.randrange(len(self.image))]) // unit * unit
        at = min(at, len(self.image) - size)
        self.image[at : at + size] = donor[start : start + size]

    def resize(self) -> None:
        how = self.source.randrange(4)
        if how == 0:
            del self.image[-PAGE * self.source.choice([1, 2]) :]
        elif how == 1:
            self.image += bytes(PAGE)
        else:
            at = self.source.randrange(PAGE, len(self.image) + 1) // 8 * 8
            self.image[at:at] = self.source.randbytes(8) if how == 2 else bytes(PAGE)
        if self.source.random() < 0.8:
            self.write(*HEADER_FIELDS["size"], len(self.image))
        self.image += bytes(max(0, PAGE + 64 - len(self.image)))

    def forge_prefix(self) -> None:
        """Host bits, a wider length, a repetition, an IPv4-mapped network."""
        if not {"first4", "high6"} & set(self.kinds):
            return
        family = self.source.choice([kind for kind in ("first4", "high6") if kind in self.kinds])
        found = self.source.choice(self.kinds[family])
        count, lows = found.count, found.at + found.size * found.count
        halved = family == "high6" and any(one.at == lows for one in self.kinds.get("low6", ()))
        lengths = lows + 8 * count if halved else lows
        index = self.source.randrange(count)
        how = self.source.randrange(5)
        if how == 0:
            self.write(
                lengths + index, 1, self.source.choice([0, 0, 1, 8, 15, 16, 17, 23, 24, 25, 31, 32, 33, 127, 128])
            )
        elif how == 1:
            self.write(found.at + found.size * index, found.size, 2 ** (8 * found.size) - 1)
        elif how == 2:
            self.write(found.at + found.size * index, found.size, self.source.getrandbits(8 * found.size))
            self.write(lengths + index, 1, 32 if family == "first4" else 128)
        elif how == 3 and count > 1:
            other = self.source.randrange(count)
            for at, size in ((found.at, found.size), (lows, 8 if halved else 0), (lengths, 1)):
                self.write(at + size * index, size, self.read(at + size * other, size))
        elif halved:
            self.write(found.at + 8 * index, 8, 0)
            self.write(lows + 8 * index, 8, MAPPED | self.source.choice([0, 8 << 24]))
            self.write(lengths + index, 1, self.source.choice([95, 96, 104, 128]))

    def slots(self) -> list[int]:
        return [number for number in range(self.layout.capacity) if self.slot(number)[1]]

    def slot(self, number: int) -> tuple[int, int, int]:
        return struct.unpack_from("<III", self.image, self.layout.slot_at(number))

    def set_slot(self, number: int, slot: tuple[int, int, int]) -> None:
        struct.pack_into("<III", self.image, self.layout.slot_at(number), *slot)

    def forge_slot(self) -> None:
        """Move a slot, exchange two, repeat one, kill one; with the counts made to agree, often."""
        taken = self.slots()
        if not taken or len(self.image) < self.layout.slot_at(self.layout.capacity):
            return
        one, other = self.source.choice(taken), self.source.randrange(self.layout.capacity)
        how = self.source.randrange(5)
        first, second = self.slot(one), self.slot(other)
        if how < 2:
            self.set_slot(one, second)
            self.set_slot(other, first)
        elif how == 2:
            self.set_slot(other, first)
        elif how == 3:
            self.set_slot(other, (first[0], DEAD, 0) if second[1] == 0 else (0, 0, 0))
        else:
            self.set_slot(one, (self.source.choice([second[0], 0, DEAD]), first[1], first[2]))
        if self.source.random() < 0.7:
            slots = [self.slot(number) for number in range(self.layout.capacity)]
            self.write(PAGE + 4, 4, sum(slot[1] != 0 for slot in slots))
            self.write(*HEADER_FIELDS["live"], sum(slot[1] not in (0, DEAD) for slot in slots))

    def forge_kin(self) -> None:
        """Chains that end too soon, go round, or cross; parents that are none."""
        kin = [block for block in self.layout.blocks if block.flags & KIN]
        if not kin:
            return
        block, other = self.source.choice(kin), self.source.choice(self.layout.blocks)
        place = self.layout.arena_offset + block.at + 8
        how = self.source.randrange(4)
        if how == 0:
            self.write(place, 4, self.source.choice([0, other.reference, block.reference, other.next]))
        elif how == 1:
            self.write(place + 4, 4, self.source.choice([other.row, block.row, other.parent]))
        elif how == 2:
            self.write(self.layout.rows_offset + 4 * block.row, 4, other.reference)
        else:
            self.write(place - 2, 2, self.source.choice([0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16]))

    def forge_name(self) -> None:
        """Two accounts of one name, an empty one, one that is not UTF-8."""
        if not self.layout.blocks:
            return
        block, other = self.source.choice(self.layout.blocks), self.source.choice(self.layout.blocks)
        place = self.layout.arena_offset + block.at + (16 if block.flags & KIN else 8)
        how = self.source.randrange(4)
        if how == 0:
            same = [found for found in self.layout.blocks if len(found.name) == len(block.name)]
            self.image[place : place + len(block.name)] = self.source.choice(same).name
        elif how == 1:
            self.image[place : place + len(block.name)] = self.source.randbytes(len(block.name))
        elif how == 2:
            self.image[place] ^= 1 + self.source.randrange(3)
        else:
            self.write(place - (16 if block.flags & KIN else 8) + 4, 2, len(other.name))

    def forge_block(self) -> None:
        """One block over another of the same size, under its own row or the other's."""
        if not self.layout.blocks:
            return
        block = self.source.choice(self.layout.blocks)
        same = [found for found in self.layout.blocks if held(found.size) == held(block.size)]
        other = self.source.choice(same)
        at, start = self.layout.arena_offset + block.at, self.layout.arena_offset + other.at
        kept = self.source.choice([0, 4])
        self.image[at + kept : at + held(block.size)] = self.image[start + kept : start + held(block.size)]

    def repair(self) -> None:
        """Make the index agree with the blocks again, as far as they can be read."""
        try:
            if Layout(bytes(self.image)).capacity < 2 * self.layout.capacity + 64:
                self.image = with_table(bytes(self.image))
        except (ValueError, struct.error, IndexError, OverflowError):
            pass

    def damage(self) -> bytes:
        ways = [
            self.flip_bits,
            self.set_number,
            self.count_number,
            self.copy_number,
            self.exchange_numbers,
            self.splice,
        ]
        ways += [self.resize, self.forge_prefix, self.forge_prefix, self.forge_slot, self.forge_slot, self.forge_kin]
        ways += [self.forge_kin, self.forge_name, self.forge_block]
        for _ in range(self.source.choice([0, 1, 1, 1, 1, 2, 2, 3, 6])):
            # What was cut off by one way may be out of reach for the next one.
            with contextlib.suppress(IndexError, struct.error):
                self.source.choice(ways)()
        if self.source.random() < 0.4:
            self.repair()
        return _seal_snapshot(bytes(self.image))


# ------------------------------------------------------------------------------------------------------- model


@functools.lru_cache(maxsize=1 << 19)
def bounds(prefix: str) -> tuple[int, int, int, int]:
    """Version, first and last address, and length."""
    address, _, length = prefix.partition("/")
    version = 6 if ":" in address else 4
    first = int.from_bytes(inet_pton(AF_INET6 if version == 6 else AF_INET, address), "big")
    return version, first, first | (1 << (128 if version == 6 else 32) - int(length)) - 1, int(length)


class Listed:
    """A list as merged intervals of each family."""

    def __init__(self, prefixes: list[str], *, enforced: bool, mode: Mode = "enforce") -> None:
        self.mode = mode
        self.prefixes = prefixes
        self.enforced = enforced
        self.starts: dict[int, list[int]] = {4: [], 6: []}
        self.ends: dict[int, list[int]] = {4: [], 6: []}
        for version, first, last, _ in map(bounds, prefixes):
            starts, ends = self.starts[version], self.ends[version]
            if ends and first <= ends[-1]:  # in order, and nested or apart
                ends[-1] = max(ends[-1], last)
            else:
                starts.append(first)
                ends.append(last)

    def covers(self, version: int, number: int) -> bool:
        place = bisect_right(self.starts[version], number) - 1
        return place >= 0 and number <= self.ends[version][place]

    def covers_numbers(self, numbers: np.ndarray) -> np.ndarray:
        if not self.starts[4]:
            return np.zeros(len(numbers), dtype=bool)
        starts, ends = (np.array(side[4], dtype=np.int64) for side in (self.starts, self.ends))
        place = np.searchsorted(starts, numbers.astype(np.int64), side="right") - 1
        return (place >= 0) & (numbers <= ends[np.maximum(place, 0)])


NOBODY = Listed([], enforced=False)


class Model:
    """All accounts as two dictionaries, beginning with those of a file that was accepted."""

    def __init__(self, layout: Layout) -> None:
        by_row = {block.row: block for block in layout.blocks}
        self.lists: dict[str, Listed] = {}
        self.parents: dict[str, str] = {}
        for block in layout.blocks:
            name = block.name.decode()
            assert name not in self.lists
            assert name not in self.parents
            if block.flags & SUBACCOUNT:
                self.parents[name] = by_row[block.parent].name.decode()
            else:
                enforced = bool(block.prefixes) or block.closed
                self.lists[name] = Listed(block.prefixes, enforced=enforced, mode=block.mode)

    def names(self) -> list[str]:
        return [*self.lists, *self.parents]

    def list_of(self, name: str) -> Listed:
        return self.lists.get(self.parents.get(name, name), NOBODY)

    def publish(
        self, matcher: Matcher, name: str, prefixes: list[str], *, enforced: bool, mode: Mode = "enforce"
    ) -> None:
        try:
            matcher.publish(name, prefixes, when_empty="deny" if enforced else "allow", mode=mode)
        except SubaccountError as refusal:
            told = str(refusal)
            assert name in self.parents
            assert repr(self.parents[name]) in told
            return
        except InvalidAccountError:
            assert not 0 < len(name.encode()) <= 1024
            return
        assert name not in self.parents
        unique = sorted({canonical_prefix(prefix) for prefix in prefixes}, key=lambda p: (*bounds(p)[:2], bounds(p)[3]))
        self.lists[name] = Listed(unique, enforced=bool(prefixes) or enforced, mode=mode)

    def link(self, matcher: Matcher, name: str, parent: str) -> None:
        bad = name == parent or parent in self.parents or name in self.parents.values()
        bad = bad or (name in self.lists and self.lists[name].enforced)
        try:
            matcher.link(name, parent)
        except AccountNotFoundError:
            assert parent not in self.lists, (name, parent)
            assert parent not in self.parents, (name, parent)
            return
        except SubaccountError:
            assert bad, (name, parent)
            return
        assert parent in self.lists, (name, parent)
        assert not bad, (name, parent)
        self.lists.pop(name, None)
        self.parents[name] = parent

    def discard(self, matcher: Matcher, name: str) -> None:
        matcher.discard(name)
        if name in self.parents.values():
            self.lists[name] = NOBODY
        else:
            self.lists.pop(name, None)
            self.parents.pop(name, None)


# --------------------------------------------------------------------------------------------------------- use


def numbers_near(source: random.Random, listed: Listed, count: int) -> np.ndarray:
    """IPv4 addresses, many of them at the edges of the list."""
    numbers = np.random.default_rng(source.getrandbits(32)).integers(0, 2**32, count, dtype=np.uint32)
    edges = [edge + step for side in (listed.starts, listed.ends) for edge in side[4][:500] for step in (-1, 0, 1)]
    if edges:
        places = np.arange(0, count, 2)
        numbers[places] = np.resize(np.array(edges, dtype=np.int64) % 2**32, len(places)).astype(np.uint32)
    return numbers


def ipv6_near(source: random.Random, listed: Listed, count: int) -> list[int]:
    edges = [edge + step for side in (listed.starts, listed.ends) for edge in side[6][:20] for step in (-1, 0, 1)]
    found = [edge % 2**128 for edge in edges] + [source.getrandbits(128) for _ in range(3)]
    return [number for number in source.choices(found, k=count) if number >> 32 != 0xFFFF]


def ask(source: random.Random, matcher: Matcher, model: Model, name: str, most: int) -> None:
    """Every way to ask about one account."""
    listed = model.list_of(name)
    known = name in model.lists or name in model.parents
    lenient = listed.mode != "enforce"
    opened = lenient or not listed.enforced
    assert (name in matcher) == known, name
    assert matcher.enforced(name) == (not opened), name
    assert matcher.mode(name) == listed.mode, name
    assert matcher.prefixes(name) == listed.prefixes, name
    numbers = numbers_near(source, listed, source.choice([1, 63, 64, 65, 4_095, 4_096, int(most ** source.random())]))
    covered = listed.covers_numbers(numbers)
    assert (matcher.allows_many(name, numbers) == (covered | opened)).all(), name
    rows = np.repeat(matcher.rows([name]), len(numbers[:3_000]))
    assert (matcher.allows_many(rows, numbers[:3_000]) == (covered[:3_000] | opened)).all(), name
    asked = [(4, int(number)) for number in numbers[:6]] + [(6, number) for number in ipv6_near(source, listed, 6)]
    texts = [address_text(version, number) for version, number in asked]
    for (version, number), text in zip(asked, texts, strict=True):
        inside = listed.covers(version, number)
        assert matcher.allows(name, text) == (inside or opened), (name, text)
        assert matcher.allows_known(name, text) == (known and (inside or opened)), (name, text)
        assert matcher.allows_enforced(name, text) == (inside or lenient), (name, text)
        assert matcher._sure_enforced(name, text) == inside, (name, text)
        match = matcher.match(name, text)
        assert (match is not None) == inside, (name, text)
        if match is not None:
            assert match in listed.prefixes
            around = [bounds(prefix) for prefix in listed.prefixes[:5_000]]
            around = [one for one in [*around, bounds(match)] if one[0] == version and one[1] <= number <= one[2]]
            assert bounds(match) == max(around, key=lambda one: one[3]), (name, text, match)
    many = texts * source.choice([1, 7, 400])
    expected = [listed.covers(*one) or opened for one in asked] * (len(many) // len(texts))
    assert matcher.allows_many(name, many).tolist() == expected, name


def change(source: random.Random, matcher: Matcher, model: Model) -> None:
    """Publish, link and discard accounts of the file and new ones."""
    known = model.names()
    names = [*source.sample(known, min(len(known), 8)), "new-1", "new-2", "acct-0", "sub-0", "sub-1"]
    for _ in range(source.choice([4, 12, 40])):
        name, other = source.choice(names), source.choice(names)
        how = source.random()
        if how < 0.5:
            size = source.choice([0, 0, 1, 3, 10, 40, 65, 130])
            prefixes = ipv4_list(source, size) + ipv6_list(source, source.choice([0, 2, 66 if size > 64 else 1]))
            mode: Mode = source.choice(["enforce", "enforce", "report_only", "off"])
            model.publish(matcher, name, prefixes if size else [], enforced=source.random() < 0.2, mode=mode)
        elif how < 0.75:
            model.link(matcher, name, other)
        else:
            model.discard(matcher, name)
    # Enough new accounts that the index and the rows grow.
    for number in range(source.choice([0, 0, 30, 120])):
        model.publish(matcher, f"more-{number}", ["8.8.8.0/24"], enforced=False)


def check(source: random.Random, matcher: Matcher, model: Model, most: int, some: int = 2) -> None:
    """Ask about some accounts, and look at all of them."""
    names = model.names()
    assert len(matcher) == len(names)
    assert set(matcher) == set(names)
    for name in [*source.sample(names, min(len(names), some)), "nobody"]:
        ask(source, matcher, model, name, most)
    for name in names:
        assert name in matcher, name
        assert matcher.prefixes(name) == model.list_of(name).prefixes, name
    rows = matcher.rows(names)
    assert len(set(rows.tolist())) == len(names)
    assert (rows >= 0).all()


def run(number: int, scratch: Path) -> bool:
    """Make, open and use one file; whether it was accepted."""
    source = random.Random(f"snapshot {number}")
    # Large files cost most of the time, and are taken one time in ten.
    chosen = source.randrange(BASES)
    while chosen in LARGE and source.random() < 0.7:
        chosen = source.randrange(BASES)
    image = Forgery(source, *base(chosen)).damage()
    path = scratch / f"file-{number}.snapshot"
    path.write_bytes(image)
    try:
        matcher = Matcher.open(path)
    except SnapshotError:
        path.unlink()
        return False
    model = Model(Layout(image))
    check(source, matcher, model, MOST_ASKED, some=5)
    again = scratch / f"again-{number}.snapshot"
    for _ in range(source.choice([1, 1, 2])):
        change(source, matcher, model)
        check(source, matcher, model, 5_000)
        if source.random() < 0.4:
            other = Matcher() if source.random() < 0.5 else Matcher.open(path)
            other.adopt(matcher)
            assert len(matcher) == 0
            matcher = other
            check(source, matcher, model, 5_000)
        matcher.save(again, note=b"kept")
        matcher = Matcher.open(again)
        assert matcher.note == b"kept"
        check(source, matcher, model, 5_000)
    again.unlink()
    path.unlink()
    return True


def work(first: int, files: int, seconds: float, scratch: Path) -> None:
    """Go through the numbers, and say now and then how far it is."""
    start = time.monotonic()
    accepted = 0
    for done, number in enumerate(range(first, first + files), 1):
        accepted += run(number, scratch)
        late = time.monotonic() - start > seconds
        if late or done % 1_000 == 0 or done == files:
            print(f"{done} files, {accepted} accepted, {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
        if late:
            break


def main() -> int:
    """Run the fuzzer in a process of its own, and keep the file that ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=50_000, help="how many files")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--seconds", type=float, default=1_500, help="stop after so long")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.first, given.files, given.seconds, given.worker)
        return 0
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        done = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--worker", scratch], check=False)
        if done.returncode == 0:
            return 0
        FINDINGS.mkdir(parents=True, exist_ok=True)
        for left in Path(scratch).glob("file-*.snapshot"):
            shutil.copy(left, FINDINGS)
            number = left.stem.removeprefix("file-")
            print(f"file {number} is a finding, kept as {FINDINGS / left.name}: again with --first {number} --files 1")
    return 1


if __name__ == "__main__":
    sys.exit(main())
