"""What says whether a request is allowed is true or false by that, in every module: `if check(...)` must not let in."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, get_args, get_type_hints

import pytest

from cidrgate.gate import Result

MODULES = ("cidrgate", "cidrgate.gate", "cidrgate.client", "cidrgate.authorize", "cidrgate.service", "cidrgate.values")


def answers() -> dict[str, type[Any]]:
    """Every exported type that says whether something is allowed."""
    found = {}
    for module in map(import_module, MODULES):
        for name in module.__all__:
            kind = getattr(module, name)
            if isinstance(kind, type) and (
                hasattr(kind, "allowed") or "allowed" in getattr(kind, "__annotations__", {})
            ):
                found[kind.__qualname__] = kind
    return found


def test_they_are_found() -> None:
    assert {"Verdict", "Decision", "CheckInfo"} <= set(answers())


_SOME_TIME = datetime(2026, 1, 2, tzinfo=UTC)
_PARTS = {"account": "acct-1", "network": "8.8.8.8/32", "requests": 1}
_PARTS |= dict.fromkeys(("first_seen", "last_seen"), _SOME_TIME)
"""The parts of those that check them."""


def made(kind: type[Any], **given: Any) -> Any:
    """One of a kind, whose other parts do not matter here."""
    return kind(**{one.name: given.get(one.name, _PARTS.get(one.name)) for one in fields(kind)})


@pytest.mark.parametrize("name", sorted(answers()))
def test_it_is_true_if_it_allows_and_only_then(name: str) -> None:
    kind = answers()[name]
    assert is_dataclass(kind)
    if "allowed" in {one.name for one in fields(kind)}:
        assert get_type_hints(kind)["allowed"] is bool
        for allowed in (True, False):
            assert bool(made(kind, allowed=allowed)) is allowed
    else:
        for result in get_args(Result):
            one = made(kind, result=result)
            assert bool(one) is one.allowed is (result != "denied")
