"""Changes that people make: previewed first, and confirmed if they could surprise.

`RuleManager` alone decides whether a change is valid and what it does: a preview is the change itself as a dry run.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from cidrgate.errors import CidrgateError, StoreBusyError
from cidrgate.foresight import ChangedList
from cidrgate.manager import RuleManager
from cidrgate.manager.evaluations import Foresight, changed_lists
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.previews import AccessChange, access_change
from cidrgate.rules.decisions import enforced
from cidrgate.service.console.formatting import DENY_TRAFFIC, ENABLE_ENFORCEMENT
from cidrgate.stores import Transaction

__all__ = ["NeedsConfirmationError", "Preview", "ask_before_denials", "make_change", "preview_change"]

ListEdit = Callable[[RuleManager], object]
"""Makes one change of one list with a manager."""


class NeedsConfirmationError(CidrgateError):
    """A person must confirm a change first.

    Attributes:
        needed: Everything that must be confirmed: keys of `formatting.CONFIRMATIONS`.
    """

    code = "needs_confirmation"

    def __init__(self, needed: tuple[str, ...]) -> None:
        super().__init__(f"to be confirmed: {', '.join(needed)}")
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do.

    Attributes:
        outcome: The list before and after the change.
        access: The networks that lose or gain access.
        needed: What a person must confirm.
        foresight: What would happen to the requests of the past.
        may_deny: Whether requests could be denied: now, later, or by gates that deny unknown accounts.
    """

    outcome: ListOutcome
    access: AccessChange
    needed: tuple[str, ...]
    foresight: Foresight
    may_deny: bool


def preview_change(manager: RuleManager, change: ListEdit, address: str | None) -> Preview:
    """Return what a change would do; nothing is stored.

    Args:
        manager: Reads the list.
        change: The change.
        address: The person's address; None if it is unknown.

    Raises:
        CidrgateError: Every error that the change itself would raise.
    """
    seen: list[ListOutcome] = []
    change(manager.with_hooks(before_store=seen.append, dry_run=True, address=address))
    outcome = seen[-1]
    at, was, now = datetime.now(UTC), outcome.account_before, outcome.decider
    access = access_change(outcome.before, outcome.after, at, was=was, now=now)
    changes = changed_lists([outcome])
    may_deny = bool(access.lost) or access.begins or any(map(_may_deny_later, changes))
    return Preview(outcome, access, _needed(outcome), manager._foresight(changes), may_deny)


def _may_deny_later(change: ChangedList) -> bool:
    return change.later or change.deleted or change.renamed_to is not None


def ask_before_denials(manager: RuleManager, change: ListEdit, address: str | None, confirmed: Collection[str]) -> None:
    """Ask before a change that a person has not seen a preview of denies addresses that called.

    Args:
        manager: Reads the list.
        change: The change.
        address: The person's address; None if it is unknown.
        confirmed: What the person has confirmed.

    Raises:
        NeedsConfirmationError: If observed requests would be denied, and the person has not confirmed that.
        StoreBusyError: If it cannot be told now, because other questions are being answered.
        CidrgateError: Every error that the change itself would raise.
    """
    if DENY_TRAFFIC not in confirmed:
        preview = preview_change(manager, change, address)
        if preview.foresight.busy:
            raise StoreBusyError(f"{preview.foresight.missing}; nothing was changed")
        if preview.foresight.denies:
            raise NeedsConfirmationError((DENY_TRAFFIC, *preview.needed))


def make_change(manager: RuleManager, change: ListEdit, address: str | None, confirmed: Collection[str]) -> int | None:
    """Make a change.

    The list that the change meets in its transaction decides what must be confirmed.

    Args:
        manager: Makes the change.
        change: The change.
        address: The person's address; None if it is unknown.
        confirmed: What the person has confirmed.

    Returns:
        The sequence of the change in the change log; None if nothing changed.

    Raises:
        NeedsConfirmationError: If the person must confirm more. Nothing was changed.
        CidrgateError: Every error that the change itself raises.
    """
    sequence: int | None = None

    def before_store(made: ListOutcome) -> None:
        needed = _needed(made)
        if not set(needed) <= set(confirmed):
            raise NeedsConfirmationError(needed)

    def in_transaction(transaction: Transaction, made: object) -> None:
        nonlocal sequence
        sequence = None
        if isinstance(made, ListOutcome) and made.account.version > made.account_before.version:
            [last] = transaction.changes(made.account.name, 1)
            sequence = last.sequence

    guards = [guard for guard in Guard if guard in confirmed]
    manager = manager._with_transaction_hook(in_transaction)
    change(manager.with_hooks(before_store=before_store, address=address, confirmed=guards))
    return sequence


def _needed(outcome: ListOutcome) -> tuple[str, ...]:
    """Return the guards of every edge, after the console's own: only the console asks before enforcement begins."""
    at = datetime.now(UTC)
    begins = enforced(outcome.after, outcome.decider, at) and not enforced(outcome.before, outcome.account_before, at)
    return (*((ENABLE_ENFORCEMENT,) if begins else ()), *outcome.confirm)
