"""Runs the query for a log in DuckDB, within bounds of memory, and hands out the requests in Arrow batches."""

from __future__ import annotations

import bz2
import json
import os
import re
import select
import tempfile
import threading
from collections import defaultdict
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cidrgate._engine import _OpenQuote
from cidrgate.errors import needs_extra
from cidrgate.gate.account_sources import FromPath
from cidrgate.process.database_files import DatabaseFileError, refuse_database
from cidrgate.process.streams import is_stdin
from cidrgate.process.temporary_folders import temporary_folder
from cidrgate.replay.lines import LINES, LineCutter
from cidrgate.replay.parquet import column_names, plain_batches, plain_rows
from cidrgate.replay.sources import (
    DAMAGED,
    HEADER,
    CsvHeader,
    LogError,
    LogSource,
    asked_roles,
    csv_rows,
    folder_values,
    header_fields,
    line_query,
    lines_of,
    parquet_rows,
    quoted,
    request_query,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

__all__ = ["MEMORY", "BadLine", "Log", "bad_lines", "is_one_of", "opened_log"]

MEMORY = 512 * 2**20
"""How many bytes DuckDB may use before it writes to the disk."""

_BATCH = 122_880
"""The rows of a batch: as many as DuckDB's own row groups have."""

_SHOWN = 20
"""How many bad lines are shown."""

_LONGEST_SHOWN = 300
"""How much of a bad line is shown, in characters."""

_SAMPLE = 2**20
"""How many bytes of a log are read to estimate its lines."""

_SETTINGS = "SET TimeZone = 'UTC'; SET enable_progress_bar = false"
"""What every connection needs: a bar of DuckDB would go to stdout, where programs read the answer."""

_ENDS_DIFFER = (
    r"its lines end in different ways, such as with \r\n and with \n: leave out each \r (tr -d '\r' <OLD >NEW)"
)
"""Why DuckDB cannot read CSV as strictly as it must be read."""

_MOST_NAMED = 3
"""How many files a message names."""

_HTTP_STATUS = re.compile(r"\b[45][0-9]{2}\b")

_WILDCARD = re.compile(r"[*?\[]")
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}

_PIECE = 2**20
"""How many bytes of a stream are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that is not as its format says.

    Attributes:
        file: The file.
        line: The number of the line, or of the row if the file has no lines; from 1. In CSV, a value with line breaks
            does not count as more lines, and empty lines may not count.
        reason: What is wrong.
        text: The line, cut after some hundred characters.
    """

    file: str
    line: int
    reason: str
    text: str


