"""The frozen values that describe the outcome of a change of a list, and the guards that it meets."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cidrgate.values import Account, Entry, ListChange

__all__ = ["Guard", "ListOutcome"]


class Guard(StrEnum):
    """A guard, which a change must be confirmed for; its value is the name that a confirmation uses."""

    DISABLE_ENFORCEMENT = "disable_enforcement"
    """After the change, an enforced account is not enforced any more: its list is empty, or its mode is another one."""
    LOCK_OUT = "lock_out"
    """After the change, the caller's address is denied. It was allowed before."""
    OTHER_LIST = "other_list"
    """After the change, another list decides for the account, and some addresses lose or gain access."""
    WIDE_ENTRY = "wide_entry"
    """The change lists a network that is wider than the policy allows without a confirmation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOutcome:
    """The outcome of a change of one list.

    Attributes:
        account: The account after the change, with its version then.
        change: What the caller of the change gets. If its `before` and `after` are empty, nothing changes.
        before: The list before the change, in no particular order, including expired entries.
        after: The list after the change, in address order.
        account_before: The account whose list decided before the change.
        confirm: The guards that the change meets. Each must be confirmed before the change is made; see
            `cidrgate.manager.confirmations`.
        consequences: What the change would do, for the guards whose usual words do not say it.
        wide: The networks for which the change meets `Guard.WIDE_ENTRY`.
        parent: The account whose list decides after the change, if `account` is a subaccount then.
        former_name: The name of the account before the change, if the change can rename it.
        deleted: Whether the change deletes the account, and its subaccounts if it has any.
        created: Whether the account does not exist before the change. What decides then is how gates answer for
            accounts that they do not know, and neither `before` nor `account_before`.
    """

    account: Account
    change: ListChange
    before: Sequence[Entry]
    after: list[Entry]
    account_before: Account
    confirm: tuple[Guard, ...] = ()
    consequences: Mapping[Guard, str] = field(default_factory=dict)
    wide: tuple[str, ...] = ()
    parent: Account | None = None
    former_name: str | None = None
    deleted: bool = False
    created: bool = False

    @property
    def decider(self) -> Account:
        """The account whose list decides after the change."""
        return self.account if self.parent is None else self.parent
