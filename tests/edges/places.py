"""What an edge lacks: each place besides its module that somebody may forget."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from tests.docs.generated import outdated
from tests.edges import EDGES, FOLDER, Edge

__all__ = ["MIDDLEWARE", "lacks", "missing", "modules"]

ROOT = Path(__file__).parents[2]
MIDDLEWARE = ROOT / "src" / "cidrgate" / "middleware"


def modules() -> set[str]:
    """The modules of `cidrgate.middleware` that are edges; those whose names begin with `_` are shared by edges."""
    return {path.stem for path in MIDDLEWARE.glob("*.py") if not path.stem.startswith("_")}


def lacks(edge: Edge) -> list[str]:
    """What an edge lacks, and where to write it."""
    found = []
    if edge.module not in modules():
        found.append(f"src/cidrgate/middleware/{edge.module}.py: the edge itself")
    if "def guarded(" not in (FOLDER / f"{edge.module}.py").read_text():
        found.append(
            f"tests/edges/{edge.module}.py: `guarded(gate, account, protocol)`, an application behind the edge"
        )
    if edge.page is not None:
        page = ROOT / "docs" / "howto" / edge.page
        if not page.exists():
            found.append(f"docs/howto/{edge.page}: how an application is guarded, as a program that runs")
        elif f"cidrgate.middleware.{edge.module}" not in page.read_text() and not re.search(
            rf"from cidrgate\.middleware import .*\b{edge.module}\b", page.read_text()
        ):
            found.append(f"docs/howto/{edge.page}: the import of cidrgate.middleware.{edge.module}")
    if edge.requires is not None and find_spec(_imported(edge)) is None:
        found.append(f"the framework: pip install '{edge.requires}'")
    return found


def _imported(edge: Edge) -> str:
    """The module that an edge imports of its framework, by the first import that is not of the package."""
    text = (FOLDER / f"{edge.module}.py").read_text()
    names = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
    own = {"__future__", "typing", "cidrgate", "tests", "collections", "asgiref"}
    return next((name for name in names if name not in own), "cidrgate")


def missing() -> list[str]:
    """What all edges lack."""
    found = [f"{edge.title}: {one}" for edge in EDGES for one in lacks(edge)]
    for module in sorted(modules() - {edge.module for edge in EDGES}):
        found.append(
            f"{module}: tests/edges/{module}.py with `EDGE = Edge(...)` and `guarded`, as tests/edges/flask.py has them"
        )
    found += [f"{page}: `python -m tests.docs.generated` writes it" for page in outdated()]
    return found