class Log:
    """A log that is open for one reading.

    The database is opened for what needs it: plain columns of Parquet files of this machine are read without it.

    Args:
        source: The log.
        files: Its files, without patterns.
        memory: How many bytes DuckDB may use before it writes to the disk.
        threads: How many threads read; as many as there are processors if None.
        partial: Whether they are some files of a log, of which others may have the columns that these do not have.

    Attributes:
        rows: How many rows there are; an estimate for files without a number of their own, None if it is unknown.
        unclosed: The quotes in CSV that do not end, in files of this machine, when all was read.
        header_lines: How many lines the header of the last CSV file takes, with the empty ones before it.
        columns: The columns of tables and the members of JSON Lines, in lower case, as far as they are known: those of
            the first line of each file of JSON Lines that can be read twice.
    """

    def __init__(
        self, source: LogSource, files: Sequence[str], memory: int, threads: int | None, *, partial: bool = False
    ) -> None:
        self.rows: int | None = None
        self.unclosed: list[_Unclosed] = []
        self.header_lines = 0
        self.columns: set[str] = set()
        self._source = source
        self._files = files
        self._partial = partial
        self._config: dict[str, Any] = {"memory_limit": f"{memory // 2**20}MiB", "autoinstall_known_extensions": False}
        if threads is not None:
            self._config["threads"] = threads
        self._connection: Any = None
        self._written = ExitStack()
        self._pipes: list[int] = []
        self._damaged: list[str] = []
        self._checked: list[_Checked] = []
        self._closed = threading.Event()
        self._described: _Described | None = None
        self._repeated: list[_Repeated] = []

    @cached_property
    def _spill(self) -> Path:
        """The folder for what does not fit into memory."""
        return self._written.enter_context(temporary_folder("replay"))

    @property
    def connection(self) -> Any:
        """The database in memory."""
        if self._connection is None:
            import duckdb

            self._connection = duckdb.connect(config={**self._config, "temp_directory": str(self._spill)})
            self._connection.execute(_SETTINGS)
        return self._connection

    def cursor(self) -> Any:
        """Return one more connection to the database: each has one open answer."""
        cursor = self.connection.cursor()
        cursor.execute(_SETTINGS)
        return cursor

    def close(self) -> None:
        """Close the database and the pipes, and remove what was written to the disk."""
        self._closed.set()
        try:
            for pipe in self._pipes:
                os.close(pipe)
            if self._connection is not None:
                self._connection.close()
        finally:
            self._written.close()

    def batches(
        self, wanted: frozenset[str], accounts: Collection[str] | None = None, *, numbered: bool = False
    ) -> Iterator[Any]:
        """Yield the requests as `pyarrow.RecordBatch`; see `request_query` for the columns.

        Args:
            wanted: The roles to read.
            accounts: Leave out requests of other accounts, if a column says the account; None for all requests.
            numbered: Whether to add the number of each line or row, and what it says.
        """
        if self._source.account is not None:
            accounts = None
        columns = None if numbered else self._plain_columns(wanted)
        if columns is not None:
            self.rows = plain_rows(self._files, columns)
            if self.rows is not None:
                self.columns.update(*map(column_names, self._files))
                for batch in plain_batches(self._files, columns, _BATCH):
                    yield batch if accounts is None else _without_others(batch, accounts)
                return
        described = self._description()
        check = threading.Thread(target=self._check, name="cidrgate-check", daemon=True)
        check.start()
        if described.files:
            yield from self._queried(described, wanted, accounts, numbered=numbered)
        check.join()
        if self._damaged:
            raise self._unreadable(self._damaged[0], DAMAGED)

    @property
    def ignores_requests(self) -> bool:
        """Whether there is a column of the name that numbers of requests have elsewhere, which nobody asked to read."""
        return "requests" in self.columns and "requests" not in self._source.roles

    def _unreadable(self, file: str, reason: str) -> LogError:
        return LogError(f"{file} cannot be read as {self._source.form.title}: {reason}")

    def _queried(
        self, described: _Described, wanted: frozenset[str], accounts: Collection[str] | None, *, numbered: bool
    ) -> Iterator[Any]:
        """Yield the requests that the database reads."""
        source = self._source
        with _told(source, self._files):
            if source.form.reader == "text":
                for header, files in described.headed.items():
                    cutter = LineCutter(source, header, wanted)
                    query = line_query(files, source.form, numbered=numbered)
                    lines = self.connection.sql(query).to_arrow_reader(LINES)
                    for batch in cutter.batches(self.cursor(), lines, _BATCH):
                        yield batch if accounts is None else _without_others(batch, accounts)
                return
            for role, column in asked_roles(source, wanted).items():
                for one in self._repeated:
                    if one.name == column.lower() and one.only != column:
                        raise LogError(
                            f"{one.file} has more than one column {column}, so nothing says which is the {role}: give "
                            f"them other names, or name another column with --columns {role}=COLUMN"
                        )
            lines = _Table(f"({line_query(described.files, source.form, numbered=numbered)})", {})
            for table in described.tables or [lines]:
                query = request_query(source, table.rows, table.types, wanted=wanted, numbered=numbered)
                if accounts is not None:
                    listed = ", ".join(map(quoted, accounts)) or "NULL"
                    query = f"SELECT * FROM ({query}) WHERE account IN ({listed}) OR account IS NULL OR address IS NULL"
                yield from self.connection.sql(query).to_arrow_reader(_BATCH)

    def _plain_columns(self, wanted: frozenset[str]) -> dict[str, str] | None:
        """Return the columns to read, by role, if they need no SQL: whole columns of Parquet files of this machine."""
        source = self._source
        if source.form.reader != "parquet" or isinstance(source.account, FromPath):
            return None
        if any(_is_stream(file) or _URL.match(file) for file in self._files):
            return None
        left_out = {"path"} if source.account is None else {"path", "account"}
        return {role: column for role, column in source.roles.items() if role in wanted - left_out}

    def _description(self) -> _Described:
        """Return what the log is, which is found out once."""
        if self._described is None:
            with _told(self._source, self._files):
                self._described = self._describe()
            self.rows = self._described.rows
        return self._described

    def _describe(self) -> _Described:
        """Find out the columns of the log, or the fields in its header, and how many rows it has."""
        form, connection = self._source.form, self.connection
        # An empty file is a log without a line, but no file of Parquet.
        named = [file for file in self._files if form.reader == "parquet" or not _is_empty(file)]
        paths = [self._readable(file) for file in named]
        files = [_escaped(path) for path in paths]
        if form.reader == "csv":
            headers: list[tuple[str, CsvHeader]] = []
            for name, path, file in zip(named, paths, files, strict=True):
                header = self._header(name, path, file)
                if header is not None:
                    headers.append((file, header))
                    self._repeated += [_Repeated(name, one) for one in header.repeated]
                    self.header_lines = header.blank + 1
                if not _URL.match(path):
                    self._checked.append(_Checked(name, path, None if header is None else header.delimiter))
            if not headers:
                return _Described([], {}, 0)
            self._compare(headers, dict(zip(files, named, strict=True)))
            table = _Table(csv_rows(headers), dict.fromkeys(headers[0][1].columns, "VARCHAR"))
            return _Described([file for file, _ in headers], {}, self._estimated(), [table])
        if form.reader == "parquet":
            listed = ", ".join(quoted(file) for file in files)
            counted = f"SELECT sum(num_rows) FROM parquet_file_metadata([{listed}])"
            rows = int(connection.sql(counted).fetchall()[0][0] or 0)
            copies = {path: name for name, path in zip(named, paths, strict=True) if name != path}
            return _Described(files, {}, rows, self._parquet_tables(listed, copies))
        if form.name == "jsonl":
            self.columns.update(*(_members(path) for path in paths if not (_is_stream(path) or _URL.match(path))))
        if not form.header:
            return _Described(files, {(): files}, self._estimated())
        headed: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name, file in zip(named, files, strict=True):
            cursor = self.cursor()  # has a table of rejected lines of its own
            kept = f"line IS NOT NULL AND (line[1] <> '#' OR starts_with(line, {quoted(HEADER)}))"
            found = cursor.sql(f"SELECT line FROM {lines_of([file])} WHERE {kept} LIMIT 1").fetchall()
            if not found and not cursor.sql(f"SELECT line FROM {lines_of([file])} LIMIT 1").fetchall():
                continue
            if not found or not found[0][0].startswith(HEADER):
                raise LogError(
                    f"{name} has no line {HEADER} before its requests, so it is no log of the format {form.name}"
                )
            headed[header_fields(found[0][0])].append(file)
        return _Described(files, dict(headed), self._estimated() if headed else 0)

    def _compare(self, headers: Sequence[tuple[str, CsvHeader]], names: Mapping[str, str]) -> None:
        """Note the columns of CSV files, each of which must have those of the first one.

        Args:
            headers: The files as DuckDB opens them, with their headers.
            names: How they were named.

        Raises:
            LogError: If a file lacks a column.
        """
        first, wanted = headers[0]
        for file, header in headers:
            own = {one.lower() for one in header.columns}
            self.columns |= own
            lacking = [one for one in wanted.columns if one.lower() not in own]
            if lacking:
                raise LogError(
                    f"{names[file]} has no column {lacking[0]}, which {names[first]} has: its columns are "
                    f"{', '.join(header.columns)}"
                )

    def _parquet_tables(self, files: str, copies: Mapping[str, str]) -> list[_Table]:
        """Return tables with the rows of Parquet files.

        In each table the columns that the log is asked for are of one type, and either all in the files or all not. So
        no file changes how another is read.

        Args:
            files: The SQL of the files.
            copies: Which of them are copies of what, which are in no folder of the log.

        Raises:
            LogError: If folders of a file say different things for a column.
        """
        elements = f"SELECT file_name, {_ELEMENT} FROM parquet_schema([{files}])"
        schemas = _schemas(self.connection.sql(elements).fetchall())
        asked = list(dict.fromkeys(self._source.roles.values()))
        alike: dict[tuple[object, ...], list[str]] = defaultdict(list)
        for file, columns in schemas:
            self._repeated += _repeated_columns(copies.get(file, file), [name for name, _ in columns])
            own = {name.lower(): tuple(kind) for name, kind in reversed(columns)}
            self.columns.update(own)
            alike[tuple(_kind(own, None if file in copies else file, one) for one in asked)].append(_escaped(file))
        there = {one for kinds in alike for one, kind in zip(asked, kinds, strict=True) if kind is not None}
        tables = []
        for kinds, names in alike.items():
            in_folders = [one for one, kind in zip(asked, kinds, strict=True) if kind is _IN_FOLDER]
            lacking = [one for one, kind in zip(asked, kinds, strict=True) if kind is None]
            missing = [one for one in lacking if self._partial or one in there]
            types = self._types(parquet_rows(names[:1], in_folders, missing))
            tables.append(_Table(parquet_rows(names, in_folders, missing), types))
        return tables

    def _readable(self, file: str) -> str:
        """Return the name of a file that DuckDB can open.

        Raises:
            LogError: If it cannot be opened, or is damaged.
        """
        if _URL.match(file):
            _load_remote(self.connection, file)
            return file
        if not _is_stream(file):
            if self._source.form.reader not in ("parquet", "csv") and Path(file).suffix.lower() in _COMPRESSIONS:
                self._checked.append(_Checked(file, file))
            return file
        if self._source.form.reader in ("csv", "parquet") or self._source.form.header:
            # DuckDB reads such a file more than once, and would find nothing the second time.
            return self._spooled(file)
        if is_stdin(file) or file.endswith(".bz2"):
            return _piped(file, self._pipes, self._damaged)
        return file

    def _check(self) -> None:
        """Read files too, one after the other, to find what DuckDB does not tell.

        It takes a packed file that is damaged or cut off for a whole one, and leaves out the rows of CSV behind quotes
        that do not end.
        """
        import pyarrow

        for one in self._checked:
            quotes = None if one.delimiter is None else _OpenQuote(one.delimiter.encode())
            try:
                with _unpacked(one.path) as stream:
                    last = b""
                    while not self._closed.is_set() and (piece := stream.read(_SAMPLE)):
                        if quotes is not None:
                            quotes.add(piece)
                        last = piece
                if self._closed.is_set():
                    return
                if quotes is not None and quotes.open:
                    behind = quotes.lines + (not last.endswith(b"\n")) - quotes.opened
                    reason = "quotes begin on this line and do not end"
                    if behind:
                        lines = "line behind it is" if behind == 1 else "lines behind it are"
                        reason += f": the {behind:,} {lines} part of the value"
                    text = _text_at(one.path, quotes.opened_at)
                    bad = BadLine(file=one.name, line=quotes.opened, reason=reason, text=text)
                    self.unclosed.append(_Unclosed(one.path, quotes.row_at, bad, behind + 1))
            except (OSError, pyarrow.ArrowInvalid):
                self._damaged.append(one.name)

    def _spooled(self, file: str) -> str:
        """Write what can be read only once to the disk, and return the name of the copy."""
        number, name = tempfile.mkstemp(dir=self._spill)
        with os.fdopen(number, "wb") as copy:
            try:
                with _pieces(file) as pieces:
                    copy.writelines(pieces)
            except (EOFError, ValueError):
                raise self._unreadable(file, DAMAGED) from None
        return name

    def _header(self, name: str, path: str, file: str) -> CsvHeader | None:
        """Return the header of a CSV file, which is its first line that is not empty.

        Args:
            name: The file as it was named.
            path: Where it is.
            file: The same as DuckDB opens it.

        Raises:
            LogError: If it is no text.
        """
        cursor = self.cursor()  # has a table of rejected lines of its own
        rows = f"SELECT row_number() OVER () AS number, line FROM {lines_of([file])}"
        found = cursor.sql(f"SELECT number, line FROM ({rows}) WHERE line IS NOT NULL LIMIT 1").fetchall()
        first = cursor.sql("SELECT count(*) FROM reject_errors WHERE line = 1").fetchall()[0][0]
        line = found[0][1].removeprefix("\ufeff") if found else ""
        # DuckDB would go on to the first line that is UTF-8, and tell of the others at the end of the file only.
        first = first or not (_URL.match(path) or _begins_with_text(path))
        if first or not line.replace("\t", " ").isprintable():
            raise self._unreadable(
                name, "its header has control characters, is too long, or has text that is not UTF-8"
            )
        return CsvHeader.of(line, found[0][0] - 1) if found else None

    def _types(self, table: str) -> dict[str, str]:
        """Return the columns of a table with their types."""
        described = self.connection.sql(f"DESCRIBE SELECT * FROM {table}").fetchall()
        return {name: kind for name, kind, *_ in described}

    def _estimated(self) -> int | None:
        return _estimated_rows([Path(file) for file in self._files])

    def rejected(self) -> int:
        """Return how many lines DuckDB could not read, such as those that are not UTF-8, or behind an open quote."""
        rejected: int = sum(count for (count,) in self.rejects("count(DISTINCT (scan_id, file_id, line))"))
        return rejected + sum(one.lines for one in self.unclosed)

    def rejects(self, columns: str, rest: str = "") -> list[tuple[Any, ...]]:
        """Return columns of DuckDB's table of lines that it could not read; none if there is no such table."""
        if self._source.form.reader == "parquet":
            return []
        made = "SELECT 1 FROM duckdb_tables() WHERE table_name = 'reject_errors'"
        if not self.connection.sql(made).fetchall():
            return []
        table = "reject_errors JOIN reject_scans USING (scan_id, file_id)"
        # A line behind an open quote is counted already.
        others = [
            f"NOT (file_path = {quoted(one.path)} AND line_byte_position >= {one.place})" for one in self.unclosed
        ]
        query = f"SELECT {columns} FROM {table} WHERE {' AND '.join(others) or 'true'} {rest}"
        found: list[tuple[Any, ...]] = self.connection.sql(query).fetchall()
        return found


