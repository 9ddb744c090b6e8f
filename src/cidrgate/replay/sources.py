"""A log as a query: the SQL that reads the account, the address and the time of each request from files.

Lines of text are read whole, whatever they contain, and cut afterwards (`lines`), so that no value of a client can join
or hide lines. A line that is not as its format says has no address in the answer.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cidrgate.errors import CidrgateError
from cidrgate.gate.account_sources import FromPath
from cidrgate.replay.formats import ROLES, LogFormat
from cidrgate.values import check_type, several_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "DAMAGED",
    "HEADER",
    "IN_TIME",
    "MOST_REQUESTS",
    "CsvHeader",
    "LogError",
    "LogSource",
    "asked_roles",
    "checked_query",
    "csv_rows",
    "folder_values",
    "header_fields",
    "line_query",
    "lines_of",
    "parquet_rows",
    "quoted",
    "request_query",
    "requests_of",
    "text_before_account",
    "time_of",
]


class LogError(CidrgateError):
    """A log cannot be read as it was described."""

    code = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSource:
    """Logs of one format, and what in them says who acted.

    Args:
        files: Paths, patterns such as `logs/*.gz`, and URLs of object stores.
        form: Their format; one of the values of `FORMATS`, or what `format_of_template` returns.
        columns: The fields or columns to read instead of the format's own, by role: `account`, `address`, `forwarded`,
            `path`, `time`, `requests`.
        account: The account of every request; a `FromPath`, which finds it as the gate does; None for a column.

    Raises:
        TypeError: If an argument is of another type.
        LogError: If a role is unknown, or nothing says the account.
    """

    files: tuple[str, ...]
    form: LogFormat
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    account: str | FromPath | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            files: Iterable[str | bytes | os.PathLike[str]],
            form: LogFormat,
            columns: Mapping[str, str] = ...,
            account: str | FromPath | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", tuple(map(os.fsdecode, several_texts(self.files, "files", "names"))))
        check_type(self.form, LogFormat, "form")
        check_type(self.columns, Mapping, "columns")
        for column in self.columns.values():
            check_type(column, str, "each value of columns")
        if not isinstance(self.account, FromPath):
            check_type(self.account, str, "account", or_none=True)
        unknown = [role for role in self.columns if role not in ROLES]
        if unknown:
            raise LogError(f"{unknown[0]!r} is nothing that a log is asked for: name {', '.join(ROLES)}")
        if not self.files:
            raise LogError("no log is named")
        roles = self.roles
        if self.account is None and "account" not in roles:
            raise LogError(
                f"a log of the format {self.form.name} names no account by itself: name the column of it "
                "(--columns account=…), a pattern of the path (--account-path), or one account (--log-account)"
            )
        if isinstance(self.account, FromPath) and "path" not in roles:
            raise LogError("the format has no path: name its column (--columns path=…)")

    @property
    def roles(self) -> dict[str, str]:
        """Which field has which role."""
        return {**self.form.roles, **self.columns}


def quoted(text: str) -> str:
    """Return a text as a literal of SQL.

    Example:
        >>> quoted("it's")
        "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _list(files: Sequence[str]) -> str:
    return f"[{', '.join(quoted(one) for one in files)}]"


DAMAGED = "it is damaged, cut off, or of another format"
"""Why a file cannot be read, where nothing says more."""

_TEXT = "store_rejects = true, auto_detect = false, parallel = false, hive_partitioning = false"
"""How every text is read. Several threads in one file begin at guessed places: they take text inside quotes for rows,
and lose lines that are longer than a buffer. The name of a folder such as `line=x` would replace what a line says."""


def lines_of(files: Sequence[str]) -> str:
    """Return the SQL of a table with the lines of files as `line`; what is not UTF-8 is rejected and counted."""
    return (
        f"read_csv({_list(files)}, delim = '\x01', quote = '', escape = '', header = false, strict_mode = false, "
        f"{_TEXT}, columns = {{'line': 'VARCHAR'}})"
    )


