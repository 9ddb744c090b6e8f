"""The tables of the documentation that are made from the code: `python -m tests.docs.generated` writes them.

Each stands between `<!-- NAME -->` and `<!-- end -->`. A test fails while a page differs from what the code says.
"""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING

from cidrgate.rules import RULES, Policy
from cidrgate.values import DETAILS
from tests.cli import settings_page
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["PAGES", "outdated", "write"]


def _table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def _rules() -> str:
    return _table(["code", "the problem", "the hint"], [[f"`{rule.code}`", rule.when, rule.told] for rule in RULES])


def _policy() -> str:
    return _table(
        ["field", "default", "meaning"],
        [[f"`{one.name}`", str(one.default), one.metadata["help"]] for one in fields(Policy)],
    )


def _details() -> str:
    names = {str: "text", bool: "true or false", int: "a whole number", datetime: "a time with a time zone"}
    return _table(
        ["detail", "value", "if nobody says", "meaning"],
        [[f"`{one.name}`", names[one.kind], f"{one.default}", one.meaning] for one in DETAILS],
    )


TABLES: dict[str, Callable[[], str]] = {
    "the rules": _rules,
    "the fields of Policy": _policy,
    "the details of an entry": _details,
}
"""The text of each table, by the name in the page."""


def _filled(text: str) -> str:
    """The text of a page with its tables as they ought to be."""
    for name, table in TABLES.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        rows = table().replace("\\", r"\\")
        text = marked.sub(rf"\g<1>\n{rows}\n\n\g<2>", text)
    return text


PAGES: dict[str, Callable[[str], str]] = {
    "docs/rules.md": _filled,
    "docs/reference/settings.md": _filled,
    "docs/howto/library.md": _filled,
    "docs/reference/environment.md": settings_page.filled_page,
}
"""For each page with tables, what fills them."""


def outdated() -> list[str]:
    """The pages that differ from what the code says."""
    return [page for page, fill in PAGES.items() if (text := (ROOT / page).read_text()) != fill(text)]


def write() -> None:
    """Write the pages as they ought to be."""
    for page in outdated():
        (ROOT / page).write_text(PAGES[page]((ROOT / page).read_text()))
        print(f"written: {page}")


if __name__ == "__main__":
    write()