class _Repeated(NamedTuple):
    """A name that more than one column of a file has.

    Attributes:
        file: The file.
        name: The name, in lower case.
        only: Which spelling of it means one of them nevertheless, if there is one.
    """

    file: str
    name: str
    only: str | None = None


def _repeated_columns(file: str, names: Sequence[str]) -> list[_Repeated]:
    """Return which names more than one column of a Parquet file has.

    Names that differ by case stand for one column in DuckDB, which is the first.
    """
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in names:
        spellings[name.lower()].append(name)
    return [
        _Repeated(file, lower, found[0] if found.count(found[0]) == 1 else None)
        for lower, found in spellings.items()
        if len(found) > 1
    ]


_ELEMENT = "name, num_children, type, converted_type, logical_type, repetition_type"
"""What DuckDB says about an element of a schema."""

_IN_FOLDER = "in a folder"
"""Stands for the type of a column whose values are in the names of folders."""


def _schemas(elements: Sequence[tuple[Any, ...]]) -> list[tuple[str, list[tuple[str, list[object]]]]]:
    """Return the columns of Parquet files in their order, each with what its type is made of.

    Args:
        elements: The elements of their schemas: the file, the name, how many elements are in it, and its types.
    """
    found: list[tuple[str, list[tuple[str, list[object]]]]] = []
    inside: list[int] = []  # how many elements are left of each that holds the current one
    for file, name, children, *kind in elements:
        if not inside:
            found.append((file, []))
        else:
            if len(inside) == 1:
                found[-1][1].append((name, []))
            found[-1][1][-1][1].append((children, *kind))
            inside[-1] -= 1
        if children:
            inside.append(children)
        while inside and not inside[-1]:
            inside.pop()
    return found


