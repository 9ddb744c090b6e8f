"""Every regular expression of the package takes time that grows with its input, and no faster.

Patterns are found in the modules and in the source, so that none is forgotten; each is fed long texts of every kind,
the longest of each class of characters; a megabyte of every kind under `make test-long`.
"""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import cidrgate
from tests.length import length

PACKAGE = Path(cidrgate.__file__).parent
LARGEST = length(1 << 17, 1 << 20)
"""Characters of a text of one class."""
SIZE = length(1 << 16, 1 << 20)
"""Characters of any other text of one kind; a text with something before and after it has a 32nd of them."""
SECONDS = length(1.5, 3.0)
"""Seconds of processor time for one text: many times what a linear pattern needs, a fraction of what others do."""

UNITS = [
    *list("019afzAFG_-.:/\\*%=;,~![]{}()\"'`$<>@#+?"),
    *[
        " ",
        "\t",
        "\n",
        "\r",
        "\0",
        "\x1f",
        "\x7f",
        "\x85",
        "\xa0",
        "é",
        "\u200b",
        "\u2028",
        "\u0663",
        "\ud800",
        "\U0001f600",
    ],
    *["0.", ".0", "1.", "*.", ".*", "a=", "a=b;", "a,", '\\"', '"\\', '"account"', '"account":"', "a/", "/a", "a?"],
    *["0/", "/0", "for=", "PROXY TCP4 ", "cidrgate_", "1 1", " /", "- ", "%a/", "%25"],
]
CLASSES = [*'0aGz .,:/-_=%"\\[*', "\t", "\n", "\0", "\x7f", "é", "\U0001f600"]
"""A character of each class that patterns tell apart."""
PREFIXES = ["", "1", '"account" : "', "PROXY TCP4 1", "cidrgate_1_", 'a="']
SUFFIXES = ["", "x", "\n"]
# Written by whoever runs a gate, in its code or configuration: theirs to keep linear, and documented so.
WRITTEN_BY_OPERATORS = {"account_sources.py"}


def modules() -> list[Any]:
    """Every module of the package."""
    importlib.import_module("tests.middleware.django_project")  # Django REST framework needs settings
    found = pkgutil.walk_packages([str(PACKAGE)], "cidrgate.")
    return [importlib.import_module(one.name) for one in found if not one.name.endswith(("__main__", "migrations.env"))]


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every compiled pattern that a module keeps, by where it is."""
    return {
        f"{module.__name__}.{name}": value
        for module in modules()
        for name, value in vars(module).items()
        if isinstance(value, re.Pattern) and value.pattern
    }


def test_every_use_of_the_module_is_a_pattern_that_a_module_keeps() -> None:
    """A pattern inside a function would not be found, and so not be tried."""
    astray = []
    kept = {(one.pattern, one.flags & ~re.UNICODE) for one in patterns().values()}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name in WRITTEN_BY_OPERATORS:
            continue
        tree = ast.parse(path.read_text())
        top = {id(node) for statement in tree.body if isinstance(statement, ast.Assign) for node in ast.walk(statement)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            of_the_module = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
            found = node.func.attr == "compile" and id(node) in top
            if of_the_module and not found and node.func.attr != "escape":
                astray.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: re.{node.func.attr}")
        if re.search(r"^from re import|import re as", path.read_text(), re.MULTILINE):
            astray.append(f"{path.relative_to(PACKAGE)}: the module by another name")
    assert astray == []
    assert len(kept) >= 10


def test_a_long_text_of_anything_is_read_in_time() -> None:
    """Each in a process that may use so much processor time: a pattern that runs away holds Python's lock."""
    places = patterns()
    ran = subprocess.run(
        [sys.executable, "-m", "tests.test_patterns", *places],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = ran.stdout.splitlines()
    runaways = [(line, f"on {said[at - 1]}") for at, line in enumerate(said) if line.endswith(" ran away")]
    assert runaways == []
    assert [line for line in said if line.endswith(" in time")] == [f"{place} in time" for place in places], ran.stderr


def test_a_pattern_that_runs_away_is_found() -> None:
    """The test above can fail."""
    code = "import re; from tests.test_patterns import feed; feed(re.compile(r'\\s*([/-])\\s*'), {'sub'})"
    ran = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, check=False)
    assert ran.returncode == -signal.SIGVTALRM


def uses(place: str) -> set[str]:
    """The methods of a pattern that its module calls; all of them where it calls none."""
    module_name, _, attribute = place.rpartition(".")
    source = importlib.import_module(module_name).__file__
    assert source is not None
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(Path(source).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if isinstance(node.func.value, ast.Name) and node.func.value.id == attribute
    }
    return called or {"match", "fullmatch", "search", "sub"}


def feed(pattern: re.Pattern[Any], methods: set[str]) -> None:
    """Use a pattern on the longest texts of each class, long ones of every kind, and shorter ones inside of others."""
    texts = [("", unit, "x", LARGEST if unit in CLASSES else SIZE) for unit in UNITS]
    texts += [(prefix, unit, suffix, SIZE // 32) for prefix, unit, suffix in product(PREFIXES, UNITS[::2], SUFFIXES)]
    for prefix, unit, suffix, size in texts:
        text: Any = prefix + unit * (size // len(unit)) + suffix
        if isinstance(pattern.pattern, bytes):
            text = text.encode("utf-8", "surrogatepass")
        print(repr((prefix, unit, suffix)), flush=True)
        # Its signal ends the process, also in the middle of a match.
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        for method in methods:
            if method == "sub":
                pattern.sub(pattern.pattern[:0], text)
            else:
                getattr(pattern, method)(text)


def runs_away(place: str) -> bool:
    """Whether a pattern uses up its time, in a fork that then ends; the last text printed is the one it ran away on."""
    module, _, attribute = place.rpartition(".")
    child = os.fork()
    if child == 0:
        feed(getattr(importlib.import_module(module), attribute), uses(place))
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


if __name__ == "__main__":
    modules()
    for one in sys.argv[1:]:
        print(one, "ran away" if runs_away(one) else "in time", flush=True)