class CsvHeader(NamedTuple):
    """The first line of a CSV file: its columns, and what separates them.

    Only the header says how a file is read. If rows did, one quote in them could turn values into rows.
    """

    delimiter: str
    columns: tuple[str, ...]
    repeated: frozenset[str] = frozenset()
    """The names that more than one column has, in lower case."""
    blank: int = 0
    """How many empty lines stand before it."""
    spaced: bool = False
    """Whether spaces stand behind separators; then they do in the rows, too, and are part of no value."""

    @classmethod
    def of(cls, line: str, blank: int = 0) -> CsvHeader:
        """Return what a line behind some empty ones says.

        Example:
            >>> CsvHeader.of('account; "address"; time')[:2]
            (';', ('account', 'address', 'time'))
        """
        found = (next(csv.reader([line], delimiter=one, skipinitialspace=True), []) for one in _DELIMITERS)
        delimiter, names = max(zip(_DELIMITERS, found, strict=True), key=lambda one: len(one[1]))
        columns: dict[str, str] = {}
        spaced = any(name.startswith(" ") for name in next(csv.reader([line], delimiter=delimiter), [])[1:])
        names = [name.strip() for name in names]
        for number, name in enumerate(names):
            name = name or f"column{number}"
            while name.lower() in columns:
                name += "_1"
            columns[name.lower()] = name
        many = Counter(name.lower() for name in names if name)
        repeated = frozenset(name for name, count in many.items() if count > 1)
        return cls(delimiter, tuple(columns.values()), repeated, blank, spaced)

    def rows(self, files: Sequence[str]) -> str:
        """Return the SQL of a table with the rows of files with this header."""
        columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in self.columns)
        return (
            f"read_csv({_list(files)}, delim = {quoted(self.delimiter)}, quote = '\"', escape = '\"', header = true, "
            f"skip = {self.blank}, strict_mode = true, {_TEXT}, columns = {{{columns}}})"
        )


_DELIMITERS = ",;\t|"


def csv_rows(files: Sequence[tuple[str, CsvHeader]]) -> str:
    """Return the SQL of a table with the rows of CSV files, which has the columns of the first of them."""
    alike: dict[CsvHeader, list[str]] = defaultdict(list)
    for file, header in files:
        alike[header].append(file)
    names = [_name(one) for one in next(iter(alike)).columns]
    columns = {False: ", ".join(names), True: ", ".join(f"ltrim({one}) AS {one}" for one in names)}
    parts = (f"SELECT {columns[header.spaced]} FROM {header.rows(some)}" for header, some in alike.items())
    return f"({' UNION ALL '.join(parts)})"


def parquet_rows(files: Sequence[str], in_folders: Iterable[str] = (), missing: Iterable[str] = ()) -> str:
    """Return the SQL of a table with the rows of Parquet files.

    Args:
        files: The files.
        in_folders: Columns that are no columns of the files, but of their folders: see `folder_values`.
        missing: Columns that they do not have; each value is null.
    """
    rows = f"read_parquet({_list(files)}, union_by_name = true, hive_partitioning = false, filename = {quoted(_FILE)})"
    added = [f", {_folder_value(one)} AS {_name(one)}" for one in in_folders]
    added += [f", CAST(NULL AS VARCHAR) AS {_name(one)}" for one in missing]
    return f"(SELECT * EXCLUDE ({_name(_FILE)}){''.join(added)} FROM {rows})"


_FILE = "file of the row"
"""The column with the name of the file, which no log has."""

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What programs write in the name of a folder for a null."""


def folder_values(file: str, column: str) -> list[str]:
    """Return what the names of a file's folders say for a column, as in `account=acct-1`, in the order of the folders.

    Example:
        >>> folder_values("logs/account=acct-1/day=1/a.parquet", "Account")
        ['acct-1']
    """
    folders = _URL_WITH_QUERY.sub(r"\1", file).split("/")[:-1]
    pairs = (one.partition("=") for one in folders)
    return [value for name, sign, value in pairs if sign and name.lower() == column.lower()]


_URL_WITH_QUERY = re.compile("^([A-Za-z][A-Za-z0-9+.-]*://[^?]*)[?].*$")
"""A URL whose query is left out, as both Python and SQL have it."""


def _folder_value(column: str) -> str:
    """Return the SQL of what one folder of a file says for a column."""
    file = rf"regexp_replace({_name(_FILE)}, '{_URL_WITH_QUERY.pattern}', '\1')"
    value = f"regexp_extract({file}, {quoted(rf'(?i)(?:^|/){re.escape(column)}=([^/]*)/')}, 1)"
    return f"nullif(url_decode({value}), {quoted(_NO_VALUE)})"


_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "DOUBLE")
IN_TIME = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""The first and the last microsecond of the years 1 to 9999, which is what Python's times are of."""

