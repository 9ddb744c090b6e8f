"""Forks of this process: no thread uses a store during a fork, and a forked child opens its own connections.

A forked child has one thread, the one that forked, and a copy of all memory at that moment. Locks that other threads
held stay locked for ever, and SQLite's memory claims file locks that only the parent holds. Therefore every thread that
uses a store, or holds a lock that a child needs, does so inside `work()`. A fork waits until all threads have left
`work()`, blocks threads that want to enter, and lets stores close the resources that a child must not inherit. The wait
has a time limit. After this limit the fork continues, and the child is informed (`sqlite_is_lost`,
`Participant.after_fork`).

Native code may fork without the hooks of Python. The child then runs the hooks itself, late: at its first use of a
store, or when it is asked for the age of its lists (`notice_forks`).

This module does not know what a store is. `subprocess` and `os.posix_spawn` replace the copied memory at once and do
not need this module.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol

from cidrgate.errors import ForkedError, StoreError
from cidrgate.event_log import log_event

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "Participant",
    "Work",
    "generation",
    "join_forks",
    "notice_forks",
    "refuse_lost_sqlite",
    "sqlite_is_lost",
    "work",
]

_SQLITE_PATIENCE = 15.0
"""Seconds that a fork waits for threads that use SQLite: longer than any of them waits for a file lock."""

_PATIENCE = 2.0
"""Seconds that a fork waits for threads that wait for a server or write a file: a child does not need their locks."""

_LONGEST_WAIT = 20.0
"""Seconds that a thread waits for a fork to end. It continues after this time in any case."""

_LOOK = 0.001
"""Seconds between two looks at whether another thread has run the hooks of a child."""


class Participant(Protocol):
    """An object that is called before and after a fork."""

    def before_fork(self) -> None:
        """Close, in the forking thread, what a child must not inherit; no other thread uses a store meanwhile."""

    def after_fork(self, *, certain: bool) -> None:
        """Continue in the child.

        Args:
            certain: Whether no other thread was inside `work()` at the fork.
        """


class _Thread:
    """How many `work()` blocks a thread is inside, and how many of these use SQLite."""

    __slots__ = ("depth", "in_sqlite")

    def __init__(self, *, sqlite: bool) -> None:
        self.depth = 1
        self.in_sqlite = int(sqlite)


class _Gate:
    """Counts the threads inside `work()`, and blocks other threads from entering while a thread forks."""

    def __init__(self) -> None:
        self.generation = 0
        self.sqlite_is_lost = False
        self._process = os.getpid()
        self._noticing: dict[int, tuple[int, object]] = {}  # by process: the thread that runs the hooks of a child
        self._participants: dict[int, tuple[int, weakref.ref[Participant]]] = {}
        self._inside: dict[int, _Thread] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        # Reentrant: a signal handler may fork while its thread is inside one of these blocks.
        self._changed = threading.Condition(threading.RLock())
        self._turn = threading.RLock()
        self._forking: dict[int, bool] = {}  # forking threads, and whether each holds `_turn`
        self._sealed = False

    def join(self, participant: Participant, stage: int) -> None:
        key = id(participant)
        self._participants[key] = stage, weakref.ref(participant, lambda _: self._participants.pop(key, None))

    def notice(self) -> None:
        """Run the hooks of a child now, if native code has forked without them. Other threads wait for this."""
        process, me, claim = os.getpid(), threading.get_ident(), object()
        if process == self._process:
            return
        # No lock: a thread of the parent may have held it.
        thread, first = self._noticing.setdefault(process, (me, claim))
        if first is claim:
            self.after_in_child()
        elif thread != me:
            end = time.monotonic() + _LONGEST_WAIT
            while process != self._process and time.monotonic() < end:
                time.sleep(_LOOK)

    # ------------------------------------------------------------------------------------------------- at work

    def enter(self, *, sqlite: bool) -> None:
        me = threading.get_ident()
        with self._changed:
            thread = self._inside.get(me)
            if self._forking and self._has_to_wait(thread, me, sqlite):
                # Limited in time: this thread may hold a lock that the forking thread waits for.
                self._changed.wait_for(lambda: not self._has_to_wait(thread, me, sqlite), _LONGEST_WAIT)
            # In one step: a signal handler or a finalizer may use a store between any two steps.
            new = _Thread(sqlite=sqlite)
            thread = self._inside.setdefault(me, new)
            if thread is not new:
                thread.depth += 1
                thread.in_sqlite += sqlite

    def _has_to_wait(self, thread: _Thread | None, me: int, sqlite: bool) -> bool:
        if not self._forking or me in self._forking:
            return False
        # A thread inside must be able to continue, or it would never leave. This ends when the fork stops waiting.
        return thread is None or (self._sealed and sqlite and not thread.in_sqlite)

    def leave(self, *, sqlite: bool) -> None:
        self.notice()
        me = threading.get_ident()
        with self._changed:
            thread = self._inside[me]
            thread.depth -= 1
            thread.in_sqlite -= sqlite
            if not thread.depth:
                del self._inside[me]
            if self._forking:
                self._changed.notify_all()

    def is_in_sqlite(self) -> bool:
        thread = self._inside.get(threading.get_ident())
        return thread is not None and thread.in_sqlite > 0

    # --------------------------------------------------------------------------------------------------- forks

    def before(self) -> None:
        self.notice()
        me = threading.get_ident()
        with self._changed:
            self._forking.setdefault(me, False)
            self._wait_for_others()
        # Another forking thread may be closing connections.
        has_turn = self._turn.acquire(timeout=_SQLITE_PATIENCE)
        with self._changed:
            if has_turn and self._forking.get(me):  # a signal handler forks while its thread forks
                self._turn.release()
            self._forking[me] = self._forking.get(me, False) or has_turn
            self._wait_for_others()
            alone = self._forking[me] and not self._others()
            self._sealed = True
        if not alone:  # logged here, because the child may not be able to log
            log_event(
                logging.WARNING,
                "fork_unsafe",
                "the process forks while other threads still use a store: the child does not know the age of its lists "
                "until it has read the store, and it cannot use SQLite if one of these threads was using SQLite",
            )
        for participant in self._in_order():
            try:
                participant.before_fork()
            except Exception:  # noqa: BLE001 - the fork cannot be stopped; the child closes what is still open
                log_event(logging.ERROR, "fork_unsafe", "a store could not be prepared for a fork", exc_info=True)

    def _wait_for_others(self) -> None:
        began = time.monotonic()
        while others := self._others():
            patience = _SQLITE_PATIENCE if any(thread.in_sqlite for thread in others) else _PATIENCE
            left = began + patience - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _others(self) -> list[_Thread]:
        """Return the other threads inside. A thread that forks is not inside a database call."""
        me = threading.get_ident()
        return [thread for key, thread in self._inside.items() if key != me and key not in self._forking]

    def after_in_parent(self) -> None:
        with self._changed:
            has_turn = self._forking.pop(threading.get_ident(), False)
            if has_turn:
                self._sealed = False
            self._changed.notify_all()
        if has_turn:
            self._turn.release()

    def after_in_child(self) -> None:
        process, me = os.getpid(), threading.get_ident()
        self._noticing = {process: (me, self)}
        others = self._others()
        # Without the turn, another forking thread may have been closing connections. If `before` did not run, native
        # code has forked without the hooks.
        kept_out = self._forking.get(me, False)
        if any(thread.in_sqlite for thread in others) or (me in self._forking and not kept_out):
            self.sqlite_is_lost = True
        certain = kept_out and not others
        self._inside = {me: self._inside[me]} if me in self._inside else {}
        self._begin_anew()
        self.generation += 1
        for participant in self._in_order():
            try:
                participant.after_fork(certain=certain)
            except Exception:  # noqa: BLE001 - the other participants must continue
                message = "a part of cidrgate cannot continue in a forked process"
                log_event(logging.ERROR, "fork_unsafe", message, exc_info=True)
        self._process = process

    def _in_order(self) -> list[Participant]:
        known = sorted(self._participants.values(), key=lambda one: one[0])
        return [participant for _, reference in known if (participant := reference()) is not None]


_gate = _Gate()


class Work:
    """A context manager around an operation that a fork must not interrupt; see `work`."""

    __slots__ = ("_generation", "_sqlite")

    def __init__(self, *, sqlite: bool) -> None:
        self._sqlite = sqlite

    def __enter__(self) -> None:
        _gate.notice()
        if self._sqlite:
            refuse_lost_sqlite()
        _gate.enter(sqlite=self._sqlite)
        self._generation = _gate.generation

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        _gate.leave(sqlite=self._sqlite)
        if self._generation != _gate.generation and (kind is None or issubclass(kind, Exception)):
            raise ForkedError(
                "this process was forked during an operation on the store; only the parent process continues the "
                "operation, and nothing was changed here"
            ) from error


def work(*, sqlite: bool = False) -> Work:
    """Protect an operation on a store, or with a lock that a forked child needs, from forks. Blocks may be nested.

    Enter the block before you take the lock: a lock that is awaited inside a block must also be held inside a block.

    Args:
        sqlite: Whether the operation uses SQLite. A child can use SQLite only if no other thread used it at the fork.

    Raises:
        StoreError: If SQLite cannot be used in this process; or, at the end of the block, in a child that was forked
            inside the block.

    Example:
        >>> with work(), work(sqlite=True):
        ...     pass
    """
    return Work(sqlite=sqlite)


def join_forks(participant: Participant, *, stage: int) -> None:
    """Call a participant before and after each fork, as long as the object exists.

    Args:
        participant: The participant; it is held by a weak reference.
        stage: Participants with a lower stage are called earlier: stores before the objects that use them.
    """
    _gate.join(participant, stage)


def notice_forks() -> None:
    """Prepare this process, if it is the child of a fork that ran no hooks. `work` does so by itself.

    Example:
        >>> notice_forks()
    """
    _gate.notice()


def generation() -> int:
    """Return how many forks lie between this process and the process that loaded this module."""
    return _gate.generation


def is_in_sqlite() -> bool:
    """Return whether this thread is inside a `work()` block that uses SQLite."""
    return _gate.is_in_sqlite()


def sqlite_is_lost() -> bool:
    """Return whether this process was forked while another thread used SQLite: SQLite may then block for ever."""
    return _gate.sqlite_is_lost


def refuse_lost_sqlite() -> None:
    """Raise an error if a call of SQLite may block for ever.

    Raises:
        StoreError: If this process was forked while another thread used SQLite.
    """
    if _gate.sqlite_is_lost:
        raise StoreError(
            "SQLite cannot be used in this process, because the process was forked while another thread was using "
            "SQLite; restart the process, or fork before a store is opened"
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_gate.before, after_in_parent=_gate.after_in_parent, after_in_child=_gate.after_in_child)