def _kind(own: Mapping[str, object], file: str | None, column: str) -> object:
    """Return what the type of a column is made of, `_IN_FOLDER` if a folder says its value, and None if nothing does.

    Args:
        own: The columns of the file, in lower case.
        file: The file; None if it is in no folder of the log.
        column: The column.

    Raises:
        LogError: If several folders say its value.
    """
    if column.lower() in own or file is None:
        return own.get(column.lower())
    values = folder_values(file, column)
    if len(values) > 1:
        raise LogError(f"{file} is in several folders {column}=…, so nothing says which of them counts")
    return _IN_FOLDER if values else None


@dataclass(frozen=True, slots=True)
class _Table:
    """A table with named columns.

    Attributes:
        rows: Its SQL.
        types: The types of its columns.
    """

    rows: str
    types: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Described:
    """What DuckDB says about a log.

    Attributes:
        files: The files as DuckDB opens them.
        headed: The files of each header, which names the fields; one without fields if the format has no header.
        rows: As in `Log`.
        tables: The tables with its rows, if it is no text.
    """

    files: list[str]
    headed: dict[tuple[str, ...], list[str]]
    rows: int | None
    tables: Sequence[_Table] = ()


@dataclass(frozen=True, slots=True)
class _Checked:
    """A file that is read once more to be checked.

    Attributes:
        name: The file as it was named.
        path: Where it is.
        delimiter: What separates its values, if it is CSV.
    """

    name: str
    path: str
    delimiter: str | None = None


