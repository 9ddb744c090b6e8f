"""Plain Parquet files are read as pyarrow and DuckDB read them, whoever wrote them, and no damage is an accident."""

from __future__ import annotations

import io
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from cidrgate import Matcher
from cidrgate.replay import FORMATS, LogError, LogSource, replay
from cidrgate.replay.parquet import plain_batches, plain_rows
from cidrgate.replay.reading import opened_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTS = Matcher()
LISTS.publish("acct-1", ["8.8.8.0/24", "2606:4700::/32"])
LISTS.publish("ünïcode", ["1.1.1.1/32"])

COLUMNS = {"account": "account", "address": "address"}
TEXTS = st.one_of(
    st.none(),
    st.sampled_from(["acct-1", "ünïcode", "-", "", "8.8.8.8", "2606:4700:1234:5678:9abc:def0:1234:5678"]),
    st.text(max_size=40),
)
OPTIONS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy", "gzip", "zstd", "brotli"]),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "use_dictionary": st.sampled_from([True, False, ["account"]]),
        "row_group_size": st.sampled_from([7, 1_000]),
        "data_page_size": st.sampled_from([16, 2**20]),
        "dictionary_pagesize_limit": st.sampled_from([40, 2**20]),
        "write_batch_size": st.sampled_from([1, 5, 1_024]),
        "write_statistics": st.booleans(),
    }
)


def texts(array: Any) -> list[str | None]:
    found: list[str | None] = array.cast(pa.string()).to_pylist()
    return found


def read(path: Path, size: int, shortest: int = 1_000_000) -> dict[str, list[str | None]]:
    """Return what a file says, with batches of this size, or of one dictionary and at least the shortest one."""
    found: dict[str, list[str | None]] = {"account": [], "address": []}
    lengths = []
    with patch("cidrgate.replay.parquet._SHORTEST", shortest):
        for batch in plain_batches([str(path)], COLUMNS, size):
            batch.validate(full=True)
            lengths.append(batch.num_rows)
            for role, values in found.items():
                values += texts(batch.column(role))
    ends = list(accumulate(lengths))
    assert all(end % size == 0 or length >= shortest for end, length in zip(ends[:-1], lengths[:-1], strict=True))
    assert all((end - 1) // size == (end - length) // size for end, length in zip(ends, lengths, strict=True))
    return found


def without_empty(accounts: list[str | None]) -> list[str | None]:
    return [one or None for one in accounts]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS), max_size=60),
    repeated=st.sampled_from([1, 40]),
    options=OPTIONS,
    size=st.sampled_from([1, 8, 1_000]),
    shortest=st.sampled_from([1, 5, 1_000_000]),
    required=st.booleans(),
)
def test_texts_are_those_that_pyarrow_reads(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str | None, str | None]],
    repeated: int,
    options: dict[str, Any],
    size: int,
    shortest: int,
    required: bool,
) -> None:
    path = tmp_path_factory.mktemp("logs") / "a.parquet"
    rows = [(account or "x", address or "y") for account, address in rows] if required else rows
    columns = [pa.array([row[place] for row in rows] * repeated, pa.string()) for place in (0, 1)]
    fields = [pa.field(name, pa.string(), nullable=not required) for name in COLUMNS]
    pq.write_table(pa.Table.from_arrays(columns, schema=pa.schema(fields)), path, **options)
    assert plain_rows([str(path)], COLUMNS) == len(rows) * repeated
    found = read(path, size, shortest)
    assert found["address"] == columns[1].to_pylist()
    assert found["account"] == without_empty(columns[0].to_pylist())


