"""Commands that messages suggest can be pasted into a shell and do what they say, whatever names are in them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_exit_statuses import commands
from tests.rows import rows
from tests.warm_starts import programs

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

NAMES = [
    *("-x", "--help", "-", "--", "o'b x", "$(touch x)", "`touch x`", "a;touch x", "a>x", "Zoë 日本", '"q" $HOME'),
    *("~", "a\\", "#x", "a=b"),
]
"""Names that a shell, or the parser of the command line, could take for something else."""


class Pasted:
    """Pastes what a message suggests."""

    def __init__(self, cidrgate: Cidrgate) -> None:
        self.cidrgate = cidrgate
        self.environment = {
            **os.environ,
            **{name: value for name, value in cidrgate.environment.items() if value is not None},
            "PATH": f"{programs()}:{os.environ['PATH']}",
        }

    def __call__(self, text: str, before: str, after: str = "\n") -> str:
        """Paste what stands between two texts, and return the answer."""
        [line] = re.findall(f"{re.escape(before)}(cidrgate .*?){re.escape(after)}", text)
        done = subprocess.run(
            ["bash", "-c", line], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), (line, done.stderr)
        assert not Path("x").exists(), line
        return done.stdout


@pytest.fixture
def pasted(cidrgate: Cidrgate) -> Pasted:
    return Pasted(cidrgate)


@rows("name", NAMES)
def test_an_unknown_account_is_created_by_the_suggested_command(pasted: Pasted, name: str) -> None:
    pasted(pasted.cidrgate("list", "--", name, status=4).err, "`", "`\n")
    assert name in pasted.cidrgate.accounts()


@rows("name", NAMES)
def test_an_address_is_allowed_by_the_suggested_command(pasted: Pasted, name: str) -> None:
    pasted.cidrgate("add", "--create", "--", name, "8.8.8.0/24")
    pasted(pasted.cidrgate("explain", "--", name, "9.9.9.9").out, "to allow it: ")
    pasted.cidrgate("check", "--", name, "9.9.9.9")


@rows("name", NAMES)
def test_a_list_is_enforced_by_the_suggested_command(pasted: Pasted, name: str) -> None:
    pasted.cidrgate("add", "--create", "--", name, "8.8.8.0/24")
    pasted.cidrgate("mode", "--confirm", "disable_enforcement", "--", name, "off")
    pasted(pasted.cidrgate("explain", "--", name, "9.9.9.9").out, "to enforce the list again: ")
    pasted.cidrgate("check", "--", name, "9.9.9.9", status=1)


@rows("name", NAMES)
def test_the_inherited_history_is_shown_by_the_suggested_command(pasted: Pasted, name: str) -> None:
    pasted.cidrgate("add", "--create", "--", name, "8.8.8.0/24")
    pasted.cidrgate("account", "create", f"--parent={name}", "--", f"{name} below")
    shown = pasted(pasted.cidrgate("history", "--", f"{name} below").out, "see `", "` for changes")
    assert "8.8.8.0/24" in shown


@rows("name", NAMES)
def test_a_list_is_the_recommended_one_after_the_suggested_command(pasted: Pasted, name: str) -> None:
    pasted.cidrgate("add", "--create", "--", name, "8.8.8.0/24", "1.1.1.0/24")
    seen = ["recommend", "-", f"--account={name}"]
    pasted(pasted.cidrgate(*seen, stdin="9.9.9.9\n8.8.8.8\n").out, "one of:\n  ")
    assert "is the recommended one" in pasted.cidrgate(*seen, stdin="9.9.9.9\n8.8.8.8\n").out


@rows("name", [f"{name}.jsonl" for name in NAMES])
def test_a_file_is_written_by_the_suggested_command(pasted: Pasted, name: str) -> None:
    if not pasted.cidrgate.accounts():
        pasted.cidrgate("account", "create", "a")
    pasted(pasted.cidrgate("export", "--", name, status=4).err, "name it with -o: `", "`\n")
    assert Path(name).read_text().startswith('{"format": "cidrgate export"')


def test_the_values_of_commands_in_messages_are_quoted() -> None:
    """A command line with a value is made by `suggested`; the value of another one is quoted where it is written."""
    names = "|".join({name.split()[0] for name in commands()})
    unquoted = re.compile(rf"f[\"'].*\b(?:cidrgate (?:{names})|openssl \w+|psql) [^\"]*\{{(?!quote\()")
    sources = (Path(__file__).parents[2] / "src" / "cidrgate").rglob("*.py")
    found = [line.strip() for path in sources for line in path.read_text().splitlines() if unquoted.search(line)]
    assert found == []
