"""The table of faults in the documentation: each row has a scenario that brings it about, and each scenario a row."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = "| fault | what happens | what to do |"


def documented() -> list[str]:
    """The first column."""
    lines = (ROOT / "docs" / "many-nodes.md").read_text().splitlines()
    rows = lines[lines.index(HEAD) + 2 :]
    table = rows[: next(number for number, row in enumerate(rows) if not row.startswith("|"))]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    assert all(len(row) == 3 and all(row) for row in cells)
    return [row[0] for row in cells]


def brought_about() -> set[str]:
    """What the scenarios name, wherever they are."""
    named = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                [row] = node.args
                named.add(ast.literal_eval(row))
    return named


def test_each_row_is_brought_about_and_each_fault_is_documented() -> None:
    rows = documented()
    assert len(set(rows)) == len(rows)
    assert set(rows) == brought_about()
