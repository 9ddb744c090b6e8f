"""The registry of edges: every middleware is in it, and the documentation names those that are."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import cidrgate.middleware
from cidrgate import FromHeader, FromPath, FromRoute
from cidrgate.middleware import _request_account
from tests.attacks import ATTACKER, LISTED_PEER, Attack, gates
from tests.edges import EDGES, SOURCES, Edge, calls_of, guarded
from tests.in_process import STATUS_OF

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


def request_of(peer: str, account: str) -> Attack:
    return Attack("", "default", peer, ((b"X-Account", account.encode()),), None)


@every_edge
def test_each_of_its_sources_finds_the_account(edge: Edge) -> None:
    gate = gates()["default"]
    for protocol in edge.protocols:
        for source in edge.sources:
            app, ask = guarded(edge.module, gate, SOURCES[source], protocol), STATUS_OF[protocol]
            assert ask(app, request_of(LISTED_PEER, "acct-1"), calls_of("acct-1")) == 200, source
            assert ask(app, request_of(ATTACKER, "acct-1"), calls_of("acct-1")) == 403, source
            assert ask(app, request_of(LISTED_PEER, "acct-2"), calls_of("acct-2")) == 403, source
            assert ask(app, request_of(ATTACKER, "acct-1"), "/healthz") == 200, source


@every_edge
def test_an_account_that_cannot_be_found_denies(edge: Edge) -> None:
    def broken(_: str) -> str:
        raise RuntimeError("the keys are gone")

    sources = {
        "route": FromRoute("absent"),
        "path": FromPath("/elsewhere/(?P<account>[^/]+)"),
        "header": FromHeader("x-account", broken),
    }
    for protocol in edge.protocols:
        for source in edge.sources:
            app = guarded(edge.module, gates()["default"], sources[source], protocol)
            assert STATUS_OF[protocol](app, request_of(LISTED_PEER, "acct-1"), calls_of("acct-1")) == 403, source
