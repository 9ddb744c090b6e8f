"""The registry of edges: every middleware is in it, and the documentation names those that are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import cidrgate.middleware
from cidrgate import EXEMPT, FromHeader, FromPath, FromRoute, Gate
from cidrgate.gate.denial import denial_of
from cidrgate.middleware import _request_account
from tests.attacks import ATTACKER, LISTED_PEER, Attack, gates
from tests.edges import EDGES, SOURCES, Edge, calls_of, guarded
from tests.in_process import ANSWER_OF, status_of

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
            app = guarded(edge.module, gate, SOURCES[source], protocol)
            for peer, account, path, status in (
                (LISTED_PEER, "acct-1", calls_of("acct-1"), 200),
                (ATTACKER, "acct-1", calls_of("acct-1"), 403),
                (LISTED_PEER, "acct-2", calls_of("acct-2"), 403),
                (ATTACKER, "acct-1", "/healthz", 200),
            ):
                assert status_of(protocol, app, request_of(peer, account), path) == status, (source, path)


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
            assert status_of(protocol, app, request_of(LISTED_PEER, "acct-1"), calls_of("acct-1")) == 403, source


@every_edge
def test_the_application_reads_the_verdict(edge: Edge) -> None:
    """Of every request that reaches it, on the fast path or not, exempt or only reported."""
    matcher = gates()["default"].matcher
    settings: list[dict[str, Any]] = [{}, {"hooks": [lambda verdict: None]}, {"report_only": True}]
    for (protocol, source), setting in product(product(edge.protocols, edge.sources), settings):
        gate = Gate(matcher, unlisted="deny_unknown", require_account=True, log="none", **setting)
        app = guarded(edge.module, gate, SOURCES[source], protocol)
        asked: list[tuple[str, Any, str]] = [
            (LISTED_PEER, "acct-1", calls_of("acct-1")),
            (ATTACKER, EXEMPT, "/healthz"),
            (ATTACKER, "acct-1", calls_of("acct-1")),
        ]
        for peer, account, path in asked:
            answer = ANSWER_OF[protocol](app, request_of(peer, "acct-1"), path)
            expected = gate.decide(account, peer)
            assert answer.status == (200 if expected else 403), (source, setting, path)
            if expected:
                record = json.loads(answer.body)["verdict"]
                own = {"request_id", "duration_seconds"}
                assert len(record["request_id"]) == 24
                assert {name: value for name, value in record.items() if name not in own} == {
                    name: value for name, value in expected.record().items() if name not in own
                }, (source, setting, path)


@every_edge
def test_denials_are_the_same_response(edge: Edge) -> None:
    gate = gates()["default"]
    for protocol, source in product(edge.protocols, edge.sources):
        app = guarded(edge.module, gate, SOURCES[source], protocol)
        answer = ANSWER_OF[protocol](app, request_of(ATTACKER, "acct-1"), calls_of("acct-1"))
        problem = json.loads(answer.body)
        expected = denial_of(replace(gate.decide("acct-1", ATTACKER), request_id=problem["request_id"]))
        assert (answer.status, problem) == (403, json.loads(expected.body)), source
        for name, value in expected.headers:
            found = answer.headers.get(name, "")
            # Some frameworks leave the length to the server, or add to what the response varies with.
            assert found == value or (name == "content-length" and not found) or value in found.lower(), (source, name)
