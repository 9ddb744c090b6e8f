"""Counters end at a limit instead of wrapping: what would be more is an error, and what was there stays."""

from __future__ import annotations

import contextlib
import random
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cidrgate import AccountNotFoundError, Matcher, PrefixTrie
from cidrgate._engine import _set_limit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ["prefixes", "nodes", "words", "rows", "segments"]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    yield
    for name in NAMES:
        _set_limit(name, None)


def scattered(count: int) -> list[str]:
    """Prefixes in groups that are too large for a run, so that each group adds nodes."""
    source = random.Random(5)
    groups = [source.getrandbits(60) << 56 for _ in range(count // 10 + 1)]
    return [f"{IPv6Address(0x26 << 120 | source.choice(groups) | source.getrandbits(56))}/128" for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_is_lowered_and_never_raised(name: str) -> None:
    for value in (0, 2**32 - 1, -1, 2**32, 2**40):
        with pytest.raises((ValueError, OverflowError)):
            _set_limit(name, value)
    with pytest.raises(KeyError):
        _set_limit("nothing", 1)


@pytest.mark.parametrize(("name", "prefixes"), [("nodes", 65), ("nodes", 300), ("words", 65), ("words", 2_500)])
def test_an_index_ends_at_its_limits(name: str, prefixes: int) -> None:
    listed = scattered(prefixes)
    asked = [prefix.partition("/")[0] for prefix in listed[:50]]
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    needed = 0
    for limit in (1, 2, 100, prefixes, 3 * prefixes, 300 * prefixes, 10_000 * prefixes):
        _set_limit(name, limit)
        try:
            trie = PrefixTrie(listed)
        except MemoryError:
            with pytest.raises(MemoryError):
                matcher.publish("acct-1", listed)
            assert matcher.prefixes("acct-1") == ["8.8.8.0/24"]
            with pytest.raises(MemoryError):
                matcher.publish("acct-2", listed)
            assert "acct-2" not in matcher
            continue
        needed = needed or limit
        assert trie.contains_many(asked).all()
    assert needed > 2
    matcher.publish("acct-1", listed)
    assert matcher.allows_many("acct-1", asked).all()


def test_a_limit_is_met_exactly() -> None:
    # One node of the second stride, after a skip, and one of the third for each /16; those of the fourth are final.
    listed = [f"8.{k}.{m}.{2 * n}/32" for k in range(3) for m in range(4) for n in range(20)]
    _set_limit("nodes", 4)
    trie = PrefixTrie(listed)
    assert len(trie) == 240
    _set_limit("nodes", 3)
    with pytest.raises(MemoryError):
        PrefixTrie(listed)


def test_a_list_ends_at_its_limit() -> None:
    _set_limit("prefixes", 3)
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "8.8.4.0/24", "9.9.9.0/24"])
    four = ["8.8.8.0/24", "8.8.4.0/24", "9.9.9.0/24", "1.1.1.1/32"]
    with pytest.raises(OverflowError, match="at most 3 prefixes, not 4"):
        matcher.publish("acct-1", four)
    with pytest.raises(OverflowError, match="at most 3 prefixes, not 4"):
        PrefixTrie(four)
    assert len(matcher.prefixes("acct-1")) == 3


def test_rows_end_at_their_limit(tmp_path: Path) -> None:
    _set_limit("rows", 5)
    matcher = Matcher()
    for number in range(4):
        matcher.publish(f"acct-{number}", [f"8.8.{number}.0/24"])
    matcher.link("sub-0", parent="acct-0")
    for one in (matcher, opened(matcher, tmp_path / "full.snapshot")):
        with pytest.raises(MemoryError):
            one.publish("acct-5", ["8.8.8.0/24"])
        with pytest.raises(MemoryError):
            one.link("sub-1", parent="acct-0")
        with pytest.raises(AccountNotFoundError):
            one.link("sub-1", parent="acct-5")
        assert "acct-5" not in one
        assert "sub-1" not in one
        assert len(one) == 5
        # Accounts that are known need no row.
        one.publish("acct-1", ["9.9.9.0/24"])
        one.publish("acct-2", [])
        one.link("acct-2", parent="acct-0")
        one.link("sub-0", parent="acct-1")
        assert one.prefixes("acct-2") == ["8.8.0.0/24"]
        assert one.prefixes("sub-0") == ["9.9.9.0/24"]
        # The row of a discarded account is not given again.
        one.discard("acct-3")
        with pytest.raises(MemoryError):
            one.publish("acct-5", ["8.8.8.0/24"])
        assert one.rows(["acct-0", "acct-1", "acct-2", "sub-0"]).min() >= 0


def opened(matcher: Matcher, path: Path) -> Matcher:
    matcher.save(path)
    return Matcher.open(path)


def test_rows_after_an_adoption_end_at_their_limit() -> None:
    left, right = Matcher(), Matcher()
    for number in range(3):
        left.publish(f"left-{number}", [])
        right.publish(f"right-{number}", ["8.8.8.0/24"])
    old = left.rows(["left-0"])
    left.adopt(right)
    _set_limit("rows", 7)
    left.publish("one more", [])
    with pytest.raises(MemoryError):
        left.publish("too many", [])
    rows = left.rows(["right-0", "right-1", "right-2", "one more"])
    assert rows.tolist() == [3, 4, 5, 6]
    with pytest.raises(AccountNotFoundError):
        left.allows_many(old, ["8.8.8.8"])
    assert left.allows_many(rows, np.full(4, 0x01010101, dtype=np.uint32)).tolist() == [False, False, False, True]


def test_an_arena_ends_at_its_limit() -> None:
    # Numbers 1 to 4: memory for four segments of one megabyte, each for two of these lists.
    _set_limit("segments", 5)
    large = [f"{n >> 8}.{n & 255}.0.0/16" for n in range(0, 65_536, 2)]
    matcher = Matcher()
    kept = [f"acct-{number}" for number in range(8)]
    for name in kept:
        matcher.publish(name, large)
    with pytest.raises(MemoryError):
        matcher.publish("acct-8", large)
    assert len(matcher) == len(kept)
    assert all(len(matcher.prefixes(name)) == len(large) for name in kept)
    small = [f"8.8.{n}.0/24" for n in range(60)]
    number = 0
    with contextlib.suppress(MemoryError):
        for number in range(100_000):
            matcher.publish(f"small-{number}", small)
    assert 0 < number < 99_999
    with pytest.raises(MemoryError):
        matcher.publish("one more", small)
    matcher.discard(kept[0])
    for _ in range(4):  # memory is given back by later changes
        matcher.discard("nobody")
        matcher.publish(kept[1], ["8.8.8.0/24"])
    matcher.publish("again", large)
    assert matcher.match("again", "0.2.3.4") == "0.2.0.0/16"


def test_a_file_ends_where_references_end(tmp_path: Path) -> None:
    matcher = Matcher()
    for number in range(4):
        matcher.publish(f"acct-{number}", [f"{n >> 8}.{n & 255}.0.0/16" for n in range(0, 65_536, 2)])
    path = tmp_path / "large.snapshot"
    _set_limit("segments", 2)
    with pytest.raises(MemoryError):
        matcher.save(path)
    assert list(tmp_path.iterdir()) == []
    _set_limit("segments", None)
    matcher.save(path)
    assert len(Matcher.open(path)) == 4
