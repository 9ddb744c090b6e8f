"""The frozen values, and how durations are read."""

from __future__ import annotations

import math
import pickle
from copy import copy, deepcopy
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta, timezone
from importlib import import_module
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, strategies as st

import cidrgate
from cidrgate import Entry, Observation, Policy, RuleManager
from cidrgate._engine import canonical_prefix
from cidrgate.foresight import PastTraffic
from cidrgate.gate import ProxyHeader
from cidrgate.manager import ListOutcome
from cidrgate.manager.metrics import ListsState
from cidrgate.replay import BadLine, Period
from cidrgate.values import seconds
from tests.docs.pages import ROOT
from tests.surfaces.python_api import EDGES, PUBLIC_MODULES

LONG = timedelta(days=36500)


@given(st.timedeltas(min_value=timedelta(0), max_value=LONG))
def test_a_timedelta_means_its_seconds(value: timedelta) -> None:
    assert seconds(value, "it") == seconds(value.total_seconds(), "it") == value.total_seconds()


@given(st.floats() | st.integers() | st.timedeltas(), st.booleans())
def test_a_duration_is_finite_and_not_negative(value: float | timedelta, above_zero: bool) -> None:
    plain = value.total_seconds() if isinstance(value, timedelta) else value
    valid = plain >= 0 and not (above_zero and plain == 0) and plain < 2**1024 - 2**970
    if valid:
        assert seconds(value, "it", above_zero=above_zero) == pytest.approx(float(plain))
    else:
        with pytest.raises(ValueError, match=r"^how_long must be a number of seconds"):
            seconds(value, "how_long", above_zero=above_zero)


@pytest.mark.parametrize("value", ["5", "5m", True, False, None, b"5", [5], 5j, math])
def test_what_is_no_duration_is_named(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^how_long must be a number of seconds or a timedelta, not "):
        seconds(value, "how_long")


POSITIONAL = {
    "NewEntry": ["cidr"],
    "PastTraffic": ["observations"],
    "FromHeader": ["name", "lookup"],
    "FromPath": ["pattern"],
    "FromRoute": ["parameter"],
}
"""What a value is made of, which docs/compatibility.md names."""


def test_values_are_made_by_name() -> None:
    """So that fields can be added, and their order means nothing."""
    modules = [import_module(name) for name in PUBLIC_MODULES if name not in EDGES]
    public = [getattr(module, name) for module in modules for name in vars(module)["__all__"]]
    found = {value for value in public if isinstance(value, type) and is_dataclass(value)}
    assert {Entry, cidrgate.Policy, cidrgate.Problem, cidrgate.ImportReport, ListOutcome, BadLine} <= found
    named = {}
    for value in found:
        positional = [one.name for one in fields(value) if one.init and not one.kw_only]
        assert vars(value)["__match_args__"] == tuple(positional)
        if positional:
            named[value.__name__] = positional
    assert named == POSITIONAL
    policy = (ROOT / "docs" / "compatibility.md").read_text()
    assert [name for name in POSITIONAL if f"`{name}`" not in policy] == []


@pytest.mark.parametrize(
    "value",
    [
        BadLine(file="a.log", line=7, reason="no address", text="x"),
        Period(start=datetime(2027, 1, 2, tzinfo=UTC), verdicts={}),
        ProxyHeader(size=16, version=2, local=True),
        ListsState(known_at=7.0, follows=True),
        PastTraffic([], incomplete=["acct-1"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_made_by_name_are_copied_and_pickled(value: object) -> None:
    assert copy(value) == deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


def test_a_decision_is_true_if_the_address_is_allowed() -> None:
    with RuleManager.open("memory://", load=False) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        for account, address in (("acct-1", "8.8.8.8"), ("acct-1", "9.9.9.9"), ("acct-1", "x"), ("nobody", "9.9.9.9")):
            decision = manager.explain(account, address)
            assert bool(decision) is decision.allowed


def test_a_manager_shows_its_store_and_policy() -> None:
    with RuleManager.open("memory://", load=False) as manager:
        assert repr(manager) == f"<RuleManager of the store in memory, {Policy()!r}>"
        assert repr(manager.with_hooks(dry_run=True)).endswith(", dry_run=True>")


AT = datetime(2027, 1, 2, tzinfo=UTC)
SEEN: dict[str, Any] = {
    "account": "a",
    "network": "8.8.8.8/32",
    "allowed": True,
    "requests": 1,
    "first_seen": AT,
    "last_seen": AT,
}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"requests": 0}, "from 1 to"),
        ({"requests": -1}, "from 1 to"),
        ({"requests": 2**63}, "from 1 to"),
        ({"first_seen": AT.replace(tzinfo=None)}, "time zone"),
        ({"last_seen": AT.replace(tzinfo=None)}, "time zone"),
        ({"first_seen": AT + timedelta(microseconds=1)}, "is after last_seen"),
        ({"first_seen": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))}, "out of range in UTC"),
        ({"last_seen": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))}, "out of range in UTC"),
        ({"network": "8.8.8.8"}, "canonical CIDR"),
        ({"network": "8.8.8.8/24"}, "canonical CIDR"),
        ({"network": "8.8.8.8/032"}, "canonical CIDR"),
        ({"network": "2606:4700:0::/32"}, "canonical CIDR"),
        ({"network": "x/32"}, "canonical CIDR"),
        ({"network": "::ffff:102:304/128"}, "canonical CIDR"),
        ({"network": "::ffff:0:0/96"}, "canonical CIDR"),
        ({"network": "8.8.8.8/255.255.255.255"}, "canonical CIDR"),
    ],
)
def test_an_observation_checks_its_values(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Observation(**{**SEEN, **wrong})


@pytest.mark.parametrize("name", SEEN)
def test_the_values_of_an_observation_have_their_types(name: str) -> None:
    others: list[Any] = [None, 8, b"8.8.8.8/32", "no", [], 1.5, AT.date()]
    for wrong in others:
        if isinstance(wrong, type(SEEN[name])):
            continue
        with pytest.raises(TypeError, match=name):
            Observation(**{**SEEN, name: wrong})


def test_the_number_of_an_observation_is_whole() -> None:
    for number in (1.0, True, "1"):
        with pytest.raises(TypeError, match="requests"):
            Observation(**{**SEEN, "requests": number})


@given(st.integers(0, 2**128 - 1), st.integers(0, 128), st.integers(1, 2**63 - 1))
def test_every_canonical_network_can_be_observed(address: int, length: int, requests: int) -> None:
    network = canonical_prefix(str(ip_network((address, length), strict=False)))
    assert Observation(**{**SEEN, "network": network, "requests": requests}).network == network