class _Unclosed(NamedTuple):
    """Quotes in a CSV file that do not end.

    Attributes:
        path: The file.
        place: Where the row with them begins in it.
        bad: The line on which they begin.
        lines: How many lines there are from that one on.
    """

    path: str
    place: int
    bad: BadLine
    lines: int


@contextmanager
def _unpacked(path: str) -> Iterator[Any]:
    """Open a file for its unpacked bytes."""
    import pyarrow

    codec = _COMPRESSIONS.get(Path(path).suffix.lower())
    with pyarrow.OSFile(path) as raw:
        if codec is None:
            yield raw
        else:
            with pyarrow.CompressedInputStream(raw, codec) as stream:
                yield stream


def _begins_with_text(path: str) -> bool:
    """Return whether the first line of a file that is not empty is UTF-8."""
    with _unpacked(path) as stream:
        lines = stream.read(_SAMPLE).lstrip(b"\r\n").splitlines()
    with suppress(UnicodeDecodeError):
        b"".join(lines[:1]).decode()
        return True
    return False


def _text_at(path: str, place: int) -> str:
    """Return what stands at a place of a file, up to the end of the line, or the beginning of it."""
    with _unpacked(path) as stream:
        while place and (piece := stream.read(min(place, _SAMPLE))):
            place -= len(piece)
        found: bytes = stream.read(4 * _LONGEST_SHOWN)
    return found.partition(b"\n")[0].decode(errors="replace")[:_LONGEST_SHOWN]


