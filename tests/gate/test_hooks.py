"""Hooks: what a gate calls for which decision, and what it refuses when it is made."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from cidrgate import Gate, Matcher, Verdict
from cidrgate.gate import AllowedCounter, DecisionHook, SuppressedCounter

if TYPE_CHECKING:
    from pathlib import Path

    from cidrgate.gate import VerdictReason


def gate_with(*hooks: Any) -> Gate:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    return Gate(matcher, unlisted="deny", hooks=hooks, log="none")


class Counting:
    """A hook of every kind."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, verdict: Verdict) -> None:
        self.calls.append(verdict.reason)

    def count_allowed(self, account: str, reason: VerdictReason, seconds: float) -> None:
        self.calls.append(f"counted {reason}")

    def count_suppressed(self) -> None:
        self.calls.append("suppressed")


def test_the_protocols_say_what_a_hook_is() -> None:
    hook = Counting()
    assert isinstance(hook, DecisionHook)
    assert isinstance(hook, AllowedCounter)
    assert isinstance(hook, SuppressedCounter)
    assert isinstance(print, DecisionHook)
    assert not isinstance(print, AllowedCounter | SuppressedCounter)
    assert not isinstance(5, DecisionHook)


def test_a_counter_is_called_in_place_of_the_hook() -> None:
    counting, told = Counting(), Counting().calls
    for hooks, expected in (((counting,), ["counted matched", "not_listed"]), ((counting, told.append), ["matched"])):
        counting.calls.clear()
        gate = gate_with(*hooks)
        for peer in ("8.8.8.8", "9.9.9.9")[: len(expected)]:
            if not gate.allows("acct-1", peer, []):
                gate.decide("acct-1", peer)
        assert counting.calls == expected


def _takes_nothing() -> None: ...


def _takes_two(verdict: Verdict, more: int) -> None: ...


async def _awaited(verdict: Verdict) -> None: ...


class _Awaited:
    async def __call__(self, verdict: Verdict) -> None: ...


class _BadCounter:
    def __call__(self, verdict: Verdict) -> None: ...


class _CountsTwo(_BadCounter):
    def count_allowed(self, account: str, reason: str) -> None: ...


class _CountsNothing(_BadCounter):
    count_allowed = 5


class _CountsLater(_BadCounter):
    async def count_allowed(self, account: str, reason: str, seconds: float) -> None: ...


class _SuppressesOne(_BadCounter):
    def count_suppressed(self, verdict: Verdict) -> None: ...


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (5, "not callable"),
        ("print", "not callable"),
        (None, "not callable"),
        (_takes_nothing, "one argument, a Verdict: _takes_nothing does not"),
        (_takes_two, "one argument"),
        (functools.partial(_takes_nothing), "one argument"),
        (_awaited, "coroutine"),
        (_Awaited(), "coroutine"),
        (functools.partial(_awaited), "coroutine"),
        (_CountsTwo(), "count_allowed of a hook must take three arguments"),
        (_CountsNothing(), "count_allowed .* is not callable"),
        (_CountsLater(), "coroutine"),
        (_SuppressesOne(), "count_suppressed of a hook must take no argument"),
    ],
)
def test_what_is_no_hook_is_refused_when_the_gate_is_made(hook: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        gate_with(hook)


@pytest.mark.parametrize(
    "hook",
    [print, [].append, Counting(), Mock(), functools.partial(_takes_two, more=1), lambda *verdicts: None, list],
    ids=lambda hook: getattr(hook, "__name__", type(hook).__name__),
)
def test_what_can_be_called_with_a_verdict_is_a_hook(hook: Any) -> None:
    assert gate_with(hook).decide("acct-1", "8.8.8.8").allowed


PROGRAM = """
from cidrgate import Gate, Matcher, Verdict
from cidrgate.gate import AllowedCounter, DecisionHook, GateMetrics, SuppressedCounter, VerdictReason

class Mine:
    def __call__(self, verdict: Verdict) -> None: ...
    def count_allowed(self, account: str, reason: VerdictReason, seconds: float) -> None: ...
    def count_suppressed(self) -> None: ...

seen: list[Verdict] = []
counter: AllowedCounter = Mine()
suppressed: SuppressedCounter = Mine()
hooks: list[DecisionHook] = [Mine(), seen.append, print, GateMetrics()]
gate = Gate(Matcher(), unlisted="deny", hooks=hooks)
if gate.decide("acct-1", "8.8.8.8"):
    reveal_type(seen[0].matched_cidr)
"""
WRONG = """
from cidrgate import Gate, Matcher, Verdict
from cidrgate.gate import AllowedCounter

class Other:
    def __call__(self, verdict: Verdict) -> None: ...
    def count_allowed(self, account: int) -> None: ...

counter: AllowedCounter = Other()
Gate(Matcher(), unlisted="deny", hooks=[5])
Gate(Matcher(), unlisted="deny", hooks=[lambda: None])
"""


@pytest.mark.slow
def test_hooks_are_typed(tmp_path: Path) -> None:
    """As a user's program under `mypy --strict` sees them."""
    pytest.importorskip("mypy", reason="needs mypy: pip install mypy")
    programs = {"right.py": (PROGRAM, 0), "wrong.py": (WRONG, 3)}
    for name, (text, _) in programs.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *programs]
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    for name, (_, found) in programs.items():
        lines = [line for line in said.stdout.splitlines() if line.startswith(f"{name}:")]
        assert sum(": error:" in line for line in lines) == found, said.stdout + said.stderr
        assert found or any("Union[str, None]" in line or "str | None" in line for line in lines), said.stdout
