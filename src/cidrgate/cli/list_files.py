r"""The files for import and export: CSV and JSON Lines with an account and the fields of a `NewEntry` in each row.

Pure functions from lines to rows and from entries to lines. A row that cannot be read does not end the reading: it is
returned with its problem, and with its account if that is known.

A spreadsheet interprets some cells as formulas and runs them, and anyone who may set a label may write such a cell. In
CSV, text that could be a formula gets a leading apostrophe, so that the spreadsheet treats it as text; reading removes
the apostrophe.

Lines are text in which a byte that is not UTF-8 is a lone surrogate (`errors="surrogateescape"`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from cidrgate.cli.errors import CommandError
from cidrgate.serialization import utc_text
from cidrgate.values import DETAILS, NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from cidrgate.values import Entry

__all__ = ["ListFormat", "Row", "format_of", "read_rows", "written"]

_FIELDS = ("cidr", *(detail.name for detail in DETAILS))
_COLUMNS = ("account", *_FIELDS)
_NEEDED = ("account", "cidr")


class _Form(NamedTuple):
    """The form of a kind of values in files.

    Attributes:
        cell: Returns the text of a value in CSV.
        read: Parses this text, and raises a `ValueError` if it is invalid.
        wanted: What a valid text is, for messages.
        in_json: The type of a value in JSON Lines; text is read as in CSV.
    """

    cell: Callable[[Any], str | None]
    read: Callable[[str], Any]
    wanted: str
    in_json: type = str


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_FORMS = {
    str: _Form(lambda text: _as_text(text), str, "text"),
    datetime: _Form(utc_text, datetime.fromisoformat, "a time such as 2027-01-31T18:00:00+00:00"),
    bool: _Form(lambda value: str(value).lower(), _flag, "true or false", bool),
    int: _Form(str, int, "a whole number", int),
}
"""The form of each kind of details."""

_FORM_OF = {detail.name: _FORMS[detail.kind] for detail in DETAILS}
_NULLABLE = frozenset(detail.name for detail in DETAILS if detail.nullable)
_TEXTS = frozenset({"account"} | {detail.name for detail in DETAILS if detail.kind is str})
"""The columns with text that a person wrote: the only ones where whitespace counts and a formula can hide."""

_HEADER = ",".join(_COLUMNS)
_SURROGATE = re.compile("[\ud800-\udfff]")
_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")
_NOT_UTF8 = "it contains bytes that are not UTF-8 text: save the file as UTF-8"
_ACCOUNT_IN_JSON = re.compile(r'"account"\s*+:\s*+("(?:[^"\\]|\\.)*+")')
_OTHER_SEPARATOR = re.compile("[;\t|]")
_LONGEST_QUOTE = 40

_FORMULA = "=+\\-@|%\uff1d\uff0b\uff0d\uff20"
_BEFORE_FORMULA = "'\"\u00ad\u200b-\u200f\u2060\ufeff"
_RUN_FROM_ITS_BEGINNING = re.compile(rf"[{_BEFORE_FORMULA}\s]*(?:[{_FORMULA}\t\r\n]|\Z)")
"""The beginning of a cell that a spreadsheet may run: a sign of a formula, also after characters that it ignores, or a
call of another program (`|`, `%`). Also a cell of apostrophes only, so that an empty label differs from no label."""

_RUN_FROM_WITHIN = rf"(?=(?:[{_BEFORE_FORMULA}]|[^\S\t\r\n])*[{_FORMULA}])"
_TO_QUOTE_WITHIN = re.compile(rf"(?<=[;|\t\r\n]){_RUN_FROM_WITHIN}")
_QUOTED_WITHIN = re.compile(rf"(?<=[;|\t\r\n])'{_RUN_FROM_WITHIN}")
"""The position where a spreadsheet with a separator other than the comma would begin a cell."""


class ListFormat(StrEnum):
    """A format of files with lists."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        line: The number of its first line, from 1.
        account: The account that it names; None if unknown.
        entry: The entry; its network is as written, and empty if unknown.
        problem: Why the row cannot be read; empty if it can.
    """

    line: int
    account: str | None
    entry: NewEntry = field(default_factory=partial(NewEntry, ""))
    problem: str = ""


def format_of(name: str) -> ListFormat:
    """Return the format of a file by the ending of its name.

    Raises:
        CommandError: If the ending is unknown.

    Example:
        >>> format_of("lists.csv").value, format_of("lists.ndjson").value
        ('csv', 'jsonl')
    """
    suffix = name.rpartition(".")[2].lower()
    if suffix == "csv":
        return ListFormat.CSV
    if suffix in {"jsonl", "ndjson", "json"}:
        return ListFormat.JSONL
    raise CommandError(f"the name {name!r} has no known ending: add --format csv or --format jsonl")


def read_rows(lines: Iterable[str], form: ListFormat) -> Iterator[Row]:
    r"""Yield the rows of a file; blank rows are left out.

    Args:
        lines: The lines with their ends, as from a text file opened with `newline=""`.
        form: The format of the file.

    Raises:
        CommandError: If the whole file cannot be read: it has no header, or a quote is never closed.

    Example:
        >>> rows = read_rows(["account,cidr\n", "a,8.8.8.0/24\n"], ListFormat.CSV)
        >>> [(row.line, row.account, row.entry.cidr) for row in rows]
        [(2, 'a', '8.8.8.0/24')]
        >>> [row.problem for row in read_rows(['{"account": "acct-1"}\n'], ListFormat.JSONL)]
        ['the cidr is missing']
    """
    return _csv_rows(lines) if form is ListFormat.CSV else _json_rows(lines)


def written(lists: Iterable[Sequence[Entry]], form: ListFormat) -> Iterator[str]:
    r"""Yield the text of a file in pieces; `read_rows` reads it back to the same lists.

    Args:
        lists: The entries, one account after another.
        form: The format to write.

    Example:
        >>> from datetime import UTC, datetime
        >>> from cidrgate import Entry
        >>> at = datetime(2025, 1, 2, tzinfo=UTC)
        >>> entry = Entry(id=1, account="acct-1", cidr="8.8.8.0/24", label="a, b", created_at=at, created_by=None)
        >>> "".join(written([[entry]], ListFormat.CSV)).splitlines()[1][:24]
        'acct-1,8.8.8.0/24,"a, b"'
        >>> json.loads("".join(written([[entry]], ListFormat.JSONL)))["label"]
        'a, b'
    """
    if form is ListFormat.CSV:
        yield f"{_HEADER}\r\n"
    for entries in lists:
        yield _as_csv(entries) if form is ListFormat.CSV else _as_json(entries)


def _as_csv(entries: Sequence[Entry]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows(map(_cells, entries))
    return text.getvalue()


def _values(entry: Entry) -> Iterator[tuple[str, Any]]:
    """Return the values of a row for an entry as JSON, by the name of the column."""
    for name in _COLUMNS:
        value = getattr(entry, name)
        yield name, utc_text(value) if isinstance(value, datetime) else value


def _cells(entry: Entry) -> list[str | None]:
    """Return the cells of a row of CSV for an entry."""
    return [
        _as_text(entry.account),
        entry.cidr,
        *(None if (value := getattr(entry, name)) is None else form.cell(value) for name, form in _FORM_OF.items()),
    ]


def _as_text(cell: str) -> str:
    """Return a cell that no spreadsheet runs.

    Example:
        >>> _as_text("=1+1"), _as_text("a;=1"), _as_text("'=1"), _as_text("o'brien"), _as_text("a - b")
        ("'=1+1", "a;'=1", "''=1", "o'brien", 'a - b')
    """
    cell = _TO_QUOTE_WITHIN.sub("'", cell)
    return f"'{cell}" if _RUN_FROM_ITS_BEGINNING.match(cell) else cell


def _from_text(cell: str) -> str:
    """Undo `_as_text`; any other cell stays unchanged.

    Example:
        >>> _from_text("'=1+1"), _from_text("''=1"), _from_text("=1+1"), _from_text("'quoted'")
        ('=1+1', "'=1", '=1+1', "'quoted'")
    """
    if cell.startswith("'") and _RUN_FROM_ITS_BEGINNING.match(cell, 1):
        cell = cell[1:]
    return _QUOTED_WITHIN.sub("", cell)


def _as_json(entries: Sequence[Entry]) -> str:
    return "".join(json.dumps(dict(_values(entry)), ensure_ascii=False) + "\n" for entry in entries)


class _Latest:
    """Lines, and the latest line that was read."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.line = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.line = next(self._lines)
        return self.line


