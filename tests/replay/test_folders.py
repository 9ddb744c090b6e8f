"""The name of a folder never changes what a log says: it only fills a column that a Parquet file does not have."""

from __future__ import annotations

import bz2
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cidrgate import Matcher
from cidrgate.replay import FORMATS, LogError, LogSource, observations, replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LISTS = Matcher()
for name, network in {"acct-1": "8.8.8.0/24", "sub": "9.9.9.9/32", "007": "9.9.9.0/24", "7": "1.1.1.1/32"}.items():
    LISTS.publish(name, [network])

ROW = {"account": "acct-1", "address": "9.9.9.9", "time": "2026-01-01T00:00:00Z", "method": "GET"}
FOLDERS = [
    "account=sub",
    "Account=sub",
    "address=8.8.8.8",
    "time=2026-01-01",
    "line=8.8.8.8",
    "method=POST",
    "account=sub/address=8.8.8.8",
    "account=sub/account=7",
    "day=1",
]


def csv_of(rows: list[dict[str, str]]) -> bytes:
    return "".join(",".join(one) + "\n" for one in [list(rows[0]), *(list(row.values()) for row in rows)]).encode()


def json_of(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def lines_of(rows: list[dict[str, str]]) -> bytes:
    lines = (f'{row["address"]} - {row["account"]} [01/Jan/2026:00:00:00 +0000] "GET / HTTP/1.1" 200 1' for row in rows)
    return "".join(line + "\n" for line in lines).encode()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), made)
    return made.getvalue()


WRITERS: dict[str, tuple[str, Callable[[list[dict[str, str]]], bytes]]] = {
    "csv": ("csv", csv_of),
    "csv.gz": ("csv", lambda rows: gzip.compress(csv_of(rows))),
    "csv.bz2": ("csv", lambda rows: bz2.compress(csv_of(rows))),
    "jsonl": ("jsonl", json_of),
    "log": ("combined", lines_of),
    "log.gz": ("combined", lambda rows: gzip.compress(lines_of(rows))),
    "parquet": ("parquet", parquet_of),
}


def source_of(form: str, *files: Path) -> LogSource:
    columns = {"account": "remote_user"} if form == "combined" else {}
    return LogSource(files=files, form=FORMATS[form], columns=columns)


def answers(source: LogSource) -> tuple[Any, ...]:
    report = replay(source, LISTS)
    found = sorted(observations(source, LISTS), key=lambda one: one.network)
    return report.requests, report.bad, dict(report.verdicts), [(one.account, one.network) for one in found]


def placed(folder: Path, name: str, octets: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(octets)
    return path


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("ending", WRITERS)
def test_no_folder_changes_what_a_file_says(tmp_path: Path, ending: str, folder: str) -> None:
    form, written = WRITERS[ending]
    octets = written([ROW])
    plain = placed(tmp_path / "plain", f"a.{ending}", octets)
    inside = placed(tmp_path / folder, f"a.{ending}", octets)
    alone = answers(source_of(form, plain))
    assert (alone[:2], alone[2]["denied"]) == ((1, 0), 1)
    assert answers(source_of(form, inside)) == alone
    both = replay(source_of(form, plain, inside), LISTS)
    assert (both.requests, both.verdicts["denied"]) == (2, 2)


@pytest.mark.parametrize(
    ("account", "verdict"), [("007", "allowed"), ("acct-1", "denied"), ("a%2Fb", "unknown_account")]
)
def test_a_folder_fills_a_column_that_a_file_does_not_have(tmp_path: Path, account: str, verdict: str) -> None:
    """It does so whatever other files of the log have."""
    without = parquet_of([{name: value for name, value in ROW.items() if name != "account"}])
    path = placed(tmp_path / f"Account={account}" / "address=1.1.1.1", "a.parquet", without)
    number = placed(tmp_path / "account=8", "a.parquet", without)
    full = placed(tmp_path / "account=sub", "a.parquet", parquet_of([{**ROW, "account": "7"}]))
    report = replay(source_of("parquet", path), LISTS)
    assert (report.requests, report.verdicts[verdict]) == (1, 1)
    for others in ([number], [full], [number, full], [full, number]):
        report = replay(source_of("parquet", path, *others), LISTS)
        rest = replay(source_of("parquet", *others), LISTS)
        assert report.verdicts[verdict] == rest.verdicts[verdict] + 1


def test_a_folder_without_a_value_is_an_account_that_is_missing(tmp_path: Path) -> None:
    without = parquet_of([{name: value for name, value in ROW.items() if name != "account"}])
    path = placed(tmp_path / "account=__HIVE_DEFAULT_PARTITION__", "a.parquet", without)
    assert replay(source_of("parquet", path), LISTS).verdicts["no_account"] == 1


def test_folders_that_say_different_things_are_refused(tmp_path: Path) -> None:
    without = parquet_of([{name: value for name, value in ROW.items() if name != "account"}])
    path = placed(tmp_path / "account=sub" / "account=7", "a.parquet", without)
    with pytest.raises(LogError, match="in several folders account=…"):
        replay(source_of("parquet", path), LISTS)


@pytest.mark.parametrize(
    "columns",
    [
        {"address": pa.array([0x09090909], pa.uint32())},
        {"account": pa.array([7.0])},
        {"account": pa.array([7], pa.int8())},
        {"time": pa.array(["2026-01-01"])},
        {"time": pa.array([20260101])},
        {"account": None},
        {"time": None},
    ],
)
def test_the_types_of_a_file_do_not_change_how_another_is_read(tmp_path: Path, columns: dict[str, Any]) -> None:
    files = [placed(tmp_path, "a.parquet", parquet_of([ROW])), tmp_path / "b.parquet"]
    table = pa.table(
        {
            name: one
            for name, one in {**pa.table(pa.Table.from_pylist([ROW])).to_pydict(), **columns}.items()
            if one is not None
        }
    )
    pq.write_table(table, files[1])
    for some in (files, files[::-1]):
        report = replay(source_of("parquet", *some), LISTS)
        assert (report.requests + report.bad, report.verdicts["denied"] >= 1) == (2, True)
    if None not in columns.values():
        alone = [replay(source_of("parquet", file), LISTS).verdicts for file in files]
        assert report.verdicts == {name: alone[0][name] + alone[1][name] for name in alone[0]}


def test_the_file_of_stdin_is_in_no_folder_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "account=sub"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    without = parquet_of([{name: value for name, value in ROW.items() if name != "account"}])
    path = placed(tmp_path, "a.parquet.bz2", bz2.compress(without))
    with pytest.raises(LogError, match="no column account"):
        replay(source_of("parquet", path), LISTS)


def test_many_files_keep_their_folders_apart(tmp_path: Path) -> None:
    without = parquet_of([{name: value for name, value in ROW.items() if name != "account"}])
    files = [placed(tmp_path / f"account={number % 10:03}", f"{number}.parquet", without) for number in range(200)]
    files += [placed(tmp_path / "account=007", f"b{number}.parquet", parquet_of([ROW])) for number in range(200)]
    report = replay(source_of("parquet", *files), LISTS)
    assert (report.verdicts["allowed"], report.verdicts["denied"]) == (20, 200)
