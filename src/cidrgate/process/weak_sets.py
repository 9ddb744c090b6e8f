"""`SharedWeakSet`: a set of weak references that threads may change while others iterate over it.

An iteration over `weakref.WeakSet` raises an error if another thread adds a member.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SharedWeakSet"]

_Member = TypeVar("_Member")


class SharedWeakSet(Generic[_Member]):
    """A set that does not keep its members alive. Each step is one operation on a set, which no thread sees half done.

    Example:
        >>> class Watch: pass
        >>> watch, watches = Watch(), SharedWeakSet()
        >>> watches.add(watch)
        >>> list(watches) == [watch]
        True
        >>> del watch
        >>> len(watches)
        0
    """

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: set[weakref.ref[_Member]] = set()

    def add(self, member: _Member) -> None:
        """Add a member, until it is discarded or nothing else refers to it."""
        # The callback is a method of C: an exception of a signal handler cannot come between, and leave a dead member.
        self._references.add(weakref.ref(member, self._references.discard))

    def discard(self, member: _Member) -> None:
        """Remove a member if it is in the set."""
        self._references.discard(weakref.ref(member))

    def clear(self) -> None:
        """Remove all members."""
        self._references.clear()

    def __contains__(self, member: object) -> bool:
        return weakref.ref(member) in self._references

    def __len__(self) -> int:
        return len(self._references)

    def __iter__(self) -> Iterator[_Member]:
        """Iterate over the members of this moment."""
        for reference in self._references.copy():
            member = reference()
            if member is not None:
                yield member
