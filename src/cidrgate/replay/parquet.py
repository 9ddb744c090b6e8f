"""Reads columns of Parquet files as Arrow arrays: texts, times and counts that need no SQL.

Nearly all of a log is text, and to copy each text from a page to a database and from there to an Arrow array takes
longer than to decide about it. Here pyarrow reads the metadata, decompresses the pages and reads numbers; the engine
copies the texts once, and a column whose values repeat stays a dictionary, whose values are looked up once. What is
not plain is left to DuckDB: other types and encodings, and columns that are not in the files.

The layout of a file is specified by Apache Parquet (https://parquet.apache.org/docs/file-format/), the headers of its
pages by the compact protocol of Apache Thrift. A file is not trusted.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cidrgate._engine import _compact_struct, _packed_numbers, _Texts
from cidrgate.replay.sources import DAMAGED, IN_TIME, MOST_REQUESTS, LogError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["column_names", "plain_batches", "plain_rows"]

_TEXTS = frozenset({"account", "address", "forwarded"})
_CODECS = {0: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
"""The names that pyarrow has for the codecs of Parquet."""

_PER_MICROSECOND = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_WIDEST_ASCII = 127

_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_2 = 0, 2, 3
_PLAIN, _PLAIN_DICTIONARY, _RLE, _BIT_PACKED, _RLE_DICTIONARY = 0, 2, 3, 4, 8
_ENCODINGS = frozenset({_PLAIN, _PLAIN_DICTIONARY, _RLE, _BIT_PACKED, _RLE_DICTIONARY})

_INT64, _BYTE_ARRAY = 2, 6
_OPTIONAL, _REPEATED = 1, 2
_OF_STRING, _OF_TIMESTAMP, _OF_INTEGER = 1, 8, 10
"""Logical types, by their numbers in the union of them."""

_CONVERTED = {0: _OF_STRING, 9: _OF_TIMESTAMP, 10: _OF_TIMESTAMP, 14: _OF_INTEGER, 18: _OF_INTEGER}
"""The logical types by the numbers that files had before there were logical types."""

_MAGIC = b"PAR1"
_FOOTER = 64 * 2**10
"""How many bytes are read for the metadata at the end of a file at first."""

_HEADER = 8 * 2**10
"""How many bytes are read for the header of a page at first; one with long statistics takes more."""

_MOST_VALUES = 2**31 - 1
"""How many values a page can have: their number is written in 32 bits."""

_WINDOW = 2**20
"""How many bytes of a column are read at a time, or a page if that is more."""

_LONGEST_HEADER = 16 * 2**20

_SHORTEST = 16_384
"""How many rows of one dictionary are a batch of their own, whose values are not copied and are looked up once."""


def plain_rows(files: Sequence[str], columns: Mapping[str, str]) -> int | None:
    """Return how many rows files have, if all columns are plain in all of them.

    Args:
        files: Files of this machine.
        columns: The columns to read, by role.

    Returns:
        None if one of them is left to DuckDB.

    Raises:
        LogError: If a file cannot be read.
    """
    rows = 0
    for file in files:
        with _told(file):
            with open(file, "rb", buffering=0) as raw:  # noqa: PTH123 - as it was named
                metadata = _Metadata(raw.fileno())
            if metadata.plain(columns) is None:
                return None
            rows += metadata.rows
    return rows


def column_names(file: str) -> set[str]:
    """Return the names of the columns of a file of this machine that have no columns inside them, in lower case.

    Raises:
        LogError: If the file cannot be read.
    """
    with _told(file), open(file, "rb", buffering=0) as raw:  # noqa: PTH123 - as it was named
        return {element[4].decode().lower() for _, element in _Metadata(raw.fileno())._whole_columns()}


def plain_batches(files: Sequence[str], columns: Mapping[str, str], size: int) -> Iterator[Any]:
    """Yield the requests in files for which `plain_rows` returned a number.

    The columns are those of `request_query`. Accounts and addresses are strings or dictionaries of strings.

    Args:
        files: Files of this machine.
        columns: The columns to read, by role; the address is among them.
        size: How many rows a batch has at most.

    Raises:
        LogError: If a file cannot be read.
    """
    for file in files:
        with _told(file):
            yield from _batches_of(file, columns, size)


class _TextError(Exception):
    """A text is not UTF-8."""


@contextmanager
def _told(file: str) -> Iterator[None]:
    """Turn what is raised while a file is read into an error that names it."""
    import pyarrow

    try:
        yield
    except _TextError as error:
        raise LogError(f"{file} cannot be read as Apache Parquet: {error}") from None
    except OSError as error:
        raise LogError(f"{file} cannot be read as Apache Parquet: {error.strerror or DAMAGED}") from error
    except (
        ValueError,
        TypeError,
        AttributeError,  # the members of the metadata have the types that a damaged file gives them
        LookupError,
        OverflowError,
        EOFError,
        pyarrow.ArrowException,
    ) as error:
        raise LogError(f"{file} cannot be read as Apache Parquet: {DAMAGED}") from error


def _batches_of(file: str, columns: Mapping[str, str], size: int) -> Iterator[Any]:
    import pyarrow as pa

    with open(file, "rb", buffering=0) as raw:  # noqa: PTH123 - as it was named
        metadata = _Metadata(raw.fileno())
        plain = metadata.plain(columns)
        if plain is None:
            raise ValueError("it changed while it was read")
        texts = {role: _TextColumn(raw.fileno(), one) for role, one in plain.items() if role in _TEXTS}
        numbers = {role: one.name for role, one in plain.items() if role not in _TEXTS}
        for count, batch in _lengths(file, metadata.rows, list(numbers.values()), size):
            at = 0
            while at < count:
                alike = texts["address"].alike(count - at)
                here = alike if alike >= _SHORTEST else count - at
                arrays = {role: column.take(here) for role, column in texts.items()}
                read = {role: batch.column(name).slice(at, here) for role, name in numbers.items()}
                arrays, at = _request_columns(arrays, read), at + here
                yield pa.RecordBatch.from_arrays(list(arrays.values()), list(arrays))


def _request_columns(texts: dict[str, Any], numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of requests; the address is null where a row is none."""
    columns, good = dict(texts), None
    if "account" in columns:
        columns["account"] = _without_empty(columns["account"])
    if "time" in numbers:
        columns["time"], good = _microseconds(numbers["time"])
    if "requests" in numbers:
        columns["requests"], possible = _counted(numbers["requests"])
        good = possible if good is None else good & possible
    if good is not None and not good.all():
        columns["address"] = _where(good, columns["address"])
    return columns


