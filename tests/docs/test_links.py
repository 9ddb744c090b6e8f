"""Every link of the docs that stays in the repository leads to a file that is there, and to a heading on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import PAGES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INCLUDED = re.compile(r"^```\{(?:include|literalinclude)\} (\S+)", re.MULTILINE)


def links(text: str) -> list[str]:
    """The targets of the links in a text, outside of blocks of code."""
    return [target for target in _LINK.findall(_FENCE.sub("", text)) if not re.match(r"[a-z]+:", target)]


def anchors(path: Path) -> set[str]:
    """The headings of a page, as links name them; those of a generated page are in the code."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", _FENCE.sub("", path.read_text()), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    broken = []
    for target in links(text):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    broken += [name for name in _INCLUDED.findall(text) if not (page.parent / name).is_file()]
    assert broken == []


def test_each_page_of_the_site_is_in_a_table_of_contents() -> None:
    listed = set()
    for page in (ROOT / "docs").rglob("*.md"):
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            listed |= {
                (page.parent / f"{line}.md").resolve()
                for line in block.splitlines()
                if line.strip() and not line.startswith(":")
            }
    pages = {path for path in (ROOT / "docs").rglob("*.md") if path.name != "index.md" or path.parent.name != "docs"}
    assert listed == pages


def test_a_broken_link_is_noticed() -> None:
    assert links("[a](there.md#x)\n```\n[no](block.md)\n```\n[out](https://example.com)") == ["there.md#x"]
    assert {"requests", "words-we-do-not-use"} <= anchors(ROOT / "docs" / "glossary.md")
