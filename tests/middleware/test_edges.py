"""The registry of edges: every middleware is in it, and the documentation names those that are."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from inspect import signature
from itertools import product
from typing import Any, get_args

import pytest

from cidrgate import EXEMPT, FromHeader, FromPath, FromRoute, Gate, Matcher
from cidrgate.gate.denial import denial_of
from cidrgate.gate.gate import Unlisted
from cidrgate.values import MODES
from tests.attacks import ATTACKER, LISTED_PEER, Attack, gates
from tests.edges import EDGES, SOURCES, Edge, calls_of, guarded
from tests.edges.places import missing, modules
from tests.in_process import ANSWER_OF, Body, answer_to_post, status_of

every_edge = pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.module)


def test_no_edge_lacks_anything() -> None:
    assert missing() == [], "`python -m tests.edges` says the same"
    assert {edge.module for edge in EDGES} == modules()
    assert len(EDGES) >= 8


def middleware(edge: Edge) -> Any:
    """The module of an edge; that of its tests sets its framework up."""
    import_module(f"tests.edges.{edge.module}")
    return import_module(f"cidrgate.middleware.{edge.module}")


@every_edge
def test_its_guard_has_the_name_that_such_guards_have(edge: Edge) -> None:
    """The one pattern of names: docs/edges.md has it."""
    module = middleware(edge)
    guards = {"AllowlistMiddleware", "allowlist", "Allowlist"} & set(module.__all__)
    assert len(guards) == 1, module.__all__
    guard = getattr(module, guards.pop())
    parameters = list(signature(guard).parameters)
    if edge.module != "django":  # `settings.CIDRGATE` names them
        assert [name for name in parameters if name != "app"] == ["gate", "account"]


@every_edge
def test_only_the_edge_is_public(edge: Edge) -> None:
    """What edges share is in modules whose names begin with an underscore."""
    allowed = {"AccountSource", "AddressDeniedError", "AllowlistMiddleware", "Allowlist", "Allowlisted", "Settings"}
    allowed |= {"AllowlistRoute", "VERDICT", "WebSocketDeniedError", "allowlist", "install", "with_lifespan"}
    assert set(middleware(edge).__all__) <= allowed


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
def test_a_request_without_a_route_is_denied_or_not_found(edge: Edge) -> None:
    """As docs/edges.md says of each framework; a framework that answers 404 first asks no gate."""
    unasked = {"django", "drf", "fastapi", "starlette"}
    for protocol in edge.protocols if "route" in edge.sources else ():
        told: list[Any] = []
        gate = Gate(gates()["default"].matcher, unlisted="deny_unknown", log="none", hooks=[told.append])
        app = guarded(edge.module, gate, SOURCES["route"], protocol)
        status = status_of(protocol, app, request_of(LISTED_PEER, "acct-1"), "/nowhere/at/all")
        if edge.module in unasked:
            assert status in (404, 405), protocol  # that of FastAPI has a route for every path, for OPTIONS
            assert told == []
        else:
            assert (status, [verdict.reason for verdict in told]) == (403, ["no_account"]), protocol


READ_BY_THE_SERVER = [("django", "asgi"), ("drf", "asgi")]
"""Django's ASGI handler puts a body into a file before any middleware runs; nothing parses it then."""


@every_edge
def test_the_body_of_a_denied_request_is_not_read(edge: Edge) -> None:
    for protocol, source in product(set(edge.protocols) & {"asgi", "wsgi"}, edge.sources):
        told: list[Any] = []
        gate = Gate(gates()["default"].matcher, unlisted="deny_unknown", log="none", hooks=[told.append])
        app = guarded(edge.module, gate, SOURCES[source], protocol)
        body = Body()
        asked = request_of(ATTACKER, "acct-1")
        assert answer_to_post(protocol, app, asked, calls_of("acct-1"), body) == 403, (protocol, source)
        assert len(told) == 1
        assert body.was_read == ((edge.module, protocol) in READ_BY_THE_SERVER), (protocol, source)
        body = Body()
        assert answer_to_post(protocol, app, request_of(LISTED_PEER, "acct-1"), calls_of("acct-1"), body) != 403
        assert len(told) == 2


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
def test_the_response_says_if_only_a_mode_allows_the_request(edge: Edge) -> None:
    matcher = Matcher()
    for mode in MODES:
        matcher.publish(mode, ["203.0.113.0/24"], mode=mode)
    watching: list[list[Any]] = [[], [lambda verdict: None]]
    gates_of = {
        (unlisted, only_reports): [
            Gate(matcher, unlisted=unlisted, report_only=only_reports, log="none", hooks=hooks) for hooks in watching
        ]
        for unlisted in get_args(Unlisted)
        for only_reports in (False, True)
    }
    for protocol, source, mode in product(edge.protocols, edge.sources, MODES):
        for (_, only_reports), made in gates_of.items():
            for gate in made:
                app = guarded(edge.module, gate, SOURCES[source], protocol)
                listed = ANSWER_OF[protocol](app, request_of("203.0.113.9", mode), calls_of(mode))
                other = ANSWER_OF[protocol](app, request_of(ATTACKER, mode), calls_of(mode))
                effective = "report_only" if only_reports and mode == "enforce" else mode
                assert (listed.status, listed.headers.get("x-cidrgate-mode")) == (200, None)
                said = None if effective == "enforce" else effective
                assert (other.status, other.headers.get("x-cidrgate-mode")) == (200 if said else 403, said), (
                    source,
                    mode,
                )


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
