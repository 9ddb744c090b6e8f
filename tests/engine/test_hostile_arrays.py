"""Arrays that lie about their memory: refused before anything is read or written, never followed."""

from __future__ import annotations

import gc
import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from cidrgate import AccountNotFoundError, InvalidAddressError, Matcher, PrefixTrie

if TYPE_CHECKING:
    from collections.abc import Callable

FAR = 2**31 - 8
ADDRESS = b"8.8.8.8"
LONG = b"2606:4700:4700::1111"  # longer than the inline part of a view
TRIE = PrefixTrie(["8.8.8.0/24", "2606:4700::/32"])
MATCHER = Matcher()
MATCHER.publish("acct-1", ["8.8.8.0/24", "2606:4700::/32"])

ASKS: list[Callable[[Any], Any]] = [
    TRIE.contains_many,
    TRIE.lookup_many,
    lambda given: MATCHER.allows_many("acct-1", given),
    lambda given: MATCHER.allows_many("unknown", given),
    lambda given: MATCHER.allows_many(["acct-1"] * len(given), given),
]


class Producer:
    """Another library's array: the C data interface alone, which tells no sizes."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        return self.array.__arrow_c_array__()  # type: ignore[no-any-return]


def offsets(wide: object, *values: int) -> Any:
    return pa.py_buffer(np.array(values, dtype=np.int64 if wide else np.int32).tobytes())


def views(*elements: tuple[int, bytes, int, int]) -> Any:
    """Views of (size, first four octets, buffer, offset)."""
    return pa.py_buffer(b"".join(struct.pack("<i4sii", *element) for element in elements))


DATA = pa.py_buffer(ADDRESS * 2 + bytes(50))
TEXT = [(pa.string(), False), (pa.large_string(), True), (pa.binary(), False), (pa.large_binary(), True)]
VIEWS = [pa.string_view(), pa.binary_view()]


def array(kind: Any, length: int, buffers: list[Any], **more: Any) -> Any:
    """An array of these buffers that nobody has validated, as a crafted stream gives one.

    It is made of zeros, which are valid; its buffers become what was asked for, and as short, afterwards.
    """
    roomy = [None if buffer is None else pa.allocate_buffer(4_096, resizable=True) for buffer in buffers]
    for buffer in (made for made in roomy if made is not None):
        np.frombuffer(buffer, dtype=np.uint8)[:] = 0
    made = pa.Array.from_buffers(kind, length, roomy, **more)
    for buffer, wanted in zip(roomy, buffers, strict=True):
        if buffer is not None:
            memoryview(buffer).cast("B")[: wanted.size] = wanted.to_pybytes()
            buffer.resize(wanted.size, shrink_to_fit=False)
    return made


# Offsets, length and offset of the array; each is wrong whoever made the array, as no size has to be known.
INNER = [
    ([0, FAR, 14], 2, 0),
    ([0, -7, 14], 2, 0),
    ([-7, 0, 7], 2, 0),
    ([7, 0, 7], 2, 0),
    ([0, 14, 7], 2, 0),
    ([0, 7, 14, FAR, 21], 2, 2),
    ([0, 7, 14, 7], 1, 2),
    ([-(2**31), 2**31 - 1, 2**31 - 1], 2, 0),
]


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("wrap", [lambda made: made, Producer])
@pytest.mark.parametrize(("kind", "wide"), TEXT)
@pytest.mark.parametrize(("values", "length", "offset"), INNER)
def test_inner_offsets_outside_are_refused(
    ask: Any, wrap: Any, kind: Any, wide: bool, values: list[int], length: int, offset: int
) -> None:
    made = array(kind, length, [None, offsets(wide, *values), DATA], offset=offset)
    with pytest.raises(ValueError, match="is not consistent"):
        ask(wrap(made))


SHORT = [
    ("the last offset is past the data", [None, (0, 7, 65), DATA], 2, 0),
    ("far past", [None, (0, 7, FAR), DATA], 2, 0),
    ("past it by the array's offset only", [None, (0, 7, 14, 70), DATA], 1, 2),
    ("too few offsets", [None, (0, 7), DATA], 2, 0),
    ("too few offsets for the array's offset", [None, (0, 7, 14), DATA], 1, 2),
    ("empty data", [None, (0, 7, 14), pa.py_buffer(b"")], 2, 0),
    ("no offsets", [None, (), DATA], 2, 0),
    ("a bitmap that is too short", [pa.py_buffer(b"\x01"), (0,) * 20, DATA], 19, 0),
    ("a bitmap too short for the array's offset", [pa.py_buffer(b"\xff"), (0,) * 20, DATA], 2, 8),
]


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize(("kind", "wide"), TEXT)
@pytest.mark.parametrize(("what", "buffers", "length", "offset"), SHORT, ids=[row[0] for row in SHORT])
def test_buffers_that_are_too_short_are_refused(
    ask: Any, kind: Any, wide: bool, what: str, buffers: list[Any], length: int, offset: int
) -> None:
    valid, values, data = buffers
    made = array(kind, length, [valid, offsets(wide, *values), data], offset=offset)
    with pytest.raises(ValueError, match="is not consistent"):
        ask(made)


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize(
    ("buffers", "length", "offset", "nulls"),
    [
        ([None, pa.py_buffer(bytes(15))], 1, 0, 0),
        ([None, pa.py_buffer(bytes(32))], 2, 1, 0),
        ([None, pa.py_buffer(b"")], 1, 0, 0),
        ([pa.py_buffer(b"\xff"), pa.py_buffer(bytes(16 * 9))], 9, 0, 1),
    ],
)
def test_binaries_of_fixed_size_stay_inside(ask: Any, buffers: list[Any], length: int, offset: int, nulls: int) -> None:
    made = array(pa.binary(16), length, buffers, offset=offset, null_count=nulls)
    with pytest.raises(ValueError, match="is not consistent"):
        ask(made)


INLINE = (7, b"8.8.", int.from_bytes(b"8.8\0", "little"), 0)
BAD_VIEWS = [
    (-1, b"2606", 0, 0),
    (-(2**31), b"2606", 0, 0),
    (20, b"2606", 1, 0),
    (20, b"2606", -1, 0),
    (20, b"2606", 2**31 - 1, 0),
    (20, b"2606", -(2**31), 0),
    (20, b"2606", 0, 1),
    (20, b"2606", 0, -1),
    (20, b"2606", 0, 2**31 - 1),
    (21, b"2606", 0, 0),
    (2**31 - 1, b"2606", 0, 2**31 - 1),
]


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("wrap", [lambda made: made, Producer])
@pytest.mark.parametrize("bad", BAD_VIEWS)
def test_views_stay_inside_their_buffers(ask: Any, kind: Any, wrap: Any, bad: tuple[int, bytes, int, int]) -> None:
    good = (20, b"2606", 0, 0)
    sound = array(kind, 2, [None, views(good, good), pa.py_buffer(LONG)])
    if pa.types.is_string_view(kind):
        ask(wrap(sound))
    for elements, length, offset in (((bad, good), 2, 0), ((good, bad), 2, 0), ((good, good, bad), 1, 2)):
        made = array(kind, length, [None, views(*elements), pa.py_buffer(LONG)], offset=offset)
        with pytest.raises(ValueError, match="is not consistent"):
            ask(wrap(made))
    without = array(kind, 1, [None, views(good)])
    with pytest.raises(ValueError, match="is not consistent"):
        ask(wrap(without))


def test_too_few_views_are_refused() -> None:
    for made in (
        array(pa.string_view(), 2, [None, views(INLINE)]),
        array(pa.string_view(), 1, [None, views(INLINE)], offset=1),
        array(pa.string_view(), 1, [None, pa.py_buffer(b"")]),
    ):
        for ask in ASKS:
            with pytest.raises(ValueError, match="is not consistent"):
                ask(made)


def test_what_a_null_hides_is_not_read() -> None:
    hidden = array(pa.string_view(), 2, [pa.py_buffer(b"\x01"), views(INLINE, (99, b"2606", 7, 7))], null_count=1)
    with pytest.raises(InvalidAddressError, match=r"addresses\[1\]: None is not"):
        TRIE.contains_many(hidden)


@given(
    values=st.lists(st.one_of(st.integers(-3, 70), st.sampled_from([FAR, -FAR, 2**31 - 1])), min_size=1, max_size=6),
    drop=st.integers(0, 2),
    offset=st.integers(0, 3),
    size=st.integers(0, 64),
    kind=st.sampled_from(TEXT),
    nulls=st.booleans(),
)
def test_an_array_is_read_exactly_when_it_is_valid(
    values: list[int], drop: int, offset: int, size: int, kind: tuple[Any, bool], nulls: bool
) -> None:
    length = max(len(values) - 1 + drop - offset, 0)
    data = pa.py_buffer((ADDRESS * 10)[:size])
    bitmap = pa.py_buffer(b"\x55") if nulls else None
    made = array(kind[0], length, [bitmap, offsets(kind[1], *values), data], offset=offset)
    # Arrow's own check does not ask for growing offsets where an element is null.
    wanted = values[offset : offset + length + 1]
    valid = len(wanted) == length + 1 and wanted[0] >= 0 and wanted == sorted(wanted) and wanted[-1] <= size
    if not valid and length:
        with pytest.raises(ValueError, match="is not consistent"):
            TRIE.contains_many(made)
        return
    expected = made.to_pylist()
    try:
        found = TRIE.contains_many(made).tolist()
    except InvalidAddressError:
        assert any(element is None or TRIE_ANSWERS.get(element) is None for element in expected)
    else:
        assert found == [TRIE_ANSWERS[element] for element in expected]


TRIE_ANSWERS: dict[Any, bool] = {
    text: True for start in range(7) for end in range(70) if (text := (ADDRESS * 10)[start:end]) == ADDRESS
}
TRIE_ANSWERS |= {element.decode(): answer for element, answer in TRIE_ANSWERS.items()}
for packed in {(ADDRESS * 10)[start : start + size] for start in range(7) for size in (4, 16)}:
    TRIE_ANSWERS[packed] = packed in TRIE  # type: ignore[comparison-overlap]
for start in range(7):
    for end in range(start, 70):
        try:
            TRIE_ANSWERS[(ADDRESS * 10)[start:end].decode()] = (ADDRESS * 10)[start:end].decode() in TRIE
        except InvalidAddressError:
            continue


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_a_crafted_stream_is_refused(kind: Any) -> None:
    sound = pa.record_batch({"address": pa.array(["8.8.8.8", "9.9.9.9", "8.8.8.1"], pa.string()).cast(kind)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, sound.schema) as writer:
        writer.write_batch(sound)
    image = sink.getvalue()
    place = image.index(struct.pack("<4i", 0, 7, 14, 21))
    for element in range(4):
        for value in (FAR, -FAR, -1, 2**31 - 1):
            forged = bytearray(image)
            forged[place + 4 * element : place + 4 * element + 4] = struct.pack("<i", value)
            column = pa.ipc.open_stream(bytes(forged)).read_all().column(0).chunk(0)
            for ask in ASKS:
                with pytest.raises(ValueError, match="is not consistent"):
                    ask(column)


def test_buffers_need_not_be_aligned() -> None:
    made = pa.array(["8.8.8.8", "9.9.9.9", LONG.decode()])
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        moved = [buffer and pa.py_buffer(b"x" + buffer.to_pybytes()).slice(1) for buffer in made.cast(kind).buffers()]
        assert TRIE.contains_many(pa.Array.from_buffers(kind, 3, moved)).tolist() == [True, False, True]
    numbers = np.frombuffer(b"x" + np.array([0x08080808, 0x09090909], dtype=np.uint32).tobytes(), np.uint8)[1:]
    assert TRIE.contains_many(numbers.view(np.uint32)).tolist() == [True, False]


def test_an_array_that_was_given_away_is_refused() -> None:
    class Twice(Producer):
        def __init__(self, made: Any) -> None:
            super().__init__(made)
            self.capsules = made.__arrow_c_array__()

        def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
            return self.capsules  # type: ignore[no-any-return]

    twice = Twice(pa.array(["8.8.8.8"] * 100))
    assert TRIE.contains_many(twice).all()
    gc.collect()
    for ask in ASKS:
        with pytest.raises(ValueError, match="already consumed"):
            ask(twice)
    taken = Twice(pa.array(["8.8.8.8"] * 100))
    pa.Array._import_from_c_capsule(*taken.capsules)
    with pytest.raises(ValueError, match="already consumed"):
        TRIE.contains_many(taken)


@pytest.mark.parametrize("answer", [None, (), (1, 2), ("a", "b"), 7])
def test_what_is_no_pair_of_capsules_is_an_error(answer: Any) -> None:
    class Wrong:
        def __arrow_c_array__(self, requested_schema: object = None) -> Any:
            return answer

    with pytest.raises((TypeError, ValueError, IndexError)):
        TRIE.contains_many(Wrong())


def test_the_error_names_text_that_is_not_utf8() -> None:
    made = array(pa.string(), 1, [None, offsets(None, 0, 4), pa.py_buffer(b"\xff\xfe8.")])
    with pytest.raises(InvalidAddressError, match=r"addresses\[0\]: '.+xff"):
        TRIE.contains_many(made)


def test_answers_are_not_written_over_what_was_checked() -> None:
    memory = np.zeros(4 * 65, dtype=np.uint8)
    memory.view(np.int32)[:] = 7 * np.arange(65)
    made = pa.Array.from_buffers(pa.string(), 64, [None, pa.py_buffer(memory), pa.py_buffer(ADDRESS * 64)])
    assert TRIE.contains_many(made).all()
    for start in (0, 4, 100, 190):
        out = memory[start : start + 64].view(np.bool_)
        with pytest.raises(ValueError, match="shares memory with the addresses"):
            TRIE.contains_many(made, out=out)
        with pytest.raises(ValueError, match="shares memory with the addresses"):
            MATCHER.allows_many("acct-1", made, out=out)
    long = np.frombuffer(views(*[(20, b"2606", 0, 0)] * 64), dtype=np.uint8).copy()
    viewed = pa.Array.from_buffers(pa.string_view(), 64, [None, pa.py_buffer(long), pa.py_buffer(LONG)])
    with pytest.raises(ValueError, match="shares memory with the addresses"):
        TRIE.lookup_many(viewed, out=long[256:512].view(np.int32))
    assert TRIE.contains_many(viewed).all()


# ------------------------------------------------------------------------------------------------- numpy


class Liar(np.ndarray):
    """An array that says of itself whatever it was told to."""

    said: dict[str, Any]

    def __getattribute__(self, name: str) -> Any:
        said = super().__getattribute__("__dict__").get("said", {})
        return said[name] if name in said else super().__getattribute__(name)


class Flags:
    c_contiguous = writeable = aligned = True


def liar(real: np.ndarray[Any, Any], **said: Any) -> Liar:
    made = real.view(Liar)
    made.__dict__["said"] = said
    return made


def fenced(dtype: Any, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """An array in the middle of memory that nobody may write to."""
    memory = np.full(count * np.dtype(dtype).itemsize + 8_192, 0xA5, dtype=np.uint8)
    return memory, memory[4_096:-4_096].view(dtype)


@pytest.mark.parametrize(
    ("real", "said"),
    [
        ((np.bool_, 100), {"dtype": np.dtype(np.int32)}),
        ((np.int8, 100), {"dtype": np.dtype(np.int32), "shape": (100,)}),
        ((np.int16, 100), {"dtype": np.dtype(np.int32)}),
        ((np.int64, 50), {"dtype": np.dtype(np.int32), "shape": (100,)}),
        ((np.int32, 99), {"shape": (100,)}),
        ((np.int32, 0), {"shape": (100,)}),
        ((np.float32, 100), {"dtype": np.dtype(np.int32)}),
        ((np.uint32, 100), {"dtype": np.dtype(np.int32)}),
        ((">i4", 100), {"dtype": np.dtype(np.int32)}),
    ],
)
def test_a_class_that_lies_is_not_written_to(real: tuple[Any, int], said: dict[str, Any]) -> None:
    memory, inside = fenced(*real)
    asked = np.full(100, 0x08080808, dtype=np.uint32)
    with pytest.raises(ValueError, match="out must be a writeable contiguous array of int32"):
        TRIE.lookup_many(asked, out=liar(inside, **said))
    assert (memory == 0xA5).all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: np.zeros(200, dtype=np.bool_)[::2], {"flags": Flags()}),
        (lambda: np.zeros((100, 2), dtype=np.bool_)[:, 0], {"flags": Flags()}),
        (lambda: np.zeros((100, 1), dtype=np.bool_), {"shape": (100,), "flags": Flags()}),
        (lambda: np.frombuffer(bytes(100), dtype=np.bool_), {"flags": Flags()}),
        (lambda: np.zeros(100, dtype=np.uint8), {"dtype": np.dtype(np.bool_)}),
        (lambda: np.zeros(100, dtype=np.int8), {"dtype": np.dtype(np.bool_)}),
        (lambda: np.zeros(100, dtype="S1"), {"dtype": np.dtype(np.bool_)}),
        (lambda: np.zeros(100, dtype=[("x", "?")]), {"dtype": np.dtype(np.bool_)}),
        (lambda: np.zeros(100, dtype=object), {"dtype": np.dtype(np.bool_)}),
        (lambda: np.zeros(99, dtype=np.bool_), {"shape": (100,), "size": 100}),
    ],
)
def test_only_contiguous_writeable_memory_of_the_right_kind_takes_answers(make: Any, said: dict[str, Any]) -> None:
    asked = np.full(100, 0x08080808, dtype=np.uint32)
    for out in (make(), liar(make(), **said)):
        for ask in (TRIE.contains_many, lambda given, out: MATCHER.allows_many("acct-1", given, out)):
            with pytest.raises(ValueError, match="out must be a writeable contiguous array of bool"):
                ask(asked, out=out)


def test_a_class_that_tells_the_truth_takes_answers() -> None:
    asked = np.full(100, 0x08080808, dtype=np.uint32)
    out = liar(np.zeros(100, dtype=np.bool_))
    assert TRIE.contains_many(asked, out=out) is out
    assert np.asarray(out).all()


def test_answers_need_aligned_memory() -> None:
    out = np.zeros(401, dtype=np.uint8)[1:].view(np.int32)
    with pytest.raises(ValueError, match="out must be a writeable contiguous"):
        TRIE.lookup_many(np.full(100, 0x08080808, dtype=np.uint32), out=out)


@pytest.mark.parametrize(
    ("real", "said"),
    [
        (np.zeros(100, dtype=np.uint8), {"dtype": np.dtype(np.uint32)}),
        (np.zeros(100, dtype=np.uint64), {"dtype": np.dtype(np.uint32)}),
        (np.zeros(100, dtype=np.float32), {"dtype": np.dtype(np.uint32)}),
        (np.zeros(100, dtype=np.uint8), {"ndim": 2, "shape": (100, 16)}),
        (np.zeros((100, 3), dtype=np.uint8), {"shape": (100, 16)}),
        (np.zeros((100, 8), dtype=np.uint16), {"dtype": np.dtype(np.uint8), "shape": (100, 16)}),
        (np.zeros((100, 4, 4), dtype=np.uint8), {"ndim": 2, "shape": (100, 16)}),
        (np.zeros(100, dtype=object), {"dtype": np.dtype(np.uint32)}),
    ],
)
def test_addresses_of_a_class_that_lies_are_refused(real: np.ndarray[Any, Any], said: dict[str, Any]) -> None:
    for ask in ASKS:
        with pytest.raises(TypeError, match="addresses must be"):
            ask(liar(real, **said))


def test_rows_of_a_class_that_lies_are_refused() -> None:
    asked = np.full(100, 0x08080808, dtype=np.uint32)
    for real, said in (
        (np.zeros(99, dtype=np.int32), {"shape": (100,)}),
        (np.zeros(1, dtype=np.int32), {"shape": (100,)}),
        (np.zeros(100, dtype=np.float64), {"dtype": np.dtype(np.int32)}),
        (np.zeros(100, dtype=np.uint32), {"dtype": np.dtype(np.int32)}),
        (np.zeros((100, 1), dtype=np.int32), {"shape": (100,)}),
    ):
        with pytest.raises(ValueError, match="accounts must be one str"):
            MATCHER.allows_many(liar(real, **said), asked)


@pytest.mark.parametrize("row", [2**32, 2**32 - 1, -(2**32), 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)])
def test_a_row_does_not_become_another_by_being_cut(row: int) -> None:
    assert MATCHER.rows(["acct-1"]).tolist() == [0]
    with pytest.raises(AccountNotFoundError, match=rf"accounts\[1\]: row {row} belongs to no account"):
        MATCHER.allows_many(np.array([0, row], dtype=np.int64), ["8.8.8.8", "8.8.8.8"])


def test_rows_of_every_integer_type_are_read() -> None:
    for kind in (np.int8, np.int16, np.int32, np.int64, ">i4", "<i8"):
        rows = np.array([0, -1, 0], dtype=kind)
        assert MATCHER.allows_many(rows, ["8.8.8.8", "9.9.9.9", "9.9.9.9"]).tolist() == [True, True, False]
    moved = np.zeros(9, dtype=np.uint8)[1:].view(np.int32)
    assert MATCHER.allows_many(moved, ["8.8.8.8", "9.9.9.9"]).tolist() == [True, False]


@pytest.mark.parametrize("shift", [0, 1, 1_000, 3_000])
def test_answers_are_not_written_over_numpy_addresses(shift: int) -> None:
    matcher = Matcher()
    matcher.publish("acct-1", ["1.1.1.0/24"])
    addresses = np.full(1_000, 0x01010105, np.uint32)
    answers = addresses.view(np.bool_)[shift : shift + 1_000]
    with pytest.raises(ValueError, match="memory with the addresses"):
        matcher.allows_many("acct-1", addresses, out=answers)
    with pytest.raises(ValueError, match="memory with the addresses"):
        PrefixTrie(["1.1.1.0/24"]).lookup_many(addresses, out=addresses.view(np.int32))


def test_a_masked_array_is_refused() -> None:
    """Its masked elements have no value, but their memory has one."""
    trie = PrefixTrie(["8.8.8.0/24"])
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    numbers = np.array([0x08080808, 0x01010101], dtype=np.uint32)
    masked = np.ma.array(numbers, mask=[True, False])
    with pytest.raises(TypeError, match="masked array"):
        trie.contains_many(masked)
    with pytest.raises(TypeError, match="masked array"):
        trie.lookup_many(np.ma.array(numbers.view(np.uint8).reshape(2, 4), mask=True))
    with pytest.raises(TypeError, match="masked array"):
        matcher.allows_many(np.ma.array(matcher.rows(["acct-1", "acct-1"]), mask=[True, False]), numbers)
    with pytest.raises(ValueError, match=r"^out must be"):
        trie.contains_many(numbers, out=np.ma.array([False, False]))
    with pytest.raises(ValueError, match=r"^out must be"):
        matcher.allows_many("acct-1", numbers, out=np.ma.array([False, False]))
    with pytest.raises(ValueError, match=r"^out must be"):
        trie.lookup_many(numbers, out=np.ma.zeros(2, dtype=np.int32))
    assert trie.contains_many(masked.compressed()).tolist() == [False]
