"""What a hook of a `Gate` is: the protocols, and the check when the gate is made."""

from __future__ import annotations

from inspect import iscoroutinefunction, signature
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.gate.verdict import Verdict, VerdictReason

__all__ = ["AllowedCounter", "DecisionHook", "SuppressedCounter", "check_hook", "name_of"]


@runtime_checkable
class DecisionHook(Protocol):
    """A hook of a gate: a plain function, or another object that can be called with a `Verdict`.

    What it returns is ignored. If it raises an error, the error is logged and the decision stays.
    """

    def __call__(self, verdict: Verdict, /) -> object:
        """Take note of a decision."""


@runtime_checkable
class AllowedCounter(DecisionHook, Protocol):
    """A hook that needs no `Verdict` of an allowed request, such as `GateMetrics`.

    The gate may call `count_allowed` for an allowed request instead of calling the hook. If all hooks can count, the
    gate makes no verdict for such a request, which is faster.
    """

    def count_allowed(self, account: str, reason: VerdictReason, seconds: float, /) -> object:
        """Count an allowed request.

        Args:
            account: The account that the request acts for.
            reason: `matched` or `not_enforced`.
            seconds: How long the decision took.
        """


@runtime_checkable
class SuppressedCounter(DecisionHook, Protocol):
    """A hook that counts the denials for which the log writes no line, because they are repeated."""

    def count_suppressed(self) -> object:
        """Count one such denial."""


def check_hook(hook: object) -> DecisionHook:
    """Check a hook when the gate is made, before the first request.

    Raises:
        TypeError: If it does not fit `DecisionHook`, or if it has a method `count_allowed` or `count_suppressed` that
            does not fit `AllowedCounter` or `SuppressedCounter`.

    Example:
        >>> check_hook(lambda: None)
        Traceback (most recent call last):
        ...
        TypeError: a hook must take one argument, a Verdict: <lambda> does not
    """
    if not isinstance(hook, DecisionHook):
        raise TypeError(f"a hook must be callable with a Verdict: {hook!r} is not callable")
    _check_call(hook, name_of(hook), 1, "a hook must take one argument, a Verdict")
    for method, arguments, takes in (
        ("count_allowed", 3, "count_allowed of a hook must take three arguments: account, reason and seconds"),
        ("count_suppressed", 0, "count_suppressed of a hook must take no argument"),
    ):
        if hasattr(hook, method):
            counter = getattr(hook, method)
            if not callable(counter):
                raise TypeError(f"{takes}: {method} of {name_of(hook)} is not callable")
            _check_call(counter, f"{name_of(hook)}.{method}", arguments, takes)
    return hook


def _check_call(call: Callable[..., object], name: str, arguments: int, takes: str) -> None:
    """Check that something can be called with so many arguments and need not be awaited.

    Raises:
        TypeError: If not.
    """
    if iscoroutinefunction(call) or iscoroutinefunction(getattr(call, "__call__", None)):  # noqa: B004
        raise TypeError(f"a hook is not awaited: {name} is a coroutine function; use a plain function")
    try:
        parameters = signature(call)
    except (TypeError, ValueError):  # a function written in C may not tell
        return
    try:
        parameters.bind(*[None] * arguments)
    except TypeError as error:
        raise TypeError(f"{takes}: {name} does not") from error


def name_of(hook: object) -> str:
    """Return the name of a hook for messages. Its `repr` is not called, because that may fail too."""
    return getattr(hook, "__qualname__", type(hook).__qualname__)
