"""Changes that wait for each other are committed together: one wait for the disk, and one look at the log, for all.

A thread that brings a change while another one's is being made joins the next group. The first thread of a group
makes the changes of all, each in a savepoint of its own: one that is refused takes back nothing but itself.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from cidrgate.errors import CidrgateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cidrgate.stores import Transaction

__all__ = ["CommitGroups"]

_Made = TypeVar("_Made")

_MOST_MEMBERS = 32
"""How many changes one group holds: few enough that the first of them does not wait long for the last."""


class _Member(Generic[_Made]):
    """A change that waits for its turn, and what became of it."""

    def __init__(self, make: Callable[[Transaction], _Made]) -> None:
        self.make = make
        self.made: _Made | None = None
        self.error: BaseException | None = None
        self.done = False

    def result(self) -> _Made:
        if self.error is not None:
            raise self.error
        return cast("_Made", self.made)


class CommitGroups:
    """Makes changes in write transactions, those of several threads in one.

    Args:
        change: Begins a write transaction; committed and published at the end of the block.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Transaction]]) -> None:
        self._change = change
        self._waiting: deque[_Member[Any]] = deque()
        self._turn = threading.Lock()

    def make(self, make: Callable[[Transaction], _Made]) -> _Made:
        """What a function makes in a write transaction, once that is committed.

        Args:
            make: May be called a second time, when the database refused something of the first transaction.
        """
        member = _Member(make)
        self._waiting.append(member)
        with self._turn:
            # Whoever had the turn before may have made this change too.
            while not member.done:
                self._commit(self._next_group())
        return member.result()

    def after_fork(self) -> None:
        """Forget the threads that did not come along."""
        self._waiting.clear()
        self._turn = threading.Lock()

    def _next_group(self) -> list[_Member[Any]]:
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_MEMBERS))]

    def _commit(self, group: list[_Member[Any]]) -> None:
        try:
            if len(group) == 1 or not self._commit_together(group):
                for member in group:
                    self._commit_alone(member)
        finally:
            for member in group:
                member.done = True

    def _commit_alone(self, member: _Member[Any]) -> None:
        try:
            with self._change() as transaction:
                member.made = member.make(transaction)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that brought the change
            member.error = error

    def _commit_together(self, group: list[_Member[Any]]) -> bool:
        """Whether the changes were made in one transaction; if not, nothing is."""
        undone = False
        try:
            with self._change() as transaction:
                undone = True
                for member in group:
                    try:
                        with transaction.savepoint():
                            member.made = member.make(transaction)
                    except CidrgateError as error:
                        member.error = error
                undone = False
        except BaseException as error:  # noqa: BLE001 - it is raised in the threads that brought the changes
            if undone:
                # An error of the database, or a fault in one of them: each shall have its own, and only its own.
                for member in group:
                    member.error = None
                return False
            for member in group:
                member.error = member.error or error
        return True