def test_values_of_one_dictionary_are_not_copied(tmp_path: Path) -> None:
    """Behind a dictionary that has grown too large, texts are plain."""
    rows = [(f"acct-{number % 3}", f"8.8.{number % 256}.{number // 256}") for number in range(60_000)]
    columns = {"account": [account for account, _ in rows], "address": [address for _, address in rows]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", dictionary_pagesize_limit=500_000)
    found = list(plain_batches([str(tmp_path / "a.parquet")], COLUMNS, 122_880))
    assert [str(batch.column("address").type).partition("<")[0] for batch in found] == ["dictionary", "string"]
    assert [row for batch in found for row in zip(*batch.to_pydict().values(), strict=True)] == rows


ROWS = [(f"acct-{number % 7}" if number % 5 else None, f"8.8.{number % 256}.{number % 250}") for number in range(3_000)]


def by_duckdb(path: Path, codec: str, version: str) -> None:
    frame = pa.table({"account": [row[0] for row in ROWS], "address": [row[1] for row in ROWS]})
    with duckdb.connect() as connection:
        connection.register("frame", frame)
        connection.execute(
            f"COPY frame TO '{path}' (FORMAT parquet, COMPRESSION {codec}, PARQUET_VERSION {version}, "
            "ROW_GROUP_SIZE 2048)"
        )


def by_polars(path: Path, codec: Any, _: str) -> None:
    frame = pl.DataFrame({"account": [row[0] for row in ROWS], "address": [row[1] for row in ROWS]})
    frame.write_parquet(path, compression=codec, data_page_size=4_096, row_group_size=1_000)


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("codec", ["uncompressed", "snappy", "zstd"])
@pytest.mark.parametrize("write", [by_duckdb, by_polars])
def test_files_of_other_writers_are_read(tmp_path: Path, write: Any, codec: str, version: str) -> None:
    path = tmp_path / "a.parquet"
    write(path, codec, version)
    if plain_rows([str(path)], COLUMNS) is not None:  # otherwise its encodings are left to DuckDB
        assert list(zip(*read(path, 777).values(), strict=True)) == ROWS
    else:
        assert (write, version) == (by_duckdb, "V2")


def batches(
    source: LogSource, wanted: frozenset[str], accounts: set[str] | None = None, *, by_database: bool
) -> list[dict[str, Any]]:
    """Return the requests of a log, with bad ones as those without an address."""
    with opened_log(source, threads=1) as log:
        if by_database:
            with patch("cidrgate.replay.reading.plain_rows", return_value=None):
                found = [row for batch in log.batches(wanted, accounts) for row in batch.to_pylist()]
        else:
            found = [row for batch in log.batches(wanted, accounts) for row in batch.to_pylist()]
            assert log._connection is None
    # Whatever else a bad row says is left out.
    return [row if row["address"] is not None else {} for row in found]


def fitting(moment: int, unit: str) -> int:
    return {"ms": moment // 1_000, "us": moment, "ns": moment // 1_000 * 1_000}[unit]


MOMENTS = st.one_of(st.none(), st.integers(-(2**63) + 1_000, 2**63 - 2), st.integers(0, 2 * 10**9))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, MOMENTS, MOMENTS), min_size=1, max_size=20),
    unit=st.sampled_from(["ms", "us", "ns"]),
    zone=st.sampled_from([None, "UTC", "America/New_York"]),
    counts=st.sampled_from([pa.int64(), pa.uint64()]),
    kind=st.sampled_from([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]),
    limit=st.sampled_from([40, 2**20]),
    shortest=st.sampled_from([2, 1_000_000]),
)
def test_requests_are_those_that_duckdb_reads(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str | None, str | None, int | None, int | None]],
    unit: str,
    zone: str | None,
    counts: Any,
    kind: Any,
    limit: int,
    shortest: int,
) -> None:
    path = tmp_path_factory.mktemp("logs") / "a.parquet"
    accounts, addresses, times, requests = zip(*rows, strict=True)
    table = pa.table(
        {
            "Account": pa.array(accounts, pa.string()).cast(kind),
            "ADDRESS": pa.array(addresses, pa.string()).cast(kind),
            "other": pa.array(range(len(rows))),
            # DuckDB refuses a log with a time that does not fit into its own, and rounds nanoseconds; here such a row
            # is bad, and a moment belongs to the microsecond that it is in.
            "time": pa.array([None if one is None else fitting(one, unit) for one in times], pa.timestamp(unit, zone)),
            "n": pa.array([None if one is None else abs(one) for one in requests], counts),
        }
    )
    pq.write_table(table, path, version="2.6", dictionary_pagesize_limit=limit, write_batch_size=2)
    source = LogSource(files=[str(path)], form=FORMATS["parquet"], columns={"requests": "N"})
    wanted = frozenset({"account", "address", "time", "requests"})
    with patch("cidrgate.replay.parquet._SHORTEST", shortest):
        assert batches(source, wanted, by_database=False) == batches(source, wanted, by_database=True)


@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=30), some=st.sets(st.sampled_from(["acct-1", "-", "x"]))
)
@settings(max_examples=30, deadline=None)
def test_requests_of_other_accounts_are_left_out_as_in_duckdb(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | None, str | None]], some: set[str]
) -> None:
    path = tmp_path_factory.mktemp("logs") / "a.parquet"
    accounts, addresses = zip(*rows, strict=True)
    pq.write_table(
        pa.table({"account": pa.array(accounts, pa.string()), "address": pa.array(addresses, pa.string())}), path
    )
    source = LogSource(files=[str(path)], form=FORMATS["parquet"])
    wanted = frozenset({"account", "address"})
    assert batches(source, wanted, some, by_database=False) == batches(source, wanted, some, by_database=True)


AT = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = {"account": ["acct-1", "ünïcode"], "address": ["8.8.8.8", "9.9.9.9"], "time": [AT, AT + timedelta(hours=1)]}


