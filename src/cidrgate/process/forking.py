"""Forks of this process: no thread uses a store during a fork, and a forked child opens its own connections.

A forked child has one thread, the one that forked, and a copy of all memory at that moment. Locks that other threads
held stay locked for ever, and SQLite's memory claims file locks that only the parent holds. Therefore every thread that
uses a store, or holds a lock that a child needs, does so inside `work()`. A fork waits until all threads have left
`work()`, blocks threads that want to enter, and lets stores close the resources that a child must not inherit. The wait
has a time limit. After this limit the fork continues, nothing is closed that a thread of the parent uses, and the child
is informed (`sqlite_is_lost`, `Participant.after_fork`). The same is true of a thread that loads a part of the package
(`loading`): Python's lock of a module that is being imported stays locked in a child too.

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
    from collections.abc import Collection
    from types import TracebackType

__all__ = [
    "Participant",
    "Work",
    "generation",
    "join_forks",
    "loading",
    "notice_forks",
    "refuse_lost_sqlite",
    "sqlite_is_busy",
    "sqlite_is_in_use",
    "sqlite_is_lost",
    "work",
]

_SQLITE_PATIENCE = 15.0
"""Seconds that a fork waits for threads that use SQLite, or that load a module, and once more for a thread that forks
at the same time: longer than the default lock timeout. What a thread does after this time continues in the parent."""

_PATIENCE = 2.0
"""Seconds that a fork waits for threads that wait for a server or write a file: a child does not need their locks."""

_LONGEST_WAIT = 20.0
"""Seconds that a thread waits for a fork to end. It continues after this time in any case."""

_LOOK = 0.001
"""Seconds between two looks at whether another thread has run the hooks of a child."""


class Participant(Protocol):
    """An object that is called before and after a fork."""

    def before_fork(self) -> None:
        """Close, in the forking thread, what a child must not inherit.

        No other thread uses a store meanwhile, unless it outlasted the wait (`sqlite_is_in_use`, `sqlite_is_busy`).
        """

    def after_fork(self, *, certain: bool) -> None:
        """Continue in the child. After an exception it is called once more.

        Args:
            certain: Whether no other thread was inside `work()` at the fork.
        """


class _Fork:
    """A fork in progress, of one thread.

    Attributes:
        until: The `time.monotonic` time until which other threads wait for it: longer than it takes. A fork whose end
            was interrupted blocks nobody after this time.
        sealed: Whether it has stopped waiting for other threads: from now on, none of them begins to use SQLite.
        ready: Whether everything was closed that a child must not inherit.
    """

    __slots__ = ("ready", "sealed", "until")

    def __init__(self) -> None:
        self.ready = self.sealed = False
        self.extend()

    def extend(self) -> None:
        """Begin the time anew for which other threads wait."""
        self.until = time.monotonic() + _LONGEST_WAIT


class _Gate:
    """Knows the `work()` blocks of all threads, and blocks other threads from entering while a thread forks.

    There is no lock, because a signal handler may raise an exception at any call in the main thread: also after the
    lock was taken, and before it is certain that it will be given back. Each step is one operation on a set or a dict,
    which can be repeated. A thread adds its block and then looks for forks; a fork adds itself and then looks for
    blocks: one of them sees the other.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.sqlite_is_lost = False
        self.loading_is_lost = False
        self._process = os.getpid()
        self._noticing: dict[int, tuple[int, object]] = {}  # by process: the thread that runs the hooks of a child
        self._participants: dict[int, tuple[int, weakref.ref[Participant]]] = {}
        # Weak: a block that was interrupted as it began or ended, and therefore has not left, is gone at the latest
        # when the exception is.
        self._inside: set[weakref.ref[Work]] = set()
        self._forking: dict[int, _Fork] = {}  # by thread, in their order: the first may close connections

    def join(self, participant: Participant, stage: int) -> None:
        key = id(participant)
        self._participants[key] = stage, weakref.ref(participant, lambda _: self._participants.pop(key, None))

    def notice(self) -> None:
        """Run the hooks of a child now, if native code has forked without them. Other threads wait for this."""
        process, me, claim = os.getpid(), threading.get_ident(), object()
        if process == self._process:
            return
        try:
            # No lock: a thread of the parent may have held it.
            thread, first = self._noticing.setdefault(process, (me, claim))
            if first is claim:
                self.after_in_child()
            elif thread != me:
                end = time.monotonic() + _LONGEST_WAIT
                while process != self._process and time.monotonic() < end:
                    time.sleep(_LOOK)
        except BaseException:
            if self._noticing.get(process) == (me, claim):
                self._noticing.pop(process, None)  # the next use of a store runs the hooks
            raise

    # ------------------------------------------------------------------------------------------------- at work

    def enter(self, work: Work) -> None:
        if not self._forking:
            self._inside.add(work.reference)
            if not self._forking:
                return
        self._enter_between_forks(work)

    def _enter_between_forks(self, work: Work) -> None:
        # Limited in time: this thread may hold a lock that the forking thread waits for.
        end = time.monotonic() + _LONGEST_WAIT
        while True:
            self._inside.discard(work.reference)
            while self._has_to_wait(work) and time.monotonic() < end:
                time.sleep(_LOOK)
            self._inside.add(work.reference)
            if not self._has_to_wait(work) or time.monotonic() >= end:
                return

    def _has_to_wait(self, work: Work) -> bool:
        forks = self._forks()
        if not forks or work.thread in forks:
            return False
        own = [other for other in self._works() if other.thread == work.thread and other is not work]
        # A thread inside must be able to continue, or it would never leave. This ends when the fork stops waiting.
        sealed = any(fork.sealed for fork in forks.values())
        return not own or (sealed and work.sqlite and not any(other.sqlite for other in own))

    def leave(self, work: Work) -> None:
        self._inside.discard(work.reference)

    def sqlite_is_in_use(self) -> bool:
        return any(work.sqlite for work in self._works())

    def sqlite_is_busy(self) -> bool:
        return any(work.sqlite for work in self._others())

    def _works(self) -> list[Work]:
        works = []
        for reference in self._inside.copy():
            work = reference()
            if work is None:
                self._inside.discard(reference)
            else:
                works.append(work)
        return works

    def _forks(self) -> dict[int, _Fork]:
        """Return the forks for which other threads wait, by thread."""
        now = time.monotonic()
        return {thread: fork for thread, fork in self._forking.copy().items() if now < fork.until}

    # --------------------------------------------------------------------------------------------------- forks

    def before(self) -> None:
        self.notice()
        began = time.monotonic()
        me, fork = threading.get_ident(), _Fork()
        self._forking[me] = fork
        outlasted = self._wait_for_others(began)
        # Another forking thread may be closing connections.
        has_turn = self._wait_for_turn(fork)
        fork.extend()
        self._forking.setdefault(me, fork)  # a signal handler may have forked since
        self._wait_for_others(began, but=outlasted)
        alone = has_turn and not self._others()
        fork.sealed = True
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
        fork.extend()
        # Otherwise a signal handler has forked in this block, and other threads may have opened connections since.
        fork.ready = has_turn and self._forking.get(me) is fork
        self._forking[me] = fork

    def _wait_for_others(self, began: float, *, but: Collection[Work] = ()) -> list[Work]:
        """Wait until other threads have left their blocks, and return the blocks that outlasted the wait.

        Args:
            began: The `time.monotonic` time at which the fork began: both waits for other threads have one limit.
            but: Blocks that are not waited for: an earlier wait ended before they did.
        """
        while others := [work for work in self._others() if work not in but]:
            needed = any(work.sqlite or work.loads for work in others)
            if time.monotonic() - began >= (_SQLITE_PATIENCE if needed else _PATIENCE):
                break
            time.sleep(_LOOK)
        return others

    def _others(self) -> list[Work]:
        """Return the blocks of other threads. A thread that forks is not inside a database call."""
        me, forks = threading.get_ident(), self._forks()
        return [work for work in self._works() if work.thread != me and work.thread not in forks]

    def _wait_for_turn(self, fork: _Fork) -> bool:
        fork.extend()
        end = time.monotonic() + _SQLITE_PATIENCE
        while next(iter(self._forks().values()), fork) is not fork:
            if time.monotonic() >= end:
                return False
            time.sleep(_LOOK)
        return True

    def after_in_parent(self) -> None:
        self._forking.pop(threading.get_ident(), None)

    def after_in_child(self) -> None:
        process = os.getpid()
        try:
            self._noticing = {process: (threading.get_ident(), self)}
            self._become_child()
            self._process = process
        except BaseException:
            self._noticing = {}  # the next use of a store runs the hooks again
            raise

    def _become_child(self) -> None:
        me = threading.get_ident()
        others = self._others()
        # Without the turn, another forking thread may have been closing connections. If `before` did not run, native
        # code has forked without the hooks.
        fork = self._forking.get(me)
        kept_out = fork is not None and fork.ready
        if any(work.sqlite for work in others) or (fork is not None and not kept_out):
            self.sqlite_is_lost = True
        if any(work.loads for work in others):
            self.loading_is_lost = True
        certain = kept_out and not others
        self._inside = {work.reference for work in self._works() if work.thread == me}
        self._forking = {}
        self.generation += 1
        for participant in self._in_order():
            try:
                try:
                    participant.after_fork(certain=certain)
                except Exception:  # noqa: BLE001 - perhaps of a signal handler, which does not raise it again
                    participant.after_fork(certain=certain)
            except Exception:  # noqa: BLE001 - the other participants must continue
                message = "a part of cidrgate cannot continue in a forked process"
                log_event(logging.ERROR, "fork_unsafe", message, exc_info=True)

    def _in_order(self) -> list[Participant]:
        known = sorted(self._participants.values(), key=lambda one: one[0])
        return [participant for _, reference in known if (participant := reference()) is not None]


