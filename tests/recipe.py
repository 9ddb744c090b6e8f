"""What a change is still missing: `python -m tests.recipe field` or `rule`, as docs/development.md describes them.

The command runs the tests that guard a recipe and prints one line for each place to change. It ends with status 1 while
a place is missing. First it writes the tables of the documentation that are made from the code.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import pytest

from tests.docs.pages import ROOT

RECIPES = {
    "field": (
        "tests/test_entry_fields.py",
        "tests/replica/test_matching.py",
        "tests/stores/test_bulk.py",
        "tests/stores/test_migrations.py",
        "tests/docs/test_generated.py",
    ),
    "rule": (
        "tests/rules/test_rules_table.py",
        "tests/rules/test_validation.py",
        "tests/docs/test_generated.py",
        "tests/docs/test_reference.py",
    ),
}
"""The tests that fail for a forgotten place, by recipe."""

_MESSAGE = re.compile(r"^E +(?:\w+Error: )?(.+)$", re.MULTILINE)

_LONGEST = 300
"""The most characters of a message that are shown."""


class _Missing:
    """Collects the first line of each failure's message, with the first test that says it."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def _note(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.failed:
            message = _MESSAGE.search(report.longreprtext)
            text = message[1] if message else report.longreprtext.strip().splitlines()[-1]
            self.found.setdefault(text[:_LONGEST], report.nodeid)


def main(arguments: list[str]) -> int:
    """Print what is missing, and return the exit status."""
    if len(arguments) != 1 or arguments[0] not in RECIPES:
        print(f"usage: python -m tests.recipe {'|'.join(RECIPES)}", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    missing = _Missing()
    try:
        from tests.docs.generated import write

        write()
        quiet: list[Any] = ["-q", "--no-header", "--no-summary", "-p", "no:cacheprovider"]
        pytest.main([*quiet, *RECIPES[arguments[0]]], plugins=[missing])
    except Exception as error:  # noqa: BLE001 - a module that refuses to be imported says what is missing
        missing.found[f"{error}"] = "import"
    print("\nmissing (run this again afterwards; more may follow):" if missing.found else "nothing is missing")
    for place, test in missing.found.items():
        print(f"- {place} ({test})")
    return int(bool(missing.found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
