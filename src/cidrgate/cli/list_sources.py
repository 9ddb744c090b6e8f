"""What `import` reads: which reader of `cidrgate.lists` a file needs, and the columns that `--columns` names."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cidrgate.cli.errors import CommandError
from cidrgate.cli.list_files import ListFormat, read_rows
from cidrgate.lists.encodings import read_text_file
from cidrgate.lists.json_files import LARGEST_DOCUMENT, document_of, read_json, read_json_lines
from cidrgate.lists.plain_lists import read_plain_list
from cidrgate.lists.published import Publisher, read_published
from cidrgate.lists.rows import COLUMNS, ListFileError
from cidrgate.lists.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import IO

    from cidrgate.lists.encodings import Text
    from cidrgate.lists.rows import Row

__all__ = ["FileFormat", "FileReading", "FileSource", "columns_of", "read_file"]

IGNORE = "ignore"
"""The name in `--columns` for columns that must not count."""


class FileFormat(StrEnum):
    """A format of files that `import` reads."""

    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    TEXT = "text"


_ENDINGS = {
    "csv": FileFormat.CSV,
    "tsv": FileFormat.CSV,
    "tab": FileFormat.CSV,
    "jsonl": FileFormat.JSONL,
    "ndjson": FileFormat.JSONL,
    "json": FileFormat.JSON,
    "txt": FileFormat.TEXT,
    "list": FileFormat.TEXT,
    "lst": FileFormat.TEXT,
    "zone": FileFormat.TEXT,
}
"""The format of a file by the ending of its name. A `.json` file may contain JSON Lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """How a file is to be read.

    Attributes:
        name: Its name, of which the ending counts if no format is given.
        form: Its format; None for that of its name.
        publisher: Who published it, if it has published ranges.
        services: The services of the publisher to read; all if empty.
        regions: The regions of the publisher to read; all if empty.
        account: The account of every row, if the file names none.
        columns: The names of the columns by field; `ignore` names the columns that must not count.
        comments_as_labels: Whether a comment behind a network becomes its label.
    """

    name: str
    form: FileFormat | None = None
    publisher: Publisher | None = None
    services: Sequence[str] = ()
    regions: Sequence[str] = ()
    account: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    comments_as_labels: bool = False


@dataclass(slots=True)
class FileReading:
    """A file that is being read.

    Attributes:
        rows: Its rows. They raise a `CommandError` if the whole file cannot be read.
        notes: What was left out or guessed; complete after the last row.
        unit: What the numbers of rows count.
    """

    rows: Iterator[Row]
    notes: list[str]
    unit: str = "line"


def columns_of(texts: Sequence[str]) -> dict[str, str]:
    """Return the columns that `--columns` names.

    Raises:
        CommandError: If a text is not `field=name`, or a field is unknown or repeated.

    Example:
        >>> columns_of(["account=customer_id,cidr=ip", "ignore=status"])
        {'account': 'customer_id', 'cidr': 'ip', 'ignore': 'status'}
    """
    found: dict[str, str] = {}
    for text in texts:
        for part in text.split(","):
            name, equals, column = (one.strip() for one in part.partition("="))
            if not equals or not column or name not in {*COLUMNS, IGNORE}:
                raise CommandError(
                    f"--columns {part!r} is not FIELD=COLUMN, where FIELD is one of {', '.join((*COLUMNS, IGNORE))}"
                )
            if name in found and name != IGNORE:
                raise CommandError(f"--columns names the column of {name} twice")
            found[name] = f"{found[name]}|{column}" if name in found else column
    return found


def read_file(stream: IO[bytes], source: FileSource) -> FileReading:
    """Start to read a file.

    Args:
        stream: Its bytes.
        source: How it is to be read.

    Raises:
        CommandError: If the whole file cannot be read, or its format is unknown.
    """
    try:
        text = read_text_file(stream)
        reading = FileReading(iter(()), list(text.notes))
        reading.rows = _told(_rows(text, source, reading))
    except ListFileError as error:
        raise CommandError(str(error)) from None
    return reading


def _told(rows: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from rows
    except (ListFileError, UnicodeDecodeError) as error:
        raise CommandError(str(error)) from None


def _rows(text: Text, source: FileSource, reading: FileReading) -> Iterator[Row]:
    columns, account, notes = source.columns, source.account, reading.notes
    if source.publisher is not None:
        reading.unit = "range"
        return read_published(
            _whole(text),
            source.publisher,
            _needed(account, "published ranges"),
            services=source.services,
            regions=source.regions,
        )
    form = source.form or _format_of(source.name)
    if form is FileFormat.CSV:
        return read_table(
            text.lines(),
            columns=columns,
            account=account,
            comments_as_labels=source.comments_as_labels,
            notes=notes,
        )
    if form is FileFormat.TEXT:
        return read_plain_list(
            text.lines(), _needed(account, "a plain list"), comments_as_labels=source.comments_as_labels, notes=notes
        )
    lines: Iterable[str] = text.stream
    if form is FileFormat.JSON:
        first = next((line for line in text.stream if line.strip()), "")
        second = next((line for line in text.stream if line.strip()), "")
        text.stream.seek(0)
        if not _begins_json_lines(first, second):
            reading.unit = "row"
            document = document_of(_whole_of(lines))
            return read_json(document, columns=columns, account=account, notes=notes)
    if columns or account is not None:
        return read_json_lines(lines, columns=columns, account=account, notes=notes)
    return read_rows(lines, ListFormat.JSONL)


def _begins_json_lines(first: str, second: str) -> bool:
    """Return whether a file has an object in each line: the first is complete, and more follow or it is a row."""
    try:
        found: Any = json.loads(first)
    except (ValueError, RecursionError):
        return second.lstrip().startswith("{") and first.lstrip().startswith("{")
    return isinstance(found, dict) and (bool(second) or any(isinstance(found.get(name), str) for name in COLUMNS))


def _whole(text: Text) -> str:
    return _whole_of(text.stream)


def _whole_of(lines: Iterable[str]) -> str:
    found, length = [], 0
    for line in lines:
        length += len(line)
        if length > LARGEST_DOCUMENT:
            raise ListFileError(f"the document has more than {LARGEST_DOCUMENT:,} characters: write JSON Lines instead")
        found.append(line)
    return "".join(found)


def _needed(account: str | None, what: str) -> str:
    if account is None:
        raise CommandError(f"{what} names no account: say --account NAME")
    return account


def _format_of(name: str) -> FileFormat:
    """Return the format of a file by the ending of its name.

    Raises:
        CommandError: If the ending is unknown.

    Example:
        >>> _format_of("lists.tsv").value, _format_of("office.txt").value
        ('csv', 'text')
    """
    form = _ENDINGS.get(name.rpartition(".")[2].lower())
    if form is None:
        raise CommandError(f"the name {name!r} has no known ending: add --format csv, jsonl, json or text")
    return form
