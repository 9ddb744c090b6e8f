r"""The files for import and export: CSV and JSON Lines with an account and the fields of a `NewEntry` in each row.

Pure functions from lines to rows and from entries to lines. A row that cannot be read does not end the reading: it is
returned with its problem, and with its account if that is known.

CSV is read by `cidrgate.lists.tables`, which also reads the tables of other programs.

Lines are text in which a byte that is not UTF-8 is a lone surrogate (`errors="surrogateescape"`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cidrgate.cli.errors import CommandError
from cidrgate.lists.rows import (
    COLUMNS,
    FORM_OF,
    HEADER,
    NOT_UTF8,
    ListFileError,
    Row,
    as_text,
    entry_of,
    known_account,
    quoted,
    undecoded,
)
from cidrgate.lists.tables import read_table
from cidrgate.serialization import utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from cidrgate.values import Entry

__all__ = ["ListFormat", "Row", "format_of", "read_rows", "written"]

_NEEDED = ("account", "cidr")
_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")
_ACCOUNT_IN_JSON = re.compile(r'"account"\s*+:\s*+("(?:[^"\\]|\\.)*+")')
_COMMENT_SIGNS = ("#", "//", ";")


class ListFormat(StrEnum):
    """A format of files with lists."""

    CSV = "csv"
    JSONL = "jsonl"


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
    return _table_rows(lines) if form is ListFormat.CSV else _json_rows(lines)


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
        yield f"{HEADER}\r\n"
    for entries in lists:
        yield _as_csv(entries) if form is ListFormat.CSV else _as_json(entries)


def _as_csv(entries: Sequence[Entry]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    commented = any(entry.account.startswith(_COMMENT_SIGNS) for entry in entries)
    for entry in entries:
        if commented:
            # In quotes, because a line that begins like a comment is one.
            text.write('"{}",'.format(as_text(entry.account).replace('"', '""')))
            writer.writerow(_cells(entry)[1:])
        else:
            writer.writerow(_cells(entry))
    return text.getvalue()


def _values(entry: Entry) -> Iterator[tuple[str, Any]]:
    """Return the values of a row for an entry as JSON, by the name of the column."""
    for name in COLUMNS:
        value = getattr(entry, name)
        yield name, utc_text(value) if isinstance(value, datetime) else value


def _cells(entry: Entry) -> list[str | None]:
    """Return the cells of a row of CSV for an entry."""
    return [
        as_text(entry.account),
        entry.cidr,
        *(None if (value := getattr(entry, name)) is None else form.cell(value) for name, form in FORM_OF.items()),
    ]


def _as_json(entries: Sequence[Entry]) -> str:
    return "".join(json.dumps(dict(_values(entry)), ensure_ascii=False) + "\n" for entry in entries)


def _table_rows(lines: Iterable[str]) -> Iterator[Row]:
    try:
        yield from read_table(lines)
    except ListFileError as error:
        raise CommandError(str(error)) from None


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
        return Row(number, None, problem=f"it is not a JSON object: {quoted(line.strip())}")
    said: dict[str, Any] = {
        name: value
        for name in COLUMNS
        if name in record and ((value := record[name]) is None or type(value) is _type_in_json(name))
    }
    account = (said.get("account") or "").strip()
    entry, problem = entry_of({**said, "cidr": (said.get("cidr") or "").strip()})
    return Row(number, known_account(account), entry, _json_problem(record) or problem)


class _RepeatedFieldError(Exception):
    """A JSON object contains a field twice, so a program before this one may have read another value."""

    def __init__(self, name: str, account: str | None) -> None:
        super().__init__(f"the field {quoted(name)} is repeated")
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
    raise _RepeatedFieldError(repeated, known_account(account.strip()) if isinstance(account, str) else None)


def _type_in_json(name: str) -> type:
    return FORM_OF[name].in_json if name in FORM_OF else str


def _json_problem(record: dict[str, object]) -> str:
    """Return why an object cannot be a row; empty if it can."""
    for name in record:
        if name not in COLUMNS:
            return f"the field {quoted(name)} is unknown: the fields are {HEADER}"
    for name in COLUMNS:
        value = record.get(name)
        if value is not None and type(value) is not _type_in_json(name):
            wanted = "text" if _type_in_json(name) is str else FORM_OF[name].wanted
            return f"the {name} is {quoted(json.dumps(value))}, not {wanted}"
        text = value if isinstance(value, str) else ""
        if name in _NEEDED and not text.strip():
            return f"the {name} is missing"
        if undecoded(text):
            return NOT_UTF8
    return ""


def _account_in_json(line: str) -> str | None:
    """Return the account of a line that is not valid JSON, if the line contains it in full."""
    found = _ACCOUNT_IN_JSON.search(line)
    try:
        return known_account(json.loads(found[1]).strip()) if found else None
    except ValueError:
        return None


def _refuse_utf16(beginning: str) -> None:
    if beginning.startswith(_UTF16_MARKS):
        raise CommandError("the file is UTF-16: save it as UTF-8")