_IN_TIME = f"time BETWEEN {IN_TIME[0]} AND {IN_TIME[1]}"
"""No time is in them if it is null."""

MOST_REQUESTS = 10**12
"""For how many requests a row may stand: the sums of a batch must fit into 64 bits."""

_SIMPLE = re.compile(r"\^?(?P<before>/(?:[A-Za-z0-9_-]+/)*)\(\?P<account>\[\^/\]\+\)")
"""A pattern whose account is one whole segment behind a fixed path: most are like this, and the engine finds it."""


def asked_roles(source: LogSource, wanted: frozenset[str]) -> dict[str, str]:
    """Return the roles to read, and the field of each: the path only to find the account in it."""
    asked = {role: one for role, one in source.roles.items() if role in wanted and role not in ("account", "path")}
    if isinstance(source.account, FromPath):
        asked["path"] = source.roles["path"]
    elif source.account is None and "account" in wanted:
        asked["account"] = source.roles["account"]
    return asked


def request_query(
    source: LogSource, table: str, types: Mapping[str, str], *, wanted: frozenset[str], numbered: bool = False
) -> str:
    """Return the query for the requests of a log that has named columns.

    Its columns are `address` (null if the line is bad), and as wanted `account`, `path` (without its query),
    `forwarded`, `time` (microseconds since 1970) and `requests`.

    Args:
        source: The log.
        table: The SQL of the table with its rows, or with its lines if it is JSON.
        types: The types of the columns.
        wanted: The roles that are asked for.
        numbered: Whether to add `number`, the number of the line or row, and `text`, what it says.

    Raises:
        LogError: If a column is missing.
    """
    form = source.form
    relation, fields, checks, kinds = _relation(source, table, asked_roles(source, wanted), types, numbered=numbered)
    columns = {"address": fields.get("address", "''")}
    if "time" in fields:
        columns["time"] = time_of(fields["time"], form, kinds["time"])
    if "forwarded" in fields:
        columns["forwarded"] = fields["forwarded"]
    if "requests" in fields:
        columns["requests"] = requests_of(fields["requests"])
    if "path" in fields:
        # Some servers write the whole URL that was asked for.
        path = (
            f"regexp_replace({fields['path']}, '^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]*', '')" if form.urls else fields["path"]
        )
        columns["path"] = f"split_part({path}, '?', 1)"
    if form.ports and "address" in fields:
        columns["address"] = _without_port(fields["address"])
    if "account" in fields:
        account = f"nullif(CAST({fields['account']} AS VARCHAR), '')"
        columns["account"] = f"nullif({account}, '-')" if _dash_is_nothing(form) else account
    if numbered:
        columns |= {"number": "number", "text": "line"}
    return checked_query(columns, relation, checks)


def checked_query(columns: Mapping[str, str], relation: str, whole: str = "") -> str:
    """Return the query for columns, in which a row whose time or number of requests cannot be has no address.

    Args:
        columns: The SQL of each column.
        relation: The table with the rows.
        whole: SQL that is true for a row that is not bad already.
    """
    inner = [f"{expression} AS {name}" for name, expression in columns.items()]
    outer = {name: name for name in columns}
    checks = []
    if whole:
        inner.append(f"{whole} AS whole")
        checks.append("whole")
    if "time" in columns:
        outer["time"] = f"CASE WHEN {_IN_TIME} THEN time END"
        checks.append(_IN_TIME)
    if "requests" in columns:
        checks.append(f"requests BETWEEN 1 AND {MOST_REQUESTS}")
    if checks:
        outer["address"] = f"CASE WHEN {' AND '.join(checks)} THEN address END"
    shown = ", ".join(f"{expression} AS {name}" for name, expression in outer.items())
    return f"SELECT {shown} FROM (SELECT {', '.join(inner)} FROM {relation})"


def _without_port(address: str) -> str:
    """Return the SQL of an address without the port behind it, and without the brackets of IPv6."""
    bare = rf"regexp_replace({address}, '^\[([^\]]*)\](:[0-9]+)?$', '\1')"
    return rf"regexp_replace({bare}, '^([0-9.]+):[0-9]+$', '\1')"