_gate = _Gate()


class Work:
    """A context manager around an operation that a fork must not interrupt; see `work`."""

    __slots__ = ("__weakref__", "_generation", "loads", "reference", "sqlite", "thread")

    def __init__(self, *, sqlite: bool = False, loads: bool = False) -> None:
        self.sqlite = sqlite
        self.loads = loads
        self.reference = weakref.ref(self)

    def __enter__(self) -> None:
        _gate.notice()
        if self.sqlite:
            refuse_lost_sqlite()
        if self.loads and _gate.loading_is_lost:
            raise ForkedError(
                "this process was forked while another thread loaded a part of cidrgate, which cannot be loaded here "
                "any more: open the store before you start threads, or start this process again"
            )
        self.thread = threading.get_ident()
        try:
            _gate.enter(self)
            self._generation = _gate.generation
        except BaseException:  # raised by a signal handler: `__exit__` will not be called
            _gate.leave(self)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        _gate.leave(self)
        _gate.notice()
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


def loading() -> Work:
    """Protect the first use of a part of the package, which imports it, from forks.

    Raises:
        ForkedError: If another thread was importing a part of the package when this process was forked.

    Example:
        >>> with loading():
        ...     from cidrgate.rules.policy import Policy
    """
    return Work(loads=True)


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


def sqlite_is_in_use() -> bool:
    """Return whether any thread, also one that forks, is inside a `work()` block that uses SQLite.

    A connection may then belong to a transaction that continues in this process after the fork.
    """
    return _gate.sqlite_is_in_use()


def sqlite_is_busy() -> bool:
    """Return whether another thread may be inside a call of SQLite. To close a connection could take as long as that.

    A child that is forked now uses no SQLite, so nothing has to be closed for it.
    """
    return _gate.sqlite_is_busy()


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
    # Again, in case that a signal handler interrupts the first one: it can be repeated.
    os.register_at_fork(after_in_parent=_gate.after_in_parent)
