"""A process that goes on for ever stays as large as it is: its resident memory, measured around many repetitions."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from cidrgate import InvalidAddressError, Matcher, PrefixTrie, SubaccountError
from cidrgate._engine import SmallestCover
from tests.engine.arrow_producer import Array, Failure, Producer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc: run the tests on Linux too")

PUBLISHES = 1_000_000
ALLOWED_BYTES = 4 * 2**20


def resident() -> int:
    """Bytes of this process in memory, after giving back what is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


class Stream:
    """Another library's column: the stream interface alone."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.column.__arrow_c_stream__()


def growth(repeat: Callable[[int], Any], count: int) -> int:
    """How much memory `count` repetitions take beyond a first tenth of them."""
    for step in range(count // 10):
        repeat(step)
    before = resident()
    for step in range(count):
        repeat(step)
    return resident() - before


@pytest.mark.slow
def test_a_million_publishes_take_no_memory() -> None:
    matcher = Matcher()
    lists = [[f"8.{size}.{n}.0/24" for n in range(size)] for size in (0, 1, 3, 10, 30, 50, 70)]
    names = [f"acct-{number}" for number in range(500)]
    assert growth(lambda step: matcher.publish(names[step * 7 % 500], lists[step * 13 % 7]), PUBLISHES) < ALLOWED_BYTES


@pytest.mark.slow
def test_accounts_that_come_and_go_take_row_numbers_only() -> None:
    matcher = Matcher()

    def come_and_go(step: int) -> None:
        matcher.publish("parent", ["8.8.8.0/24"])
        matcher.link("subaccount", "parent")
        matcher.discard("subaccount")
        matcher.discard("parent")
        if step % 100 == 0:
            matcher.rows(["parent"])

    # Two rows a repetition of four bytes each, and what an array leaves free to grow.
    assert growth(come_and_go, 100_000) < ALLOWED_BYTES


@pytest.mark.slow
def test_tries_arrays_and_errors_leave_nothing(tmp_path: Path) -> None:
    prefixes = [f"8.{n >> 8}.{n & 255}.0/24" for n in range(300)]
    texts = ["8.0.0.1", "9.9.9.9"] * 10
    arrow, numbers = pa.array(texts), np.arange(20, dtype=np.uint32)
    chunks = pa.chunked_array([arrow, arrow[:0], arrow])
    accounts = pa.array(["acct-1", "sub-1"] * 10)
    codes = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 10), pa.array(["8.0.0.1", "9.9.9.9", "no address"]))
    columns = [arrow, chunks, chunks.cast(pa.string_view()), codes, pa.chunked_array([codes, codes])]
    streams = [Stream(column) for column in (*columns[1:3], columns[4])]
    wrong_columns = [pa.chunked_array([["8.8.8.8"], ["x"]]), pa.chunked_array([codes, codes.take(pa.array([0, None]))])]
    matcher = Matcher()
    matcher.publish("acct-1", prefixes)
    matcher.link("sub-1", "acct-1")
    path = tmp_path / "accounts.snapshot"
    matcher.save(path)

    def use_everything(step: int) -> None:
        trie = PrefixTrie(dict.fromkeys(prefixes, step))
        for form in (texts, numbers, *columns, *streams):
            trie.contains_many(form)
            trie.lookup_many(form)
            matcher.allows_many("acct-1", form)
        matcher.allows_many(["acct-1", "sub-1"] * 10, texts)
        for names in (accounts, accounts.dictionary_encode(), Stream(pa.chunked_array([accounts]))):
            matcher.allows_many(names, arrow)
            matcher.rows(names)
        for wrong_column in (*wrong_columns, Stream(wrong_columns[0])):
            with pytest.raises(InvalidAddressError):
                trie.contains_many(wrong_column)
        failing = Producer(b"u", [Array(1, [None, bytes(4) + b"\7\0\0\0", b"8.8.8.8"]), Failure(5)])
        with pytest.raises(OSError, match="the disk is full"):
            trie.contains_many(failing)
        with pytest.raises(ValueError, match="is not consistent"):
            trie.contains_many(Producer(b"i", [Array(1, [None, b"\1\0\0\0"], dictionary=Array(0, []))], values=b"u"))
        with pytest.raises(TypeError, match=r"accounts\[1\]"):
            matcher.rows(Stream(pa.chunked_array([["acct-1", None]])))
        trie.covered("8.0.0.0/8")
        for wrong in (lambda: trie.match("8.8.8"), lambda: PrefixTrie(["8.8.8.8"]), lambda: trie.contains_many(["x"])):
            with pytest.raises(InvalidAddressError):
                wrong()
        with pytest.raises(SubaccountError):
            matcher.publish("sub-1", prefixes)
        if step % 10 == 0:
            opened = Matcher.open(path)
            opened.publish("acct-1", prefixes[:5])
            opened.save(path)

    assert growth(use_everything, 3_000) < ALLOWED_BYTES


def test_covers_and_refused_covers_take_no_memory() -> None:
    networks = [f"8.{n}.{n * n % 256}.{n * 7 % 256}/32" for n in range(200)] + [
        f"2606:4700:{n}::/64" for n in range(99)
    ]

    def cover(step: int) -> None:
        made = SmallestCover(networks[step % 7 :], ["8.3.0.0/16"], 20, 8, 16, bar_mapped=True)
        made.networks(len(made.curve()) + made.fewest - 1)
        with pytest.raises(InvalidAddressError):
            SmallestCover(networks, ["8.3.0.0/16", "x"], 20, 8, 16, bar_mapped=True)

    assert growth(cover, 2_000) < ALLOWED_BYTES
