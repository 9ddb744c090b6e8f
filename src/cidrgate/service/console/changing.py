"""Changes that people make: previewed first, and confirmed if they could surprise.

`RuleManager` alone decides whether a change is valid and what it does: a preview is the change itself as a dry run.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cidrgate.errors import AccountNotFoundError, CidrgateError, CredentialEndedError, StoreBusyError, StoreError
from cidrgate.foresight import ChangedList
from cidrgate.manager import RuleManager
from cidrgate.manager.evaluations import Foresight, changed_lists
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.previews import AccessChange, access_change
from cidrgate.rules.decisions import enforced
from cidrgate.service.console.formatting import DENY_TRAFFIC, ENABLE_ENFORCEMENT
from cidrgate.service.http.problems import ForbiddenError
from cidrgate.stores import Transaction

__all__ = [
    "Agreement",
    "NeedsConfirmationError",
    "NOT_OF_THE_FORM",
    "Preview",
    "make_asked_change",
    "make_change",
    "preview_change",
]

NOT_OF_THE_FORM = (StoreError, CredentialEndedError, AccountNotFoundError, ForbiddenError)
"""Errors of a change after which its form is not shown again: nothing in it is wrong, or it is not the person's."""

ListEdit = Callable[[RuleManager], object]
"""Makes one change of one list with a manager."""


class NeedsConfirmationError(CidrgateError):
    """A person must confirm a change first.

    Attributes:
        needed: Everything that must be confirmed: keys of `formatting.CONFIRMATIONS`.
        preview: What the change would do; None if `make_change` raised this.
    """

    code = "needs_confirmation"

    def __init__(self, needed: tuple[str, ...], preview: "Preview | None" = None) -> None:
        super().__init__(f"to be confirmed: {', '.join(needed)}")
        self.needed = needed
        self.preview = preview


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a person has confirmed, and for what.

    A confirmation holds only for the change that the page showed beside it: the same input, on the same versions of the
    lists. Otherwise the person is asked again.

    Attributes:
        form: The path of the form.
        fields: Its fields that decide what the change does.
        confirmed: What the form says is confirmed: keys of `formatting.CONFIRMATIONS`.
        shown_for: The proof that the form carries of what its confirmations were shown for.
    """

    form: str
    fields: Mapping[str, object]
    confirmed: tuple[str, ...] = ()
    shown_for: str = ""

    def proof(self, outcome: ListOutcome) -> str:
        """Return what a form carries to say what its confirmations are shown for.

        Args:
            outcome: The change, with the lists that it meets.
        """
        accounts = (outcome.account_before, outcome.account, outcome.parent)
        versions = [None if one is None else (one.name, one.version) for one in accounts]
        said = json.dumps([self.form, self.fields, versions], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def holding(self, outcome: ListOutcome) -> tuple[str, ...]:
        """Return the confirmations that hold for a change: all or none."""
        return self.confirmed if self.shown_for == self.proof(outcome) else ()


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
    return _preview_of(manager, _tried(manager, change, address))


def _tried(manager: RuleManager, change: ListEdit, address: str | None) -> ListOutcome:
    """Return the outcome of a change as a dry run."""
    seen: list[ListOutcome] = []
    change(manager.with_hooks(before_store=seen.append, dry_run=True, address=address))
    return seen[-1]


def _preview_of(manager: RuleManager, outcome: ListOutcome) -> Preview:
    at, was, now = datetime.now(UTC), outcome.account_before, outcome.decider
    access = access_change(outcome.before, outcome.after, at, was=was, now=now)
    changes = changed_lists([outcome])
    may_deny = bool(access.lost) or access.begins or any(map(_may_deny_later, changes))
    return Preview(outcome, access, _needed(outcome), manager._foresight(changes), may_deny)


def _may_deny_later(change: ChangedList) -> bool:
    return change.later or change.deleted or change.renamed_to is not None


def make_asked_change(manager: RuleManager, change: ListEdit, address: str | None, agreement: Agreement) -> int | None:
    """Make a change that a person may not have seen a preview of. Ask first if it denies addresses that called.

    Args:
        manager: Makes the change.
        change: The change.
        address: The person's address; None if it is unknown.
        agreement: What the person has confirmed, and for what.

    Returns:
        The sequence of the change in the change log; None if nothing changed.

    Raises:
        NeedsConfirmationError: If the person must confirm more, with a preview. Nothing was changed.
        StoreBusyError: If it cannot be told now whom the change denies, because other questions are being answered.
        CidrgateError: Every error that the change itself raises.
    """
    outcome = _tried(manager, change, address)
    relied = DENY_TRAFFIC in agreement.holding(outcome)
    if not relied:
        preview = _preview_of(manager, outcome)
        if preview.foresight.busy:
            raise StoreBusyError(f"{preview.foresight.missing}; nothing was changed")
        if preview.foresight.denies:
            raise NeedsConfirmationError((DENY_TRAFFIC, *preview.needed), preview)
    own = (DENY_TRAFFIC,) if relied else ()
    try:
        return make_change(manager, change, address, agreement, own)
    except NeedsConfirmationError:
        preview = preview_change(manager, change, address)
        raise NeedsConfirmationError((*own, *preview.needed), preview) from None


def make_change(
    manager: RuleManager, change: ListEdit, address: str | None, agreement: Agreement, relied: tuple[str, ...] = ()
) -> int | None:
    """Make a change.

    The list that the change meets in its transaction decides what must be confirmed.

    Args:
        manager: Makes the change.
        change: The change.
        address: The person's address; None if it is unknown.
        agreement: What the person has confirmed, and for what.
        relied: Confirmations that must still hold, besides those that the change needs.

    Returns:
        The sequence of the change in the change log; None if nothing changed.

    Raises:
        NeedsConfirmationError: If the person must confirm more. Nothing was changed.
        CidrgateError: Every error that the change itself raises.
    """
    sequence: int | None = None

    def before_store(made: ListOutcome) -> None:
        needed = (*relied, *_needed(made))
        if not set(needed) <= set(agreement.holding(made)):
            raise NeedsConfirmationError(needed)

    def in_transaction(transaction: Transaction, made: object) -> None:
        nonlocal sequence
        sequence = None
        if isinstance(made, ListOutcome) and made.account.version > made.account_before.version:
            [last] = transaction.changes(made.account.name, 1)
            sequence = last.sequence

    guards = [guard for guard in Guard if guard in agreement.confirmed]
    manager = manager._with_transaction_hook(in_transaction)
    change(manager.with_hooks(before_store=before_store, address=address, confirmed=guards))
    return sequence


def _needed(outcome: ListOutcome) -> tuple[str, ...]:
    """Return the guards of every edge, after the console's own: only the console asks before enforcement begins."""
    at = datetime.now(UTC)
    begins = enforced(outcome.after, outcome.decider, at) and not enforced(outcome.before, outcome.account_before, at)
    return (*((ENABLE_ENFORCEMENT,) if begins else ()), *outcome.confirm)
