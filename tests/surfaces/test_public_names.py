"""What is public is named in one place, and what is named there is enough for users."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.pages import PAGES, ROOT, table
from tests.surfaces.python_api import EDGES, PUBLIC_MODULES, mentioned_types, package, public_names
from tests.surfaces.snapshots import SURFACES

POLICY = (ROOT / "docs" / "compatibility.md").read_text()
_BLOCK = re.compile(r"^```(?:python|pycon)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def final(path: str) -> str:
    """Where a name of the package is defined."""
    found = package()[path.partition(".")[2]]
    return str(found.final_target.path if found.is_alias else found.path)


@cache
def public() -> set[str]:
    """Where each public name is defined; read once, and only in processes that run these tests."""
    return {final(path) for path, _ in public_names()}


def imported(text: str) -> set[str]:
    """The names of the package that a program imports, with their modules."""
    return {
        f"{node.module}.{one.name}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cidrgate"
        for one in node.names
    }


def programs() -> dict[str, str]:
    """The text of every program that the documentation shows, and of the examples."""
    found = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "examples").rglob("*.py")}
    for page in PAGES:
        for block in _BLOCK.findall(page.read_text()):
            lines = re.findall(r"^(?:>>> |\.\.\. |)((?:from|import) .*?)(?: {2,}#.*)?$", block, re.MULTILINE)
            found.setdefault(page.relative_to(ROOT).as_posix(), "")
            found[page.relative_to(ROOT).as_posix()] += "\n".join(line for line in lines if "(" not in line) + "\n"
    return found


def test_the_policy_lists_the_public_modules() -> None:
    listed = re.findall(r"^- `(cidrgate[\w.]*)`", POLICY, re.MULTILINE)
    assert sorted(listed) == sorted(set(PUBLIC_MODULES) - set(EDGES))
    assert "\n- each module of `cidrgate.middleware` whose name does not begin with an underscore" in POLICY


def test_the_policy_names_every_surface() -> None:
    rows = [row[0] for row in table(POLICY, "| surface | what is public | how it changes |")]
    assert [surface.title for surface in SURFACES if surface.title not in rows] == []


def test_a_public_signature_mentions_public_types_only() -> None:
    """A private one could not be named by a user who writes a function of the same type."""
    assert sorted({f"{by} mentions {name}" for by, name in mentioned_types() if name not in public()}) == []


@pytest.mark.parametrize("program", sorted(programs()))
def test_what_the_documentation_imports_is_public(program: str) -> None:
    modules = set(PUBLIC_MODULES)
    names = imported(programs()[program])
    assert {name for name in names if name not in modules and final(name) not in public()} == set()
    assert {name for name in names if name not in modules and name.rpartition(".")[0] not in modules} == set()


def test_each_public_name_is_in_the_reference() -> None:
    pages = "\n".join(path.read_text() for path in sorted((ROOT / "docs" / "reference").rglob("*.md")))
    whole = set(re.findall(r"^\.\. automodule:: (\S+)", pages, re.MULTILINE))
    shown = {final(name) for name in re.findall(r"^\.\. auto(?!module)\w+:: (\S+)", pages, re.MULTILINE)}
    # The pages of edges say in words what an account source may be.
    known = {"cidrgate.__version__", *(f"{module}.AccountSource" for module in PUBLIC_MODULES)}
    names = {path for path, _ in public_names()} - known
    assert {one for one in names if final(one) not in shown and final(one).rpartition(".")[0] not in whole} == set()
