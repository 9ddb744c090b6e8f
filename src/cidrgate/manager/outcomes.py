"""What a change of a list leads to, and what it must be confirmed for: values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cidrgate.stores import ListChange
    from cidrgate.values import Account, Entry

__all__ = ["Guard", "ListOutcome"]


class Guard(StrEnum):
    """What a change must be confirmed for; the value is the name that a confirmation gives."""

    DISABLE_ENFORCEMENT = "disable_enforcement"
    """After the change an account that was enforced is not."""
    LOCK_OUT = "lock_out"
    """After the change the caller's own address is denied, which was allowed."""


@dataclass(frozen=True, slots=True)
class ListOutcome:
    """What a change of one list comes to.

    Attributes:
        account: The account, with the version it has afterwards.
        change: What was asked for; nothing in it means nothing changes.
        before: The list before it, in no particular order, expired entries too.
        after: The list after it, in address order.
        confirm: The guards it meets, each of which must be confirmed before it is made; see
            `cidrgate.manager.confirmations`.
    """

    account: Account
    change: ListChange
    before: Sequence[Entry]
    after: list[Entry]
    confirm: tuple[Guard, ...] = ()
