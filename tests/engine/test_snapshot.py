"""Saving a matcher to a file and opening it: the same answers, and no harm from any file at all."""

from __future__ import annotations

import gc
import random
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st

from cidrgate import AccountNotFoundError, Matcher, SnapshotError, SubaccountError
from cidrgate._engine import _seal_snapshot

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096
HEADER = struct.Struct("<8sIIQQQQQQIIQQ")
OWN_SUM = HEADER.size - 8
SUM = HEADER.size - 16

names = st.text("abcé", min_size=1, max_size=3)
prefixes = st.lists(
    st.one_of(
        st.builds("{}.{}.0.0/16".format, st.integers(1, 223), st.integers(0, 255)),
        st.builds("{:x}:{:x}::/32".format, st.integers(0x2000, 0x2FFF), st.integers(0, 0xFFFF)),
    ),
    max_size=5,
)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), names, prefixes),
        st.tuples(st.just("close"), names, st.none()),
        st.tuples(st.just("link"), names, names),
        st.tuples(st.just("discard"), names, st.none()),
    ),
    max_size=12,
)


def apply(matcher: Matcher, steps: list[tuple[str, str, object]]) -> None:
    for action, name, argument in steps:
        try:
            if action == "publish":
                matcher.publish(name, argument)  # type: ignore[arg-type]
            elif action == "close":
                matcher.publish(name, [], when_empty="deny")
            elif action == "link":
                matcher.link(name, str(argument))
            else:
                matcher.discard(name)
        except (SubaccountError, AccountNotFoundError):
            continue


def content(matcher: Matcher, steps: list[tuple[str, str, object]]) -> dict[str, tuple[list[str], bool] | None]:
    """What the matcher holds for every name that was ever spoken of."""
    spoken = {name for _, name, _ in steps} | {other for _, _, other in steps if isinstance(other, str)}
    return {name: (matcher.prefixes(name), matcher.enforced(name)) if name in matcher else None for name in spoken}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshots")


@given(before=changes, after=changes)
def test_an_opened_matcher_goes_on_like_the_saved_one(
    directory: Path, before: list[tuple[str, str, object]], after: list[tuple[str, str, object]]
) -> None:
    saved = Matcher()
    apply(saved, before)
    saved.save(directory / "any.snapshot")
    opened = Matcher.open(directory / "any.snapshot")
    assert content(opened, before) == content(saved, before)
    assert list(opened) == list(saved)
    assert len(opened) == len(saved)
    for matcher in (saved, opened):
        apply(matcher, after)
    assert content(opened, before + after) == content(saved, before + after)
    opened.save(directory / "again.snapshot")
    assert content(Matcher.open(directory / "again.snapshot"), before + after) == content(saved, before + after)


def large_matcher() -> Matcher:
    """Lists of every kind: empty, small, with an index, with a direct root, larger than a segment."""
    source = random.Random(7)
    matcher = Matcher()
    for number in range(400):
        size = source.choice([0, 1, 5, 64, 65, 300])
        matcher.publish(f"acct-{number}", [f"{number % 223 + 1}.{n >> 8}.{n & 255}.0/24" for n in range(size)])
    many = [f"{source.randrange(256)}.{n >> 8}.{n & 255}.0/24" for n in range(60_000)]
    matcher.publish("large", many + [f"2600:{n:x}::/48" for n in range(30_000)])
    for number in range(50):
        matcher.link(f"sub-{number}", f"acct-{number % 5}")
        matcher.discard(f"acct-{number + 100}")
    return matcher


@pytest.fixture(scope="module")
def saved(directory: Path) -> tuple[Matcher, Path]:
    matcher = large_matcher()
    matcher.save(directory / "large.snapshot")
    return matcher, directory / "large.snapshot"


@pytest.mark.parametrize("trusted", [False, True])
def test_every_kind_of_list_survives(saved: tuple[Matcher, Path], trusted: bool) -> None:
    matcher, path = saved
    opened = Matcher.open(path, trusted=trusted)
    known = [f"acct-{n}" for n in range(400)] + [f"sub-{n}" for n in range(50)] + ["large"]
    assert opened.rows(known).tolist() == matcher.rows(known).tolist()
    rows = np.random.default_rng(1).choice(matcher.rows([name for name in known if name in matcher]), 20_000)
    addresses = np.random.default_rng(2).integers(0, 2**32, 20_000, dtype=np.uint32)
    assert (opened.allows_many(rows, addresses) == matcher.allows_many(rows, addresses)).all()
    assert all(opened.prefixes(name) == matcher.prefixes(name) for name in known)