def _lengths(file: str, rows: int, numbers: list[str], size: int) -> Iterator[tuple[int, Any]]:
    """Yield the length of each batch, with its numbers."""
    if not numbers:
        yield from ((min(size, rows - start), None) for start in range(0, rows, size))
        return
    from pyarrow import parquet

    with parquet.ParquetFile(file) as opened:
        for batch in opened.iter_batches(size, columns=numbers, use_threads=False):
            yield batch.num_rows, batch


@dataclass(frozen=True, slots=True)
class _Column:
    """A column without columns inside it.

    Attributes:
        name: Its name.
        place: Its number among the columns that have values.
        about: Its element of the schema.
        chunks: What the metadata says about its part in each group of rows.
    """

    name: str
    place: int
    about: dict[int, Any]
    chunks: list[dict[int, Any]]

    def is_plain(self, role: str) -> bool:
        """Return whether it can be read here for a role."""
        if self.about.get(3) == _REPEATED:
            return False
        logical = self.about.get(10)
        kind = next(iter(logical), None) if logical else _CONVERTED.get(self.about.get(6, -1), self.about.get(6))
        if role not in _TEXTS:
            wanted = (_OF_TIMESTAMP,) if role == "time" else (_OF_INTEGER, None)
            return self.about.get(1) == _INT64 and kind in wanted
        return (
            self.about.get(1) == _BYTE_ARRAY
            and kind == _OF_STRING
            and all(one[4] in _CODECS and _ENCODINGS.issuperset(one[2]) for one in self.chunks)
        )