def _members(path: str) -> set[str]:
    """Return the names of the members in the first line of a file of JSON Lines, in lower case."""
    with _unpacked(path) as stream, suppress(ValueError, RecursionError):
        found = json.loads(stream.read(_SAMPLE).partition(b"\n")[0])
        return {name.lower() for name in found} if isinstance(found, dict) else set()
    return set()


def is_one_of(accounts: Any, names: Collection[str]) -> Any:
    """Return which accounts are among some names, as an Arrow array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_in(accounts.cast(pa.string()), value_set=pa.array(list(names), pa.string()))


def _without_others(batch: Any, accounts: Collection[str]) -> Any:
    """Return the requests that may be of one of these accounts, and bad lines."""
    import pyarrow.compute as pc

    account, address = batch.column("account"), batch.column("address")
    return batch.filter(pc.or_(is_one_of(account, accounts), pc.or_(account.is_null(), address.is_null())))


def bad_lines(
    source: LogSource, wanted: frozenset[str], unreadable: Sequence[str], has_account: Callable[[Any], Any]
) -> list[BadLine]:
    """Read a log again until the first bad lines are found.

    Args:
        source: The log. Files that can be read only once are left out.
        wanted: The roles that were read.
        unreadable: Texts in the place of an address that are no addresses.
        has_account: Returns which rows of a batch have an account, as an Arrow array. A row without one counts as such,
            whatever stands in the place of its address.
    """
    found: list[BadLine] = []
    for file in _expanded(source.files):
        if len(found) >= _SHOWN or _is_stream(file):
            continue
        with opened_log(replace(source, files=(file,)), partial=True) as log:
            rows = _unread(log.batches(wanted, numbered=True), unreadable, has_account)
            rejected = log.rejects("line, min(error_message), min(csv_line)", "GROUP BY line ORDER BY line")
            before = [line for line, _, _ in rejected]
            here = [
                BadLine(
                    file=file,
                    line=_place(number + log.header_lines, before),
                    reason=_reason(address),
                    text=(text or "")[:_LONGEST_SHOWN],
                )
                for number, text, address in rows
            ]
            here += [
                BadLine(file=file, line=line, reason=reason.partition("\n")[0], text=(text or "")[:_LONGEST_SHOWN])
                for line, reason, text in rejected[:_SHOWN]
            ]
            here += [one.bad for one in log.unclosed]
        found += sorted(here, key=lambda one: one.line)
    return found[:_SHOWN]


def _unread(
    batches: Iterator[Any], unreadable: Sequence[str], has_account: Callable[[Any], Any]
) -> list[tuple[int, str | None, str | None]]:
    """Return the numbers, texts and addresses of the first rows whose address is missing or unreadable."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: list[tuple[int, str | None, str | None]] = []
    for batch in batches:
        addresses = batch.column("address").cast(pa.string())
        unread = pc.is_in(addresses, pa.array(unreadable, pa.string()))
        bad = pc.or_(pc.is_null(addresses), pc.and_(unread, has_account(batch)))
        rows = pa.table([batch.column("number"), batch.column("text"), addresses], ["number", "text", "address"])
        found += [(one["number"], one["text"], one["address"]) for one in rows.filter(bad).slice(0, _SHOWN).to_pylist()]
        if len(found) >= _SHOWN:
            break
    return found[:_SHOWN]


def _place(number: int, rejected: Sequence[int]) -> int:
    """Return the number of a line, of which its number among the lines that were not rejected is known."""
    for line in rejected:
        if line > number:
            break
        number += 1
    return number


