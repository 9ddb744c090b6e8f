"""Answers for a log on Apache Spark, with one processor and with two: `python -m benchmarks.spark`.

The log is Parquet, with random pairs of 100,000 accounts and addresses, half of which are allowed. Spark reads it,
`cidrgate.replay.spark.allows` answers for each row, and Spark counts the denied rows of each account. Every number of
processors gets a process, one run to warm up, and the best of the runs that follow. The counts must agree with
`Matcher.allows_arrow` in this process. The setting needs `make spark`, which installs PySpark.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cidrgate import Matcher

ACCOUNTS = 100_000
ENTRIES = 10
ROWS = 20_000_000
RUNS = 3

_FILES = 8
_SEED = 7
_GOAL = 1.7
_PART = "16m"
"""How much of the log a task reads. With the 128 MB of Spark there were three tasks, for which two processors need two
turns.
"""
_LOCAL = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost", "PYSPARK_PYTHON": sys.executable}


def main() -> None:
    """Make the log and the lists, measure in a process each, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--processors", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.processors:
        print(json.dumps(_measure(options.folder, options.processors, options.runs)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        denied = _write(folder, options.rows, options.accounts)
        print(f"{options.rows:,} rows, {options.accounts:,} accounts with {ENTRIES} entries each")
        print(f"load of the machine before the runs: {os.getloadavg()[0]:.1f}")
        seconds = {}
        for processors in (1, 2):
            command = [sys.executable, "-m", "benchmarks.spark", "--processors", str(processors), "--folder", name]
            done = subprocess.run([*command, "--runs", str(options.runs)], stdout=subprocess.PIPE, check=True)
            answer = json.loads(done.stdout.splitlines()[-1])
            if answer["denied"] != denied:
                raise SystemExit(f"local[{processors}] denied {answer['denied']:,} rows, and the matcher {denied:,}")
            seconds[processors] = answer["seconds"]
            rate = options.rows / answer["seconds"] / 1e6
            print(f"local[{processors}]: {answer['seconds']:.2f} s, {rate:.2f} million rows a second")
        print(f"local[2] is {seconds[1] / seconds[2]:.2f} times as fast as local[1]; the goal is {_GOAL}")


def _write(folder: Path, rows: int, accounts: int) -> int:
    """Write the log and the snapshot; return how many rows are denied."""
    drawn = np.random.default_rng(_SEED)
    names = [f"acct-{number:06}" for number in range(accounts)]
    lists = drawn.integers(1 << 24, 224 << 24, (accounts, ENTRIES), dtype=np.uint32) & np.uint32(0xFFFFFF00)
    matcher = Matcher()
    for name, networks in zip(names, lists, strict=True):
        matcher.publish(name, sorted({f"{_text(network)}/24" for network in networks.tolist()}))
    matcher.save(folder / "lists.snapshot")
    (folder / "log").mkdir()
    denied = 0
    for part in range(_FILES):
        count = rows // _FILES + (part < rows % _FILES)
        places = drawn.integers(0, accounts, count, dtype=np.int32)
        inside = lists[places, drawn.integers(0, ENTRIES, count)] + drawn.integers(0, 256, count, dtype=np.uint32)
        outside = drawn.integers(1 << 24, 224 << 24, count, dtype=np.uint32)
        numbers = np.where(drawn.random(count) < 0.5, inside, outside)
        table = pa.table(
            {
                "account": pa.DictionaryArray.from_arrays(places, names).cast(pa.string()),
                "address": pa.array(map(_text, numbers.tolist()), pa.string()),
            }
        )
        denied += count - matcher.allows_arrow(table).true_count
        pq.write_table(table, folder / "log" / f"{part}.parquet")
    return denied


def _text(number: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _measure(folder: Path, processors: int, runs: int) -> dict[str, float]:
    os.environ.update(_LOCAL)
    from pyspark.sql import SparkSession

    from cidrgate.replay.spark import allows

    options = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.files.maxPartitionBytes": _PART,
    }
    builder = SparkSession.builder.master(f"local[{processors}]")
    for name, value in options.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    best = float("inf")
    for run in range(runs + 1):
        start = time.perf_counter()
        answered = allows(spark.read.parquet(str(folder / "log")), folder / "lists.snapshot")
        counted = answered.where("NOT allowed").groupBy("account").count().groupBy().sum("count").first()
        if run:
            best = min(best, time.perf_counter() - start)
    spark.stop()
    return {"seconds": best, "denied": counted[0]}


if __name__ == "__main__":
    main()
