"""Every block of shell commands in the docs is run by a test, or says why it is not."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import PAGES, ROOT
from tests.docs.shell import blocks_of, matches, type_page
from tests.servers.running import program

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = [(page, block) for page in PAGES for block in blocks_of(page.read_text())]
RUN = sorted({page for page, block in BLOCKS if block.mark == "run"})


def test_each_block_is_run_or_says_why_not() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    unmarked = []
    for page, block in BLOCKS:
        kind, _, about = (block.mark or "").partition(": ")
        by_name = kind == "run" and re.search(rf'"{re.escape(about)}"', tests)
        file = kind.removeprefix("run by ")
        by_file = (
            kind.startswith("run by ") and (ROOT / file).is_file() and page.parent.name in (ROOT / file).read_text()
        )
        if not (block.mark == "run" or by_name or by_file or (kind == "not run" and len(about) > 10)):
            unmarked.append(f"{page.relative_to(ROOT)}:{block.line}")
    assert unmarked == []


@pytest.mark.parametrize("page", RUN, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_shows_what_its_commands_say(page: Path, tmp_path: Path) -> None:
    program("curl", "on Debian: apt-get install curl")
    text = page.read_text()
    differ = []
    for typed, said in type_page(text, tmp_path):
        if typed.expected and not matches(typed.expected, said):
            differ.append((typed, said))
    if os.environ.get("CIDRGATE_WRITE_DOCS"):
        for typed, said in differ:
            text = text.replace("\n".join(typed.expected), said.strip("\n"), 1)
        page.write_text(text)
    assert not differ, "\n\n".join(
        f"$ {typed.command}\n{said}--- but the page shows\n" + "\n".join(typed.expected) for typed, said in differ
    )


def test_an_output_that_differs_is_noticed() -> None:
    assert matches(["at 2026-01-01 10:00:00 by …"], "at 2026-03-01 12:30:00 by alice\n")
    assert not matches(["added 8.8.8.0/24"], "added 8.8.9.0/24\n")
    assert not matches(["one line"], "one line\nand another\n")
