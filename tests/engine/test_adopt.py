"""A matcher takes over the lists of another one in one step, and a file keeps a note of who saved it."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st

from cidrgate import AccountNotFoundError, Matcher, SnapshotError
from cidrgate._engine import _seal_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

names = st.sampled_from(["a", "b", "c", "sub-1", "ö"])
prefixes = st.lists(st.sampled_from(["8.8.8.0/24", "8.0.0.0/8", "1.1.1.1/32", "2606:4700::/32"]), unique=True)
lists = st.dictionaries(names, prefixes)
addresses = ["8.8.8.8", "8.1.1.1", "1.1.1.1", "2606:4700::1", "9.9.9.9"]


def a_matcher(made: dict[str, list[str]]) -> Matcher:
    matcher = Matcher()
    for name, some in made.items():
        matcher.publish(name, some)
    return matcher


def contents(matcher: Matcher) -> object:
    return len(matcher), {name: (name in matcher, matcher.prefixes(name)) for name in ("a", "b", "c", "sub-1", "ö")}


@pytest.fixture(scope="module")
def little_garbage() -> Iterator[None]:
    """What was there before these tests is not searched again for each example."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("little_garbage")
@given(lists, lists, st.booleans())
def test_lists_are_taken_over_whole(one: dict[str, list[str]], other: dict[str, list[str]], more: bool) -> None:
    left, right = a_matcher(one), a_matcher(other)
    after = contents(right)
    left.adopt(right)
    assert contents(left) == after
    assert contents(right) == contents(Matcher())
    for name in names_of(one, other):
        for address in addresses:
            expected = a_matcher({name: other.get(name, [])}).allows(name, address)
            assert left.allows(name, address) == expected
            assert left.allows_many(name, [address]).tolist() == left.allows_many([name], [address]).tolist()
            assert left.allows_many(name, [address]).tolist() == [expected]
            assert right.allows(name, address)
    if more:  # both go on as before
        for matcher in (left, right):
            matcher.publish("a", ["9.9.9.0/24"])
            matcher.discard("b")
            matcher.link("new", parent="a")
            assert matcher.prefixes("new") == ["9.9.9.0/24"]
    left.adopt(left)
    del right
    gc.collect()
    assert ("a" in left) == (more or "a" in other)


def names_of(*made: dict[str, list[str]]) -> set[str]:
    return {name for lists in made for name in lists}


def test_rows_of_before_are_nobodys_afterwards() -> None:
    left, right = a_matcher({"a": ["8.8.8.0/24"], "b": []}), a_matcher({"b": ["1.1.1.1/32"], "a": ["9.9.9.0/24"]})
    old = left.rows(["a", "b"])
    left.adopt(right)
    for row in old:
        with pytest.raises(AccountNotFoundError, match="rows"):
            left.allows_many(np.array([row], dtype=np.int32), ["8.8.8.8"])
    new = left.rows(["a", "b", "nobody"])
    assert set(new[:2]).isdisjoint(old)
    assert left.allows_many(new, ["8.8.8.8", "1.1.1.1", "8.8.8.8"]).tolist() == [False, True, True]
    left.publish("c", ["8.8.8.8/32"])
    assert left.allows_many(["c", "a"], ["8.8.8.8", "9.9.9.9"]).tolist() == [True, True]


def test_row_numbers_never_run_out() -> None:
    left, right = Matcher(), Matcher()
    for number in range(2_000):
        left.publish(f"left-{number}", ["8.8.8.0/24"])
        right.publish(f"right-{number}", ["1.1.1.0/24"])
    seen = set()
    for _ in range(3_000):
        spare = Matcher()
        spare.adopt(left)
        left.adopt(right)
        right.adopt(spare)
        seen.add(int(left.rows(["left-7", "right-7"]).max()))
    assert min(seen) >= 0
    assert len(seen) == 3_000
    left, right = (left, right) if "left-7" in left else (right, left)
    rows = left.rows(["left-7"])
    assert left.allows_many(rows, ["8.8.8.8"]).tolist() == [True]