def _only_line(text: str, kind: str) -> str:
    """Return the SQL of an account that JSON may have as the lines of a header: null if they are several, as at a gate.

    Args:
        text: The SQL of the member as text.
        kind: The SQL of its type.
    """
    only = f"CASE WHEN json_array_length({text}) = 1 THEN json_extract_string({text}, '$[0]') END"
    return f"CASE WHEN starts_with({text}, '[') AND {kind} = 'ARRAY' THEN {only} ELSE {text} END"


def _as_lines(text: str, kind: str) -> str:
    """Return the SQL of a header in JSON. A text that only looks like a list becomes the only line of a list."""
    listed = f"CAST(json_array({text}) AS VARCHAR)"
    return f"CASE WHEN starts_with({text}, '[') AND {kind} <> 'ARRAY' THEN {listed} ELSE {text} END"


def _dash_is_nothing(form: LogFormat) -> bool:
    """Return whether a dash stands for no value, as servers write it: in a table it is the name of an account."""
    return form.reader == "json" and form.name != "jsonl"


HEADER = "#Fields:"
"""How the line begins that names the fields of those behind it."""


def header_fields(line: str) -> tuple[str, ...]:
    """Return the fields that such a line names.

    Example:
        >>> header_fields("#Fields: date time c-ip")
        ('date', 'time', 'c-ip')
    """
    return tuple(line.partition(":")[2].split())


def line_query(files: Sequence[str], form: LogFormat, *, numbered: bool) -> str:
    """Return the query for the lines of files as `line`, and perhaps `number`, without empty lines.

    Comments are left out, too, unless some of them name the fields.
    """
    kept = "line IS NOT NULL" + (" AND line[1] <> '#'" if form.comments and not form.header else "")
    if not numbered:
        return f"SELECT line FROM {lines_of(files)} WHERE {kept}"
    rows = f"SELECT row_number() OVER () AS number, line FROM {lines_of(files)}"
    return f"SELECT number, line FROM ({rows}) WHERE {kept}"


def _relation(
    source: LogSource, table: str, asked: Mapping[str, str], types: Mapping[str, str], *, numbered: bool
) -> tuple[str, dict[str, str], str, dict[str, str]]:
    """Return the table to read, the SQL of each role, the SQL that says whether a row is whole, and the types."""
    form = source.form
    kinds = dict.fromkeys(asked, "VARCHAR")
    fields = {}
    if form.reader == "json":
        paths = [one for column in asked.values() for one in column.split("|")]
        place = {path: f"p[{number}]" for number, path in enumerate(paths, 1)}
        for role, column in asked.items():
            fields[role] = f"coalesce({', '.join(place[one] for one in column.split('|'))})"
            if role in _MAY_BE_LISTS:
                fields[role] = _MAY_BE_LISTS[role](fields[role], _json_kind(column))
        cut = f"try(json_extract_string(line, {_list([_json_path(path) for path in paths])}))"
        number = ", number" if numbered else ""
        rows = f"(SELECT {cut} AS p, line{number} FROM {table})"
        return rows, fields, "p IS NOT NULL", kinds
    for role, column in asked.items():
        fields[role] = _column(role, column, types, source)
        kinds[role] = types[_found(column, types)]
    rows = table
    if numbered:
        rows = f"(SELECT row_number() OVER () AS number, CAST(t AS VARCHAR) AS line, t.* FROM {table} AS t)"
    return rows, fields, "", kinds


_MAY_BE_LISTS = {"account": _only_line, "forwarded": _as_lines}
"""What makes the SQL of a role that may be in a header, of which JSON may have a list of lines."""


def _json_kind(column: str) -> str:
    """Return the SQL of the type of a member in JSON; that of the first one that is there, of several."""
    kinds = [f"nullif(json_type(line, {quoted(_json_path(one))}), 'NULL')" for one in column.split("|")]
    return f"coalesce({', '.join(kinds)}, '')"


def _found(column: str, types: Mapping[str, str]) -> str:
    return next((one for one in types if one.lower() == column.lower()), "")


