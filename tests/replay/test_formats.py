"""Every format says the same of the same requests, whatever else is in a log."""

from __future__ import annotations

import bz2
import gzip
import itertools
import os
import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cidrgate import Matcher
from cidrgate.gate import ClientIPResolver, FromPath
from cidrgate.replay import FORMATS, LogError, LogSource, format_of_name, observations, reading, replay
from cidrgate.replay.formats import TemplateError, format_of_template
from cidrgate.replay.reading import _reason_of, opened_log
from tests.replay.logs import AT, BY_PATH, CLOUDFRONT, IN_APACHE, NOT_PARQUET, Sample, clf, cloudfront

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

LISTS = Matcher()
LISTS.publish("acct-1", ["8.8.8.0/24"])
LISTS.publish("acct-2", ["8.8.8.0/24"])

Said = list[tuple[str, str, bool, str]]


def source_of(path: Path, form: str, **more: object) -> LogSource:
    return LogSource(files=[str(path)], form=FORMATS[form], **more)  # type: ignore[arg-type]


def said(source: LogSource, resolver: ClientIPResolver | None = None) -> Said:
    """What a log says: account, network, whether it is allowed, and when."""
    found = observations(source, LISTS, resolver=resolver, threads=1)
    return sorted((one.account, one.network, one.allowed, one.first_seen.isoformat()) for one in found)


EXPECTED: Said = [("acct-1", "8.8.8.8/32", True, AT), ("acct-2", "2001:4860::8/128", False, AT)]


def test_there_is_a_sample_of_every_format() -> None:
    assert {one.form for one in NOT_PARQUET} | {"parquet"} == set(FORMATS)


@pytest.mark.parametrize("sample", NOT_PARQUET, ids=lambda one: one.form)
def test_a_log_says_who_acted_from_where_and_when(tmp_path: Path, sample: Sample) -> None:
    path = tmp_path / "a.log"
    path.write_text("\n".join(sample.lines) + "\n")
    resolver = ClientIPResolver(trusted_hops=1) if sample.form == "envoy" else None
    source = source_of(path, sample.form, columns=dict(sample.columns), account=BY_PATH if sample.by_path else None)
    assert said(source, resolver) == EXPECTED
    report = replay(source, LISTS, resolver=resolver, threads=1)
    assert (report.requests, report.bad) == (2, sample.bad)
    assert report.lines == 2 + sample.bad
    assert (report.verdicts["allowed"], report.verdicts["denied"]) == (1, 1)
    lines = [line for line in sample.lines if line]
    for one in report.bad_lines:
        assert one.file == str(path)
        if sample.form != "csv":
            assert lines[one.line - 1] == one.text
    if sample.form == "csv":
        assert [one.line for one in report.bad_lines] == [4, 5]
    assert len(report.bad_lines) == sample.bad


@pytest.mark.parametrize("way", ["bzip2", "pipe"])
@pytest.mark.parametrize("sample", NOT_PARQUET, ids=lambda one: one.form)
def test_a_log_that_can_be_read_only_once_says_the_same(tmp_path: Path, sample: Sample, way: str) -> None:
    text = ("\n".join(sample.lines) + "\n").encode()
    path = tmp_path / ("a.log.bz2" if way == "bzip2" else "a.log")
    writing: AbstractContextManager[None] = nullcontext()
    if way == "bzip2":
        path.write_bytes(bz2.compress(text))
    else:
        os.mkfifo(path)
        writing = written_once(path, text)
    resolver = ClientIPResolver(trusted_hops=1) if sample.form == "envoy" else None
    source = source_of(path, sample.form, columns=dict(sample.columns), account=BY_PATH if sample.by_path else None)
    with writing:
        report = replay(source, LISTS, resolver=resolver, threads=1)
    assert (report.lines, report.requests, report.bad) == (2 + sample.bad, 2, sample.bad)
    assert (report.verdicts["allowed"], report.verdicts["denied"]) == (1, 1)