def _reason(address: str | None) -> str:
    return "it is not as the format says" if address is None else f"{address!r} is not an address"


@contextmanager
def opened_log(
    source: LogSource, *, memory: int = MEMORY, threads: int | None = None, partial: bool = False
) -> Iterator[Log]:
    """Open a log for one reading.

    Args:
        source: The log.
        memory: How many bytes DuckDB may use before it writes to the disk.
        threads: How many threads read; as many as there are processors if None.
        partial: Whether they are some files of a log, of which others may have the columns that these do not have.

    Raises:
        LogError: If a file does not exist, or cannot be read.
        MissingExtraError: If DuckDB or pyarrow is not installed.
    """
    with needs_extra("replay", "a replay"):
        import duckdb  # noqa: F401 - what needs SQL
        import pyarrow  # noqa: F401 - what the batches are made of

    log = Log(source, _expanded(source.files), memory, threads, partial=partial)
    try:
        yield log
    finally:
        log.close()


def _expanded(files: Sequence[str]) -> list[str]:
    """Return the files that patterns stand for; URLs are left to DuckDB.

    Raises:
        LogError: If there is no such file, or if stdin is named twice.
    """
    found: list[str] = []
    for file in files:
        if Path(file).is_dir():
            raise LogError(f"{file} is a folder: name the files in it, such as '{file.rstrip('/')}/*'")
        if _URL.match(file) or is_stdin(file) or Path(file).exists():
            found.append(file)
            continue
        matching = sorted(one for one in glob(file, recursive=True) if Path(one).is_file())  # noqa: PTH207
        if not matching:
            raise LogError(f"{file}: there is no such file")
        found += matching
    if sum(map(is_stdin, found)) > 1:
        raise LogError("stdin can be read once: name it once")
    for file in found:
        _refuse_database(file)
    return found


def _refuse_database(file: str) -> None:
    """Refuse a database, before any library opens and closes the file: it may be an open store of this process."""
    if is_stdin(file) or _URL.match(file):
        return
    try:
        refuse_database(file)
    except DatabaseFileError as error:
        raise LogError(f"{file} cannot be read: {error.strerror}") from None


def _is_empty(file: str) -> bool:
    return not _URL.match(file) and Path(file).is_file() and Path(file).stat().st_size == 0


def _escaped(file: str) -> str:
    """Return the name of a file that exists as a pattern of DuckDB, which would take signs in it for its own."""
    return _WILDCARD.sub(r"[\g<0>]", file) if Path(file).exists() else file


def _is_stream(file: str) -> bool:
    return is_stdin(file) or file.endswith(".bz2") or not (_URL.match(file) or Path(file).is_file())


@contextmanager
def _pieces(file: str) -> Iterator[Iterator[bytes]]:
    """Open stdin, or what a bzip2 file or a pipe holds, in pieces."""
    if is_stdin(file):
        yield _pieces_of_stdin()
        return
    with bz2.open(file) if file.endswith(".bz2") else open(file, "rb") as stream:  # noqa: PTH123 - as it was named
        yield iter(partial(stream.read, _PIECE), b"")


def _pieces_of_stdin() -> Iterator[bytes]:
    """Yield what is left to read from stdin."""
    descriptor = 0
    while True:
        try:
            piece = os.read(descriptor, _PIECE)
        except BlockingIOError:  # what started this process reads from it too, and does not wait
            select.select([descriptor], [], [])
            continue
        if not piece:
            return
        yield piece


def _piped(file: str, pipes: list[int], damaged: list[str]) -> str:
    """Return the name of a pipe through which a thread writes what DuckDB cannot open: stdin, and bzip2 files.

    Args:
        file: The file.
        pipes: Gets the pipe, which the caller closes.
        damaged: Gets the file before the pipe ends, if it cannot be read to its end.
    """
    stream = ExitStack()
    try:
        pieces = stream.enter_context(_pieces(file))
    except OSError as error:
        raise LogError(f"{file} cannot be read: {error.strerror}") from None
    reading, writing = os.pipe()
    pipes.append(reading)

    def write() -> None:
        with stream, suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            try:
                pipe.writelines(pieces)
            except BrokenPipeError:  # nobody reads any more
                raise
            except (OSError, EOFError, ValueError):
                damaged.append(file)

    threading.Thread(target=write, name="cidrgate-stream", daemon=True).start()
    return f"/dev/fd/{reading}"


