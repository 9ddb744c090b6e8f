"""The recipe for ClickHouse, run by chdb, answers for each row as the matcher does. Run by `make spark`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.engine.test_arrow_tables import ACCOUNTS, expected, matcher_with

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "large-logs.md"
ADDRESSES = [
    *("8.8.8.8", "8.8.9.0", "1.1.1.1", "1.1.1.2", "2606:4700::1", "2606:4701::", "::", "::8.8.8.8", "2606:4700::"),
    *("::ffff:8.8.8.8", "::ffff:808:808", "", "x", "8.8.8", "08.8.8.8", "8.8.8.8 ", " 8.8.8.8", "8.8.8.8/32"),
    *("2606:4700::1%1", "[::1]", "8.8.8.8:1", "1.2.3.4.5", "134744072", "0x8.8.8.8", "02606:4700::", None),
]


def block(language: str, containing: str) -> str:
    """A block of code of the page."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    [found] = [one for one in blocks if containing in one]
    return str(found)


def test_the_query_answers_as_the_matcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chdb = pytest.importorskip("chdb", reason="needs chdb: pip install chdb")
    monkeypatch.chdir(tmp_path)
    matcher = matcher_with(["8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32"])
    matcher.publish("closed", [], when_empty="deny")
    matcher.save("lists.snapshot")
    exec(block("python", "lists.parquet"), {})
    rows = [(account, address) for account in [*ACCOUNTS, "closed", None] for address in ADDRESSES]
    accounts, addresses = (pa.array([row[place] for row in rows], pa.string()) for place in (0, 1))
    pq.write_table(pa.table({"account": accounts, "address": addresses}), "logs.parquet")
    answered: Any = chdb.query(block("sql", "lists.parquet"), "ArrowTable")
    found = {(row["account"], row["address"]): bool(row["allowed"]) for row in answered.to_pylist()}
    assert found == {row: expected(matcher, *row) for row in rows}
