"""Changes people make: worked out before they are made, and confirmed where they would surprise.

Whether a change is right, and what it comes to, `RuleManager` alone says: a preview is the change itself, made dry.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from cidrgate.errors import CidrgateError
from cidrgate.manager import RuleManager
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.previews import AccessChange, access_change
from cidrgate.rules.decisions import enforced
from cidrgate.service.console.formatting import ENABLE_ENFORCEMENT
from cidrgate.stores import Transaction
from cidrgate.values import Account

__all__ = ["NeedsConfirmationError", "Preview", "make_change", "preview_change"]

ListEdit = Callable[[RuleManager], object]
"""Makes one change of one list with a manager."""


class NeedsConfirmationError(CidrgateError):
    """A change that a person has to confirm first.

    Attributes:
        needed: Everything the change must be confirmed for: keys of `formatting.CONFIRMATIONS`.
    """

    def __init__(self, needed: tuple[str, ...]) -> None:
        super().__init__(f"to be confirmed: {', '.join(needed)}")
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would come to.

    Attributes:
        outcome: The list before and after it.
        access: Who loses access and who gains it.
        needed: What a person has to confirm.
    """

    outcome: ListOutcome
    access: AccessChange
    needed: tuple[str, ...]


def preview_change(manager: RuleManager, change: ListEdit, address: str | None) -> Preview:
    """What a change would come to; nothing is stored.

    Args:
        manager: Knows the list.
        change: The change.
        address: Where the person is; None if that cannot be told.

    Raises:
        CidrgateError: Whatever the change itself would raise.
    """
    seen: list[ListOutcome] = []
    change(manager.with_hooks(before_store=seen.append, dry_run=True, address=address))
    outcome = seen[-1]
    access = access_change(outcome.before, outcome.after, datetime.now(UTC))
    return Preview(outcome, access, _needed(outcome))


def make_change(manager: RuleManager, change: ListEdit, address: str | None, confirmed: Collection[str]) -> int | None:
    """Make a change.

    What has to be confirmed is judged on the list the change really meets, in its transaction.

    Args:
        manager: What makes it.
        change: The change.
        address: Where the person is; None if that cannot be told.
        confirmed: What they have confirmed.

    Returns:
        Its sequence in the change log; None if nothing changed.

    Raises:
        NeedsConfirmationError: If they have to confirm more. Nothing was changed.
        CidrgateError: Whatever the change itself raises.
    """
    sequence: int | None = None

    def before_store(made: ListOutcome) -> None:
        needed = _needed(made)
        if not set(needed) <= set(confirmed):
            raise NeedsConfirmationError(needed)

    def in_transaction(transaction: Transaction, made: ListOutcome | Account) -> None:
        nonlocal sequence
        sequence = None
        if isinstance(made, ListOutcome) and (made.change.before or made.change.after):
            [last] = transaction.changes(made.account.name, 1)
            sequence = last.sequence

    guards = [guard for guard in Guard if guard in confirmed]
    change(
        manager.with_hooks(before_store=before_store, in_transaction=in_transaction, address=address, confirmed=guards)
    )
    return sequence


def _needed(outcome: ListOutcome) -> tuple[str, ...]:
    """The guards of every edge, after what the console alone asks: to enforce a list opens nothing to anybody."""
    begins = enforced(outcome.after) and not enforced(outcome.before)
    return (*((ENABLE_ENFORCEMENT,) if begins else ()), *outcome.confirm)
