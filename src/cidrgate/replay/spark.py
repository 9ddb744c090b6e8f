"""Apache Spark: the answers for logs that one machine cannot read.

Spark sends the rows of each partition to Python as batches of Arrow, and `Matcher.allows_arrow` answers for a batch.
The lists travel as the file of a snapshot: each executor has one copy, which its Python workers map, so that they share
its memory. What has expired is removed before, so that all workers answer alike, whenever they open the file.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cidrgate._engine import Matcher
from cidrgate.process.temporary_folders import temporary_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from pyspark.sql import DataFrame

__all__ = ["allows"]


def allows(
    frame: DataFrame,
    snapshot: str | os.PathLike[str],
    account: str = "account",
    address: str = "address",
    *,
    result: str = "allowed",
) -> DataFrame:
    """Return the rows with one more column: whether the address of each row may act for its account.

    Each row is answered like `Matcher.allows`, except for what cannot be known: a row whose account is null, or whose
    address is null or not an address, is denied. The column never is null. Rows stay in their partitions and in order.
    All columns of the frame pass through Python, so select those that you need before.

    Every worker needs cidrgate and pyarrow. `examples/spark` has a program for `spark-submit`.

    Args:
        frame: The rows.
        snapshot: The path of a snapshot on the driver, from `cidrgate compile`, `RuleManager.save_snapshot` or
            `Matcher.save`. Its lists are used as `Matcher.open` finds them during this call: what expires later, and a
            later change of the file, have no effect.
        account: The column with accounts: strings.
        address: The column with addresses: strings, or binaries of 4 or 16 bytes.
        result: The name of the new column.

    Raises:
        SnapshotError: If the file cannot be read.
        ValueError: If the frame has no such columns, or has a column with the name of the new one.
    """
    from pyspark.sql.types import BooleanType, StructField, StructType

    for name in (account, address):
        if frame.columns.count(name) != 1:
            raise ValueError(f"the frame needs one column {name!r}: its columns are {', '.join(frame.columns)}")
    if result in frame.columns:
        raise ValueError(f"the frame has a column {result!r} already: choose another name with result=")
    name = _sent(frame, Matcher.open(snapshot))

    def answered(batches: Iterator[Any]) -> Iterator[Any]:
        matcher = _matcher_of(name)
        for batch in batches:
            yield batch.append_column(result, matcher.allows_arrow(batch, account, address))

    schema = StructType([*frame.schema.fields, StructField(result, BooleanType(), nullable=False)])
    return frame.mapInArrow(answered, schema)


def _sent(frame: DataFrame, matcher: Matcher) -> str:
    """Give the lists of a matcher to Spark as a file under the name of its content, and return that name.

    Spark refuses another file of the same name, and keeps what workers have of a file as long as the session lives.
    """
    with temporary_folder("spark") as folder:
        saved = folder / "lists"
        matcher.save(saved)
        with saved.open("rb") as stream:
            name = f"cidrgate-{hashlib.file_digest(stream, 'sha256').hexdigest()}.snapshot"
        copy = _folder() / name
        if not copy.exists():
            shutil.move(saved, copy)
    context = frame.sparkSession.sparkContext
    if not any(Path(path).name == name for path in context.listFiles):
        context.addFile(str(copy))
    return name


@cache
def _folder() -> Path:
    """Return a folder for copies, which lives as long as this process: executors fetch a file when they need it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(temporary_folder("spark"))


@cache
def _matcher_of(name: str) -> Matcher:
    """Return the matcher of a snapshot, which a Python worker maps once."""
    from pyspark import SparkFiles

    return Matcher.open(SparkFiles.get(name))