class _Metadata:
    """The metadata of a file. It is read here, because pyarrow ends the process for some that is damaged.

    Args:
        file: The descriptor of the file.

    Raises:
        ValueError: If it is no metadata.
    """

    def __init__(self, file: int) -> None:
        size = os.fstat(file).st_size
        end = _read(file, max(0, size - _FOOTER), _FOOTER)
        length = int.from_bytes(end[-8:-4], "little")
        if end[-4:] != _MAGIC or length + 8 > size:
            raise ValueError("it is no file of Parquet")
        if length + 8 > len(end):
            end = _read(file, size - 8 - length, length + 8)
        self._fields, _ = _compact_struct(end, len(end) - 8 - length)
        self.rows: int = self._fields[3]

    def plain(self, columns: Mapping[str, str]) -> dict[str, _Column] | None:
        """Return columns by their roles, or None if one of them is not plain."""
        found: dict[str, list[tuple[int, dict[int, Any]]]] = {}
        for place, element in self._whole_columns():
            found.setdefault(element[4].decode().lower(), []).append((place, element))
        plain = {}
        for role, name in columns.items():
            named = found.get(name.lower(), [])
            if len(named) != 1:
                return None
            place, element = named[0]
            parts = [group[1][place] for group in self._fields[4]]
            column = _Column(element[4].decode(), place, element, [part[3] for part in parts])
            if any(1 in part for part in parts) or not column.is_plain(role):  # 1: it is in another file
                return None
            plain[role] = column
        return plain

    def _whole_columns(self) -> Iterator[tuple[int, dict[int, Any]]]:
        """Yield the columns that have no columns inside them, with their numbers."""
        place = 0
        inside = [0]  # how many elements are left of each that holds the current one
        for element in self._fields[2][1:]:
            children = element.get(5) or 0
            if not children:
                if len(inside) == 1:
                    yield place, element
                place += 1
            if len(inside) > 1:
                inside[-1] -= 1
            if children:
                inside.append(children)
            while len(inside) > 1 and not inside[-1]:
                inside.pop()


