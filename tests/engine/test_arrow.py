"""Columns of Arrow: arrays, streams, chunks and dictionaries answer as a list of the same content does."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from cidrgate import InvalidAccountError, InvalidAddressError, Matcher, PrefixTrie
from tests.strategies import addresses_near, prefix_lists

if TYPE_CHECKING:
    from collections.abc import Callable

STRINGS = [pa.string(), pa.large_string(), pa.string_view()]
BINARIES = [pa.binary(), pa.large_binary(), pa.binary_view()]
INDICES = [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]


class Stream:
    """Another library's column: the stream interface alone."""

    def __init__(self, chunks: Any) -> None:
        self.chunks = chunks

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.chunks.__arrow_c_stream__()


class OneArray:
    """Another library's array: the array interface alone."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        return self.array.__arrow_c_array__()  # type: ignore[no-any-return]


def padded(array: Any, junk: Any, before: int, after: int) -> Any:
    """The same elements as a slice of a longer array."""
    more = [pa.array([junk] * count, array.type) for count in (before, after)]
    return pa.concat_arrays([more[0], array, more[1]]).slice(before, len(array))


@st.composite
def columns(draw: st.DrawFn, values: list[Any], kinds: list[Any], junk: Any) -> Any:
    """The values as an Arrow column in some form: its chunks, offsets, type, dictionary and interface are drawn."""
    kind = draw(st.sampled_from(kinds))
    index_kind = draw(st.none() | st.sampled_from(INDICES))
    cuts = sorted(draw(st.lists(st.integers(0, len(values)), max_size=4)))
    chunks = []
    for start, end in zip([0, *cuts], [*cuts, len(values)], strict=True):
        part, before, after = values[start:end], draw(st.integers(0, 9)), draw(st.integers(0, 3))
        if index_kind is None:
            chunks.append(padded(pa.array(part, kind), junk, before, after))
            continue
        # A dictionary with values that no element has, with nulls, and with a value twice; perhaps of one element each.
        listed = draw(st.permutations([*dict.fromkeys(part), junk, None, *part[:1]]))
        dictionary = padded(pa.array(listed, kind), junk, after, before)
        places = [
            None if value is None and draw(st.booleans()) else draw(st.sampled_from(indices_of(listed, value)))
            for value in part
        ]
        indices = padded(pa.array(places, index_kind), 0, before, after)
        chunks.append(pa.DictionaryArray.from_arrays(indices, dictionary))
    column = pa.chunked_array(chunks)
    if len(chunks) == 1 and draw(st.booleans()):
        return draw(st.sampled_from([chunks[0], OneArray(chunks[0])]))
    return draw(st.sampled_from([column, Stream(column)]))


def indices_of(listed: list[Any], value: Any) -> list[int]:
    return [place for place, other in enumerate(listed) if other == value]


def said(ask: Callable[[], Any]) -> Any:
    """The answers as a list, or the error."""
    try:
        return ask().tolist()
    except (TypeError, ValueError) as error:
        return type(error), str(error)


# ------------------------------------------------------------------------------------------------- addresses


@given(texts=prefix_lists, data=st.data())
def test_columns_of_addresses_answer_as_lists(texts: list[str], data: st.DataObject) -> None:
    trie, matcher = PrefixTrie(texts), Matcher()
    matcher.publish("acct-1", texts)
    elements = st.one_of(addresses_near(texts), addresses_near(texts), st.sampled_from(["8.8.8", "", "x" * 20]))
    values = data.draw(st.lists(addresses_near(texts), max_size=20) | st.lists(elements, max_size=20))
    kinds, junk, given_values = STRINGS, "no address at all", values
    if data.draw(st.booleans()):
        kinds, junk = BINARIES, b"no address"  # type: ignore[assignment]
        given_values = [packed(text) for text in values]  # type: ignore[misc]
    column = data.draw(columns(given_values, kinds, junk))
    accounts = ["acct-1", "unknown"] * len(values)
    for ask in (
        trie.contains_many,
        trie.lookup_many,
        lambda given: matcher.allows_many("acct-1", given),
        lambda given: matcher.allows_many("unknown", given),
        lambda given: matcher.allows_many(accounts[: len(values)], given),
    ):
        assert said(lambda ask=ask: ask(column)) == said(lambda ask=ask: ask(given_values))  # type: ignore[misc]


def packed(text: str) -> bytes:
    try:
        return ip_address(text).packed
    except ValueError:
        return text.encode()


@given(st.lists(st.sampled_from(["8.8.8.8", "9.9.9.9"]), max_size=20), st.integers(0, 20), st.data())
def test_the_first_null_is_named_in_the_whole_column(values: list[Any], place: int, data: st.DataObject) -> None:
    values = [*values[:place], None, *values[place:], None]
    column = data.draw(columns(values, STRINGS + BINARIES[:0], "no address"))
    trie, matcher = PrefixTrie(["8.8.8.0/24"]), Matcher()
    for ask in (trie.contains_many, trie.lookup_many, lambda given: matcher.allows_many("acct-1", given)):
        with pytest.raises(InvalidAddressError, match=rf"^addresses\[{values.index(None)}\]: None is not"):
            ask(column)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 4_096, 5_000])
@pytest.mark.parametrize("distinct", [1, 3, 6_000])
def test_long_columns_answer_as_short_ones(count: int, distinct: int) -> None:
    trie = PrefixTrie(["8.8.0.0/19", "8.8.3.0/24", "2600::/16"])
    dictionary = [f"8.{8 + number % 2}.{number >> 8}.{number & 255}" for number in range(distinct - 1)] + ["2600::1"]
    codes = np.arange(count) % distinct
    values = [dictionary[code] for code in codes]
    column = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(dictionary))
    for form in (column, Stream(pa.chunked_array([column, column])), pa.chunked_array([column, column])):
        repeat = 1 if form is column else 2
        assert trie.lookup_many(form).tolist() == trie.lookup_many(values).tolist() * repeat
        assert trie.contains_many(form).tolist() == trie.contains_many(values).tolist() * repeat


def test_values_that_no_element_has_need_not_be_addresses() -> None:
    dictionary = pa.array(["8.8.8.8", "no address", None, "9.9.9.9"])
    column = pa.DictionaryArray.from_arrays(pa.array([0, 3, 3, 0, 0, 3]), dictionary)
    trie = PrefixTrie(["8.8.8.0/24"])
    assert trie.contains_many(column).tolist() == [True, False, False, True, True, False]
    for code, value in ((1, "'no address'"), (2, "None")):
        wrong = pa.DictionaryArray.from_arrays(pa.array([0, 3, code, 0, 0, 3]), dictionary)
        with pytest.raises(InvalidAddressError, match=rf"addresses\[2\]: {value} is not"):
            trie.contains_many(wrong)


@pytest.mark.parametrize("kind", INDICES)
def test_every_index_that_its_type_can_hold_is_read(kind: Any) -> None:
    most = min(2 ** (kind.bit_width - (not str(kind).startswith("u"))), 70_000)
    dictionary = [f"8.{8 + (number % 3 == 0)}.{number >> 8 & 255}.{number & 255}" for number in range(most)]
    codes = [*range(0, most, max(1, most // 300)), most - 1]
    column = pa.DictionaryArray.from_arrays(pa.array(codes, kind), pa.array(dictionary))
    trie = PrefixTrie(["8.8.0.0/16"])
    expected = [dictionary[code].startswith("8.8.") for code in codes]
    assert trie.contains_many(column).tolist() == expected
    assert trie.contains_many(pa.chunked_array([column] * 3)).tolist() == expected * 3


def test_columns_without_elements_have_no_answers() -> None:
    trie, matcher = PrefixTrie(["8.8.8.0/24"]), Matcher()
    nothing = pa.array([], pa.string())
    for made in (
        pa.chunked_array([], pa.string()),
        pa.chunked_array([nothing, nothing]),
        nothing.dictionary_encode(),
        pa.chunked_array([nothing.dictionary_encode()]),
        pa.array([], pa.null()),
        pa.chunked_array([], pa.null()),
    ):
        for column in (made, Stream(made) if isinstance(made, pa.ChunkedArray) else OneArray(made)):
            assert trie.contains_many(column).shape == trie.lookup_many(column).shape == (0,)
            assert matcher.rows(column).shape == matcher.allows_many(column, column).shape == (0,)


def test_a_column_of_nulls_alone_is_nulls() -> None:
    trie, matcher = PrefixTrie(["8.8.8.0/24"]), Matcher()
    nulls = pa.nulls(5)
    none = pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int8()), pa.nulls(1))
    inner = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int8()), pa.nulls(1))
    for column in (nulls, OneArray(nulls), Stream(pa.chunked_array([nulls])), none, inner, pa.chunked_array([inner])):
        with pytest.raises(InvalidAddressError, match=r"addresses\[0\]: None is not"):
            trie.contains_many(column)
        with pytest.raises(TypeError, match=r"accounts\[0\] must be a str, not NoneType"):
            matcher.rows(column)


class Named(pa.ExtensionType):  # type: ignore[misc]
    def __init__(self, storage: Any, name: str = "cidrgate.tests.named") -> None:
        super().__init__(storage, name)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""


def test_an_extension_type_is_read_as_what_it_stores() -> None:
    for stored in (pa.array(["8.8.8.8", "9.9.9.9"]), pa.array(["8.8.8.8", "9.9.9.9"]).dictionary_encode()):
        made = pa.ExtensionArray.from_storage(Named(stored.type), stored)
        for column in (made, pa.chunked_array([made]), Stream(pa.chunked_array([made]))):
            assert PrefixTrie(["8.8.8.0/24"]).contains_many(column).tolist() == [True, False]


# https://arrow.apache.org/docs/format/CanonicalExtensions.html
CANONICAL = [
    *("arrow.bool8", "arrow.fixed_shape_tensor", "arrow.json", "arrow.opaque", "arrow.parquet.variant"),
    *("arrow.timestamp_with_offset", "arrow.uuid", "arrow.variable_shape_tensor"),
]
STORED = [
    pa.array(["8.8.8.8", "9.9.9.9"]),
    pa.array(["8.8.8.8", "9.9.9.9"]).dictionary_encode(),
    pa.array([b"8.8.8.8.", None, b"1" * 16]),
    pa.array([b"1" * 16, None], pa.binary(16)),
]


@pytest.mark.parametrize("name", CANONICAL)
@pytest.mark.parametrize("stored", STORED, ids=lambda stored: str(stored.type))
def test_a_canonical_extension_type_has_neither_addresses_nor_accounts(name: str, stored: Any) -> None:
    trie, matcher = PrefixTrie(["0.0.0.0/0", "::/0"]), Matcher()
    matcher.publish("8.8.8.8", ["0.0.0.0/0", "::/0"])
    made = pa.ExtensionArray.from_storage(Named(stored.type, name), stored)
    nested = pa.ExtensionArray.from_storage(Named(made.type), made)
    chunks = pa.chunked_array([made])
    child = pa.StructArray.from_arrays([made], ["child"]).field("child")
    columns = [made, made[1:], nested, chunks, chunks[:0], child, OneArray(made), Stream(chunks), Stream(chunks[:0])]
    for column in columns:
        for ask in (
            trie.contains_many,
            trie.lookup_many,
            lambda given: matcher.allows_many("8.8.8.8", given, invalid="deny"),
            lambda given: matcher.allows_many(given, ["8.8.8.8"] * 2, invalid="deny"),
            matcher.rows,
        ):
            with pytest.raises(TypeError, match=rf"extension type '{name}': convert the column to strings"):
                ask(column)
    marked = pa.field("marked", stored.type, metadata={"ARROW:extension:name": name})
    texts = pa.array(["8.8.8.8"] * len(stored))
    tables = [
        pa.table({"marked": made, "text": texts}),
        pa.record_batch({"marked": made, "text": texts}),
        pa.table([stored, texts], schema=pa.schema([marked, pa.field("text", pa.string())])),
    ]
    for table in tables:
        for account, address in (("text", "marked"), ("marked", "text")):
            with pytest.raises(TypeError, match=rf"extension type '{name}': convert the column to strings"):
                matcher.allows_arrow(table, account, address)
        assert matcher.allows_arrow(table, "text", "text").to_pylist() == [True] * len(stored)


def test_answers_of_all_chunks_go_into_one_array() -> None:
    trie, matcher = PrefixTrie(["8.8.8.0/24"]), Matcher()
    column = pa.chunked_array([["8.8.8.8", "9.9.9.9"], [], ["8.8.8.1"]])
    found, indices = np.zeros(3, dtype=np.bool_), np.zeros(3, dtype=np.int32)
    for form in (column, Stream(column)):
        assert trie.contains_many(form, out=found) is found
        assert trie.lookup_many(form, out=indices) is indices
        assert (found.tolist(), indices.tolist()) == ([True, False, True], [0, -1, 0])
        assert matcher.allows_many(form, form, out=found) is found
        assert found.all()
        with pytest.raises(ValueError, match=r"out must be a writeable contiguous array of bool of shape \(3,\)"):
            trie.contains_many(form, out=np.zeros(2, dtype=np.bool_))


# ------------------------------------------------------------------------------------------------- accounts

NAMES = ["acct-1", "acct-2", "sub-1", "closed", "open", "Zürich", "名前", "a", "n" * 1_024]
UNKNOWN = ["", "acct-", "acct-1 ", "unknown", "n" * 1_025, "ü" * 40, "\0", "Zu\u0308rich"]


def known_accounts() -> Matcher:
    matcher = Matcher()
    for name in NAMES:
        if name != "sub-1":
            matcher.publish(name, ["8.8.8.0/24"])
    matcher.link("sub-1", "acct-1")
    matcher.publish("closed", [], when_empty="deny")
    matcher.publish("open", [])
    matcher.publish("discarded", ["9.9.9.0/24"])
    matcher.discard("discarded")
    return matcher


@given(
    values=st.lists(st.sampled_from([*NAMES, *UNKNOWN, "discarded"]), max_size=30),
    place=st.none() | st.integers(0, 30),
    data=st.data(),
)
def test_columns_of_accounts_are_found_as_lists(values: list[Any], place: int | None, data: st.DataObject) -> None:
    matcher = known_accounts()
    if place is not None:
        values = [*values[:place], None, *values[place:]]
    column = data.draw(columns(values, STRINGS, "acct-2"))
    addresses = (["8.8.8.8", "9.9.9.9"] * len(values))[: len(values)]
    for ask in (matcher.rows, lambda given: matcher.allows_many(given, addresses)):
        assert said(lambda ask=ask: ask(column)) == said(lambda ask=ask: ask(values))  # type: ignore[misc]
    arrow = data.draw(columns(addresses, STRINGS, "no address"))
    assert said(lambda: matcher.allows_many(column, arrow)) == said(lambda: matcher.allows_many(values, addresses))


def test_many_accounts_are_found() -> None:
    matcher = Matcher()
    names = [f"acct-{number}" for number in range(5_000)]
    for number, name in enumerate(names):
        matcher.publish(name, [f"{number % 200 + 1}.0.0.0/8"])
    for name in names[::7]:
        matcher.discard(name)
    asked = [*names[::-3], "unknown", *names[::2]]
    expected = matcher.rows(asked).tolist()
    plain = pa.array(asked)
    for column in (
        plain,
        plain.dictionary_encode(),
        plain.cast(pa.string_view()),
        pa.chunked_array([plain[:99], plain[99:]]),
    ):
        assert matcher.rows(column).tolist() == expected


@pytest.mark.parametrize("wrong", [b"\xff", b"acct\x80", b"\xed\xa0\x80", b"\xc0\xaf", b"a" * 2_000 + b"\xe4"])
def test_a_name_that_is_not_utf8_is_not_an_unknown_account(wrong: bytes) -> None:
    """An unknown account allows every address."""
    matcher = known_accounts()
    for kind in STRINGS:
        binary = pa.array([b"acct-1", b"unknown", wrong, b"acct-1"], pa.binary())
        plain = pa.Array.from_buffers(pa.string(), 4, binary.buffers())
        if kind == pa.large_string():
            plain = pa.Array.from_buffers(kind, 4, pa.array(binary.to_pylist(), pa.large_binary()).buffers())
        if kind == pa.string_view():
            plain = pa.Array.from_buffers(kind, 4, pa.array(binary.to_pylist(), pa.binary_view()).buffers())
        dictionary = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3]), plain)
        for column in (plain, dictionary, Stream(pa.chunked_array([plain])), pa.chunked_array([dictionary])):
            for ask in (matcher.rows, lambda given: matcher.allows_many(given, ["8.8.8.8"] * 4)):
                with pytest.raises(
                    InvalidAccountError, match=r"^accounts\[2\]: '.*' is not UTF-8|^accounts\[2\]: 'aaa"
                ):
                    ask(column)
        # A value that no element has.
        unused = pa.DictionaryArray.from_arrays(pa.array([0, 1, 3, 0]), plain)
        assert matcher.rows(unused).tolist() == matcher.rows(["acct-1", "unknown", "acct-1", "acct-1"]).tolist()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2]),
        pa.array([b"acct-1"]),
        pa.array([b"acct-1"]).dictionary_encode(),
        pa.array([1]).dictionary_encode(),
        pa.array([b"a" * 16], pa.binary(16)),
        pa.chunked_array([[1]]),
        Stream(pa.chunked_array([[1]])),
        pa.table({"account": ["acct-1"]}),
    ],
)
def test_other_columns_are_no_accounts(column: Any) -> None:
    matcher = known_accounts()
    for ask in (matcher.rows, lambda given: matcher.allows_many(given, ["8.8.8.8"])):
        with pytest.raises(TypeError, match=r"^accounts must be a list of str, or an Arrow array or stream of strings"):
            ask(column)


def test_columns_of_another_length_are_refused() -> None:
    matcher = known_accounts()
    accounts = pa.chunked_array([["acct-1"], ["acct-2"]])
    for count in (0, 1, 3):
        with pytest.raises(ValueError, match=f"accounts must be one str, {count} names in a list or an Arrow array"):
            matcher.allows_many(accounts, ["8.8.8.8"] * count)


class Once(Stream):
    """A stream that can be read once."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        chunks, self.chunks = self.chunks, None
        return chunks.__arrow_c_stream__()


