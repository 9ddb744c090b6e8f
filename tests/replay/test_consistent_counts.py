"""The same requests count the same, however a log writes them: spaces, empty lines, spellings and several names."""

from __future__ import annotations

import bz2
import json
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cidrgate import Matcher
from cidrgate.replay import FORMATS, LogError, LogSource, observations, replay
from tests.replay.logs import AT, IN_APACHE

if TYPE_CHECKING:
    from pathlib import Path

LISTS = Matcher()
LISTS.publish("acct-1", ["8.8.8.0/24"])


def log_of(tmp_path: Path, text: str, form: str = "csv", **more: object) -> LogSource:
    path = tmp_path / "a.log"
    path.write_text(text)
    return LogSource(files=[str(path)], form=FORMATS[form], **more)  # type: ignore[arg-type]


SPELLINGS = ["9.9.9.9", "::ffff:9.9.9.9", "::FFFF:0909:0909", "0:0:0:0:0:ffff:909:909"]
OF_IPV6 = ["2001:db8::1", "2001:DB8:0::1", "2001:db8:0:0:0:0:0:1"]


def test_an_address_is_one_however_it_is_written(tmp_path: Path) -> None:
    rows = [f"acct-1,{one},{AT}" for one in SPELLINGS + OF_IPV6]
    report = replay(log_of(tmp_path, "\n".join(["account,address,time", *rows])), LISTS)
    assert [(one.network, one.addresses, one.requests) for one in report.changes] == [
        ("9.9.9.0/24", 1, 4),
        ("2001:db8::/48", 1, 3),
    ]


def test_requests_are_added_up_exactly(tmp_path: Path) -> None:
    """In floats, whole numbers are exact up to 2^53 only."""
    rows = 10_000  # with a million millions each
    text = "account,address,time,n\n" + f"acct-1,8.8.8.8,{AT},1000000000000\n" * rows + f"acct-1,8.8.8.8,{AT},1\n"
    report = replay(log_of(tmp_path, text, columns={"requests": "n"}), LISTS)
    assert report.requests == report.verdicts["allowed"] == rows * 10**12 + 1
    assert sum(one.verdicts["allowed"] for one in report.periods) == rows * 10**12 + 1


@pytest.mark.parametrize("others", [[], ["acct-1,x,@"], ["acct-1,x,@", ",y,@"], ["acct-1,,@", ",,@"]])
def test_a_row_without_an_account_is_no_bad_line_whatever_its_address_is(tmp_path: Path, others: list[str]) -> None:
    rows = [",nowhere,@", "acct-1,8.8.8.8,@", *others]
    report = replay(log_of(tmp_path, "account,address,time\n" + "\n".join(rows).replace("@", AT)), LISTS)
    bad = [number for number, row in enumerate(rows, 2) if row.startswith("acct-1,x") or ",," in row]
    assert [one.line for one in report.bad_lines] == bad
    assert report.bad == len(bad)
    assert report.verdicts["no_account"] == len(rows) - 1 - len(bad)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("empty", [0, 1, 3])
@pytest.mark.parametrize("space", ["", " ", "  "])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_spaces_and_empty_lines_change_nothing(
    tmp_path: Path, separator: str, space: str, empty: int, end: str
) -> None:
    rows = [["account", "address", "time", "agent"], ["acct-1", "8.8.8.8", AT, '"x"'], ["acct-1", "x", AT, ""]]
    rows += [["acct-1", "8.8.8.9", AT, "y"], ["acct-1"]]
    if space:
        rows[1][3] = "x"  # quotes behind a space are no quotes
    path = tmp_path / "a.csv"
    path.write_bytes((end * empty + end.join((separator + space).join(row) for row in rows) + end).encode())
    report = replay(LogSource(files=[str(path)], form=FORMATS["csv"]), LISTS)
    assert (report.lines, report.requests, report.verdicts["allowed"]) == (4, 2, 2)
    assert [one.line for one in report.bad_lines] == [empty + 3, empty + 5]


@pytest.mark.parametrize("form", ["csv", "jsonl", "combined", "cloudfront", "parquet"])
@pytest.mark.parametrize("way", ["", ".bz2"])
def test_a_log_that_is_named_twice_is_read_twice(tmp_path: Path, form: str, way: str) -> None:
    line = json.dumps({"account": "acct-1", "address": "8.8.8.8", "time": AT})
    texts = {
        "csv": f"account,address,time\nacct-1,8.8.8.8,{AT}\nacct-1,x,{AT}\nx\n".encode(),
        "jsonl": f"{line}\n{line.replace('8.8.8.8', 'x')}\n".encode() + b"\xff\n",
        "combined": f'8.8.8.8 - - [{IN_APACHE}] "GET / HTTP/1.1" 200 1\nx\n'.encode() + b"\xff\n",
        "cloudfront": b"#Fields: date time c-ip\n2026-10-10\t11:55:36\t8.8.8.8\nx\n\xff\n",
    }
    path = tmp_path / f"a{way}"
    if form == "parquet":
        table = pa.table({"account": ["acct-1"] * 3, "address": ["8.8.8.8", "x", None], "time": [1, 1, 1]})
        pq.write_table(table, tmp_path / "b")
        path.write_bytes(bz2.compress((tmp_path / "b").read_bytes()) if way else (tmp_path / "b").read_bytes())
    else:
        path.write_bytes(bz2.compress(texts[form]) if way else texts[form])
    for files in ([str(path)] * 2, [str(path), f"{tmp_path}/../{tmp_path.name}/a{way}"], [str(path), f"{tmp_path}/a*"]):
        account = None if form in ("csv", "jsonl", "parquet") else "acct-1"
        report = replay(LogSource(files=files, form=FORMATS[form], account=account), LISTS)
        assert (report.lines, report.requests, report.bad) == (6, 2, 4)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("names", [["account", "address", "address"], ["account", "Address", "address"]])
