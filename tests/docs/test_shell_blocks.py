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
TOKEN = re.compile(rb"cidrgate_[1-9][0-9]*_[\w-]{43}")
WRITES_A_SECRET = re.compile(
    r"""token\ create\b[^|;&\n]*>\s*(?!/dev/)\S        # a token
    |>\s*\S*(?:token|secret|password|_url|\.key)\b   # a file that is called so
    |\bVACUUM\ INTO\b|\.backup\ '|\bpg_dump\b       # a whole store
    """,
    re.VERBOSE,
)


def secrets_for_everybody(commands: str) -> list[str]:
    """The commands that write a secret into a file before the umask keeps others out."""
    lines = commands.replace("\\\n", " ").splitlines()
    open_to_all = []
    closed = False
    for line in lines:
        if (written := WRITES_A_SECRET.search(line)) and not (closed or "umask 077" in line[: written.start()]):
            open_to_all.append(line)
        closed = closed or line.removeprefix("$ ").strip() == "umask 077"
    return open_to_all


def test_no_page_writes_a_secret_that_others_can_read() -> None:
    found = {f"{page.relative_to(ROOT)}:{block.line}": secrets_for_everybody(block.text) for page, block in BLOCKS}
    assert {place: lines for place, lines in found.items() if lines} == {}


def test_a_secret_that_others_can_read_is_found() -> None:
    for commands, others_read in {
        "$ cidrgate token create ops --scope admin > ops.token": True,
        "$ cidrgate account create a && cidrgate token create ops \\\n  --scope admin > ops": True,
        "$ (umask 077; cidrgate token create ops --scope admin > ops.token)": False,
        "umask 077\ncidrgate token create ops > ops.token": False,
        "cidrgate token create ops > ops.token\numask 077": True,
        "$ (umask 077; true)\n$ cidrgate token create ops > ops.token": True,
        "openssl rand -hex 24 > owner_password": True,
        'pg_dump --file=/backup/allowlist.dump "$DATABASE"': True,
        "$ cidrgate token create ops --scope admin": False,
    }.items():
        assert bool(secrets_for_everybody(commands)) is others_read, commands


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
    readable = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.search(path.read_bytes())]
    assert [path.name for path in readable if path.stat().st_mode & 0o077] == []
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
