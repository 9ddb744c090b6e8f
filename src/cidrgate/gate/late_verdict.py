"""`LateVerdict`: the verdict of a request that an edge allowed on the fast path, made when the application reads it."""

from __future__ import annotations

import os
import threading
from dataclasses import fields
from typing import Any

from cidrgate.gate.verdict import Verdict

__all__ = ["LateVerdict"]

_NAMES = tuple(one.name for one in fields(Verdict))


class LateVerdict(Verdict):
    """A verdict that is not made yet. Whatever is read of it makes it, and it is a plain `Verdict` from then on.

    Most applications never read the verdict of an allowed request, so the fast path only notes what it is made of.

    Args:
        late: The gate that has allowed the request, and the arguments of its `allowed_verdict`.
    """

    __slots__ = ()

    # Those of the frozen class are slow. They exclude each other: both must be replaced.
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__

    def __init__(self, *late: Any) -> None:
        self._late = late

    def __bool__(self) -> bool:
        """Return True."""
        return True

    def __getattr__(self, name: str) -> Any:
        """Make the verdict: Python calls this for an attribute that has no value yet."""
        _make(self)
        return getattr(self, name)

    def __eq__(self, other: object) -> bool:
        _make(self)
        return self == other

    def __hash__(self) -> int:
        _make(self)
        return hash(self)

    def __repr__(self) -> str:
        _make(self)
        return repr(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        _make(self)
        return self.__reduce_ex__(protocol)


_making = threading.Lock()


def _make(verdict: LateVerdict) -> None:
    """Give a verdict its content and the class `Verdict`. Threads that do it at once get the same request id."""
    with _making:
        if type(verdict) is LateVerdict:
            gate, *asked = verdict._late
            made: Verdict = gate.allowed_verdict(*asked)
            for name in _NAMES:
                object.__setattr__(verdict, name, getattr(made, name))
            object.__setattr__(verdict, "_late", None)
            object.__setattr__(verdict, "__class__", Verdict)


def _after_fork() -> None:
    """Replace the lock: a thread that held it does not exist in the child."""
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