def _microseconds(times: Any) -> tuple[Any, NDArray[np.bool_]]:
    """Return times in microseconds since 1970, and which of them are there and in the years 1 to 9999."""
    import pyarrow as pa

    more, fewer = _PER_MICROSECOND[times.type.unit]
    values = times.view(pa.int64()).fill_null(0).to_numpy()
    good = times.is_valid().to_numpy(zero_copy_only=False)
    if fewer == 1:  # 64 bits of nanoseconds are in these years
        good &= (values >= IN_TIME[0] // more) & (values <= IN_TIME[1] // more)
    return pa.array(values * more // fewer), good


def _counted(requests: Any) -> tuple[Any, NDArray[np.bool_]]:
    """Return how many requests each row stands for, and for which rows that is possible."""
    import pyarrow as pa

    values = requests.cast(pa.int64(), safe=False).fill_null(0).to_numpy()
    return pa.array(values), (values >= 1) & (values <= MOST_REQUESTS)


def _where(good: NDArray[np.bool_], texts: Any) -> Any:
    """Return texts that are null where a row is not good."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(texts.type):
        return pa.DictionaryArray.from_arrays(_where(good, texts.indices), texts.dictionary)
    return pc.if_else(pa.array(good), texts, pa.scalar(None, texts.type))


def _without_empty(accounts: Any) -> Any:
    """Return accounts that are null where a text is empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = pa.types.is_dictionary(accounts.type)
    values = accounts.dictionary if coded else accounts
    if np.diff(np.frombuffer(values.buffers()[1], np.int32)).min(initial=1) > 0:
        return accounts
    named = ~pc.is_in(values, pa.array([""])).to_numpy(zero_copy_only=False)
    if named.all():
        return accounts
    return _where(named[accounts.indices.fill_null(0).to_numpy()] if coded else named, accounts)


@dataclass(slots=True)
class _Page:
    """The values of a page, of which the first ones may have been taken.

    Attributes:
        count: How many values there are, with those that are null.
        present: Which of them are not null; None for all.
        octets: The page.
        at: Where the next text is in it.
        codes: For values of a dictionary, their places in it.
        dictionary: The dictionary.
        taken: How many values were taken.
        texts_taken: How many of them are not null.
    """

    count: int
    present: NDArray[np.bool_] | None
    octets: Any
    at: int = 0
    codes: NDArray[np.int32] | None = None
    dictionary: _Dictionary | None = None
    taken: int = 0
    texts_taken: int = 0


class _Dictionary:
    """The values of a dictionary."""

    def __init__(self, octets: Any, count: int) -> None:
        self.texts = _Texts(count)
        self.texts.plain(octets, 0, count)
        self.array = _array(self.texts)


class _TextColumn:
    """A column of texts, which is read page by page.

    Args:
        file: The descriptor of the file.
        column: The column.
    """

    def __init__(self, file: int, column: _Column) -> None:
        self._file = file
        self._nullable = column.about.get(3) == _OPTIONAL
        self._pages = (page for chunk in column.chunks for page in self._pages_of(chunk))
        self._page = _Page(0, None, b"")
        self._ahead: deque[_Page] = deque()
        self._window, self._begin = b"", 0

    def alike(self, count: int) -> int:
        """Return how many of the next values are of one dictionary, or of none; at most as many as are asked about."""
        found, dictionary = 0, None
        for page in self._coming():
            left = page.count - page.taken
            if left and found and page.dictionary is not dictionary:
                break
            found, dictionary = found + left, page.dictionary
            if found >= count:
                break
        return min(found, count)

    def _coming(self) -> Iterator[_Page]:
        """Yield the current page and those behind it, which are kept."""
        yield self._page
        yield from self._ahead
        for page in self._pages:
            self._ahead.append(page)
            yield page

    def take(self, count: int) -> Any:
        """Return the next values as an Arrow array of strings, or of a dictionary of strings.

        Raises:
            ValueError: If the column has fewer, or a page is damaged.
            pyarrow.ArrowException: Likewise.
        """
        parts: list[tuple[_Page, NDArray[np.bool_] | None, int]] = []
        left = count
        while left:
            page = self._page
            if page.taken == page.count:
                self._page = self._ahead.popleft() if self._ahead else next(self._pages, _Page(0, None, b""))
                if not self._page.count:
                    raise ValueError("a column has fewer values than there are rows")
                continue
            here = min(left, page.count - page.taken)
            present = None if page.present is None else page.present[page.taken : page.taken + here]
            parts.append((page, present, here))
            page.taken += here
            left -= here
        dictionary = self._only_dictionary([page for page, _, _ in parts], count)
        nulls = any(present is not None for _, present, _ in parts)
        valid = np.concatenate([np.ones(n, bool) if one is None else one for _, one, n in parts]) if nulls else None
        texts = [(page, n if present is None else int(np.count_nonzero(present))) for page, present, n in parts]
        if dictionary is not None:
            return _coded([_codes(page, n) for page, n in texts], dictionary, valid)
        gathered = _Texts(count, sum(len(page.octets) - page.at for page, _ in texts if page.dictionary is None))
        for page, n in texts:
            if page.dictionary is not None:
                gathered.chosen(page.dictionary.texts, _codes(page, n))
            else:
                page.at = gathered.plain(page.octets, page.at, n)
        return _array(gathered, valid)

    def _only_dictionary(self, pages: list[_Page], count: int) -> _Dictionary | None:
        """Return the dictionary of all values, if it is one, and worth to be kept."""
        first = pages[0].dictionary if pages else None
        if first is None or len(first.array) > count or any(page.dictionary is not first for page in pages):
            return None
        return first

    def _pages_of(self, chunk: dict[int, Any]) -> Iterator[_Page]:
        """Yield the pages with values of a column chunk."""
        import pyarrow

        at = min(chunk[9], chunk.get(11) or chunk[9])
        end = min(at + chunk[7], os.fstat(self._file).st_size)
        if at < 0:
            raise ValueError("a column is not in the file")
        name = _CODECS[chunk[4]]
        codec = None if name is None else pyarrow.Codec(name)
        dictionary = None
        left = chunk[5]
        while left > 0:
            header, at = self._header(at, end)
            packed, unpacked = header[3], header[2]
            if not 0 <= packed <= end - at:
                raise ValueError("a page is longer than its column")
            octets = self._read(at, packed)
            if len(octets) != packed:
                raise ValueError("a page is cut off")
            at += packed
            if header[1] == _DICTIONARY_PAGE:
                dictionary = _Dictionary(_unpacked(octets, codec, unpacked), header[7][1])
            elif header[1] in (_DATA_PAGE, _DATA_PAGE_2):
                about = header[5 if header[1] == _DATA_PAGE else 8]
                if not 0 <= about[1] <= min(left, _MOST_VALUES):
                    raise ValueError("a column has more values than its metadata says")
                read = self._page_1 if header[1] == _DATA_PAGE else self._page_2
                if about[1]:
                    yield read(header, octets, codec, dictionary)
                left -= about[1]

    def _page_1(self, header: dict[int, Any], octets: Any, codec: Any, dictionary: _Dictionary | None) -> _Page:
        about = header[5]
        count, page = about[1], _unpacked(octets, codec, header[2])
        if not self._nullable:
            return _page(page, 0, count, None, about[2], dictionary)
        if about[3] != _RLE or len(page) < 4:
            raise ValueError("the levels of a page are not as they should be")
        size = int.from_bytes(memoryview(page)[:4], "little")
        levels = memoryview(page)[4 : 4 + size]
        return _page(page, 4 + size, count, _packed_numbers(levels, 0, 1, count), about[2], dictionary)

    def _page_2(self, header: dict[int, Any], octets: Any, codec: Any, dictionary: _Dictionary | None) -> _Page:
        about = header[8]
        count, levels = about[1], about[5] + about[6]
        if min(about[5], about[6]) < 0 or levels > len(octets):
            raise ValueError("the levels of a page are not as they should be")
        definitions = _packed_numbers(octets[about[6] : levels], 0, 1, count) if self._nullable else None
        texts = _unpacked(octets[levels:], codec if about.get(7, True) else None, header[2] - levels)
        return _page(texts, 0, count, definitions, about[4], dictionary)

    def _header(self, at: int, end: int) -> tuple[dict[int, Any], int]:
        """Return the header of a page, and where the page begins."""
        size = _HEADER
        while True:
            octets = self._read(at, min(size, end - at))
            try:
                header, used = _compact_struct(octets, 0)
            except EOFError:
                if size >= min(_LONGEST_HEADER, end - at):
                    raise ValueError("the header of a page is cut off") from None
                size *= 8
            else:
                return header, at + used

    def _read(self, at: int, size: int) -> memoryview:
        """Return bytes of the file; fewer at its end."""
        first = at - self._begin
        if not 0 <= first <= first + size <= len(self._window):
            self._window = _read(self._file, at, max(size, _WINDOW))
            self._begin, first = at, 0
        return memoryview(self._window)[first : first + size]


def _read(file: int, at: int, size: int) -> bytes:
    """Return bytes of a file; fewer at its end."""
    parts = []
    while size > 0 and (part := os.pread(file, size, at)):
        parts.append(part)
        at += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unpacked(octets: Any, codec: Any, size: int) -> Any:
    """Return a page as it was before it was compressed."""
    return octets if codec is None or not octets else codec.decompress(octets, decompressed_size=size)


def _page(
    octets: Any, at: int, count: int, levels: NDArray[np.int32] | None, encoding: int, dictionary: _Dictionary | None
) -> _Page:
    present = None if levels is None or levels.all() else levels.astype(bool)
    if encoding == _PLAIN:
        return _Page(count, present, octets, at)
    if encoding not in (_PLAIN_DICTIONARY, _RLE_DICTIONARY) or dictionary is None:
        raise ValueError("a page has values of a kind that its column does not have")
    texts = count if present is None else int(np.count_nonzero(present))
    if not texts:
        return _Page(count, present, octets, at, np.zeros(0, np.int32), dictionary)
    if not at < len(octets):
        raise ValueError("a page is cut off")
    codes = _packed_numbers(octets, at + 1, memoryview(octets)[at], texts)
    return _Page(count, present, octets, at, codes, dictionary)


def _codes(page: _Page, count: int) -> NDArray[np.int32]:
    """Return the next codes of a page."""
    assert page.codes is not None  # noqa: S101 - it has a dictionary
    page.texts_taken += count
    return page.codes[page.texts_taken - count : page.texts_taken]


def _coded(parts: list[NDArray[np.int32]], dictionary: _Dictionary, valid: NDArray[np.bool_] | None) -> Any:
    """Return an array of a dictionary."""
    import pyarrow as pa

    codes = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if valid is None:
        return pa.DictionaryArray.from_arrays(pa.array(codes), dictionary.array)
    spread = np.zeros(len(valid), np.int32)
    spread[valid] = codes
    return pa.DictionaryArray.from_arrays(pa.array(spread, mask=~valid), dictionary.array)


def _array(texts: _Texts, valid: NDArray[np.bool_] | None = None) -> Any:
    """Return texts as an Arrow array of strings, with nulls between them.

    Raises:
        _TextError: If a text is not UTF-8.
    """
    import pyarrow as pa

    offsets, octets = texts.buffers()
    bitmap, nulls = None, 0
    if valid is not None:
        offsets = offsets[np.concatenate([[0], np.cumsum(valid)])]
        bitmap, nulls = pa.py_buffer(np.packbits(valid, bitorder="little")), int(np.count_nonzero(~valid))
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(octets)]
    array = pa.StringArray.from_buffers(len(offsets) - 1, buffers[1], buffers[2], bitmap, nulls)
    if octets.max(initial=0) > _WIDEST_ASCII:
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            raise _TextError("it has text that is not UTF-8") from None
    return array
