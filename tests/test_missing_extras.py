"""Whoever uses a part of the package whose libraries are not installed is told which extra installs them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cidrgate.errors import CidrgateError, MissingExtraError, needs_extra

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
MAIN = "import sys; sys.argv[1:] = {}; from cidrgate.cli import main; main()"

# (extra, a library of it, what needs it)
PARTS = [
    ("cli", "typer", MAIN.format(["version"])),
    ("postgres", "psycopg", "from cidrgate import RuleManager; RuleManager.open('postgresql://127.0.0.1:1/lists')"),
    ("metrics", "prometheus_client", "from cidrgate.gate import GateMetrics"),
    ("metrics", "prometheus_client", "import cidrgate.manager.metrics"),
    ("authorize", "uvicorn", "import cidrgate.authorize.server"),
    ("authorize", "uvicorn", MAIN.format(["authorize", "--unlisted", "deny"])),
    ("server", "fastapi", "from cidrgate.service import create_app"),
    ("server", "prometheus_client", "from cidrgate.service import create_app"),
    ("server", "uvicorn", MAIN.format(["serve"])),
    ("client", "httpx", "import cidrgate.client"),
    ("replay", "duckdb", MAIN.format(["replay", "a.csv", "--rules", "a.toml", "--alone"])),
    (
        "traffic",
        "datasketches",
        "from cidrgate import RuleManager; from cidrgate.traffic import Traffic; "
        "RuleManager.open('memory://', traffic=Traffic())",
    ),
    ("arrow", "pyarrow", "from cidrgate import Matcher; Matcher().allows_arrow(None)"),
    ("arrow", "pyarrow", "import cidrgate.arrow.duckdb"),
]


def test_every_extra_is_tried() -> None:
    assert {extra for extra, _, _ in PARTS} == set(PROJECT["optional-dependencies"]) - {"all"}


def test_one_extra_brings_all() -> None:
    (requirement,) = PROJECT["optional-dependencies"]["all"]
    named = requirement.removeprefix("cidrgate[").removesuffix("]").split(",")
    assert set(named) == set(PROJECT["optional-dependencies"]) - {"all"}


@pytest.mark.parametrize(("extra", "library", "code"), PARTS)
def test_a_missing_extra_is_named(tmp_path: Path, extra: str, library: str, code: str) -> None:
    hidden = f"import sys; sys.modules[{library!r}] = None; {code}"
    command = [sys.executable, "-c", hidden]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2 if "main()" in code else 1, "")
    said = done.stderr.splitlines()[-1]
    assert f"needs {library}" in said
    assert said.endswith(f"pip install 'cidrgate[{extra}]'")
    assert ("Traceback" in done.stderr) == ("main()" not in code)


def test_the_extra_of_what_was_asked_for_is_named() -> None:
    with (
        pytest.raises(MissingExtraError, match=r"the whole needs lib, .*\[outer\]") as raised,
        needs_extra("outer", "the whole"),
        needs_extra("inner", "a part"),
    ):
        raise ModuleNotFoundError(name="lib.module")
    assert raised.value.name == "lib.module"
    assert isinstance(raised.value, CidrgateError)
    assert isinstance(raised.value, ModuleNotFoundError)


@pytest.mark.parametrize("name", ["cidrgate.gone", "fcntl", None])
def test_what_no_extra_installs_is_left_as_it_is(name: str | None) -> None:
    with pytest.raises(ModuleNotFoundError) as raised, needs_extra("cli", "the command"):
        raise ModuleNotFoundError(name=name)
    assert not isinstance(raised.value, MissingExtraError)