def _load_remote(connection: Any, url: str) -> None:
    """Load what DuckDB reads object stores with, and let it find the credentials as the vendor's own tools do.

    Raises:
        LogError: If it is not installed.
    """
    needed = ["azure"] if url.startswith(("az:", "azure:", "abfss:")) else ["httpfs"]
    kind = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "r2": "r2"}.get(url.partition(":")[0].lower())
    if kind == "s3":
        needed.append("aws")
    for extension in needed:
        try:
            connection.execute(f"LOAD {extension}")
        except Exception as error:
            raise LogError(
                f"{url} needs the extension {extension} of DuckDB, which is not installed: run "
                f"`python -c \"import duckdb; duckdb.sql('INSTALL {extension}')\"` once, or copy the files here"
            ) from error
    if kind == "s3":
        connection.execute("CREATE SECRET (TYPE s3, PROVIDER credential_chain)")


def _estimated_rows(files: Sequence[Path]) -> int | None:
    """Estimate the lines of files from the first megabyte of the first of them, for a progress bar."""
    import pyarrow

    try:
        size = sum(file.stat().st_size for file in files)
        if not all(file.is_file() for file in files):
            return None
        raw = pyarrow.OSFile(str(files[0]))
        compression = _COMPRESSIONS.get(files[0].suffix)
        with raw, raw if compression is None else pyarrow.CompressedInputStream(raw, compression) as stream:
            lines = stream.read(_SAMPLE).count(b"\n")
            read = raw.tell()
    except (OSError, pyarrow.ArrowInvalid):
        return None
    return size * lines // read if read else 0


@contextmanager
def _told(source: LogSource, files: Sequence[str]) -> Iterator[None]:
    """Turn what DuckDB raises into an error that says which log cannot be read, and what to do.

    What it raises while an answer is read comes through Arrow, with another type and the same text.
    """
    import duckdb
    import pyarrow

    try:
        yield
    except (duckdb.Error, pyarrow.ArrowException, OSError) as error:
        named = [file for file in files if not is_stdin(file) and file in str(error)] or source.files
        listed = ", ".join(named[:_MOST_NAMED]) + (", …" if len(named) > _MOST_NAMED else "")
        reason = _reason_of(error)
        if source.form.reader == "json" and isinstance(error, duckdb.BinderException):
            reason = "a path that --columns names is not valid: name a member as request.headers.X-Account"
        if reason == DAMAGED and source.form.reader == "csv" and any(_ends_differ(file) for file in named):
            reason = _ENDS_DIFFER
        raise LogError(f"{listed} cannot be read as {source.form.title}: {reason}") from error


def _ends_differ(file: str) -> bool:
    """Return whether a file that can be read again has lines that end in different ways."""
    import pyarrow

    ends, after_return = {b"\r\n": 0, b"\r": 0, b"\n": 0}, False
    with suppress(OSError, pyarrow.ArrowInvalid):
        if not Path(file).is_file():
            return False
        with _unpacked(file) as stream:
            while piece := stream.read(_SAMPLE):
                for end in ends:
                    ends[end] += piece.count(end)
                ends[b"\r\n"] += after_return and piece.startswith(b"\n")
                after_return = piece.endswith(b"\r")
    both = ends[b"\r\n"]
    return sum(count > 0 for count in (both, ends[b"\r"] - both, ends[b"\n"] - both)) > 1


def _reason_of(error: Exception) -> str:
    """Return in words of this library why DuckDB cannot read a log."""
    import duckdb

    text = str(error).lower()
    memory = isinstance(error, duckdb.OutOfMemoryException) or text.startswith("out of memory")
    if memory and "no space" not in text:
        return "it takes more memory than the replay may use: give it more (--memory), or let fewer threads read"
    if "no space left" in text or "max_temp_directory_size" in text:
        return f"there is no space left for temporary files in {tempfile.gettempdir()}"
    if isinstance(error, duckdb.HTTPException):
        found = _HTTP_STATUS.search(str(error))
        return f"the server answers {found.group()}" if found else "the server does not answer"
    if "permission denied" in text:
        return "you may not read it"
    if "utf-8" in text or "invalid unicode" in text or "string encoding" in text:
        return "it has text that is not UTF-8"
    if isinstance(error, duckdb.ConversionException) or text.startswith("conversion error"):
        return "a value does not fit into the type of its column"
    if isinstance(error, (duckdb.BinderException, duckdb.CatalogException)):
        return "its files do not have the same columns"
    return DAMAGED
