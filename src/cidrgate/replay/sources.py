"""A log as a query: the SQL that reads the account, the address and the time of each request from files.

Lines of text are read whole, whatever they contain, and cut afterwards, so that no value of a client can join or hide
lines. A line that is not as its format says has no address in the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cidrgate.errors import CidrgateError
from cidrgate.gate.account_sources import FromPath
from cidrgate.replay.formats import ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cidrgate.replay.formats import LogFormat

__all__ = [
    "IN_TIME",
    "MOST_REQUESTS",
    "LogError",
    "LogSource",
    "is_simple",
    "lines_of",
    "quoted",
    "request_query",
    "rows_of",
]


class LogError(CidrgateError):
    """A log cannot be read as it was described."""

    code = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSource:
    """Logs of one format, and what in them says who acted.

    Args:
        files: Paths, patterns such as `logs/*.gz`, and URLs of object stores.
        form: Their format; one of `FORMATS`, or what `format_of_template` returns.
        columns: The fields or columns to read instead of the format's own, by role: `account`, `address`, `forwarded`,
            `path`, `time`, `requests`.
        account: The account of every request; a `FromPath`, which finds it as the gate does; None for a column.

    Raises:
        LogError: If a role is unknown, or nothing says the account.
    """

    files: Sequence[str]
    form: LogFormat
    columns: Mapping[str, str] = field(default_factory=dict)
    account: str | FromPath | None = None

    def __post_init__(self) -> None:
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


def lines_of(files: Sequence[str]) -> str:
    """Return the SQL of a table with the lines of files as `line`; what is not UTF-8 is rejected and counted."""
    return (
        f"read_csv({_list(files)}, delim = '\x01', quote = '', escape = '', header = false, auto_detect = false, "
        "strict_mode = false, store_rejects = true, columns = {'line': 'VARCHAR'})"
    )


def rows_of(files: Sequence[str], form: LogFormat) -> str:
    """Return the SQL of a table with the rows of files that have named columns."""
    if form.reader == "parquet":
        return f"read_parquet({_list(files)}, union_by_name = true)"
    return f"read_csv({_list(files)}, header = true, all_varchar = true, store_rejects = true)"


_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "DOUBLE")
IN_TIME = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""The first and the last microsecond of the years 1 to 9999, which is what Python's times are of."""

_IN_TIME = f"time BETWEEN {IN_TIME[0]} AND {IN_TIME[1]}"
"""No time is in them if it is null."""

MOST_REQUESTS = 10**12
"""For how many requests a row may stand: the sums of a log must fit into 64 bits."""

_SIMPLE = re.compile(r"\^?(?P<before>/(?:[A-Za-z0-9_-]+/)*)\(\?P<account>\[\^/\]\+\)")
"""A pattern whose account is one whole segment behind a fixed path: most are like this, and SQL finds it fastest."""


def request_query(
    source: LogSource,
    types: Mapping[str, str],
    header: Sequence[str] = (),
    *,
    wanted: frozenset[str],
    numbered: bool = False,
) -> str:
    """Return the query for the requests of a log.

    Its columns are `address` (null if the line is bad), and as wanted `account`, `path` (without its query; `account`
    is the one in it if every program reads the path in the same way), `forwarded`, `time` (microseconds since 1970) and
    `requests`.

    Args:
        source: The log.
        types: The types of the columns, for a log that has named columns.
        header: The names of the fields in the header of the file, if the format has one.
        wanted: The roles that are asked for.
        numbered: Whether to add `number`, the number of the line or row, and `text`, what it says.

    Raises:
        LogError: If a column is missing.
    """
    form, roles = source.form, source.roles
    asked = {role: one for role, one in roles.items() if role in wanted}
    if isinstance(source.account, str):
        asked.pop("account", None)
    if isinstance(source.account, FromPath):
        asked.pop("account", None)
        asked["path"] = roles["path"]
    else:
        asked.pop("path", None)
    relation, fields, whole, kinds = _relation(source, asked, types, header, numbered=numbered)
    columns = {"address": fields.get("address", "''")}
    checks = [whole] if whole != "true" else []
    if "time" in fields:
        columns["time"] = _time(fields["time"], form, kinds["time"])
        checks.append(_IN_TIME)
    if "forwarded" in fields:
        columns["forwarded"] = fields["forwarded"]
    if "requests" in fields:
        columns["requests"] = f"try_cast({fields['requests']} AS BIGINT)"
        checks.append(f"requests BETWEEN 1 AND {MOST_REQUESTS}")
    if isinstance(source.account, FromPath):
        # Load balancers write the whole URL that was asked for.
        path = f"regexp_replace({fields['path']}, '^https?://[^/?#]*', '')" if form.urls else fields["path"]
        columns["path"] = f"split_part({path}, '?', 1)"
    elif "account" in fields:
        columns["account"] = _no_dash(f"CAST({fields['account']} AS VARCHAR)")
    inner = ", ".join(f"{expression} AS {name}" for name, expression in columns.items())
    if whole != "true":
        inner += f", {whole} AS whole"
        checks[0] = "whole"
    outer = {name: name for name in columns if name != "path"}
    if numbered:
        inner += ", number, line"
        outer |= {"number": "number", "text": "line"}
    if "time" in columns:
        outer["time"] = f"CASE WHEN {_IN_TIME} THEN time END"
    if checks:
        outer["address"] = f"CASE WHEN {' AND '.join(checks)} THEN address END"
    if isinstance(source.account, FromPath):
        outer |= {"account": _account_in_path(source.account), "path": "path"}
    shown = ", ".join(f"{expression} AS {name}" for name, expression in outer.items())
    return f"SELECT {shown} FROM (SELECT {inner} FROM {relation})"


