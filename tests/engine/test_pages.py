"""Texts and numbers of Parquet pages are read as they were written, and nothing beyond the end of a page is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

from cidrgate._engine import _compact_struct, _packed_numbers, _Texts

TEXTS = st.lists(st.binary(max_size=40), max_size=30)


def page_of(texts: list[bytes]) -> bytes:
    return b"".join(len(one).to_bytes(4, "little") + one for one in texts)


def read(texts: _Texts) -> list[bytes]:
    offsets, octets = texts.buffers()
    return [octets[start:end].tobytes() for start, end in pairwise(offsets)]


@given(pages=st.lists(TEXTS, max_size=4), before=st.binary(max_size=3), expected=st.integers(0, 2_000))
def test_plain_texts_are_read_in_pieces(pages: list[list[bytes]], before: bytes, expected: int) -> None:
    texts = _Texts(sum(map(len, pages)), expected)
    for page in pages:
        at, octets = len(before), before + page_of(page)
        for start in range(0, len(page), 7):
            at = texts.plain(octets, at, min(7, len(page) - start))
        assert at == len(octets)
    assert read(texts) == [one for page in pages for one in page]
    with pytest.raises(ValueError, match="no room"):
        texts.plain(page_of([b""]), 0, 1)


@given(values=st.lists(st.binary(max_size=40), min_size=1, max_size=20), data=st.data())
def test_values_of_a_dictionary_are_chosen(values: list[bytes], data: st.DataObject) -> None:
    dictionary = _Texts(len(values))
    dictionary.plain(page_of(values), 0, len(values))
    codes = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=50))
    chosen = _Texts(len(codes) + 1)
    chosen.plain(page_of([b"first"]), 0, 1)
    chosen.chosen(dictionary, np.array(codes, np.int32))
    assert read(chosen) == [b"first", *(values[code] for code in codes)]
    for wrong in (len(values), -1):
        with pytest.raises(ValueError, match="outside its dictionary"):
            _Texts(1).chosen(dictionary, np.array([wrong], np.int32))


@given(texts=TEXTS.filter(bool), data=st.data())
def test_a_page_that_is_cut_off_is_refused(texts: list[bytes], data: st.DataObject) -> None:
    page = page_of(texts)
    cut = page[: data.draw(st.integers(0, len(page) - 1))]
    with pytest.raises(ValueError, match="ends within a text"):
        _Texts(len(texts)).plain(cut, 0, len(texts))
    with pytest.raises(ValueError, match="ends before its texts"):
        _Texts(1).plain(page, len(page) + 1, 0)
    with pytest.raises(ValueError, match="ends within a text"):
        _Texts(1).plain(b"\xff\xff\xff\xff", 0, 1)


def test_more_octets_than_an_array_has_are_refused_before_anything_is_written() -> None:
    values, texts = _Texts(1), _Texts(5_000)
    values.plain(page_of([bytes(1 << 20)]), 0, 1)
    with pytest.raises(ValueError, match="do not fit"):
        texts.chosen(values, np.zeros(4_096, np.int32))
    with pytest.raises(ValueError, match="no room"):
        texts.chosen(values, np.zeros(5_001, np.int32))
    texts.chosen(values, np.zeros(2, np.int32))
    assert read(texts) == [bytes(1 << 20)] * 2


@pytest.mark.parametrize("head", [2**35 - 1, 2**35 - 2, 2**32 + 1, 2**30 + 1, 2**29 + 1])
def test_a_head_may_say_more_than_there_is(head: int) -> None:
    octets = varint(head) + bytes(range(1, 9))
    wanted = [*range(1, 9)] if head & 1 else [1] * 8
    assert _packed_numbers(octets, 0, 8, 8).tolist() == wanted
    if head & 1:
        with pytest.raises(ValueError, match="ends before"):
            _packed_numbers(octets, 0, 8, 9)


def varint(value: int) -> bytes:
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes([*octets, value])


def packed(runs: list[tuple[bool, list[int]]], width: int) -> tuple[bytes, list[int]]:
    """Return the hybrid of packed groups and runs, and the numbers in it."""
    octets, numbers = b"", []
    for is_run, values in runs:
        if is_run:
            octets += varint(len(values) << 1) + values[0].to_bytes((width + 7) // 8, "little")
            numbers += [values[0]] * len(values)
        else:
            padded = values + [0] * (-len(values) % 8)
            bits = sum(value << place * width for place, value in enumerate(padded))
            octets += varint(len(padded) // 8 << 1 | 1) + bits.to_bytes(len(padded) * width // 8, "little")
            numbers += padded
    return octets, numbers


@given(width=st.integers(0, 32), data=st.data())
def test_packed_numbers_are_read(width: int, data: st.DataObject) -> None:
    values = st.lists(st.integers(0, 2**width - 1), min_size=1, max_size=30)
    octets, numbers = packed(data.draw(st.lists(st.tuples(st.booleans(), values), max_size=5)), width)
    count = data.draw(st.integers(0, len(numbers)))
    found = _packed_numbers(b"x" + octets, 1, width, count)
    assert (found.view(np.uint32) == np.array(numbers[:count], np.uint32)).all()
    if width:
        with pytest.raises(ValueError, match="ends before its numbers"):
            _packed_numbers(octets, 0, width, len(numbers) + 1)


@given(octets=st.binary(max_size=60), width=st.integers(0, 32), count=st.integers(0, 1_000), start=st.integers(-1, 70))
def test_no_octets_make_a_page_be_read_beyond_its_end(octets: bytes, width: int, count: int, start: int) -> None:
    for read_page in (
        lambda: _packed_numbers(octets, start, width, count),
        lambda: _Texts(count).plain(octets, start, count),
        lambda: _compact_struct(octets, start),
    ):
        try:
            read_page()
        except (ValueError, EOFError):
            continue


FIELDS = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=200)),
    lambda inside: st.one_of(
        st.dictionaries(st.integers(1, 40), inside, max_size=4),
        st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20),
        st.lists(st.booleans(), max_size=20),
        st.lists(st.dictionaries(st.integers(1, 40), inside, max_size=4), max_size=3),
    ),
    max_leaves=10,
)


def zigzag(value: int) -> bytes:
    return varint((value << 1 ^ value >> 63) & (2**64 - 1))


def kind_of(value: object) -> int:
    kinds = {bytes: 8, list: 9, dict: 12, int: 6}
    return (1 if value else 2) if isinstance(value, bool) else kinds[type(value)]


def written(value: object) -> bytes:
    if isinstance(value, bytes):
        return varint(len(value)) + value
    if isinstance(value, int):
        return zigzag(value)
    if isinstance(value, list):
        kind = kind_of(value[0]) if value else 6
        items = (bytes([1 if one else 2]) if isinstance(one, bool) else written(one) for one in value)
        head = bytes([len(value) << 4 | kind]) if len(value) < 15 else bytes([0xF0 | kind]) + varint(len(value))
        return head + b"".join(items)
    assert isinstance(value, dict)
    octets, last = b"", 0
    for number, one in sorted(value.items()):
        step = number - last
        octets += bytes([step << 4 | kind_of(one)]) if step < 16 else bytes([kind_of(one)]) + zigzag(number)
        octets += b"" if isinstance(one, bool) else written(one)
        last = number
    return octets + b"\0"


@given(fields=st.dictionaries(st.integers(1, 40), FIELDS, max_size=6), after=st.binary(max_size=3), data=st.data())
def test_structs_of_the_compact_protocol_are_read(fields: dict[int, object], after: bytes, data: st.DataObject) -> None:
    octets = written(fields)
    assert _compact_struct(b"x" + octets + after, 1) == (fields, 1 + len(octets))
    with pytest.raises(EOFError):
        _compact_struct(octets[: data.draw(st.integers(0, len(octets) - 1))], 0)


def test_what_is_no_struct_is_refused() -> None:
    for octets in (b"\x1b\0", b"\x1c" * 40, b"\x19\x1c" * 40, b"\x16" + b"\xff" * 11, b"\x1d\0"):
        with pytest.raises(ValueError, match=r"of a kind that Parquet does not have|too long"):
            _compact_struct(octets, 0)