def test_a_name_of_several_columns_says_nothing(tmp_path: Path, form: str, names: list[str]) -> None:
    path = tmp_path / f"a.{form}"
    if form == "csv":
        path.write_text(f"{','.join(names)},time,n,N\nacct-1,8.8.8.8,9.9.9.9,{AT},1,2\n")
    else:
        columns = [pa.array([one]) for one in ("acct-1", "8.8.8.8", "9.9.9.9", AT, 1, 2)]
        pq.write_table(pa.Table.from_arrays(columns, [*names, "time", "n", "N"]), path)
    # In Parquet, the first of two names that differ by case is meant by exactly its name.
    few = [{"requests": "n", "address": "time"}] if form == "csv" else []
    for asked in ({}, {"requests": "N", "address": "time"}, *few):
        with pytest.raises(LogError, match=r"has more than one column .*, so nothing says which is the"):
            replay(LogSource(files=[str(path)], form=FORMATS[form], columns=asked), LISTS)
    # What nobody asks for may be there twice.
    other = tmp_path / f"b.{form}"
    if form == "csv":
        other.write_text(f"account,address,time,n,N\nacct-1,8.8.8.8,{AT},1,2\n")
    else:
        table = pa.Table.from_arrays([columns[0], columns[1], *columns[3:]], ["account", "address", "time", "n", "N"])
        pq.write_table(table, other)
    assert replay(LogSource(files=[str(other)], form=FORMATS[form]), LISTS).requests == 1


def test_a_field_that_a_header_names_twice_says_nothing(tmp_path: Path) -> None:
    text = "#Fields: date time c-ip c-ip x x\n2026-10-10\t11:55:36\t8.8.8.8\t9.9.9.9\t1\t2\n"
    with pytest.raises(LogError, match="names c-ip for the address twice"):
        replay(log_of(tmp_path, text, "cloudfront", account="acct-1"), LISTS)
    text = text.replace("c-ip c-ip", "c-ip y")
    assert replay(log_of(tmp_path, text, "cloudfront", account="acct-1"), LISTS).verdicts["allowed"] == 1


@pytest.mark.parametrize("form", ["gcp", "azure"])
@pytest.mark.parametrize(
    ("written", "allowed"),
    [
        ("8.8.8.8", True), ("8.8.8.8:80", True), ("[::ffff:8.8.8.8]:80", True), ("[::ffff:8.8.8.8]", True),
        ("::ffff:8.8.8.8", True), ("2001:db8::80", False), ("2001:db8::1:80", False),
    ],
)  # fmt: skip
def test_a_port_behind_an_address_is_left_out(tmp_path: Path, form: str, written: str, allowed: bool) -> None:
    request = {"httpRequest": {"remoteIp": written}, "timestamp": AT, "properties": {"clientIP": written}, "time": AT}
    report = replay(log_of(tmp_path, json.dumps(request), form, account="acct-1"), LISTS)
    assert (report.verdicts["allowed"], report.verdicts["denied"], report.bad) == (int(allowed), int(not allowed), 0)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "parquet, numbers", "caddy", "combined"])
