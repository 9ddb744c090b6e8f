r"""Tables: CSV as spreadsheets and databases write it, with columns by name and any usual separator.

A row that cannot be read does not end the reading: it is returned with its problem, and with its account if that is
known. Lines that begin with `#` or `//` are comments; so are those with `;`, if that does not separate cells.
"""

from __future__ import annotations

import csv
import re
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from cidrgate.lists.csv_records import CsvLines, is_half_quoted, loosely_quoted, unclosed_quote
from cidrgate.lists.restrictions import only_describes, problem_of_comment, restricts_by_value, way_out
from cidrgate.lists.rows import (
    COLUMNS,
    FIELDS,
    HEADER,
    NOT_UTF8,
    TEXTS,
    ListFileError,
    Row,
    entry_of,
    from_text,
    known_account,
    plain_entry,
    quoted,
    split_comment,
    undecoded,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["read_table"]

_SEPARATORS = ",;\t|"
_SEPARATOR_LINE = re.compile(r"\ufeff?sep=(.)[\r\n]*", re.IGNORECASE)
_SPACED = re.compile(r'[ \t\u00a0]"|"[ \t\u00a0]')
_SPACED_BETWEEN_TABS = re.compile(r'[ \u00a0]"|"[ \u00a0]')
"""A quote with a space beside it."""

_MORE = re.compile(r"[ ;#]|//")
"""What may be a comment behind a network."""

_COMMENT_SIGNS = ("#", "//", ";")

_NETWORK_NAMES = re.compile(r"(ip|ipv4|ipv6|cidr|network|subnet|address|range|prefix)s?$|ip[ _-]?(address|range)")
_ACCOUNT_NAMES = re.compile(r"account|customer|tenant|client|organi[sz]ation|org\b|company|user")


class _Columns(NamedTuple):
    """Where the fields of a row are.

    Attributes:
        places: The position of each field.
        width: The number of columns.
        others: The positions of the columns that do not count, unless the caller said so.
    """

    places: dict[str, int]
    width: int
    others: tuple[int, ...]


def read_table(
    lines: Iterable[str],
    *,
    columns: Mapping[str, str] | None = None,
    account: str | None = None,
    comments_as_labels: bool = False,
    notes: list[str] | None = None,
) -> Iterator[Row]:
    r"""Yield the rows of a table; blank rows and comments are left out.

    Args:
        lines: The lines with their ends. A byte that could not be decoded is a lone surrogate.
        columns: The name of the column of each field that has another name; `ignore` has names, separated by `|`, of
            columns that must not count.
        account: The account of every row, if no column has it.
        comments_as_labels: Whether a comment behind a network is the label of an entry without one.
        notes: Gets what was left out.

    Raises:
        ListFileError: If the whole file cannot be read: it has no header, or a quote is never closed.

    Example:
        >>> rows = read_table(["customer;ip\n", "a;8.8.8.0/24\n"], columns={"account": "customer", "cidr": "ip"})
        >>> [(row.line, row.account, row.entry.cidr) for row in rows]
        [(2, 'a', '8.8.8.0/24')]
    """
    notes = [] if notes is None else notes
    source = iter(lines)
    separator, header, skipped = _header(source, columns or {}, account)
    found = _columns(header, columns or {}, account, notes)
    records = CsvLines(source, tuple(sign for sign in _COMMENT_SIGNS if sign != separator), skipped)
    reader = _RowReader(header, found, account, labels=comments_as_labels)
    yield from reader.rows(records, separator)
    notes += reader.notes()
    if records.comments:
        notes.append(f"ignored {records.comments:,} comment {'line' if records.comments == 1 else 'lines'}")


def _header(lines: Iterator[str], columns: Mapping[str, str], account: str | None) -> tuple[str, list[str], int]:
    """Return the separator, the names of the columns, and how many lines were read."""
    chosen = ""
    number = 0
    wanted = {columns.get(field, field).lower() for field in ("account", "cidr")}
    if account is not None:
        wanted.discard("account")
    for line in lines:
        number += 1
        text = line.lstrip("\ufeff")
        if said := _SEPARATOR_LINE.fullmatch(text):
            chosen = said[1]
            continue
        if not text.strip(' \t\r\n,;|"'):
            continue
        if text.lstrip().startswith(("#", "//")):
            bare = text.lstrip(" \t#/")
            if not any(wanted <= {name.lower() for name in _cells(bare, one)} for one in chosen or _SEPARATORS):
                continue
            text = bare
        if undecoded(text):
            raise ListFileError("the first line contains bytes that are not UTF-8 text: is this the right file?")
        names = [(one, _cells(text, one)) for one in (chosen or _SEPARATORS)]
        known = {columns.get(field, field).lower() for field in COLUMNS}
        separator, best = max(names, key=lambda pair: (len(known & {name.lower() for name in pair[1]}), len(pair[1])))
        return separator, best, number
    raise ListFileError(f"the file is empty: its first line must name the columns, {HEADER}")


def _cells(line: str, separator: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        cells = line.split(separator)
    return [cell.strip() for cell in cells]


def _columns(header: Sequence[str], columns: Mapping[str, str], account: str | None, notes: list[str]) -> _Columns:
    """Return the position of each field."""
    names = [name.lower() for name in header]
    first_line = quoted(",".join(header))
    named = {field: columns.get(field, field).lower() for field in COLUMNS}
    if account is not None and "account" not in columns:
        if "account" in names:
            raise ListFileError(f"the file has the column 'account', so leave out --account {account}")
        del named["account"]
    for field, name in named.items():
        if (field in {"account", "cidr"} or field in columns) and name not in names:
            raise ListFileError(_missing(field, name, header, columns, first_line))
        if names.count(name) > 1:
            raise ListFileError(f"the first line is {first_line}: the column {name!r} is repeated")
    places = {field: names.index(name) for field, name in named.items() if name in names}
    ignored = {name.lower() for name in columns.get("ignore", "").split("|")}
    extra = [name for name in header if name and name.lower() not in named.values()]
    unclear = [name for name in extra if not only_describes(name) and name.lower() not in ignored]
    if unclear:
        noun = "column" if len(unclear) == 1 else "columns"
        named_so = ", ".join(map(quoted, unclear))
        raise ListFileError(f"the {noun} {named_so} may restrict entries, {way_out(*unclear)}")
    if extra:
        notes.append(f"ignored the columns {', '.join(map(quoted, extra))}")
    others = [place for place, name in enumerate(names) if place not in places.values() and name not in ignored - {""}]
    return _Columns(places, max(len(header), 1), tuple(others))


def _missing(field: str, name: str, header: Sequence[str], columns: Mapping[str, str], first_line: str) -> str:
    if field in columns:
        return f"the first line is {first_line}, but no column is named {name!r}, as --columns {field}={name} says"
    message = f"the first line must name the columns, {HEADER}, but it is {first_line}"
    guesses = []
    for one, pattern in (("account", _ACCOUNT_NAMES), ("cidr", _NETWORK_NAMES)):
        found = [name for name in header if pattern.search(name.lower())]
        if one not in columns and one not in map(str.lower, header) and len(found) == 1:
            guesses.append(f"{one}={found[0]}")
    if guesses and len({guess.partition("=")[2] for guess in guesses}) == len(guesses) and len(header) > 1:
        message += f": add --columns {quote(','.join(guesses))}"
        if field == "account" and "account" not in ",".join(guesses):
            message += ", and --account NAME for the account of all rows"
    elif field == "account" and any(name.lower() == "cidr" for name in header):
        message += ": name the column of the account with --columns account=NAME, or say --account NAME for all rows"
    return message


class _RowReader:
    """Makes rows of records.

    Args:
        header: The names of the columns.
        columns: Where the fields are.
        account: The account of every row; None if a column has it.
        labels: Whether comments behind networks become labels.
    """

    def __init__(self, header: Sequence[str], columns: _Columns, account: str | None, *, labels: bool) -> None:
        self._header = list(header)
        self._places = columns.places
        self._width = columns.width
        self._others = columns.others
        self._account = account
        self._labels = labels
        self._repeated = 0
        self._owners: dict[str, str] = {}
        """The account of each cell that was read: most rows have that of the row before."""

        self._plain = columns.places.keys() <= {"account", "cidr", "label"} and account is None
        """Whether rows have nothing but texts, which is usual and read much faster."""

    def notes(self) -> Iterator[str]:
        """Yield what was left out."""
        if self._repeated:
            times = "once" if self._repeated == 1 else f"{self._repeated:,} times"
            yield f"ignored the header {times} more: the file was probably made of several"

    def rows(self, records: CsvLines, separator: str) -> Iterator[Row]:
        """Yield the rows of a table."""
        reader = csv.reader(records, delimiter=separator, strict=True)
        record = records.record
        clear = record.clear
        width, places = self._width, self._places
        of_account, of_cidr = places.get("account", -1), places["cidr"]
        of_label = places.get("label", -1)
        owners, plain, others = self._owners, self._plain, self._others
        spaced = _SPACED_BETWEEN_TABS if separator == "\t" else _SPACED
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                if len(record) > 1:
                    # The lines between may belong to any account: their content is unknown.
                    raise ListFileError(f"{unclosed_quote(records, error)}; nothing was imported") from None
                cells = loosely_quoted(record[0], separator) if '"' in record[0] else None
                if cells is None:
                    owner = self._owner_before_separator(record[0], separator)
                    yield Row(records.first, owner, problem=f"it is not valid CSV: {error}")
                    record.clear()
                    continue
            if cells is None:
                return
            line, raw = records.first, record[0] if len(record) == 1 else "".join(record)
            clear()
            restricting = self._restricting(cells) if others else None
            if (
                plain
                and len(cells) == width
                and restricting is None
                and "'" not in raw
                and '"' not in raw
                and raw.isascii()
            ):
                owner = owners.get(cells[of_account])
                cidr = cells[of_cidr].strip()
                if owner is not None and cidr and not _MORE.search(cidr):
                    yield Row(line, owner, plain_entry(cidr, ... if of_label < 0 else cells[of_label]))
                    continue
            if '"' in raw and spaced.search(raw):
                loosely = loosely_quoted(raw, separator)
                if loosely is None and is_half_quoted(cells):
                    raise ListFileError(
                        f"line {line} has a quote with spaces before it that is not closed there, so the lines behind "
                        "it may belong to its value; nothing was imported"
                    )
                cells = loosely or cells
            if not any(map(str.strip, cells)):
                continue
            if len(cells) > 1 and [cell.strip() for cell in cells] == self._header:
                self._repeated += 1
                continue
            if restricting is not None:
                raise self._refusal(line, cells, restricting)
            row = self._row(line, cells)
            if row.account is not None and plain:
                owners[cells[of_account]] = row.account
            yield row

    def _restricting(self, cells: Sequence[str]) -> int | None:
        """Return the position of a cell that would not count, and reads as if its row allows nothing."""
        return next((one for one in self._others if one < len(cells) and restricts_by_value(cells[one])), None)

    def _refusal(self, line: int, cells: Sequence[str], place: int) -> ListFileError:
        name = self._header[place] if place < len(self._header) else ""
        way = way_out(name) if name else "and it has no name: name it in the first line, or remove it"
        return ListFileError(
            f"the column {quoted(name) if name else place + 1} may restrict entries, as it contains "
            f"{quoted(from_text(cells[place].strip()))} in line {line}, {way}"
        )

    def _row(self, line: int, cells: Sequence[str]) -> Row:
        # Only text that a person wrote may have whitespace around it.
        values = {name: cells[place] for name, place in self._places.items() if place < len(cells)}
        owner = self._account
        if owner is None:
            owner = from_text(values.get("account", "").strip())
        said: dict[str, str | None] = {
            name: from_text(values[name]) if name in TEXTS else values[name].strip()
            for name in FIELDS
            if name in values
        }
        said["cidr"], comment = split_comment(said.get("cidr") or "")
        if comment and self._labels and not said.get("label"):
            said["label"], comment = comment, ""
        entry, problem = entry_of(said)
        problem = problem or problem_of_comment(comment)
        cidr = entry.cidr
        if not all(map(str.isascii, cells)) and undecoded("".join(cells)):
            problem = NOT_UTF8
        elif len(cells) > self._width and any(map(str.strip, cells[self._width :])):
            problem = f"it has {len(cells)} cells for {self._width} columns: put quotes around a label with commas"
        elif not owner or not cidr:
            problem = f"the {'cidr' if owner else 'account'} is missing"
        return Row(line, known_account(owner), entry, problem)

    def _owner_before_separator(self, line: str, separator: str) -> str | None:
        """Return the account of a row that is not valid CSV, if it is where it should be."""
        if self._account is not None:
            return self._account
        cells = line.split(separator)
        place = self._places["account"]
        return known_account(from_text(cells[place].strip().strip('"'))) if place < len(cells) else None