def test_blocks_of_the_file_are_reused_safely(saved: tuple[Matcher, Path]) -> None:
    opened = Matcher.open(saved[1])
    expected = {f"acct-{n}": opened.prefixes(f"acct-{n}") for n in range(400) if f"acct-{n}" in opened}
    source = random.Random(3)
    opened.publish("large", ["8.0.0.0/8"])
    for _ in range(5_000):
        name = source.choice(list(expected))
        size = source.choice([0, 1, 7, 64, 70, 400])
        expected[name] = [f"9.{n >> 8}.{n & 255}.0/24" for n in range(size)]
        opened.publish(name, expected[name])
    assert {name: opened.prefixes(name) for name in expected} == expected
    assert opened.prefixes("large") == ["8.0.0.0/8"]


def test_a_change_after_opening_is_not_seen_by_others(saved: tuple[Matcher, Path]) -> None:
    one, other = Matcher.open(saved[1]), Matcher.open(saved[1])
    before = other.prefixes("acct-1")
    one.publish("acct-1", ["9.9.9.0/24"])
    assert one.prefixes("acct-1") == ["9.9.9.0/24"]
    assert other.prefixes("acct-1") == Matcher.open(saved[1]).prefixes("acct-1") == before


def test_a_snapshot_may_be_replaced_while_it_is_open(directory: Path) -> None:
    path = directory / "replaced.snapshot"
    first, second = Matcher(), Matcher()
    first.publish("acct-1", ["8.8.8.0/24"])
    second.publish("acct-1", ["9.9.9.0/24"])
    first.save(path)
    opened = Matcher.open(path)
    second.save(path)
    assert opened.prefixes("acct-1") == ["8.8.8.0/24"]
    assert Matcher.open(path).prefixes("acct-1") == ["9.9.9.0/24"]
    assert [found.name for found in directory.glob(".replaced*")] == []


def test_a_matcher_that_cannot_be_saved_leaves_nothing(directory: Path) -> None:
    target = directory / "is-a-directory"
    target.mkdir()
    with pytest.raises(OSError, match="irectory"):
        Matcher().save(target)
    assert list(directory.glob(".is-a-directory*")) == []


REFUSED_AT_ONCE = [
    (lambda data: b"", "not a snapshot"),
    (lambda data: b"SQLite format 3\0" + data[16:], "not a snapshot"),
    (lambda data: data[:100], "not a snapshot"),
    (lambda data: data[:8] + struct.pack("<I", 4) + data[12:], "newer version"),
    (lambda data: data[:12] + struct.pack(">I", 0x01020304) + data[16:], "byte order"),
    (lambda data: data[:-PAGE], "not have the length"),
    (lambda data: data + bytes(PAGE), "not have the length"),
    (lambda data: data[:24] + b"\xff" + data[25:], "checksum"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED_AT_ONCE)
def test_a_trusted_file_is_one_of_ours_and_whole(
    saved: tuple[Matcher, Path], directory: Path, change: object, message: str
) -> None:
    path = directory / "trusted.snapshot"
    path.write_bytes(change(saved[1].read_bytes()))  # type: ignore[operator]
    with pytest.raises(SnapshotError, match=message):
        Matcher.open(path, trusted=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *REFUSED_AT_ONCE,
        (lambda data: data[:PAGE] + bytes([data[PAGE] ^ 1]) + data[PAGE + 1 :], "checksum"),
        (lambda data: data[:-1] + b"\x01", "checksum"),
    ],
)
def test_what_is_no_sound_snapshot_is_refused(
    saved: tuple[Matcher, Path], directory: Path, change: object, message: str
) -> None:
    path = directory / "refused.snapshot"
    path.write_bytes(change(saved[1].read_bytes()))  # type: ignore[operator]
    with pytest.raises(SnapshotError, match=message):
        Matcher.open(path)