def test_a_dash_is_no_account_only_where_a_server_writes_it(tmp_path: Path, form: str) -> None:
    lists = Matcher()
    lists.publish("-", ["8.8.8.8/32"])
    of_server, columns = form in ("caddy", "combined"), {}
    if form == "csv":
        log = log_of(tmp_path, f"account,address,time\n-,8.8.8.8,{AT}\n,8.8.8.8,{AT}\n")
    elif form == "jsonl":
        rows = [json.dumps({"account": one, "address": "8.8.8.8", "time": AT}) for one in ("-", "")]
        log = log_of(tmp_path, "\n".join(rows), "jsonl")
    elif form == "caddy":
        columns = {"account": "request.headers.X-Account"}
        rows = [
            json.dumps({"request": {"remote_ip": "8.8.8.8", "headers": {"X-Account": [one]}}, "ts": 1767225600.5})
            for one in ("-", "")
        ]
        log = log_of(tmp_path, "\n".join(rows), "caddy", columns=columns)
    elif form == "combined":
        columns = {"account": "remote_user"}
        rows = [f'8.8.8.8 - {one} [{IN_APACHE}] "GET / HTTP/1.1" 200 1 "-" "x"' for one in ("-", "")]
        log = log_of(tmp_path, "\n".join(rows), "combined", columns=columns)
    else:
        # Times that are numbers are read by DuckDB.
        times = pa.array([1767225600] * 2 if "numbers" in form else [0, 0])
        table = {"account": ["-", ""], "address": ["8.8.8.8"] * 2}
        time = times if "numbers" in form else times.cast(pa.timestamp("us", "UTC"))
        pq.write_table(pa.table({**table, "time": time}), tmp_path / "a.parquet")
        log = LogSource(files=[str(tmp_path / "a.parquet")], form=FORMATS["parquet"])
    verdicts = replay(log, lists).verdicts
    assert (verdicts["allowed"], verdicts["no_account"]) == ((0, 2) if of_server else (1, 1))


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("20260101", 2026),
        ("2026-01-01", 2026),
        ("19991231", 1999),
        ("1767225600", 2026),
        (" 20260101 ", 2026),
        ("20260101.0", 2026),
        ("00010101", 1),
        ("99991231", 9999),
        ("20260230", None),
        ("20261301", None),
        ("00000101", None),
        ("12345678", None),
        ("123456789", 1973),
        ("2026", 1970),
        ("1", 1970),
        ("-1", 1969),
    ],
)
def test_eight_digits_are_a_date_or_nothing(tmp_path: Path, text: str, year: int | None) -> None:
    good = "2026-01-01"
    years = [2026] if year is None else [2026, year]
    expected = sorted(set(years)), int(year is None)
    rows = f"acct-1,8.8.8.8,{good}\nacct-1,8.8.8.8,{text}\n"
    request = {"account": "acct-1", "address": "8.8.8.8"}
    value = json.loads(text) if re.fullmatch(r"-?[1-9][0-9.]*", text) else text
    as_json = "\n".join(json.dumps({**request, "time": one}) for one in (good, value))
    assert years_of(log_of(tmp_path, f"account,address,time\n{rows}")) == expected
    assert years_of(log_of(tmp_path, as_json, "jsonl")) == expected
    if isinstance(value, int | float):
        table = pa.table({"account": ["acct-1"] * 2, "address": ["8.8.8.8"] * 2, "time": [20260101, value]})
        pq.write_table(table, tmp_path / "numbers.parquet")
        assert years_of(LogSource(files=[str(tmp_path / "numbers.parquet")], form=FORMATS["parquet"])) == expected


def years_of(log: LogSource) -> tuple[list[int], int]:
    """Return the years of what a log has observed, and how many lines are bad."""
    bad = 0

    def on_bad(number: int, _found: object) -> None:
        nonlocal bad
        bad = number

    found = list(observations(log, LISTS, on_bad=on_bad))
    return sorted({at.year for one in found for at in (one.first_seen, one.last_seen)}), bad


@pytest.mark.parametrize("before", [b"", b"\n"])
@pytest.mark.parametrize("rest", [b"\xe9", b"\xff\xfe"])
def test_a_header_that_is_not_utf_8_is_refused(tmp_path: Path, rest: bytes, before: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(before + b"account,address,time,n" + rest + f"\nacct-1,8.8.8.8,{AT},x\n".encode())
    with pytest.raises(LogError, match=r"its header has .*text that is not UTF-8"):
        replay(LogSource(files=[str(tmp_path / "a.csv")], form=FORMATS["csv"]), LISTS)
    (tmp_path / "a.csv").write_text(f"account,address,Zoë€😀,time\nacct-1,1,8.8.8.8,{AT}\n")
    source = LogSource(files=[str(tmp_path / "a.csv")], form=FORMATS["csv"], columns={"address": "Zoë€😀"})
    assert replay(source, LISTS).verdicts["allowed"] == 1


@pytest.mark.parametrize("path", ["$.*", "$[", "$..a", "$.a["])
def test_a_path_of_json_that_is_none_is_said(tmp_path: Path, path: str) -> None:
    line = json.dumps({"account": "acct-1", "address": "8.8.8.8", "time": AT})
    with pytest.raises(LogError, match="a path that --columns names is not valid: name a member as"):
        replay(log_of(tmp_path, line, "jsonl", columns={"account": path}), LISTS)


@pytest.mark.parametrize(("most", "said"), [(0, "more than 0 lines are bad"), (1, "more than 1 line is bad")])
def test_a_bound_of_one_line_is_said_as_one(tmp_path: Path, most: int, said: str) -> None:
    with pytest.raises(LogError, match=said):
        replay(log_of(tmp_path, f"account,address,time\nacct-1,8.8.8.8,{AT}\nx\ny\n"), LISTS, max_bad=most)