@contextmanager
def written_once(path: Path, text: bytes) -> Iterator[None]:
    """Write a text into a pipe while somebody reads it."""
    thread = threading.Thread(target=path.write_bytes, args=[text], daemon=True)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


TEMPLATES = {
    '$remote_addr - $remote_user [$time_local] "$request" $status "$http_x_account"': (
        f'@A - - [{IN_APACHE}] "GET / HTTP/1.1" 200 "@B"'
    ),
    "$time_iso8601|$http_x_account|$remote_addr": f"{AT}|@B|@A",
    "$msec $remote_addr $http_x_account": "1791633336.000 @A @B",
    '%h %l %u %t "%r" %>s %b "%{X-Account}i"': f'@A - - [{IN_APACHE}] "GET / HTTP/1.1" 200 1 "@B"',
    '[%START_TIME%] %DOWNSTREAM_REMOTE_ADDRESS% "%REQ(X-ACCOUNT)%"': '[2026-10-10T11:55:36.000Z] @P "@B"',
    'at="$time_local" client=$remote_addr account=$http_x_account;': (f'at="{IN_APACHE}" client=@A account=@B;'),
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_of_a_server_is_read_back(tmp_path: Path, template: str) -> None:
    path = tmp_path / "a.log"
    lines = []
    for address, account in (("8.8.8.8", "acct-1"), ("2001:4860::8", "acct-2")):
        with_port = f"[{address}]:81" if ":" in address else f"{address}:81"
        lines.append(TEMPLATES[template].replace("@A", address).replace("@B", account).replace("@P", with_port))
    path.write_text("\n".join(lines))
    form = format_of_template(template)
    assert said(LogSource(files=[str(path)], form=form, columns={"account": "http_x_account"})) == EXPECTED


@pytest.mark.parametrize("template", ["$remote_addr$request", "nothing", '"$remote_addr$status"'])
def test_a_template_whose_fields_cannot_be_told_apart_is_refused(template: str) -> None:
    with pytest.raises(TemplateError):
        format_of_template(template)


HEADED = '$remote_user $remote_addr [$time_local] "$http_x_account"'


@pytest.mark.parametrize(
    ("line", "address"),
    [
        (f'me 9.9.9.9 [{IN_APACHE}] "acct-1"', "9.9.9.9/32"),
        (f'me 8.8.8.8 9.9.9.9 [{IN_APACHE}] "acct-1"', None),  # the user's name is `me 8.8.8.8`
        (f'me 9.9.9.9 [x] [{IN_APACHE}] "acct-1"', None),
        (f'me 9.9.9.9 [{IN_APACHE}] "x" "acct-1"', None),
    ],
)
def test_what_a_client_writes_into_a_field_moves_no_other(tmp_path: Path, line: str, address: str | None) -> None:
    path = tmp_path / "a.log"
    good = f'me 8.8.8.8 [{IN_APACHE}] "acct-1"'
    path.write_text(f"{good}\n{line}\n{good}\n")
    form = format_of_template(HEADED)
    found = said(LogSource(files=[str(path)], form=form, columns={"account": "http_x_account"}))
    assert [one[1] for one in found] == ["8.8.8.8/32", *([] if address is None else [address])]


def test_a_quote_that_never_closes_hides_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    lines = [clf("8.8.8.8", "acct-1"), '1.1.1.1 - - [x] "', clf("2001:4860::8", "acct-2")]
    path.write_text("\n".join(lines))
    source = source_of(path, "combined", account=BY_PATH)
    assert said(source) == EXPECTED
    assert [(one.line, one.text) for one in replay(source, LISTS).bad_lines] == [(2, lines[1])]


def test_lines_that_are_not_utf_8_are_bad_and_have_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    lines = [clf("8.8.8.8", "acct-1").encode(), b"\xff\xfe", b"x", clf("2001:4860::8", "acct-2").encode(), b"y"]
    path.write_bytes(b"\n".join(lines) + b"\n")
    source = source_of(path, "combined", account=BY_PATH)
    assert said(source) == EXPECTED
    report = replay(source, LISTS)
    assert (report.lines, report.requests, report.bad) == (5, 2, 3)
    assert [one.line for one in report.bad_lines] == [2, 3, 5]


def test_a_line_with_several_faults_is_one_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    good = f"acct-1,8.8.8.8,{AT}"
    path.write_text("\n".join(["account,address,time", good, "x", good, f"acct-2,,{AT}", f"{good},1,2", good]) + "\n")
    report = replay(source_of(path, "csv"), LISTS)
    assert (report.lines, report.requests, report.bad) == (6, 3, 3)
    assert [one.line for one in report.bad_lines] == [3, 5, 6]


@pytest.mark.parametrize("packed", ["gz", "zst", "bz2"])
def test_a_packed_log_is_read(tmp_path: Path, packed: str) -> None:
    text = "\n".join([clf("8.8.8.8", "acct-1"), clf("2001:4860::8", "acct-2")] * 5_000).encode()
    path = tmp_path / f"a.log.{packed}"
    if packed == "zst":
        path.write_bytes(pa.compress(text, "zstd", asbytes=True))
    else:
        path.write_bytes(gzip.compress(text) if packed == "gz" else bz2.compress(text))
    source = source_of(path, "combined", account=BY_PATH)
    assert said(source) == EXPECTED
    assert replay(source, LISTS).requests == 10_000


def test_patterns_name_many_files_in_order(tmp_path: Path) -> None:
    for name, line in (("a.1", clf("8.8.8.8", "acct-1")), ("a.2", clf("2001:4860::8", "acct-2")), ("b.1", "bad")):
        (tmp_path / name).write_text(line + "\n")
    source = source_of(tmp_path / "a.*", "combined", account=BY_PATH)
    assert said(source) == EXPECTED


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "a[1]*.log"
    path.write_text(clf("8.8.8.8", "acct-1") + "\n" + clf("2001:4860::8", "acct-2"))
    (tmp_path / "a1.log").write_text("bad\n")
    assert said(source_of(path, "combined", account=BY_PATH)) == EXPECTED


@pytest.mark.parametrize("as_number", [True, False])
def test_parquet_is_read_by_its_columns(tmp_path: Path, as_number: bool) -> None:
    path = tmp_path / "a.parquet"
    address = pa.array([0x08080808, None], pa.uint32()) if as_number else pa.array(["8.8.8.8", None])
    at = datetime.fromisoformat(AT)
    table = {"account": ["acct-1", "acct-2"], "address": address, "time": [at, at], "n": [3, 4]}
    pq.write_table(pa.table(table), path)
    source = source_of(path, "parquet", columns={"requests": "n"})
    assert said(source) == EXPECTED[:1]
    report = replay(source, LISTS)
    assert (report.lines, report.requests, report.bad) == (2, 3, 1)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"columns": {"account": "nobody"}}, "has no column nobody"),
        ({"columns": {"nothing": "x"}}, "'nothing' is nothing"),
        ({"account": FromPath("/(?P<account>[^/]+)")}, "the format has no path"),
    ],
)
def test_what_a_log_does_not_have_is_said(tmp_path: Path, more: dict[str, object], problem: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("account,address,time\na,8.8.8.8,1\n")
    with pytest.raises(LogError, match=problem):
        said(source_of(path, "csv", **more))


def test_a_log_without_an_account_needs_one(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="names no account by itself"):
        source_of(tmp_path / "a.log", "combined")


def test_files_that_are_missing_or_of_another_kind_are_said(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="there is no such file"):
        said(source_of(tmp_path / "nowhere.log", "combined", account="a"))
    (tmp_path / "a.parquet").write_text("nothing")
    with pytest.raises(LogError, match="cannot be read as Apache Parquet"):
        said(source_of(tmp_path / "a.parquet", "parquet"))
    (tmp_path / "a.log").write_text("2026-10-10\tx\n")
    with pytest.raises(LogError, match="no line #Fields:"):
        said(source_of(tmp_path / "a.log", "cloudfront", account="a"))


@pytest.mark.parametrize("names", [["empty", "a"], ["a", "empty"], ["empty", "header", "empty", "a"], ["packed", "a"]])
def test_a_file_without_a_line_does_not_stop_a_set_of_them(tmp_path: Path, names: list[str]) -> None:
    row = f"a,8.8.8.8,{AT}\n"
    texts = {"empty": "", "header": "account,address,time\n", "a": f"account,address,time\n{row}"}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    (tmp_path / "packed.csv").with_suffix(".csv.gz").write_bytes(gzip.compress(b""))
    files = [str(tmp_path / (f"{name}.csv.gz" if name == "packed" else f"{name}.csv")) for name in names]
    report = replay(LogSource(files=files, form=FORMATS["csv"]), LISTS)
    assert (report.lines, report.requests) == (1, 1)
    (tmp_path / "a.csv").write_text(f"account,address,time\n{row}a,x,{AT}\n")
    report = replay(LogSource(files=files, form=FORMATS["csv"]), LISTS)
    assert (report.lines, [one.line for one in report.bad_lines]) == (2, [3])


@pytest.mark.parametrize("form", sorted(set(FORMATS) - {"parquet", "envoy"}))
def test_a_log_without_a_line_has_no_requests(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.log").write_text("")
    report = replay(LogSource(files=[str(tmp_path / "a.log")], form=FORMATS[form], account="a"), LISTS)
    assert (report.lines, report.bad, report.changes) == (0, 0, ())


def test_a_header_of_fields_is_found_behind_files_without_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("")
    (tmp_path / "b.log").write_text(f"#Version: 1.0\n#Fields: {CLOUDFRONT}\n{cloudfront('8.8.8.8', 'acct-1')}\n")
    source = LogSource(files=[str(tmp_path / "*.log")], form=FORMATS["cloudfront"], account=BY_PATH)
    assert replay(source, LISTS).requests == 1


@pytest.mark.parametrize(
    ("name", "octets", "problem"),
    [
        ("a.csv.gz", b"nothing", "damaged, cut off, or of another format"),
        ("a.csv.zst", b"nothing", "damaged, cut off, or of another format"),
        ("a.csv.bz2", b"nothing", "damaged, cut off, or of another format"),
        ("a.csv.bz2", bz2.compress(b"account,address,time\n" * 10**5)[:-20], "damaged, cut off, or of another format"),
        ("a.csv.gz", gzip.compress(b"account,address,time\n" * 10**5)[:-20], "damaged, cut off, or of another format"),
        ("a.csv", bytes(range(256)) * 10, "text that is not UTF-8"),
    ],
)
def test_files_that_cannot_be_read_are_said_in_our_words(
    tmp_path: Path, name: str, octets: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(octets)
    for form in ("csv", "combined") if octets == b"nothing" else ("csv",):
        with pytest.raises(LogError, match=rf"{name} cannot be read as .*: .*{problem}") as raised:
            replay(LogSource(files=[str(tmp_path / name)], form=FORMATS[form], account="a"), LISTS)
        assert "Error" not in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"is a folder: name the files in it, such as '.*/\*'"):
        said(source_of(tmp_path, "combined", account="a"))


def test_reasons_of_the_database_are_said_in_our_words() -> None:
    reasons = {
        duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate 1MB"): "--memory",
        duckdb.OutOfMemoryException("failed to offload: No space left on device"): "no space left",
        duckdb.HTTPException("HTTP Error: HTTP GET error on 'https://a/b' (HTTP 403)"): "the server answers 403",
        duckdb.HTTPException("HTTP Error: Could not connect to server"): "the server does not answer",
        duckdb.IOException("IO Error: Cannot open file: Permission denied"): "you may not read it",
        duckdb.InvalidInputException("Invalid unicode (byte sequence mismatch)"): "text that is not UTF-8",
        duckdb.ConversionException("Could not convert"): "does not fit",
        duckdb.BinderException("Binder Error: x"): "do not have the same columns",
    }
    for error, reason in reasons.items():
        assert reason in _reason_of(error)


def test_an_object_store_without_its_extension_says_what_to_install() -> None:
    source = LogSource(files=["s3://bucket/logs/*.parquet"], form=FORMATS["parquet"])
    with pytest.raises(LogError, match="INSTALL httpfs"):
        said(source)


def test_a_log_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(f"{CLOUDFRONT}\n" * 3)
    with pytest.raises(LogError, match=r"no line of .* is as the format combined says; the first is line 1"):
        replay(source_of(path, "combined", account="a"), LISTS)


def test_a_bound_of_bad_lines_is_held(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(f"{clf('8.8.8.8', 'acct-1')}\nx\ny\n")
    source = source_of(path, "combined", account=BY_PATH)
    assert replay(source, LISTS, max_bad=2).bad == 2
    with pytest.raises(LogError, match="more than 1 line is bad; the first is line 2"):
        replay(source, LISTS, max_bad=1)


@pytest.mark.parametrize("form", ["cloudfront", "csv"])
def test_a_time_without_a_zone_is_in_utc_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    path = tmp_path / "a.log"
    if form == "csv":
        path.write_text("account,address,time\nacct-1,8.8.8.8,2026-10-10 11:55:36\n")
    else:
        path.write_text("#Fields: date time c-ip\n2026-10-10\t11:55:36\t8.8.8.8\n")
    assert said(source_of(path, form, account="acct-1")) == EXPECTED[:1]


def test_a_path_of_several_fields_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(clf("8.8.8.8", "acct-1"))
    source = source_of(path, "combined", account=BY_PATH, columns={"path": "uri+request"})
    with pytest.raises(LogError, match="a path is one field"):
        said(source)


def test_a_text_log_may_say_how_many_requests_a_line_stands_for(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(
        "#Fields: c-ip date time n\n"
        + "".join(f"8.8.8.8\t2026-10-10\t11:55:36\t{number}\n" for number in (3, 0, "x", 10**12, 10**12 + 1))
    )
    source = source_of(path, "cloudfront", account="acct-1", columns={"requests": "n"})
    report = replay(source, LISTS)
    assert (report.requests, report.bad, [one.line for one in report.bad_lines]) == (10**12 + 3, 3, [3, 4, 6])


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_batches_do_not_depend_on_how_lines_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(reading, "LINES", 3)
    monkeypatch.setattr(reading, "_BATCH", rows)
    path = tmp_path / "a.log"
    path.write_text("\n".join([clf("8.8.8.8", "acct-1"), clf("2001:4860::8", "acct-2"), "bad"] * 2_000))
    report = replay(source_of(path, "combined", account=BY_PATH), LISTS)
    assert (report.lines, report.requests, report.bad) == (6_000, 4_000, 2_000)
    assert [one.line for one in report.bad_lines] == list(range(3, 63, 3))


def test_nothing_but_the_answer_goes_to_stdout(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(clf("8.8.8.8", "acct-1"))
    with opened_log(source_of(path, "combined", account=BY_PATH)) as log:
        assert log.connection.sql("SELECT current_setting('enable_progress_bar')").fetchall() == [(False,)]


def test_the_ending_of_a_name_says_the_format() -> None:
    names: Sequence[str] = ("a.csv", "a.jsonl.zst", "b/a.parquet", "a.log", "csv")
    found = [format_of_name(name) for name in names]
    assert [None if one is None else one.name for one in found] == ["csv", "jsonl", "parquet", None, "csv"]


def csv_of(path: Path, *rows: str, header: str = "account,address,time,agent") -> LogSource:
    path.write_text("\n".join([header, *rows]))
    return source_of(path, "csv")


FORGED = f"acct-2,66.66.66.66,{AT},x"


@pytest.mark.parametrize("last", ['"cut off', '"cut" off', "x,y", f'"{FORGED}'])
def test_no_row_decides_how_the_others_are_read(tmp_path: Path, last: str) -> None:
    good = f'acct-1,8.8.8.8,{AT},"x\n{FORGED}\n"'
    source = csv_of(tmp_path / "a.csv", good, good, f"acct-1,8.8.8.8,{AT},{last}")
    report = replay(source, LISTS)
    assert (report.lines, report.requests, report.bad) == (3, 2, 1)
    assert said(source) == EXPECTED[:1]


# More than two megabytes in a value are too much for DuckDB, and an error of its own.
@pytest.mark.parametrize(
    ("after", "way"), [*itertools.product([0, 1, 3, 100_000], ["", ".gz", ".zst", ".bz2"]), (1_000_000, "")]
)
def test_rows_behind_quotes_that_do_not_end_are_bad_lines(tmp_path: Path, way: str, after: int) -> None:
    """A writer that was killed inside a value leaves such quotes in the middle of a file."""
    rows = [f'acct-1,8.8.8.8,{AT},"x ""y"" {number},\nz"' for number in range(3)]
    rows += [f'acct-1,8.8.8.8,{AT},"cut off', *[f"acct-1,8.8.8.8,{AT},x"] * after]
    text = "\n".join(["account,address,time,agent", *rows]).encode()
    path = tmp_path / f"a[1].csv{way}"
    pack: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".zst": lambda one: pa.compress(one, "zstd", asbytes=True),
    }
    path.write_bytes(pack[way](text) if way else text)
    report = replay(source_of(path, "csv"), LISTS)
    assert (report.lines, report.requests, report.bad) == (4 + after, 3, 1 + after)
    if way != ".bz2":  # is not read a second time
        [found] = report.bad_lines
        assert (found.file, found.line, found.text) == (str(path), 8, '"cut off')
        assert (f"the {after:,} line{'' if after == 1 else 's'} behind it" in found.reason) == bool(after)


@pytest.mark.parametrize("way", ["", ".gz", ".bz2"])
@pytest.mark.parametrize("ends", [*itertools.permutations(["\r\n", "\n", "\r"], 2)])
def test_csv_whose_lines_end_in_different_ways_says_so(tmp_path: Path, ends: tuple[str, str], way: str) -> None:
    row = f"acct-1,8.8.8.8,{AT}"
    text = "account,address,time" + ends[0] + (row + ends[0]) * 20 + (row + ends[1]) * 10
    pack: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}
    path = tmp_path / f"a.csv{way}"
    path.write_bytes(pack[way](text.encode()))
    with pytest.raises(LogError, match=r"its lines end in different ways, .*tr -d"):
        replay(source_of(path, "csv"), LISTS)
    for end in ("\n", "\r\n"):  # a value in quotes may have others
        other = f'{row},"x{ends[0]}y{ends[1]}"{end}'
        path.write_bytes(pack[way](f"account,address,time,agent{end}{other * 3}".encode()))
        assert replay(source_of(path, "csv"), LISTS).requests == 3


def test_line_ends_are_not_blamed_for_what_else_is_wrong(tmp_path: Path) -> None:
    for name, column in (("a.csv", "time"), ("b.csv", "when")):
        row = f'acct-1,8.8.8.8,{AT},"x\ny"\r\n'
        (tmp_path / name).write_bytes(f"account,address,{column},agent\r\n{row * 3}".encode())
    with pytest.raises(LogError, match=r"b\.csv has no column time, which .*a\.csv has"):
        replay(source_of(tmp_path / "[ab].csv", "csv"), LISTS)


@pytest.mark.parametrize("form", ["csv", "parquet", "cloudfront"])
def test_a_message_names_the_file_as_it_was_named(tmp_path: Path, form: str) -> None:
    """Not the copy of a file that can be read only once, nor the pattern that stands for a name with brackets."""
    text = b"x,y\n1,2\n"
    for name, data in ((f"a.{form}.bz2", bz2.compress(text)), (f"a[1].{form}", text)):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(LogError) as refused:
            replay(source_of(path, form, account="acct-1"), LISTS)
        assert str(refused.value).startswith(f"{path} ")


@pytest.mark.parametrize(("lines", "rows"), [(300_000, 4), (20, 30_000)])
def test_a_quoted_text_of_many_lines_is_no_row_wherever_it_lies(tmp_path: Path, lines: int, rows: int) -> None:
    row = f'acct-1,8.8.8.8,{AT},"' + f"{FORGED}\n" * lines + '"'
    source = csv_of(tmp_path / "a.csv", f"acct-1,8.8.8.8,{AT},x", *[row] * rows)
    assert replay(source, LISTS).lines == 1 + rows
    assert said(source) == EXPECTED[:1]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_of_each_csv_file_says_where_its_columns_are(tmp_path: Path, separator: str) -> None:
    (tmp_path / "a.csv").write_text(f"account,address,time\nacct-1,8.8.8.8,{AT}\n")
    other = [["time", "agent", "Agent", "", "address", "account"], [AT, "x", "y", "z", "2001:4860::8", "acct-2"]]
    (tmp_path / "b.csv").write_text("\ufeff" + "\r\n".join(separator.join(f'"{one}"' for one in row) for row in other))
    assert said(source_of(tmp_path / "*.csv", "csv")) == EXPECTED


@pytest.mark.parametrize("sizes", [[40], [17, 17, 17], [5, 1]])
@pytest.mark.parametrize("form", ["csv", "jsonl", "combined"])
def test_a_line_that_is_too_long_is_a_bad_line(tmp_path: Path, form: str, sizes: list[int]) -> None:
    path = tmp_path / "a.log"
    good = {"csv": f"acct-1,8.8.8.8,{AT}", "jsonl": f'{{"address": "8.8.8.8", "time": "{AT}"}}'}
    line = good.get(form, clf("8.8.8.8", "acct-1"))
    long = ["x" * size * 10**6 for size in sizes]
    path.write_text("\n".join([*(["account,address,time"] if form == "csv" else []), line, *long, line, ""]))
    report = replay(source_of(path, form, account="acct-1"), LISTS)
    assert (report.lines, report.bad, report.requests) == (2 + len(sizes), len(sizes), 2)


@pytest.mark.parametrize("form", ["csv", "combined", "cloudfront"])
@pytest.mark.parametrize("way", ["gz", "gz of two", "gz flipped", "zst", "zst of two", "bz2", "bz2 of two"])
def test_a_packed_log_that_is_damaged_or_cut_off_is_an_error(tmp_path: Path, form: str, way: str) -> None:
    line = {"csv": f"acct-1,8.8.8.8,{AT}", "combined": clf("8.8.8.8", "acct-1")}.get(form, cloudfront("8.8.8.8", "a"))
    header = {"csv": "account,address,time,agent\n", "cloudfront": f"#Fields: {CLOUDFRONT}\n"}.get(form, "")
    lines = "".join(f"{line}{',' if form == 'csv' else ''}{number % 7}\n" for number in range(5_000))
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "zst": lambda one: bytes(pa.compress(one, "zstd", asbytes=True)),
    }
    ending = way.split()[0]
    members = [header + lines, lines] if "two" in way else [header + lines]
    packed = b"".join(pack[ending](one.encode()) for one in members)
    path = tmp_path / f"a.log.{ending}"
    path.write_bytes(packed)
    source = source_of(path, form, account="acct-1")
    assert replay(source, LISTS).lines >= 5_000 * len(members)
    for place in (-5,) if "flipped" in way else (-5, -100, len(packed) // 3):
        flipped = packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :]
        path.write_bytes(flipped if "flipped" in way else packed[:place])
        with pytest.raises(LogError, match=r"damaged, cut off"):
            replay(source, LISTS)


def test_a_log_of_the_first_and_the_last_year_has_periods(tmp_path: Path) -> None:
    rows = [f"acct-1,8.8.8.8,{year}T00:00:00Z,x" for year in ("0001-01-01", "2027-03-14", "9999-12-31")]
    report = replay(csv_of(tmp_path / "a.csv", *rows), LISTS)
    assert report.periods[0].start.year == 1
    assert report.requests == 3


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_number_of_requests_is_whole(tmp_path: Path, form: str) -> None:
    numbers = ["1.5", "1e2", "-3", "0x10", "1_0", "", "x", "2", "3.0"]
    if form == "csv":
        rows = [f"acct-1,8.8.8.8,{AT},{one}" for one in numbers]
        source = csv_of(tmp_path / "a.csv", *rows, header="account,address,time,n")
    else:
        counts = pa.array([1.5, -3.0, None, float("nan"), float("inf"), 1e300, 0.5, 2.0, 3.0])
        at = [datetime.fromisoformat(AT)] * 9
        table = {"account": ["acct-1"] * 9, "address": ["8.8.8.8"] * 9, "time": at, "n": counts}
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        source = source_of(tmp_path / "a.parquet", "parquet")
    source = LogSource(files=source.files, form=source.form, columns={"requests": "n"})
    report = replay(source, LISTS)
    assert (report.requests, report.bad) == (5, 7)


def test_many_packed_files_are_checked_by_one_thread(tmp_path: Path) -> None:
    text = "\n".join([clf("8.8.8.8", "acct-1"), clf("2001:4860::8", "acct-2")] * 500).encode()
    for number in range(40):
        (tmp_path / f"a{number:02}.log.gz").write_bytes(gzip.compress(text))
    source = source_of(tmp_path / "*.gz", "combined", account=BY_PATH)
    threads: list[int] = []

    def note(_rows: int, _expected: int | None) -> None:
        threads.append(sum(one.name == "cidrgate-check" for one in threading.enumerate()))

    assert replay(source, LISTS, progress=note).requests == 40_000
    assert max(threads) <= 1
    broken = tmp_path / "a38.log.gz"
    broken.write_bytes(broken.read_bytes()[:-9])
    with pytest.raises(LogError, match=r"a38.*damaged, cut off"):
        replay(source, LISTS)


FIRST_FIELDS, OTHER_FIELDS = "date time c-ip x-account x-other", "date time x-other x-account c-ip"


def of_fields(fields: str, account: str, address: str) -> str:
    values = {"date": "2026-10-10", "time": "11:55:36", "c-ip": address, "x-account": account}
    return "\t".join(values.get(name, "66.66.66.66") for name in fields.split())


@pytest.mark.parametrize("names", ["ab", "ba", "aba", "both", "bothaboth", "again", "pqa"])
@pytest.mark.parametrize("rows", [1, 5_000])
def test_each_header_of_fields_counts_for_the_lines_behind_it(tmp_path: Path, names: str, rows: int) -> None:
    """In another file, and in files that were made one."""
    first = f"#Version: 1.0\n#Fields: {FIRST_FIELDS}\n" + of_fields(FIRST_FIELDS, "acct-1", "8.8.8.8") + "\n"
    first += (of_fields(FIRST_FIELDS, "acct-1", "8.8.8.8") + "\n") * (rows - 1)
    other = f"#Fields: {OTHER_FIELDS}\n" + (of_fields(OTHER_FIELDS, "acct-2", "2001:4860::8") + "\n") * rows
    texts = {"a": first, "b": other, "both": first + other, "again": first + first + other, "p": "", "q": "#x\n"}
    texts["q"] = f"#Fields: {FIRST_FIELDS}\n"
    parts = {"both": ["both"], "bothaboth": ["both", "a", "both"], "again": ["again"]}.get(names) or [*names]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / one) for one in parts]
    source = LogSource(files=files, form=FORMATS["cloudfront"], columns={"account": "x-account"})
    whole = "".join(texts[one] for one in parts)
    expected = [one for one in EXPECTED if one[0] in whole]
    assert said(source) == expected
    report = replay(source, LISTS)
    assert (report.lines, report.bad) == (whole.count("acct-"), 0)
    assert report.verdicts["denied"] == whole.count("acct-2")


def test_lines_before_their_header_are_refused(tmp_path: Path) -> None:
    line = of_fields(FIRST_FIELDS, "acct-1", "8.8.8.8")
    (tmp_path / "a.log").write_text(f"{line}\n#Fields: {FIRST_FIELDS}\n{line}\n")
    with pytest.raises(LogError, match=r"no line #Fields: before its requests"):
        said(source_of(tmp_path / "a.log", "cloudfront", account="a"))