def _csv_rows(lines: Iterable[str]) -> Iterator[Row]:
    latest = _Latest(lines)
    reader = csv.reader(latest, strict=True)
    places: dict[str, int] = {}
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if not places or reader.line_num > first:
                # The lines between may belong to any account: their content is unknown.
                raise CommandError(
                    f"lines {first} to {reader.line_num} cannot be split into rows, probably because a quote opened "
                    f"in line {first} is not closed there ({error}); nothing was imported"
                ) from None
            yield Row(first, _account_before_comma(latest.line, places), problem=f"it is not valid CSV: {error}")
            continue
        if cells is None:
            break
        if not any(map(str.strip, cells)):
            continue
        if places:
            yield _csv_row(first, cells, places)
        else:
            places = _places(cells)
    if not places:
        raise CommandError(f"the file is empty: its first line must name the columns, {_HEADER}")


def _places(header: Sequence[str]) -> dict[str, int]:
    """Return the position of each column."""
    first_line = ",".join(header)
    _refuse_utf16(first_line)
    if _SURROGATE.search(first_line):
        raise CommandError("the first line contains bytes that are not UTF-8 text: is this the right file?")
    names = [name.strip().lower() for name in header]
    found = _quoted(first_line)
    if "account" not in names or "cidr" not in names:
        separated = "; separate columns with commas" if len(names) == 1 and _OTHER_SEPARATOR.search(names[0]) else ""
        raise CommandError(f"the first line must name the columns, {_HEADER}, but it is {found}{separated}")
    for name in names:
        if name not in _COLUMNS:
            raise CommandError(f"the first line is {found}, but the column {name!r} is not one of {_HEADER}")
        if names.count(name) > 1:
            raise CommandError(f"the first line is {found}: the column {name!r} is repeated")
    return {name: place for place, name in enumerate(names)}


