"""Arrow streams and dictionaries that lie, fail or were given away: refused with an error, and released once."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from cidrgate import InvalidAddressError, Matcher, PrefixTrie
from cidrgate._engine import _accounts_in_paths, _LogLines
from tests.engine.arrow_producer import Array, CStream, Failure, Producer, with_dictionary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRIE = PrefixTrie(["8.8.8.0/24", "2606:4700::/32"])
MATCHER = Matcher()
LINES = _LogLines(
    "", escaped=False, least=1, most=None, checks=(), time=("", (), "", ""), columns=[([(0, ())], False, "")]
)
MATCHER.publish("8.8.8.8", ["8.8.8.0/24"])  # so that an address is a name too, and one column can be both


def ends_of(column: tuple[int, bytes, bytes | None, bytes]) -> Any:
    """Where each text of a column ends."""
    return np.frombuffer(column[2] or b"", np.int32)[1:]


ASKS: list[Callable[[Any], Any]] = [
    TRIE.contains_many,
    TRIE.lookup_many,
    lambda given: MATCHER.allows_many("8.8.8.8", given),
    lambda given: MATCHER.allows_many(["8.8.8.8"] * len(given), given),
    MATCHER.rows,
    lambda given: MATCHER.allows_many(given, ["8.8.8.8"] * len(given)),
    lambda given: ends_of(LINES.cut(given)[0]),
    lambda given: ends_of(_accounts_in_paths(given, "/")[0]),
]
ask_each = pytest.mark.parametrize("ask", ASKS)

FAR = 2**31 - 8
MOST = (2**63 - 1) // 16 - 1
SIGNED = {b"c": "<b", b"s": "<h", b"i": "<i", b"l": "<q"}
UNSIGNED = {b"C": "<B", b"S": "<H", b"I": "<I", b"L": "<Q"}
CODES = SIGNED | UNSIGNED


def ints(*values: int, form: str = "<i") -> bytes:
    return b"".join(struct.pack(form, value) for value in values)


def texts(*values: str, **more: Any) -> Array:
    """An array of strings."""
    data = "".join(values).encode()
    ends = np.cumsum([0, *map(len, values)])
    return Array(len(values), [None, ints(*ends.tolist()), data or None], **more)


def refused(ask: Callable[[Any], Any], producer: Producer, match: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind, match=match) as raised:
        ask(producer)
    del raised
    assert producer.all_released()


GOOD = texts("8.8.8.8", "9.9.9.9")
OF_TWO = Array(2, [None, ints(0, 1)], dictionary=GOOD)


@ask_each
def test_the_producer_of_these_tests_is_read_and_released(ask: Any) -> None:
    """What the tests below break is right before."""
    packed = np.array([0, 7, 14], dtype="<i4").tobytes()
    for producer, count in (
        (Producer(b"u", []), 0),
        (Producer(b"u", [GOOD]), 2),
        (Producer(b"u", [GOOD, texts(), replace(GOOD, length=1, offset=1), Array(0, None)]), 3),
        (Producer(b"u", [GOOD]).array(), 2),
        (Producer(b"u", [Array(2, [b"\xff", packed, b"8.8.8.89.9.9.9"], nulls=-1)]), 2),
        (Producer(b"i", [OF_TWO, OF_TWO], values=b"u"), 4),
        (Producer(b"i", [OF_TWO], values=b"u").array(), 2),
    ):
        assert ask(producer).shape == (count,)
        assert producer.all_released()
        assert producer.made


def pairs(*texts: bytes) -> bytes:
    """The metadata of a schema: keys and values."""
    return ints(len(texts) // 2) + b"".join(ints(len(text)) + text for text in texts)


NAMED = b"ARROW:extension:name"


@ask_each
@pytest.mark.parametrize("name", [b"arrow.uuid", b"arrow.opaque", b"arrow.json", b"arrow.later", b"arrow.\xff"])
def test_a_canonical_extension_type_is_refused(ask: Any, name: bytes) -> None:
    metadata = pairs(b"", b"", b"ARROW:extension:metadata", b"{}", NAMED, name)
    for producer in (
        Producer(b"u", [GOOD], metadata=metadata),
        Producer(b"u", [], metadata=metadata),
        Producer(b"i", [OF_TWO], values=b"u", metadata=metadata),
        Producer(b"i", [OF_TWO], values=b"u", metadata_of_values=metadata),
    ):
        refused(ask, producer, r"extension type 'arrow\.[a-z\ufffd]+': convert the column to strings", TypeError)
        with pytest.raises(TypeError, match="extension type"):
            ask(replace(producer, arrays=[*producer.arrays, GOOD][:1]).array())


@ask_each
@pytest.mark.parametrize(
    "metadata",
    [
        pairs(),
        pairs(NAMED, b""),
        pairs(NAMED, b"arrow"),
        pairs(NAMED, b"geoarrow.wkb"),
        pairs(NAMED, b"arrow.py_extension_type"),
        pairs(NAMED, b"arrow.r.vctrs"),
        pairs(NAMED + b"s", b"arrow.uuid", b"ARROW", b"arrow.uuid"),
        pairs(b"note", NAMED, b"other", b"arrow.uuid"),
    ],
)
def test_other_metadata_is_passed_over(ask: Any, metadata: bytes) -> None:
    for producer in (
        Producer(b"u", [GOOD], metadata=metadata),
        Producer(b"i", [OF_TWO], values=b"u", metadata=metadata, metadata_of_values=metadata),
    ):
        assert ask(producer).shape == (2,)


@ask_each
@pytest.mark.parametrize("metadata", [ints(-1), ints(1, -1), ints(1, 0, -1), ints(2, 0, 0, -5), ints(-(2**31))])
def test_metadata_with_a_size_below_zero_is_refused(ask: Any, metadata: bytes) -> None:
    refused(ask, Producer(b"u", [GOOD], metadata=metadata), "metadata of an Arrow schema is not consistent")


# ------------------------------------------------------------------------------------------------- streams


@ask_each
@pytest.mark.parametrize("good", [0, 1, 2])
@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.ENOSYS, -1, 10**9])
def test_a_stream_that_fails_is_an_error_with_its_message(ask: Any, good: int, code: int) -> None:
    refused(
        ask,
        Producer(b"u", [GOOD] * good + [Failure(code)]),
        r"reading the Arrow stream of .* failed: the disk is full",
        OSError,
    )
    refused(ask, Producer(b"u", [GOOD], schema=Failure(code)), r"failed: the disk is full", OSError)
    silent = Failure(code, None)
    refused(ask, Producer(b"u", [GOOD] * good + [silent]), r"reading the Arrow stream of .* failed: .+", OSError)
    refused(ask, Producer(b"u", [silent], without="get_last_error"), r"reading the Arrow stream .* failed: .+", OSError)


@ask_each
def test_the_code_of_a_stream_is_kept(ask: Any) -> None:
    with pytest.raises(PermissionError, match="failed: not yours") as raised:
        ask(Producer(b"u", [Failure(errno.EACCES, b"not yours")]))
    assert raised.value.errno == errno.EACCES
    refused(ask, Producer(b"u", [Failure(errno.ENOMEM, b"no more")]), "failed: no more", MemoryError)
    refused(ask, Producer(b"u", [Failure(errno.EIO, b"\xff")]), r"failed: \\xff", OSError)


@ask_each
@pytest.mark.parametrize("without", ["get_schema", "get_next"])
def test_a_stream_without_functions_is_refused(ask: Any, without: str) -> None:
    refused(ask, Producer(b"u", [GOOD], without=without), "has no functions to read it")


@ask_each
def test_a_stream_without_schema_is_refused(ask: Any) -> None:
    refused(ask, Producer(b"u", [GOOD], without="schema"), "has no schema")
    refused(ask, Producer(None, [GOOD]), r"Arrow format ''", TypeError)
    refused(ask, Producer(b"x" * 500, [GOOD]), r"Arrow format 'x{80}'", TypeError)


@ask_each
@pytest.mark.parametrize("answer", [None, (), 7, "stream", object()])
def test_what_is_no_capsule_is_refused(ask: Any, answer: Any) -> None:
    class Wrong(list[str]):
        def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
            return answer

    with pytest.raises(
        TypeError, match="__arrow_c_stream__ of Wrong did not return a capsule named arrow_array_stream"
    ):
        ask(Wrong())


@ask_each
def test_a_capsule_of_another_name_is_refused(ask: Any) -> None:
    with pytest.raises(TypeError, match="did not return a capsule named arrow_array_stream"):
        ask(Producer(b"u", [GOOD], capsule_name=b"arrow_array"))

    class Swapped(Producer):
        __arrow_c_stream__ = property()

        def __arrow_c_array__(self, requested_schema: object = None) -> Any:
            return Producer(b"u", [GOOD]).array().__arrow_c_array__()[::-1]

    with pytest.raises(TypeError, match="__arrow_c_array__ of Swapped did not return a capsule named arrow_schema"):
        ask(Swapped(b"u", [GOOD]))


@ask_each
def test_a_stream_that_was_given_away_is_refused(ask: Any) -> None:
    producer = Producer(b"u", [GOOD])

    class Twice(Producer):
        capsule = producer.__arrow_c_stream__()

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return self.capsule

    twice = Twice(b"u", [GOOD])
    assert ask(twice).shape == (2,)
    with pytest.raises(ValueError, match="the Arrow stream was already consumed"):
        ask(twice)
    assert producer.all_released()


@ask_each
def test_an_error_of_python_reaches_the_caller(ask: Any) -> None:
    class Broken(list[str]):
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            raise RuntimeError("no stream today")

    with pytest.raises(RuntimeError, match="no stream today"):
        ask(Broken())


# ------------------------------------------------------------------------------------------------- chunks

# Each is wrong in its last chunk, whose element is named by its index in the whole column.
BAD_CHUNKS = [
    (replace(GOOD, length=-1), "an invalid length or offset"),
    (replace(GOOD, length=MOST + 1), "an invalid length or offset"),
    (replace(GOOD, offset=-1), "an invalid length or offset"),
    (replace(GOOD, offset=MOST), "an invalid length or offset"),
    (replace(GOOD, offset=2**63 - 1), "an invalid length or offset"),
    (replace(GOOD, buffers=None), "no buffers"),
    (replace(GOOD, n_buffers=0), "no buffers"),
    (replace(GOOD, n_buffers=-1), "no buffers"),
    (replace(GOOD, n_buffers=1), "a buffer that is too short"),
    (replace(GOOD, n_buffers=2), "a buffer that is too short"),
    (replace(GOOD, nulls=1), "a buffer that is too short"),
    (Array(2, [None, None, b"8.8.8.8"]), "a buffer that is too short"),
    (Array(2, [None, ints(0, 7, 14), None]), "a buffer that is too short"),
    (Array(2, [None, ints(0, FAR, 14), b"8.8.8.8"]), "invalid offsets of element {more}"),
    (Array(2, [None, ints(7, 0, 7), b"8.8.8.8"]), "invalid offsets of element {}"),
    (Array(2, [None, ints(0, 7, 0), b"8.8.8.8"]), "invalid offsets of element {more}"),
]


@ask_each
@pytest.mark.parametrize(("bad", "problem"), BAD_CHUNKS)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_chunk_that_lies_is_refused(ask: Any, bad: Array, problem: str, before: int) -> None:
    place = f", in the chunk from element {2 * before} on" if before else ""
    message = f"is not consistent: it has {problem.format(2 * before, more=2 * before + 1)}{place};"
    refused(ask, Producer(b"u", [GOOD] * before + [bad, GOOD]), message)
    if not before:
        refused(ask, Producer(b"u", [bad]).array(), message)


@ask_each
def test_views_of_a_chunk_stay_inside(ask: Any) -> None:
    view = struct.pack("<i4sii", 20, b"2606", 0, 0)
    for bad, place in ((struct.pack("<i4sii", 20, b"2606", 1, 0), 3), (struct.pack("<i4sii", 21, b"2606", 0, 0), 3)):
        good = Array(2, [None, view + view, b"2606:4700:4700::1111", ints(20, form="<q")])
        wrong = Array(2, [None, view + bad, b"2606:4700:4700::1111", ints(20, form="<q")])
        refused(ask, Producer(b"vu", [good, wrong]), f"element {place} outside its buffers")


@ask_each
@pytest.mark.parametrize("order", [(MOST, 1), (1, MOST), (MOST // 2, MOST // 2, 9)])
def test_the_sum_of_all_chunks_is_bounded(ask: Any, order: tuple[int, ...]) -> None:
    class Long(Producer):
        def __len__(self) -> int:
            return 0

    refused(ask, Long(b"n", [Array(length, []) for length in order]), "too many elements")


def test_more_answers_than_memory_are_an_error() -> None:
    for ask in (TRIE.contains_many, TRIE.lookup_many, MATCHER.rows, lambda given: MATCHER.allows_many("a", given)):
        refused(ask, Producer(b"n", [Array(MOST, [])]), "allocate", MemoryError)


@ask_each
def test_nothing_is_written_before_every_chunk_is_checked(ask: Any) -> None:
    out = np.full(4, 7, dtype=np.int32)
    with pytest.raises(ValueError, match="invalid offsets of element 2"):
        TRIE.lookup_many(Producer(b"u", [GOOD, BAD_CHUNKS[-2][0]]), out=out)
    assert out.tolist() == [7] * 4


def test_answers_are_not_written_over_any_chunk_or_dictionary() -> None:
    memory = np.zeros(4 * 65, dtype=np.uint8)
    memory.view(np.int32)[:] = 7 * np.arange(65)
    plain = pa.array(["8.8.8.8"] * 64)
    inner = pa.Array.from_buffers(pa.string(), 64, [None, pa.py_buffer(memory), plain.buffers()[2]])
    codes = np.zeros(64, dtype=np.uint8)
    matcher = Matcher()
    for shared, column in (
        (memory[4:68], pa.chunked_array([plain[:32], inner[:32]])),
        (memory[4:68], pa.DictionaryArray.from_arrays(pa.array([0] * 64), inner)),
        (codes, pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array(codes), plain)])),
    ):
        out = shared.view(np.bool_)
        for given_column in (column, Foreign(column)):
            with pytest.raises(ValueError, match="shares memory with the addresses"):
                TRIE.contains_many(given_column, out=out)
            with pytest.raises(ValueError, match="shares memory with the addresses"):
                matcher.allows_many("acct-1", given_column, out=out)
            with pytest.raises(ValueError, match="shares memory with the accounts"):
                matcher.allows_many(given_column, ["8.8.8.8"] * 64, out=out)


class Foreign:
    """A column of another library, whose buffers have no known sizes."""

    def __init__(self, column: Any) -> None:
        self.column = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.column.__arrow_c_stream__()


def test_answers_are_not_written_over_rows() -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    rows = matcher.rows(["acct-1"] * 64)
    with pytest.raises(ValueError, match="shares memory with the accounts"):
        matcher.allows_many(rows, ["8.8.8.8"] * 64, out=rows.view(np.bool_)[64:128])


# ------------------------------------------------------------------------------------------------- dictionaries


@ask_each
@pytest.mark.parametrize("kind", CODES)
def test_indices_outside_of_the_dictionary_are_refused(ask: Any, kind: bytes) -> None:
    form, bits = CODES[kind], 8 * struct.calcsize(CODES[kind])
    wrong = [-1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if kind in SIGNED else [2**bits - 1, 2 ** (bits - 1)]
    for code in [2, *wrong]:
        for codes, place in (((code, 0), 0), ((1, code), 1)):
            bad = replace(OF_TWO, buffers=[None, ints(*codes, form=form)])
            good = replace(OF_TWO, buffers=[None, ints(0, 1, form=form)])
            refused(ask, Producer(kind, [bad], values=b"u"), f"element {place} outside its dictionary;")
            refused(ask, Producer(kind, [bad], values=b"u").array(), f"element {place} outside its dictionary;")
            refused(
                ask,
                Producer(kind, [good, good, bad], values=b"u"),
                f"element {4 + place} outside its dictionary, in the chunk from element 4 on;",
            )


@ask_each
@pytest.mark.parametrize("kind", SIGNED)
def test_an_index_below_zero_is_not_a_large_one(ask: Any, kind: bytes) -> None:
    """Read without its sign, -1 of eight bits would be the last of 256 values."""
    many = texts(*["8.8.8.8"] * 70_000)
    bad = Array(2, [None, ints(0, -1, form=CODES[kind])], dictionary=many)
    refused(ask, Producer(kind, [bad], values=b"u"), "element 1 outside its dictionary")


@pytest.mark.parametrize("ask", ASKS[:-2])
def test_the_index_of_a_null_may_be_anything(ask: Any) -> None:
    wide = ints(0, 77, 1)
    hidden = Array(3, [b"\x05", wide], nulls=1, dictionary=GOOD)
    kind = TypeError if ask in ASKS[-4:] else InvalidAddressError
    refused(ask, Producer(b"i", [OF_TWO, hidden], values=b"u"), r"\[3\]", kind)
    shown = Array(3, [b"\x07", wide], nulls=1, dictionary=GOOD)
    refused(ask, Producer(b"i", [OF_TWO, shown], values=b"u"), "element 3 outside its dictionary")


@pytest.mark.parametrize("ask", ASKS[-2:])
def test_the_line_of_a_null_may_have_any_index(ask: Any) -> None:
    hidden = Array(3, [b"\x05", ints(0, 77, 1)], nulls=1, dictionary=GOOD)
    assert len(ask(Producer(b"i", [OF_TWO, hidden], values=b"u"))) == OF_TWO.length + 3


BAD_DICTIONARIES = [
    (replace(OF_TWO, dictionary=None), "no dictionary"),
    (with_dictionary(OF_TWO, released=True), "no dictionary"),
    (with_dictionary(OF_TWO, length=-1), "an invalid length or offset"),
    (with_dictionary(OF_TWO, length=MOST + 1), "an invalid length or offset"),
    (with_dictionary(OF_TWO, offset=-1), "an invalid length or offset"),
    (with_dictionary(OF_TWO, length=0), "element {} outside its dictionary"),
    (with_dictionary(OF_TWO, length=1), "element {more} outside its dictionary"),
    (with_dictionary(OF_TWO, buffers=None), "no buffers"),
    (with_dictionary(OF_TWO, n_buffers=1), "a buffer that is too short"),
    (with_dictionary(OF_TWO, nulls=1), "a buffer that is too short"),
    (
        with_dictionary(OF_TWO, buffers=[None, ints(0, FAR, 14), b"8.8.8.8"]),
        "invalid offsets of element 1 of a dictionary",
    ),
    (
        with_dictionary(OF_TWO, buffers=[None, ints(0, 7, 0), b"8.8.8.8"]),
        "invalid offsets of element 1 of a dictionary",
    ),
    (replace(OF_TWO, buffers=[None, None]), "a buffer that is too short"),
    (replace(OF_TWO, n_buffers=1), "a buffer that is too short"),
    (replace(OF_TWO, nulls=1), "a buffer that is too short"),
]


@ask_each
@pytest.mark.parametrize(("bad", "problem"), BAD_DICTIONARIES)
@pytest.mark.parametrize("before", [0, 2])
def test_a_dictionary_that_lies_is_refused(ask: Any, bad: Array, problem: str, before: int) -> None:
    place = f", in the chunk from element {2 * before} on" if before else ""
    message = f"is not consistent: it has {problem.format(2 * before, more=2 * before + 1)}{place};"
    refused(ask, Producer(b"i", [OF_TWO] * before + [bad, OF_TWO], values=b"u"), message)


@ask_each
@pytest.mark.parametrize(
    ("kind", "values"), [(b"f", b"u"), (b"u", b"u"), (b"", b"u"), (b"i", b"i"), (b"i", b""), (b"i", b"+s")]
)
def test_a_dictionary_of_another_kind_is_refused(ask: Any, kind: bytes, values: bytes) -> None:
    refused(ask, Producer(kind, [OF_TWO], values=values), "not Producer of dictionary of Arrow format", TypeError)


@ask_each
@pytest.mark.parametrize("wrap", [lambda made: made, Foreign])
def test_codes_of_pyarrow_that_nobody_checked_are_refused(ask: Any, wrap: Any) -> None:
    """The sizes of the buffers of a dictionary of pyarrow are known."""
    for codes in ([0, 2], [0, -1], [FAR, 0]):
        made = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(["8.8.8.8", "9.9.9.9"]), safe=False)
        sized = made if wrap is not Foreign else SizedForeign(made)
        with pytest.raises(ValueError, match="outside its dictionary"):
            ask(sized)
    offsets = np.array([0, 7, 7], dtype=np.int32)
    short = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(b"8.8.8.8")])
    made = pa.DictionaryArray.from_arrays(pa.array([0, 0]), short, safe=False)
    offsets[2] = 99
    for column in (made, pa.chunked_array([made]), pa.chunked_array([short])):
        with pytest.raises(ValueError, match="a buffer that is too short"):
            ask(column)


class SizedForeign(Foreign):
    def __len__(self) -> int:
        return len(self.column)


# What can be said of a stream of small arrays: which chunk, which lengths, offsets and codes.
@given(
    chunks=st.lists(
        st.tuples(
            st.lists(st.integers(-1, 4), max_size=5),  # codes
            st.integers(0, 3),  # the array's offset
            st.lists(st.integers(-2, 16), min_size=1, max_size=5),  # offsets of the dictionary
            st.integers(0, 31) | st.none(),  # bitmap of the codes
        ),
        max_size=4,
    ),
    kind=st.sampled_from(sorted(SIGNED)),
)
def test_a_stream_is_read_exactly_when_all_of_it_is_valid(chunks: list[Any], kind: bytes) -> None:
    data = b"8.8.8.89.9.9.9xx"
    arrays, valid = [], True
    expected: list[Any] = []
    for codes, offset, ends, bitmap in chunks:
        length, count = max(len(codes) - offset, 0), len(ends) - 1
        sound = ends[0] >= 0 and ends == sorted(ends)
        listed = [data[start:end].decode() for start, end in pairwise(ends)] if sound else []
        shown = [bitmap is None or bool(bitmap >> place & 1) for place in range(offset, offset + length)]
        part = [code if show else None for code, show in zip(codes[offset:], shown, strict=True)]
        if length:
            valid &= sound or not count
            valid &= all(code is None or 0 <= code < count for code in part)
            if valid:
                expected += [None if code is None else listed[code] for code in part]
        arrays.append(
            Array(
                length,
                [None if bitmap is None else bytes([bitmap]), ints(*codes, form=CODES[kind]) or b"\0"],
                offset=offset,
                nulls=0 if bitmap is None else -1,
                dictionary=Array(count, [None, ints(*ends), data]),
            )
        )
    producer = Producer(kind, list(arrays), values=b"u")
    try:
        found: Any = TRIE.contains_many(producer).tolist()
    except InvalidAddressError as error:
        found = str(error)
    except ValueError as error:
        assert "is not consistent" in str(error)  # noqa: PT017
        found = None
    assert producer.all_released()
    if not valid:
        assert found is None
        return
    try:
        wanted: Any = TRIE.contains_many(expected).tolist()
    except (InvalidAddressError, TypeError):
        first = next(place for place, text in enumerate(expected) if text not in ("8.8.8.8", "9.9.9.9", *NEAR))
        wanted = f"addresses[{first}]: "
    assert found == wanted or (isinstance(found, str) and found.startswith(wanted))


def is_address(text: str) -> bool:
    try:
        TRIE.lookup(text)
    except InvalidAddressError:
        return False
    return True


NEAR = {text for start in range(17) for end in range(start, 17) if is_address(text := "8.8.8.89.9.9.9xx"[start:end])}


# ------------------------------------------------------------------------------------------------- other threads

ENDLESS = """
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct schema { const char *format, *name, *metadata; int64_t flags, n; void *children, *dictionary;
                void (*release)(struct schema *); void *data; };
