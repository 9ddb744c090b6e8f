"""Exceptions of signal handlers, raised at each moment at which Python runs such a handler.

Python runs signal handlers in the main thread: when a function begins, when a call has returned, and when a loop goes
back. The exception replaces the result of the call. There is no such moment between a `with` statement's taking a lock
that is written in C and its block, nor between the block and the release of the lock.
"""

from __future__ import annotations

import dis
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy.pool
import sqlalchemy.util.queue

import cidrgate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["ERRORS", "POOLS", "Alarm", "Interrupt", "in_another_thread", "interruptions"]

POOLS = (str(Path(sqlalchemy.pool.__file__).parent),)
"""The code of SQLAlchemy between a pool's queue and its connections."""

_OURS = (str(Path(cidrgate.__file__).parent), threading.__file__, sqlalchemy.util.queue.__file__)
_GENERATOR = 0x20  # CO_GENERATOR: it returns its value to C code, which continues without running a handler
_MOST = 20_000


class Interrupt(BaseException):
    """As KeyboardInterrupt."""


class Alarm(Exception):  # noqa: N818 - named as what it stands for
    """As the soft time limit of Celery."""


ERRORS = (Interrupt, Alarm)


def interruptions(
    operation: Callable[[], object], error: type[BaseException], also: tuple[str, ...] = ()
) -> Iterator[str]:
    """Call an operation again and again, interrupted at its first moment, at its second, and so on.

    Args:
        operation: The operation.
        error: What is raised.
        also: Files and folders with code that is interrupted too, beside that of cidrgate.

    Yields:
        Where it was interrupted, after each time. The last call, which was not interrupted, yields nothing.
    """
    for number in range(_MOST):
        where = _interrupted(operation, error, number, _OURS + also)
        if where is None:
            return
        yield where
    raise AssertionError("the operation does not end")


def _interrupted(
    operation: Callable[[], object], error: type[BaseException], number: int, places: tuple[str, ...]
) -> str | None:
    left = number
    where: str | None = None

    def moment(frame: FrameType, event: str) -> None:
        nonlocal left, where
        if not frame.f_code.co_filename.startswith(places):
            return
        if left:
            left -= 1
            return
        where = f"{frame.f_code.co_qualname}:{frame.f_lineno} ({event})"
        sys.setprofile(None)
        sys.settrace(None)
        raise error(where)

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "c_return") or (event == "return" and not frame.f_code.co_flags & _GENERATOR):
            moment(frame, event)

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(places):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if event == "opcode" and dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("JUMP_BACKWARD"):
            moment(frame, event)
        return trace

    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        operation()
    except BaseException as raised:
        # It may have been wrapped: the test asks what is left behind, not what is raised.
        if where is None or not _within(raised, error):
            raise
    finally:
        sys.setprofile(None)
        sys.settrace(None)
    return where


def _within(raised: BaseException | None, error: type[BaseException]) -> bool:
    while raised is not None and not isinstance(raised, error):
        raised = raised.__cause__ or raised.__context__
    return raised is not None


def in_another_thread(ask: Callable[[], Any]) -> Any:
    """Return what a function returns in another thread, which no signal handler interrupts.

    Raises:
        AssertionError: If the thread waits for ever.
    """
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(ask()), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "another thread waits for ever"
    [result] = results
    return result