def _csv_row(line: int, cells: Sequence[str], places: dict[str, int]) -> Row:
    # Only text that a person wrote may have whitespace around it.
    values = {name: cells[place] for name, place in places.items() if place < len(cells)}
    account = _from_text(values.get("account", "").strip())
    said = {
        name: _from_text(values[name]) if name in _TEXTS else values[name].strip() for name in _FIELDS if name in values
    }
    entry, problem = _entry_of(said)
    cidr = entry.cidr
    if not all(map(str.isascii, cells)) and _SURROGATE.search("".join(cells)):
        problem = _NOT_UTF8
    elif len(cells) > len(places):
        problem = f"it has {len(cells)} cells for {len(places)} columns: put quotes around a label with commas"
    elif not account or not cidr:
        problem = f"the {'cidr' if account else 'account'} is missing"
    return Row(line, _told(account), entry, problem)


def _entry_of(said: Mapping[str, Any]) -> tuple[NewEntry, str]:
    """Return the entry of a row, and why it cannot be read; the reason is empty if it can.

    A detail without a value is cleared, and one whose column or field is missing is absent.
    """
    values: dict[str, Any] = {"cidr": said.get("cidr", "")}
    problem = ""
    for name, form in _FORM_OF.items():
        if name not in said:
            continue
        value = said[name]
        if value is None or (value == "" and name not in _TEXTS):
            if name in _NULLABLE:
                values[name] = None
            continue
        try:
            values[name] = form.read(value) if isinstance(value, str) else value
        except (ValueError, KeyError):
            problem = f"the {name} is {_quoted(value)}, not {form.wanted}"
    return NewEntry(**values), problem