struct array { int64_t length, nulls, offset, n_buffers, n_children; void *buffers, *children, *dictionary;
               void (*release)(struct array *); void *data; };
struct stream { int (*get_schema)(struct stream *, struct schema *); int (*get_next)(struct stream *, struct array *);
                const char *(*get_last_error)(struct stream *); void (*release)(struct stream *); void *data; };

int released;
static void release_schema(struct schema *schema) { schema->release = 0; }
static void release_array(struct array *array) { array->release = 0; }
static void release(struct stream *stream) { released++; stream->release = 0; }
static int get_schema(struct stream *stream, struct schema *schema) {
    memset(schema, 0, sizeof *schema);
    schema->format = "u";
    schema->release = release_schema;
    return 0;
}
static time_t opened;
static int endless(struct stream *stream, struct array *array) {
    memset(array, 0, sizeof *array);
    array->release = release_array;
    return time(0) - opened < 60 ? 0 : 5; /* a test of what does not end must end */
}
static int waiting(struct stream *stream, struct array *array) {
    char end;
    memset(array, 0, sizeof *array);
    return read((int)(intptr_t)stream->data, &end, 1) == 1 ? 0 : 5;
}
void open_stream(struct stream *stream, int file) {
    opened = time(0);
    *stream = (struct stream){get_schema, file < 0 ? endless : waiting, 0, release, (void *)(intptr_t)file};
}
"""


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """A producer without Python, as a stream of another library is."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler: apt-get install gcc")
    folder: Path = tmp_path_factory.mktemp("native")
    (folder / "stream.c").write_text(ENDLESS)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(folder / "stream.so"), str(folder / "stream.c")], check=True
    )
    return ctypes.CDLL(str(folder / "stream.so"))


