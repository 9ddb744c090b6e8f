"""The frozen values that describe the outcome of a change of a list, and the guards that it meets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cidrgate.values import Account, Entry, ListChange

__all__ = ["Guard", "ListOutcome"]


class Guard(StrEnum):
    """A guard, which a change must be confirmed for; its value is the name that a confirmation uses."""

    DISABLE_ENFORCEMENT = "disable_enforcement"
    """After the change, an enforced account is not enforced any more: its list is empty, or its mode is another one."""
    LOCK_OUT = "lock_out"
    """After the change, the caller's address is denied. It was allowed before."""


@dataclass(frozen=True, slots=True)
class ListOutcome:
    """The outcome of a change of one list.

    Attributes:
        account: The account after the change, with its version then.
        change: What the caller of the change gets. If its `before` and `after` are empty, nothing changes.
        before: The list before the change, in no particular order, including expired entries.
        after: The list after the change, in address order.
        account_before: The account before the change.
        confirm: The guards that the change meets. Each must be confirmed before the change is made; see
            `cidrgate.manager.confirmations`.
    """

    account: Account
    change: ListChange
    before: Sequence[Entry]
    after: list[Entry]
    account_before: Account
    confirm: tuple[Guard, ...] = ()