def _account_before_comma(line: str, places: dict[str, int]) -> str | None:
    """Return the account of a row that is not valid CSV, if it is where it should be."""
    cells = line.split(",")
    place = places["account"]
    return _told(_from_text(cells[place].strip().strip('"'))) if place < len(cells) else None


def _json_rows(lines: Iterable[str]) -> Iterator[Row]:
    first = True
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if first:
            first = False
            _refuse_utf16(line)
            if line.lstrip().startswith("["):
                raise CommandError(
                    "the file begins with '[', but JSON Lines has one object on each line and no brackets around them"
                )
        yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    try:
        record = json.loads(line, object_pairs_hook=_members)
    except _RepeatedFieldError as error:
        return Row(number, error.account, problem=str(error))
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return Row(number, _account_in_json(line), problem=f"it is not valid JSON: {reason}")
    if not isinstance(record, dict):
        return Row(number, None, problem=f"it is not a JSON object: {_quoted(line.strip())}")
    said: dict[str, Any] = {
        name: value
        for name in _COLUMNS
        if name in record and ((value := record[name]) is None or type(value) is _type_in_json(name))
    }
    account = (said.get("account") or "").strip()
    entry, problem = _entry_of({**said, "cidr": (said.get("cidr") or "").strip()})
    return Row(number, _told(account), entry, _json_problem(record) or problem)


class _RepeatedFieldError(Exception):
    """A JSON object contains a field twice, so a program before this one may have read another value."""

    def __init__(self, name: str, account: str | None) -> None:
        super().__init__(f"the field {_quoted(name)} is repeated")
        self.account = account


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object with these members.

    Raises:
        _RepeatedFieldError: If two members have one name. Its account is the object's, if there is only one.
    """
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    names = [name for name, _ in pairs]
    repeated = next(name for name in names if names.count(name) > 1)
    account = made.get("account") if names.count("account") == 1 else None
    raise _RepeatedFieldError(repeated, _told(account.strip()) if isinstance(account, str) else None)


def _type_in_json(name: str) -> type:
    return _FORM_OF[name].in_json if name in _FORM_OF else str


def _json_problem(record: dict[str, object]) -> str:
    """Return why an object cannot be a row; empty if it can."""
    for name in record:
        if name not in _COLUMNS:
            return f"the field {_quoted(name)} is unknown: the fields are {_HEADER}"
    for name in _COLUMNS:
        value = record.get(name)
        if value is not None and type(value) is not _type_in_json(name):
            wanted = "text" if _type_in_json(name) is str else _FORM_OF[name].wanted
            return f"the {name} is {_quoted(json.dumps(value))}, not {wanted}"
        text = value if isinstance(value, str) else ""
        if name in _NEEDED and not text.strip():
            return f"the {name} is missing"
        if _SURROGATE.search(text):
            return _NOT_UTF8
    return ""


def _account_in_json(line: str) -> str | None:
    """Return the account of a line that is not valid JSON, if the line contains it in full."""
    found = _ACCOUNT_IN_JSON.search(line)
    try:
        return _told(json.loads(found[1]).strip()) if found else None
    except ValueError:
        return None


def _told(account: str) -> str | None:
    """Return an account as it was read, or None if it is unclear which account it is."""
    return None if not account or _SURROGATE.search(account) else account


def _refuse_utf16(beginning: str) -> None:
    if beginning.startswith(_UTF16_MARKS):
        raise CommandError("the file is UTF-16: save it as UTF-8")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "…")