class Native:
    def __init__(self, library: ctypes.CDLL, file: int) -> None:
        self.stream = CStream()
        library.open_stream(ctypes.byref(self.stream), file)

    def __len__(self) -> int:
        return 0

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        new_capsule = ctypes.pythonapi.PyCapsule_New
        return new_capsule(ctypes.addressof(self.stream), b"arrow_array_stream", None)


@ask_each
def test_a_stream_without_end_can_be_interrupted(ask: Any, native: ctypes.CDLL) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = ctypes.c_int.in_dll(native, "released").value
    earlier = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(Native(native, -1))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    assert ctypes.c_int.in_dll(native, "released").value == before + 1


@ask_each
def test_other_threads_run_while_a_stream_waits(ask: Any, native: ctypes.CDLL) -> None:
    """A stream may wait for a thread that needs the GIL."""
    reading, writing = os.pipe()
    try:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(ask(Native(native, reading)).shape), daemon=True)
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        os.write(writing, b"x")
        thread.join(60)
        assert found == [(0,)]
    finally:
        os.close(reading)
        os.close(writing)


HUGE_NAME = """
import mmap, resource, sys
import numpy, pyarrow
from cidrgate import Matcher

# An endless search ends the process. The zeros take no memory.
resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
size = 2**32 - int(sys.argv[1])
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
octets = numpy.frombuffer(mmap.mmap(-1, 2**32 + 4096, flags=flags, prot=mmap.PROT_READ), numpy.uint8)
text = pyarrow.foreign_buffer(octets.ctypes.data, size, octets)
ends = pyarrow.py_buffer(numpy.array([0, size], numpy.int64))
print(Matcher().rows(pyarrow.Array.from_buffers(pyarrow.large_string(), 1, [None, ends, text])).tolist())
"""


@pytest.mark.skipif(sys.maxsize < 2**33, reason="needs 4 GiB of addresses")
@pytest.mark.parametrize("less", [1, 7])
def test_a_name_of_nearly_4_gib_is_read_once(less: int) -> None:
    command = [sys.executable, "-c", HUGE_NAME, str(less)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (0, "[-1]\n"), done.stderr
