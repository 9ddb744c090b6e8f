"""Changes that wait for each other are committed together: one wait for the disk, and one look at the log, for all.

A thread that brings a change while as many others are being committed as may be waits, and with all that wait then its
change is made in one transaction by the first of their threads. No account is in two transactions at once, so nobody
waits in the database for a change of this process, and a list that another process keeps locked holds up one
transaction only.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, cast

from cidrgate.errors import CidrgateError, StoreError
from cidrgate.forking import generation
from cidrgate.list_requests import change_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from cidrgate.list_changes import ListOutcome
    from cidrgate.list_requests import ListRequest
    from cidrgate.stores import Transaction

__all__ = ["CommitGroups"]

_Made = TypeVar("_Made")

_MOST_MEMBERS = 32
"""How many changes one group holds: few enough that the first of them does not wait long for the last."""


class _Member:
    """A change that waits for its turn, and what became of it.

    Args:
        change: A change of a list, or what makes something else in a transaction of its own.
    """

    def __init__(self, change: ListRequest | Callable[[Transaction], Any]) -> None:
        self.change = change
        self.account = None if callable(change) else change.account
        self.group: list[_Member] = []  # to be committed by the thread that brought this one
        self.done = False
        self.result: Any = None  # what it made, or the error to raise
        self.woken = threading.Event()


class CommitGroups:
    """Makes changes in write transactions, those of several threads in one.

    Args:
        change: Begins a write transaction; committed and published at the end of the block.
        turns: How many transactions may be under way at once.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Transaction]], turns: int) -> None:
        self._change = change
        self._turns = turns
        self.after_fork()

    def change_list(self, request: ListRequest) -> ListOutcome:
        """What a change of a list comes to, once it is committed.

        Args:
            request: The change; may be made a second time, when the first transaction could not be committed.
        """
        return cast("ListOutcome", self._made(_Member(request)))

    def alone(self, make: Callable[[Transaction], _Made]) -> _Made:
        """What a function makes in a write transaction of its own, once that is committed."""
        return cast("_Made", self._made(_Member(make)))

    def after_fork(self) -> None:
        """Forget the threads that did not come along."""
        self._lock = threading.Lock()
        self._waiting: deque[_Member] = deque()
        self._free = self._turns
        self._busy: set[str | None] = set()

    def _made(self, member: _Member) -> Any:
        born = generation()
        with self._lock:
            self._waiting.append(member)
            self._begin_groups()
        try:
            member.woken.wait()
            if member.group:
                self._commit(member.group)
        finally:
            if generation() == born:  # else the others of its group are in the parent
                with self._lock:
                    self._leave(member)
        if isinstance(member.result, BaseException):
            raise member.result
        return member.result

    def _leave(self, member: _Member) -> None:
        """Let others go on, also where an interruption ends the thread that brought a change."""
        if member in self._waiting:
            self._waiting.remove(member)
        if member.group:
            self._free += 1
            self._busy.difference_update([other.account for other in member.group])
            left = [other for other in member.group if not other.done and other is not member]
            self._waiting.extendleft(reversed(left))
            for other in member.group:
                if other.done:
                    other.woken.set()
            self._begin_groups()

    def _begin_groups(self) -> None:
        while self._free and (group := self._next_group()):
            self._free -= 1
            self._busy.update(other.account for other in group)
            group[0].group = group
            group[0].woken.set()

    def _next_group(self) -> list[_Member]:
        """Those that wait, in their order, as far as they can be committed together now."""
        group: list[_Member] = []
        taken = set(self._busy)
        for member in list(self._waiting):
            if len(group) == _MOST_MEMBERS or (group and member.account is None):
                break
            if member.account not in taken:
                self._waiting.remove(member)
                taken.add(member.account)
                group.append(member)
                if member.account is None:
                    break
        return group

    def _commit(self, group: Sequence[_Member]) -> None:
        results: Sequence[object] = ()
        born = generation()
        try:
            with self._change() as transaction:
                results = _make(transaction, group)
        except Exception as error:
            if generation() != born:
                raise  # a child makes no changes that its parent makes
            if results or len(group) == 1:
                # It was the commit that failed; whoever was refused before shall know why.
                results = [made if isinstance(made, CidrgateError) else error for made in results or (None,)]
            else:
                # An error of the database, or a fault in one of them: each shall have its own, and only its own.
                for member in group:
                    self._commit([member])
                return
        except BaseException:
            interrupted = StoreError("the commit was interrupted; look at the list before you try again")
            for member in group:
                member.result, member.done = interrupted, True
            raise
        for member, result in zip(group, results, strict=True):
            member.result, member.done = result, True


def _make(transaction: Transaction, group: Sequence[_Member]) -> Sequence[object]:
    if callable(group[0].change):
        return [group[0].change(transaction)]
    return change_lists(transaction, [cast("ListRequest", member.change) for member in group])
