"""The pages that people read, and what stands on them outside of code."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["GLOSSARY", "PAGES", "ROOT", "prose", "table"]

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
PAGES = [
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
    *sorted((ROOT / "deploy").rglob("README.md")),
]

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})[^\n]*\n.*?^\1\2 *$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`[^`\n]+`")


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def prose(text: str) -> str:
    """The text with its code blanked out, so that positions stay."""
    return _INLINE.sub(_blank, _FENCE.sub(_blank, text))


def table(text: str, head: str) -> list[list[str]]:
    """The rows of each table of a page whose first line is `head`."""
    lines = text.splitlines()
    rows = []
    for number, line in enumerate(lines):
        if line == head:
            for row in lines[number + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append([cell.strip() for cell in row.strip("|").split("|")])
    return rows
