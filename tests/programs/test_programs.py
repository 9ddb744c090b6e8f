"""Users' programs: their types are right by what the installed package says, and they print what they should."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from doctest import DocTestParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager
from cidrgate.client import Client
from tests.docs.pages import PAGES, ROOT
from tests.servers.running import free_port, running
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
NO_PROGRAMS = ("__init__", "conftest", "mistakes", "test_programs")
PROGRAMS = [path for path in sorted(HERE.rglob("*.py")) if path.stem not in NO_PROGRAMS]

PRINTED = {
    "with_fastapi.py": "200 {'account': 'acct-1', 'matched': '8.8.8.0/24'}\n403 address_not_allowed\n",
    "with_flask.py": "200 acct-1\n403 address_not_allowed\n403 no_account\n200\n",
    "around_applications.py": "(IPv4Network('8.8.8.0/24'),)\n['1.1.1.1/32', '8.8.8.0/24']\n",
    "with_aiohttp.py": "200 127.0.0.0/8\n403 address_not_allowed\n",
    "batch_with_numpy.py": "[True, True, False, True] 1\n[True, False]\n['dns', 'none', 'none', 'dns']\n",
    "watch_decisions.py": "9.9.9.9 may not act for acct-1: not_listed\n"
    "8.8.8.8 may not act for acct-2: unknown_account\n"
    "{'matched': 2, 'not_listed': 1, 'unknown_account': 1} True\n",
}
"""What the programs print that need nothing but themselves."""

MANAGED = """\
1 True ['8.8.8.0/24', '2606:4700::/32', '1.1.1.0/24']
['0: invalid_format 8.8.8.8', '1: subset_exists 8.8.8.0/25']
[(True, 'head office')] None
False not_listed True
['1.1.1.0/24', '8.8.8.0/24', '2606:4700::/32'] ['9.9.9.0/24']
replace [('1.1.1.0/24', None), ('8.8.8.0/24', 'head office'), ('2606:4700::/32', None)]
would_disable_enforcement acct-1
False
account_not_found
"""

OVER_HTTP = """\
409 would_lock_out_caller ('lock_out',)
1 2
[('8.8.8.0/24', 256), ('2606:4700::/32', 79228162514264337593543950336)]
None True False
422 rules_broken ['invalid_format'] True
404 account_not_found True
['remove', 'edit', 'add', 'create_account'] 1
"""


def ran(program: Path, *arguments: str, folder: Path) -> str:
    """What a program prints, run in a folder without the repository."""
    done = subprocess.run(
        [sys.executable, program, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{program.name} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def documented(folder: Path) -> Path:
    """A package of the Python code that the pages and the examples show: the modules, and the sessions of each page."""
    package = folder / "documented"
    package.mkdir()
    (package / "__init__.py").touch()
    for example in (ROOT / "examples").rglob("*.py"):
        shutil.copy(example, package / f"{example.parent.name}_{example.name}")
    for page in PAGES:
        text = page.read_text()
        name = "_".join(page.relative_to(ROOT).with_suffix("").parts).replace("-", "_")
        session = "".join(example.source for example in DocTestParser().get_examples(text))
        (package / f"{name}.py").write_text(session)
        for number, code in enumerate(_BLOCK.findall(text)):
            if ">>>" not in code:
                (package / f"{name}_{number}.py").write_text(code)
    return package


_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_their_types_are_right(tmp_path: Path) -> None:
    """As for a user: strictly, with the package as it is installed. The mistakes are found, or ignored for nothing."""
    pytest.importorskip("mypy", reason="needs mypy: pip install mypy")
    checked = [*PROGRAMS, HERE / "mistakes.py", documented(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", HERE / "mypy.ini", "--cache-dir", tmp_path / "cache", *checked],
        cwd=HERE,
        env={**os.environ, "MYPYPATH": str(HERE / "native")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_they_silence_nothing(program: Path) -> None:
    assert re.findall(r"# *(?:type: *ignore|noqa|pyright)|\bcast\(|\bAny\b", program.read_text()) == []


@pytest.mark.parametrize("name", PRINTED)
def test_a_program_prints_what_it_should(name: str, tmp_path: Path) -> None:
    assert ran(HERE / name, folder=tmp_path) == PRINTED[name]


def test_a_django_project(tmp_path: Path) -> None:
    assert ran(HERE / "with_django.py", str(tmp_path / "lists.db"), folder=tmp_path) == (
        "200 8.8.8.0/24\n403 address_not_allowed\n"
    )


def test_lists_are_managed(shared_store_url: str, tmp_path: Path) -> None:
    assert ran(HERE / "manage_lists.py", shared_store_url, folder=tmp_path) == MANAGED


def test_a_store_is_followed(shared_store_url: str, tmp_path: Path) -> None:
    with RuleManager.open(shared_store_url) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        program = [sys.executable, str(HERE / "follow_a_store.py"), shared_store_url]
        with subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            lines: Iterator[str] = iter(follower.stdout)
            assert next(lines) == "ready\n"
            manager.add("acct-1", "9.9.9.0/24")
            assert next(lines) == "allowed\n"
            manager.remove("acct-1", "9.9.9.0/24")
            assert next(lines) == "denied\n"
            assert follower.wait(30) == 0


def test_the_client(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cidrgate", "--database", str(tmp_path / "lists.db")]
    made = subprocess.run(
        [*command, "token", "create", "programs", "--scope", "admin"], check=True, capture_output=True, text=True
    )
    token = next(word for word in made.stdout.split() if word.startswith("cidrgate_"))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running([*command, "serve", "--port", str(port)], tmp_path, port):
        with Client(url, token) as client:
            eventually(client.readyz)
        assert ran(HERE / "use_the_client.py", url, token, folder=tmp_path) == OVER_HTTP


@pytest.mark.slow
def test_a_c_extension(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="needs setuptools: pip install setuptools")
    shutil.copytree(HERE / "native", tmp_path, dirs_exist_ok=True)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tmp_path,
        env={**os.environ, "CFLAGS": "-Wall -Wextra -Werror"},
        check=True,
        capture_output=True,
    )
    assert ran(tmp_path / "use_gatekeeper.py", folder=tmp_path) == "2 0\n"