def sides(tmp_path: Path) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield files of two rows, and whether they are plain."""
    yield "plain", PLAIN, True
    yield "address as a number", {**PLAIN, "address": pa.array([0x08080808, 0x09090909], pa.uint32())}, False
    yield "address as binary", {**PLAIN, "address": pa.array([b"8.8.8.8", b"9.9.9.9"])}, False
    yield "account as a number", {**PLAIN, "account": pa.array([1, 2])}, False
    yield "time as text", {**PLAIN, "time": [one.isoformat() for one in PLAIN["time"]]}, False  # type: ignore[attr-defined]
    yield "time as seconds", {**PLAIN, "time": pa.array([1_700_000_000, 1_700_003_600])}, False
    yield "time as a date", {**PLAIN, "time": pa.array([20_000, 20_001], pa.date32())}, False
    yield "two names that differ by case", {**PLAIN, "ACCOUNT": ["a", "b"]}, False
    yield "a struct beside", {**PLAIN, "a": pa.array([{"account": "x"}, {"account": "y"}])}, True


def test_what_is_not_plain_is_left_to_the_database(tmp_path: Path) -> None:
    for name, columns, is_plain in sides(tmp_path):
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table(columns), path)
        roles = {"account": "account", "address": "address", "time": "time"}
        assert (plain_rows([str(path)], roles) is not None) is is_plain, name
        report = replay(LogSource(files=[str(path)], form=FORMATS["parquet"]), LISTS, threads=1)
        assert (report.requests, report.bad) == (2, 0), name


def test_several_files_are_one_log(tmp_path: Path) -> None:
    names = []
    for number, columns in enumerate(
        [
            PLAIN,
            dict(reversed(PLAIN.items())),
            {**PLAIN, "more": [1, 2]},
            {**PLAIN, "address": [0x08080808, 0x08080807]},
        ]
    ):
        names.append(str(tmp_path / f"{number}.parquet"))
        pq.write_table(pa.table(columns), names[-1])
    source = LogSource(files=names[:3], form=FORMATS["parquet"])
    wanted = frozenset({"account", "address", "time"})
    assert batches(source, wanted, by_database=False) == batches(source, wanted, by_database=True)
    assert replay(source, LISTS, threads=1).verdicts["allowed"] == 3
    # A file without a column has nothing in its place.
    pq.write_table(pa.table({**PLAIN}).drop_columns("account"), names[3])
    report = replay(replace(source, files=tuple(names)), LISTS, threads=1)
    assert (report.requests, report.verdicts["no_account"]) == (8, 2)


def test_folders_that_are_columns_are_left_to_the_database(tmp_path: Path) -> None:
    (tmp_path / "account=acct-1").mkdir()
    path = tmp_path / "account=acct-1" / "a.parquet"
    pq.write_table(pa.table(PLAIN).drop_columns("account"), path)
    report = replay(LogSource(files=[str(path)], form=FORMATS["parquet"]), LISTS, threads=1)
    assert (report.verdicts["allowed"], report.verdicts["denied"]) == (1, 1)


def test_text_that_is_not_utf8_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    wrong = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfe\xff\xff"))
    for name in ("account", "address"):
        pq.write_table(pa.table({**PLAIN, name: wrong}), path)
        with pytest.raises(LogError, match=r"a\.parquet cannot be read as Apache Parquet: .*UTF-8"):
            replay(LogSource(files=[str(path)], form=FORMATS["parquet"]), LISTS)


@pytest.mark.parametrize("codec", ["none", "snappy"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_said_or_read(
    tmp_path_factory: pytest.TempPathFactory, codec: str, data: st.DataObject
) -> None:
    written = io.BytesIO()
    columns = {"account": ["acct-1", None, "acct-2"] * 20, "address": [f"8.8.8.{number}" for number in range(60)]}
    version = data.draw(st.sampled_from(["1.0", "2.0"]))
    pq.write_table(pa.table(columns), written, compression=codec, data_page_version=version, use_dictionary=["account"])
    octets = bytearray(written.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("logs") / "a.parquet"
    path.write_bytes(octets[: data.draw(st.sampled_from([None, len(octets) // 2, 3, 0]))])
    with suppress(LogError):
        for batch in plain_batches([str(path)], COLUMNS, 7):
            batch.validate(full=True)
            pc.count(batch.column("address"))


def test_metadata_with_any_bit_wrong_is_said_or_read(tmp_path: Path) -> None:
    """Its members may have any type then."""
    written = io.BytesIO()
    pq.write_table(pa.table({"account": ["acct-1"], "address": ["8.8.8.8"]}), written, store_schema=False)
    octets = written.getvalue()
    begin = len(octets) - 8 - int.from_bytes(octets[-8:-4], "little")
    path = tmp_path / "a.parquet"
    outcomes = Counter[str]()
    for at in range(begin, len(octets)):
        for bit in range(8):
            damaged = bytearray(octets)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                for batch in plain_batches([str(path)], COLUMNS, 7):
                    batch.validate(full=True)
            except LogError:
                outcomes["said"] += 1
            else:
                outcomes["read"] += 1
    assert min(outcomes["said"], outcomes["read"]) > 100
