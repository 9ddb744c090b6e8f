"""Spark answers for each row as the matcher of this process does. Run by `make spark`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cidrgate import SnapshotError
from cidrgate.replay import spark as on_spark
from tests.engine.test_arrow_tables import ACCOUNTS, expected, matcher_with
from tests.spark.conftest import LOCAL

if TYPE_CHECKING:
    from cidrgate import Matcher

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")

PREFIXES = ["8.8.8.0/24", "8.9.0.0/16", "1.1.1.1/32", "2606:4700::/32", "2620:fe::9/128"]
ADDRESSES = [
    "8.8.8.8",
    "8.8.9.0",
    "8.9.255.255",
    "1.1.1.1",
    "1.1.1.2",
    "2606:4700::1",
    "2606:4701::",
    "2620:fe::9",
    "::",
]
INVALID = ["", "8.8.8", "8.8.8.8/32", " 8.8.8.8", "x" * 50, None]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matcher, Path]:
    made = matcher_with(PREFIXES)
    path = tmp_path_factory.mktemp("snapshots") / "lists.snapshot"
    made.save(path)
    return made, path


def rows_of(count: int) -> list[tuple[int, str | None, str | None]]:
    drawn = random.Random(7)
    return [
        (number, drawn.choice([*ACCOUNTS, None]), drawn.choice([*ADDRESSES, *ADDRESSES, *INVALID]))
        for number in range(count)
    ]


def logs_in(folder: Path, rows: list[tuple[int, str | None, str | None]]) -> Path:
    """The rows as Parquet, in several files."""
    folder.mkdir()
    for part in range(4):
        numbers, accounts, addresses = zip(*rows[part::4], strict=True)
        columns = {
            "id": numbers,
            "account": pa.array(accounts, pa.string()),
            "address": pa.array(addresses, pa.string()),
        }
        pq.write_table(pa.table(columns), folder / f"part-{part}.parquet", row_group_size=500)
    return folder


def test_each_row_is_answered_as_here(spark: Any, matcher: tuple[Matcher, Path], tmp_path: Path) -> None:
    local, snapshot = matcher
    rows = rows_of(5_000)
    frame = spark.read.parquet(str(logs_in(tmp_path / "logs", rows))).repartition(5)
    answered = on_spark.allows(frame, snapshot)
    assert answered.columns == ["id", "account", "address", "allowed"]
    assert not answered.schema["allowed"].nullable
    assert frame.columns == ["id", "account", "address"]
    found = sorted(tuple(row) for row in answered.collect())
    assert [row[:3] for row in found] == rows
    assert [row[3] for row in found] == [expected(local, *row[1:]) for row in rows]
    table = answered.toArrow()
    assert table.column("allowed").to_pylist() == local.allows_arrow(table).to_pylist()
    assert on_spark.allows(frame, snapshot, result="again").where("again").count() == sum(row[3] for row in found)


def test_another_snapshot_has_its_own_answers(spark: Any, tmp_path: Path) -> None:
    frame = spark.createDataFrame([("acct-1", "9.9.9.9")], ["who", "where"])
    path = tmp_path / "lists.snapshot"
    answers = []
    for prefix in ("8.8.8.0/24", "9.9.9.0/24"):
        matcher_with([prefix]).save(path)
        answered = on_spark.allows(frame, path, "who", "where")
        path.unlink()
        answers.append(answered.collect()[0]["allowed"])
    assert answers == [False, True]


def test_what_cannot_work_is_refused_before_it_starts(
    spark: Any, matcher: tuple[Matcher, Path], tmp_path: Path
) -> None:
    _, snapshot = matcher
    frame = spark.createDataFrame([("acct-1", "9.9.9.9", True)], ["account", "address", "allowed"])
    with pytest.raises(ValueError, match="the frame has a column 'allowed' already"):
        on_spark.allows(frame, snapshot)
    with pytest.raises(ValueError, match="the frame needs one column 'client'"):
        on_spark.allows(frame, snapshot, address="client")
    (tmp_path / "damaged").write_bytes(snapshot.read_bytes()[:-1])
    with pytest.raises(SnapshotError):
        on_spark.allows(frame, tmp_path / "damaged", result="answer")


def test_the_program_for_a_cluster_counts_denials(spark: Any, matcher: tuple[Matcher, Path], tmp_path: Path) -> None:
    local, snapshot = matcher
    rows = rows_of(2_000)
    logs = tmp_path / "logs"
    logs.mkdir()
    logs_in(logs / "account=other", rows)  # the program must not take the folder for the column
    submit = Path(sys.executable).with_name("spark-submit")
    command = [str(submit), "--master", "local[2]", str(ROOT / "examples" / "spark" / "replay.py"), str(logs)]
    done = subprocess.run(
        [*command, "--snapshot", str(snapshot), "--output", str(tmp_path / "denied")],
        env={**os.environ, **LOCAL},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    denied = [row for row in rows if not expected(local, *row[1:])]
    assert f"{len(rows):,} requests, {len(denied):,} of them denied" in done.stdout
    table = pq.read_table(tmp_path / "denied")
    counted = {(row["account"], row["address"]): row["requests"] for row in table.to_pylist()}
    assert counted == {key: sum(row[1:] == key for row in denied) for key in {row[1:] for row in denied}}