@pytest.mark.slow
def test_every_reader_sees_the_one_or_the_other() -> None:
    inside = np.full(2_000, 8 << 24 | 8 << 16 | 8 << 8 | 8, dtype=np.uint32)
    outside = np.full(2_000, 1 << 24 | 1 << 16 | 1 << 8 | 1, dtype=np.uint32)
    both = np.concatenate([inside, outside])
    left = a_matcher({"acct": ["8.8.8.0/24"]})
    stop = threading.Event()
    mixtures: list[object] = []
    answers: set[bool] = set()

    def read_batches() -> None:
        while not stop.is_set():
            found = left.allows_many("acct", both)
            first, second = bool(found[0]), bool(found[-1])
            if first == second or not (found[:2_000] == first).all() or not (found[2_000:] == second).all():
                mixtures.append(found)
            answers.add(first)

    def read_one() -> None:
        while not stop.is_set():
            # Rows are looked up and used in two steps; that all lists are replaced between them is nobody's error.
            left.allows_many(["acct", "acct"], ["8.8.8.8", "1.1.1.1"])
            if left.allows("acct", "9.9.9.9") or left.prefixes("acct") not in (["8.8.8.0/24"], ["1.1.1.0/24"]):
                mixtures.append("9.9.9.9")

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            left.publish(f"other-{number % 50}", ["8.8.8.0/24"])

    threads = [threading.Thread(target=work) for work in (read_batches, read_batches, read_one, read_one, write)]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    exchanges = 0
    # On a busy machine, it takes longer until everybody had a turn.
    while (after := time.monotonic() - begin) < 2 or (after < 60 and (exchanges <= 10 or len(answers) < 2)):
        coming = [["8.8.8.0/24"], ["1.1.1.0/24"]][exchanges % 2]
        left.adopt(a_matcher({"acct": coming, f"row-{exchanges}": ["9.0.0.0/8"]}))
        exchanges += 1
    stop.set()
    for thread in threads:
        thread.join()
    assert not mixtures
    assert answers == {True, False}
    assert exchanges > 10


def test_an_opened_file_stays_mapped_for_whoever_has_its_lists(tmp_path: Path) -> None:
    a_matcher({"a": ["8.8.8.0/24"]}).save(tmp_path / "lists")
    matcher = a_matcher({"b": ["1.1.1.1/32"]})
    opened = Matcher.open(tmp_path / "lists")
    matcher.adopt(opened)
    del opened
    gc.collect()
    assert matcher.prefixes("a") == ["8.8.8.0/24"]
    matcher.publish("a", ["9.9.9.0/24"])
    matcher.publish("c", ["9.9.9.0/24"])
    assert matcher.prefixes("a") == matcher.prefixes("c") == ["9.9.9.0/24"]


@given(st.binary(max_size=9_000), lists)
def test_a_note_comes_back(tmp_path_factory: pytest.TempPathFactory, note: bytes, made: dict[str, list[str]]) -> None:
    path = tmp_path_factory.mktemp("note") / "lists"
    matcher = a_matcher(made)
    assert matcher.note == b""
    matcher.save(path, note=note)
    opened = Matcher.open(path)
    assert opened.note == note
    assert contents(opened) == contents(matcher)


def test_a_note_is_checked_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lists"
    a_matcher({"a": ["8.8.8.0/24"]}).save(path, note=b"position 7")
    image = path.read_bytes()
    at = image.rindex(b"position 7")
    path.write_bytes(image.replace(b"position 7", b"position 8"))
    with pytest.raises(SnapshotError, match="checksum"):
        Matcher.open(path)
    size = image.index((10).to_bytes(8, "little"), 48)
    for forged in (9_000, 2**63, 2**30 + 1):
        path.write_bytes(_seal_snapshot(image[:size] + forged.to_bytes(8, "little") + image[size + 8 :]))
        with pytest.raises(SnapshotError, match="not consistent"):
            Matcher.open(path)
    assert at > size
    with pytest.raises(ValueError, match="1,073,741,824 bytes, not 1,073,741,825"):
        Matcher().save(path, note=bytes(2**30 + 1))