def test_streams_are_read_once() -> None:
    names = Once(pa.chunked_array([["acct-1", "acct-2"], ["acct-1"]]))
    addresses = Once(pa.chunked_array([["8.8.8.8"], ["9.9.9.9", "9.9.9.9"]]))
    assert known_accounts().allows_many(names, addresses).tolist() == [True, False, False]


def test_an_iterable_of_names_that_cannot_be_arrow_is_iterated() -> None:
    """A column of pandas has the interface even where pyarrow, which it needs for it, is not installed."""

    class WithoutPyarrow(list[str]):
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            raise ImportError("pyarrow is needed")

    matcher = known_accounts()
    names = WithoutPyarrow(["acct-1", "unknown"])
    assert matcher.rows(names).tolist() == matcher.rows(list(names)).tolist()
    assert matcher.allows_many(names, ["9.9.9.9"] * 2).tolist() == [False, True]
    with pytest.raises(ImportError, match="pyarrow is needed"):
        PrefixTrie().contains_many(WithoutPyarrow(["8.8.8.8"]))


# ------------------------------------------------------------------------------------------------- polars, pandas

ADDRESSES = ["8.8.8.8", "9.9.9.9", "2606:4700:4700::1111", "8.8.8.1", "8.8.8.8"]
ACCOUNTS = ["acct-1", "acct-2", "unknown", "sub-1", "acct-1"]


