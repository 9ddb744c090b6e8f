"""`Parts`: what the earlier commits of a change in several commits have stored, for the error of a later one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError, after_commits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Parts"]


class Parts:
    """Counts the accounts whose change is stored. Threads may share it.

    Args:
        total: How many accounts the change is about; None if that is not known.

    Example:
        >>> parts = Parts(600)
        >>> with parts.told():
        ...     parts.add(500)
        ...     raise StoreError("the store is locked; nothing was changed: try again")
        Traceback (most recent call last):
        ...
        cidrgate.errors.StoreError: the store is locked; 500 of 600 accounts are done, and a repetition does the rest: \
try again
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._stored: list[int] = []

    def add(self, accounts: int) -> None:
        """Count the accounts of one commit."""
        self._stored.append(accounts)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Let the store's error of a later commit say what the earlier ones have stored."""
        try:
            yield
        except StoreError as error:
            stored = sum(self._stored)
            if not stored:
                raise
            count = f"{stored:,}" if self._total is None else f"{stored:,} of {self._total:,}"
            raise after_commits(error, f"{count} accounts are done, and a repetition does the rest") from error