def _column(role: str, column: str, types: Mapping[str, str], source: LogSource) -> str:
    found = _found(column, types)
    if not found:
        raise LogError(
            f"{source.files[0]} has no column {column} for the {role}: name one of {', '.join(types)} with "
            f"--columns {role}=COLUMN"
        )
    if role == "address" and types[found] in _NUMBERS:
        return f"try_cast({_name(found)} AS UINTEGER)"
    return _name(found) if role == "time" else f"CAST({_name(found)} AS VARCHAR)"


def _json_path(name: str) -> str:
    """Return the path of a member: names with dots between them, numbers in brackets, or a path of JSON itself.

    Example:
        >>> _json_path("request.headers.X-Account[0]")
        '$."request"."headers"."X-Account"[0]'
    """
    if name.startswith("$"):
        return name
    parts = []
    for part in name.split("."):
        bare, bracket, number = part.partition("[")
        parts.append(f'."{bare}"{bracket}{number}')
    return "$" + "".join(parts)


def time_of(text: str, form: LogFormat, kind: str) -> str:
    """Return the SQL of a time in microseconds since 1970. A time without a zone is in UTC."""
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"epoch_us(CAST({text} AS TIMESTAMPTZ))"
    if kind in _NUMBERS or kind.startswith("DECIMAL"):
        number = f"CAST({text} AS DOUBLE)"
        eight_digits = f"{number} BETWEEN 10000000 AND 99999999 AND {number} = floor({number})"
        return f"CASE WHEN {eight_digits} THEN {_day(f'try_cast({text} AS BIGINT)')} ELSE {_epoch(number)} END"
    if form.time_form == "clf":
        before, after = (around.replace("%", "%%") for around in form.time_around)
        return f"epoch_us(try_strptime({text}, {quoted(f'{before}%d/%b/%Y:%H:%M:%S %z{after}')}))"
    if form.time_form == "haproxy":
        return f"epoch_us(try_strptime({text}, ['%d/%b/%Y:%H:%M:%S.%g', '%d/%b/%Y:%H:%M:%S']))"
    iso = f"epoch_us(try_cast({text} AS TIMESTAMPTZ))"
    number = _epoch(f"try_cast({text} AS DOUBLE)")
    day_or_number = f"CASE WHEN regexp_full_match({text}, '{_EIGHT_DIGITS}') THEN {_day(text)} ELSE {number} END"
    clf = f"epoch_us(try_strptime({text}, '%d/%b/%Y:%H:%M:%S %z'))"
    return {"iso": iso, "epoch": number}.get(form.time_form, f"coalesce({iso}, {day_or_number}, {clf})")


_EIGHT_DIGITS = " *[0-9]{8}([.]0+)? *"
"""A date such as `20260101` as text, as SQL's regular expressions have it; perhaps of a number that has a point."""


def _day(digits: str) -> str:
    """Return the SQL of a time that begins with eight digits of a date; null if there is no such date."""
    return f"epoch_us(try_strptime(left(ltrim(CAST({digits} AS VARCHAR)), 8), '%Y%m%d'))"


def _epoch(seconds: str) -> str:
    """Return the SQL of a time that counts seconds, milliseconds, microseconds or nanoseconds since 1970."""
    return (
        f"TRY_CAST(CASE WHEN {seconds} < 1e11 THEN {seconds} * 1e6 WHEN {seconds} < 1e14 THEN {seconds} * 1e3 "
        f"WHEN {seconds} < 1e17 THEN {seconds} ELSE {seconds} / 1e3 END AS BIGINT)"
    )


_WHOLE = " *[0-9]+([.]0+)? *"
"""A whole number as text, as SQL's regular expressions have it."""


def requests_of(text: str) -> str:
    """Return the SQL of the number of requests that a row stands for."""
    # A cast alone would round 1.5, and take 1e2 for 100.
    return f"CASE WHEN regexp_full_match(CAST({text} AS VARCHAR), '{_WHOLE}') THEN try_cast({text} AS BIGINT) END"


def text_before_account(source: FromPath) -> str | None:
    """Return what stands in a path before the account, which ends at the next slash; None for any other pattern.

    Example:
        >>> text_before_account(FromPath("/v1/accounts/(?P<account>[^/]+)"))
        '/v1/accounts/'
    """
    pattern = source.pattern
    text, flags = (pattern, 0) if isinstance(pattern, str) else (pattern.pattern, pattern.flags & ~re.UNICODE)
    simple = None if flags else _SIMPLE.fullmatch(text)
    return None if simple is None else simple["before"]