def of_polars(values: list[Any]) -> dict[str, Any]:
    polars = pytest.importorskip("polars", reason="needs polars: pip install polars")
    plain = polars.Series(values)
    chunked = polars.concat([plain[:2], plain[2:3], plain[3:]], rechunk=False)
    assert chunked.n_chunks() == 3
    distinct = [value for value in dict.fromkeys(values) if value is not None]
    return {
        "strings": plain,
        "chunks": chunked,
        "slice": polars.concat([polars.Series(["junk"]), plain])[1:],
        "categorical": plain.cast(polars.Categorical),
        "enum": plain.cast(polars.Enum([*distinct, "unused"])),
        "chunks of categories": chunked.cast(polars.Categorical),
    }


def of_pandas(values: list[Any]) -> dict[str, Any]:
    pandas = pytest.importorskip("pandas", "3", reason="needs pandas: pip install 'pandas>=3'")
    plain = pandas.Series(values, dtype=pandas.ArrowDtype(pa.string()))
    return {
        "Arrow strings": plain,
        "Arrow views": pandas.Series(values, dtype=pandas.ArrowDtype(pa.string_view())),
        "Arrow dictionary": pandas.Series(values, dtype=pandas.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
        "chunks": pandas.concat([plain[:2], plain[2:]]),
        "slice": pandas.Series(["junk", *values], dtype=pandas.ArrowDtype(pa.string()))[1:],
        "str": pandas.Series(values, dtype="str"),
        "objects": pandas.Series(values, dtype=object),
        "category": pandas.Series(values, dtype="category"),
    }


@pytest.mark.parametrize("make", [of_polars, of_pandas])
def test_columns_of_other_libraries_answer_as_lists(make: Callable[[list[Any]], dict[str, Any]]) -> None:
    trie, matcher = PrefixTrie(["8.8.8.0/24", "2606:4700::/32"]), known_accounts()
    accounts = make(ACCOUNTS)
    for name, column in make(ADDRESSES).items():
        assert trie.contains_many(column).tolist() == trie.contains_many(ADDRESSES).tolist(), name
        assert trie.lookup_many(column).tolist() == trie.lookup_many(ADDRESSES).tolist(), name
        assert matcher.rows(accounts[name]).tolist() == matcher.rows(ACCOUNTS).tolist(), name
        expected = matcher.allows_many(ACCOUNTS, ADDRESSES).tolist()
        for given_accounts in (accounts[name], matcher.rows(accounts[name]), ACCOUNTS):
            assert matcher.allows_many(given_accounts, column).tolist() == expected, name


@pytest.mark.parametrize("make", [of_polars, of_pandas])
def test_a_null_of_other_libraries_is_named(make: Callable[[list[Any]], dict[str, Any]]) -> None:
    trie, matcher = PrefixTrie(["8.8.8.0/24"]), known_accounts()
    for name, column in make([*ADDRESSES, None, "8.8.8.8"]).items():
        with pytest.raises(InvalidAddressError, match=r"addresses\[5\]: None is not"):
            trie.contains_many(column)
        accounts = make([*ACCOUNTS, None, "acct-1"])[name]
        for ask in (matcher.rows, lambda given: matcher.allows_many(given, ["8.8.8.8"] * 7)):
            with pytest.raises(TypeError, match=re.escape("accounts[5] must be a str, not NoneType")):
                ask(accounts)


def test_columns_of_numbers_are_no_addresses() -> None:
    polars = pytest.importorskip("polars", reason="needs polars: pip install polars")
    for column in (polars.Series([1, 2]), polars.DataFrame({"address": ["8.8.8.8"]})):
        with pytest.raises(TypeError, match=r"addresses must be .* not (Series|DataFrame) of Arrow format '(l|\+s)'"):
            PrefixTrie().contains_many(column)
