"""The registry of edges: every middleware is in it, and the documentation names those that are."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import cidrgate.middleware
from cidrgate.middleware import _request_account
from tests.edges import EDGES, Edge

ROOT = Path(__file__).parents[2]
every_edge = pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.module)


def test_every_middleware_is_an_edge_of_the_registry() -> None:
    modules = {path.stem for path in Path(cidrgate.middleware.__path__[0]).glob("*.py")}
    assert {edge.module for edge in EDGES} == {name for name in modules if not name.startswith("_")}
    assert len({edge.module for edge in EDGES}) == len(EDGES)
    assert Path(str(_request_account.__file__)).stem in modules


@every_edge
def test_every_edge_can_be_put_to_the_attacks(edge: Edge) -> None:
    assert callable(import_module(f"tests.edges.{edge.module}").guarded)
    assert edge.protocols
    assert edge.sources


@every_edge
def test_the_documentation_names_it(edge: Edge) -> None:
    pages = "\n".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    assert re.search(rf"\b{edge.title}\b", (ROOT / "README.md").read_text()), "name it in README.md"
    shown = (f"cidrgate.middleware.{edge.module}", f"from cidrgate.middleware import {edge.module}")
    assert any(way in pages for way in shown), f"show in docs/ how {edge.title} is guarded"
    assert f"`{edge.module}`" in str(cidrgate.middleware.__doc__)
