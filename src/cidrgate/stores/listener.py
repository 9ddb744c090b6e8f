"""The interface of what gets the rows of the change log that a process commits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cidrgate.values import Change

__all__ = ["ChangeListener"]


class ChangeListener(Protocol):
    """Gets the rows of the change log that this process commits."""

    def wants(self) -> bool:
        """Return whether it wants the rows of a transaction that begins now."""

    def committed(self, changes: Sequence[Change]) -> None:
        """Take the rows of a transaction after its commit. It must raise no error."""