# The flag of a family is "nested" with prefixes; without any at all, IPv4's says that the account is enforced.
@pytest.mark.parametrize(
    ("prefixes", "family", "sound"),
    [
        ([], 0, True),
        ([], 1, False),
        (["8.8.8.0/24"], 0, True),
        (["8.8.8.0/24"], 1, False),
        (["2600::/12"], 0, False),
        (["2600::/12"], 1, True),
    ],
)
def test_an_enforced_list_without_prefixes_is_told_from_nonsense(
    directory: Path, prefixes: list[str], family: int, sound: bool
) -> None:
    matcher = Matcher()
    matcher.publish("acct-001", prefixes)
    path = directory / "flagged.snapshot"
    matcher.save(path)
    assert Matcher.open(path).enforced("acct-001") == bool(prefixes)
    forged = bytearray(path.read_bytes())
    flags = forged.index(b"acct-001") + len(b"acct-001") + 4 * family + 3
    forged[flags] |= 0x80
    path.write_bytes(_seal_snapshot(bytes(forged)))
    if sound:
        opened = Matcher.open(path)
        assert opened.enforced("acct-001")
        assert not opened.allows("acct-001", "9.9.9.9")
    else:
        with pytest.raises(SnapshotError, match="is not consistent"):
            Matcher.open(path)


def test_a_missing_file_is_missing(directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Matcher.open(directory / "none.snapshot")


FORGER = """
import random, sys
from cidrgate import InvalidAccountError, Matcher, SnapshotError, SubaccountError
from cidrgate._engine import _seal_snapshot
path, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
source = random.Random(seed)
whole = open(path, "rb").read()
words = len(whole) // 4
outcomes = {"refused": 0, "opened": 0}
for _ in range(rounds):
    forged = bytearray(whole)
    for _ in range(source.choice([1, 1, 2, 5])):
        at = source.choice([source.randrange(16, 104), source.randrange(4096, len(forged) - 4)]) & ~3
        value = source.choice([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 131072, source.getrandbits(32),
                               int.from_bytes(forged[at:at + 4], "little") + source.choice([-1, 1, 8]) & 0xFFFFFFFF])
        forged[at:at + 4] = value.to_bytes(4, "little")
    with open(path + ".forged", "wb") as file:
        file.write(_seal_snapshot(bytes(forged)))
    try:
        matcher = Matcher.open(path + ".forged")
    except SnapshotError:
        outcomes["refused"] += 1
        continue
    outcomes["opened"] += 1
    for number in range(60):
        for name in (f"acct-{number}", f"sub-{number}"):
            matcher.allows(name, f"8.{number}.8.8"), matcher.allows(name, f"2600:{number:x}::1")
            matcher.prefixes(name)
    for number in range(60):
        try:
            matcher.publish(f"acct-{number}", ["8.8.8.0/24"] * (number % 3))
            matcher.link(f"sub-{number}", f"acct-{number % 7}")
            matcher.discard(f"acct-{number + 30}")
        except SubaccountError:
            pass
    matcher.save(path + ".again")
print(outcomes)
assert min(outcomes.values()) > 0, outcomes
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_forged_file_with_right_checksums_does_no_harm(directory: Path, seed: int) -> None:
    matcher = Matcher()
    for number in range(40):
        matcher.publish(f"acct-{number}", [f"8.{number}.{n}.0/24" for n in range(number * 3)])
    matcher.publish("acct-50", [f"2600:{n:x}::/32" for n in range(80)])
    matcher.publish("acct-51", [], when_empty="deny")
    for number in range(9):
        matcher.link(f"sub-{number}", f"acct-{number % 4}")
    matcher.discard("acct-12")
    path = directory / f"forged-{seed}.snapshot"
    matcher.save(path)
    # In a process of its own: harm would be a crash, which must not take the other tests along.
    done = subprocess.run(
        [sys.executable, "-c", FORGER, str(path), str(seed), "400"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_collector_of_cycles_ends_a_matcher_before_its_mapping(tmp_path: Path) -> None:
    """Lists that were changed after the file was opened are given back to the memory of the file."""
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    matcher.save(tmp_path / "lists.snapshot")
    gc.collect()
    gc.freeze()  # what other tests have left takes the collector seconds
    for _ in range(20):
        opened = Matcher.open(tmp_path / "lists.snapshot")
        opened.publish("acct-1", ["9.9.9.0/24", "1.1.1.1/32"])
        cycle: list[object] = [opened]
        cycle.append(cycle)
        del opened, cycle
        gc.collect()