def _no_dash(text: str) -> str:
    """Return the SQL of a text that is null where a log writes nothing or a dash."""
    return f"nullif(nullif({text}, ''), '-')"


def _relation(
    source: LogSource, asked: Mapping[str, str], types: Mapping[str, str], header: Sequence[str], *, numbered: bool
) -> tuple[str, dict[str, str], str, dict[str, str]]:
    """Return the table to read, the SQL of each role, the SQL that says whether a row is whole, and the types."""
    form = source.form
    kinds = dict.fromkeys(asked, "VARCHAR")
    if form.reader in ("csv", "parquet"):
        fields = {}
        for role, column in asked.items():
            fields[role] = _column(role, column, types, source)
            kinds[role] = types[_found(column, types)]
        rows = rows_of(source.files, form)
        if numbered:
            rows = f"(SELECT row_number() OVER () AS number, CAST(t AS VARCHAR) AS line, t.* FROM {rows} AS t)"
        return rows, fields, "true", kinds
    lines = lines_of(source.files)
    if numbered:
        lines = f"(SELECT row_number() OVER () AS number, line FROM {lines})"
    kept = "line IS NOT NULL" + (" AND line[1] <> '#'" if form.comments else "")
    if form.reader == "json":
        paths = [one for column in asked.values() for one in column.split("|")]
        place = {path: f"p[{number}]" for number, path in enumerate(paths, 1)}
        fields = {
            role: f"coalesce({', '.join(place[one] for one in column.split('|'))})" for role, column in asked.items()
        }
        listed = _list([_json_path(path) for path in paths])
        cut, whole = f"try(json_extract_string(line, {listed}))", "p IS NOT NULL"
    else:
        known = dict(form.fields)
        whole, cut = form.whole, form.cut
        if form.header:
            known |= {name: f"p[{number}]" for number, name in enumerate(header, 1)}
            whole = f"len(p) = {len(header)}"
        fields = {role: _of_text(role, one, known, form) for role, one in asked.items()}
    select = ", ".join(
        (["number"] if numbered else []) + (["line"] if numbered or not cut else []) + ([f"{cut} AS p"] if cut else [])
    )
    return f"(SELECT {select} FROM {lines} WHERE {kept})", fields, whole, kinds


def _of_text(role: str, name: str, known: Mapping[str, str], form: LogFormat) -> str:
    parts = name.split("+")
    missing = [one for one in parts if one not in known]
    if missing:
        raise LogError(f"the format {form.name} has no field {missing[0]} for the {role}: it has {', '.join(known)}")
    return " || ' ' || ".join(known[one] for one in parts)


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


def _time(text: str, form: LogFormat, kind: str) -> str:
    """Return the SQL of a time in microseconds since 1970. A time without a zone is in UTC."""
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"epoch_us(CAST({text} AS TIMESTAMPTZ))"
    if kind in _NUMBERS or kind.startswith("DECIMAL"):
        return _epoch(f"CAST({text} AS DOUBLE)")
    if form.time_form == "clf":
        before, after = (around.replace("%", "%%") for around in form.time_around)
        return f"epoch_us(try_strptime({text}, {quoted(f'{before}%d/%b/%Y:%H:%M:%S %z{after}')}))"
    if form.time_form == "haproxy":
        return f"epoch_us(try_strptime({text}, ['%d/%b/%Y:%H:%M:%S.%g', '%d/%b/%Y:%H:%M:%S']))"
    iso = f"epoch_us(try_cast({text} AS TIMESTAMPTZ))"
    number = _epoch(f"try_cast({text} AS DOUBLE)")
    return {"iso": iso, "epoch": number}.get(form.time_form, f"coalesce({iso}, {number})")


def _epoch(seconds: str) -> str:
    """Return the SQL of a time that counts seconds, milliseconds, microseconds or nanoseconds since 1970."""
    return (
        f"TRY_CAST(CASE WHEN {seconds} < 1e11 THEN {seconds} * 1e6 WHEN {seconds} < 1e14 THEN {seconds} * 1e3 "
        f"WHEN {seconds} < 1e17 THEN {seconds} ELSE {seconds} / 1e3 END AS BIGINT)"
    )


def _account_in_path(source: FromPath) -> str:
    """Return the SQL of the account in a path that every program reads in the same way; null to leave it to Python."""
    pattern = source.pattern
    text, flags = (pattern, 0) if isinstance(pattern, str) else (pattern.pattern, pattern.flags & ~re.UNICODE)
    simple = None if flags else _SIMPLE.fullmatch(text)
    if simple is None:
        return "CAST(NULL AS VARCHAR)"
    before = simple["before"]
    # The name goes up to the next slash, which is what split_part cuts at; an empty one matches nothing.
    account = f"nullif(split_part(path, '/', {before.count('/') + 1}), '')"
    return f"CASE WHEN starts_with(path, {quoted(before)}) THEN {account} END"


def is_simple(source: FromPath) -> bool:
    """Return whether SQL finds the account in plain paths."""
    return _account_in_path(source).startswith("CASE")
