"""Forks of this process: no thread works on a store meanwhile, and a forked child goes on with its own connections.

A forked child has one thread, the one that forked, and a copy of everything else as it was at that moment: locks that
other threads held stay locked for ever, and SQLite's memory says that the child holds locks on files which only its
parent holds. So whoever works on a store, or holds a lock that a child needs, does it inside `work()`; a fork waits
until everybody has left, keeps newcomers out, and lets stores close what a child must not inherit. The wait has a
bound. Where it is not kept, the fork goes on, and the child knows (`sqlite_is_lost`, `Participant.after_fork`).

Nothing here knows what a store is. `subprocess` and `os.posix_spawn` replace the copy at once, and need none of this.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol

from cidrgate.errors import StoreError
from cidrgate.event_log import log_event

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "ForkedError",
    "Participant",
    "Work",
    "generation",
    "join_forks",
    "refuse_lost_sqlite",
    "sqlite_is_lost",
    "work",
]

_SQLITE_PATIENCE = 15.0
"""Seconds a fork waits for threads that use SQLite: longer than any of them waits for a lock on a file."""

_PATIENCE = 2.0
"""Seconds a fork waits for threads that wait for a server or write a file: a child can do without what they hold."""

_LONGEST_WAIT = 20.0
"""Seconds a thread waits for a fork to end before it goes on in any case."""


class ForkedError(StoreError):
    """What was under way when the process was forked goes on in the parent alone."""


class Participant(Protocol):
    """What has to be told about forks."""

    def before_fork(self) -> None:
        """Close, in the thread that forks, what a child must not inherit; nobody else works on a store."""

    def after_fork(self, *, certain: bool) -> None:
        """Go on in the child.

        Args:
            certain: Whether nobody was in the middle of something.
        """


class _Thread:
    """How deep a thread is inside pieces of work, and how many of them are in SQLite."""

    __slots__ = ("depth", "in_sqlite")

    def __init__(self, *, sqlite: bool) -> None:
        self.depth = 1
        self.in_sqlite = int(sqlite)


class _Gate:
    """Keeps count of the threads inside, and keeps newcomers out while a thread forks."""

    def __init__(self) -> None:
        self.generation = 0
        self.sqlite_is_lost = False
        self._participants: dict[int, tuple[int, weakref.ref[Participant]]] = {}
        self._inside: dict[int, _Thread] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        # Reentrant: a signal's handler may fork while its thread is in one of these blocks.
        self._changed = threading.Condition(threading.RLock())
        self._turn = threading.RLock()
        self._forking: dict[int, bool] = {}  # threads that fork, and whether each has its turn
        self._sealed = False

    def join(self, participant: Participant, stage: int) -> None:
        key = id(participant)
        self._participants[key] = stage, weakref.ref(participant, lambda _: self._participants.pop(key, None))

    # ------------------------------------------------------------------------------------------------- at work

    def enter(self, *, sqlite: bool) -> None:
        me = threading.get_ident()
        with self._changed:
            thread = self._inside.get(me)
            if self._forking and self._has_to_wait(thread, me, sqlite):
                # With a bound: what the thread that forks waits for may be held by this one.
                self._changed.wait_for(lambda: not self._has_to_wait(thread, me, sqlite), _LONGEST_WAIT)
            # In one step, as a signal's handler or a finalizer may work on a store between any two.
            new = _Thread(sqlite=sqlite)
            thread = self._inside.setdefault(me, new)
            if thread is not new:
                thread.depth += 1
                thread.in_sqlite += sqlite

    def _has_to_wait(self, thread: _Thread | None, me: int, sqlite: bool) -> bool:
        if not self._forking or me in self._forking:
            return False
        # Who is inside has to be let on, or would never leave; until the fork has stopped waiting for it.
        return thread is None or (self._sealed and sqlite and not thread.in_sqlite)

    def leave(self, *, sqlite: bool) -> None:
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
        me = threading.get_ident()
        with self._changed:
            self._forking.setdefault(me, False)
            self._wait_for_others()
        # Another thread that forks may be closing connections.
        has_turn = self._turn.acquire(timeout=_SQLITE_PATIENCE)
        with self._changed:
            if has_turn and self._forking.get(me):  # a signal's handler forks while its thread does
                self._turn.release()
            self._forking[me] = self._forking.get(me, False) or has_turn
            self._wait_for_others()
            alone = self._forking[me] and not self._others()
            self._sealed = True
        if not alone:  # said here, as a child may not be able to
            log_event(
                logging.WARNING,
                "fork_unsafe",
                "the process is forked while other threads work on a store, which did not end in time: the child does "
                "not know how old its lists are before it has looked at the store, and cannot use SQLite if they did",
            )
        for participant in self._in_order():
            try:
                participant.before_fork()
            except Exception:  # noqa: BLE001 - the fork cannot be stopped; the child finds what is still open
                log_event(logging.ERROR, "fork_unsafe", "a store was not made ready for a fork", exc_info=True)

    def _wait_for_others(self) -> None:
        began = time.monotonic()
        while others := self._others():
            patience = _SQLITE_PATIENCE if any(thread.in_sqlite for thread in others) else _PATIENCE
            left = began + patience - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _others(self) -> list[_Thread]:
        """Threads inside; one that forks itself is in no call of a database."""
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
        me = threading.get_ident()
        others = self._others()
        # Without a turn another thread that forks may have been closing connections, and without `before` the
        # process was forked by something that does not tell Python.
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
            except Exception:  # noqa: BLE001 - the others shall go on
                message = "a part of cidrgate does not go on in a forked process"
                log_event(logging.ERROR, "fork_unsafe", message, exc_info=True)

    def _in_order(self) -> list[Participant]:
        known = sorted(self._participants.values(), key=lambda one: one[0])
        return [participant for _, reference in known if (participant := reference()) is not None]


_gate = _Gate()


class Work:
    """A piece of work that no fork of this process cuts in two; a context manager, see `work`."""

    __slots__ = ("_generation", "_sqlite")

    def __init__(self, *, sqlite: bool) -> None:
        self._sqlite = sqlite

    def __enter__(self) -> None:
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
                "this process was forked in the middle of work on the store, which its parent alone goes on with; "
                "nothing was changed here"
            ) from error


def work(*, sqlite: bool = False) -> Work:
    """A piece of work on a store, or with a lock that a forked child needs; may stand inside another one.

    Take it before the lock: what is waited for inside has to be held inside too.

    Args:
        sqlite: Whether it uses SQLite, which a child can use only if nobody else did when it was forked.

    Raises:
        StoreError: If SQLite cannot be used in this process; or at its end, in a child that was forked inside.

    Example:
        >>> with work(), work(sqlite=True):
        ...     pass
    """
    return Work(sqlite=sqlite)


def join_forks(participant: Participant, *, stage: int) -> None:
    """Tell somebody about forks, as long as it is there.

    Args:
        participant: Who; not kept alive from here.
        stage: Those of a lower stage are told earlier: stores before what uses them.
    """
    _gate.join(participant, stage)


def generation() -> int:
    """How many forks lie between this process and the one that loaded this module."""
    return _gate.generation


def is_in_sqlite() -> bool:
    """Whether this thread is inside a piece of work that uses SQLite."""
    return _gate.is_in_sqlite()


def sqlite_is_lost() -> bool:
    """Whether this process was forked while another thread used SQLite, so that any call of it may wait for ever."""
    return _gate.sqlite_is_lost


def refuse_lost_sqlite() -> None:
    """Refuse to use SQLite where it may wait for ever.

    Raises:
        StoreError: If this process was forked while another thread used it.
    """
    if _gate.sqlite_is_lost:
        raise StoreError(
            "SQLite cannot be used in this process: it was forked while another thread was using it for too long; "
            "start the process anew, or fork before stores are opened"
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_gate.before, after_in_parent=_gate.after_in_parent, after_in_child=_gate.after_in_child)
