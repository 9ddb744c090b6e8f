"""Bulk loading: the lists of many accounts validated and stored in one transaction.

Each account's list is stored whole or not at all, and one that breaks a rule keeps no other from being
stored. `RuleManager.import_accounts` cuts an import into transactions and publishes what they stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cidrgate.accounts import can_name_account, check_account_name, no_such_account, refuse_subaccount
from cidrgate.decisions import in_address_order
from cidrgate.errors import CidrgateError
from cidrgate.list_changes import addition, replacement
from cidrgate.rules import Policy, validate_addition, validate_replacement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cidrgate.stores import Transaction
    from cidrgate.values import Entry, NewEntry

__all__ = ["ImportReport", "import_lists"]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        accounts: How many accounts' lists were stored.
        entries: How many entries those lists name.
        created: How many of the accounts were created for it.
        problems: Why each other account's list was not stored, by account name. The problems of a
            `RuleError` have the positions of the entries in that account's list.
    """

    accounts: int = 0
    entries: int = 0
    created: int = 0
    problems: dict[str, CidrgateError] = field(default_factory=dict)

    def __add__(self, other: ImportReport) -> ImportReport:
        """The report of two parts of one import."""
        return ImportReport(
            self.accounts + other.accounts,
            self.entries + other.entries,
            self.created + other.created,
            self.problems | other.problems,
        )


def import_lists(
    transaction: Transaction,
    lists: Mapping[str, Sequence[NewEntry]],
    *,
    policy: Policy,
    replace: bool,
    create: bool,
    strict: bool,
    dry_run: bool,
    at: datetime,
    actor: str | None,
) -> ImportReport:
    """Store the lists of many accounts in one write transaction.

    Args:
        transaction: The write transaction.
        lists: The entries to list, by account name.
        policy: What a list may hold.
        replace: Whether each list stands in the place of the account's, instead of being added to it.
        create: Whether an account that does not exist is created.
        strict: Whether nothing is stored if any account's list cannot be.
        dry_run: Whether nothing is stored at all.
        at: The time of the change; aware.
        actor: Who makes it.

    Returns:
        What was stored, and the problems of the accounts that were not or could not be.
    """
    known = transaction.accounts_named([name for name in lists if can_name_account(name)])
    listed = transaction.entries_of(known.values())
    accepted: dict[str, list[str]] = {}
    problems: dict[str, CidrgateError] = {}
    for name, pieces in lists.items():
        try:
            if name in known:
                refuse_subaccount(known[name])
            elif create:
                check_account_name(name)
            else:
                raise no_such_account(name)
            accepted[name] = _validated(pieces, listed.get(name, []), policy, replace=replace)
        except CidrgateError as error:
            problems[name] = error
    if dry_run or (strict and problems):
        return ImportReport(problems=problems)
    new = [name for name in accepted if name not in known]
    known |= transaction.insert_accounts(new, parent=None, at=at, actor=actor)
    ids = transaction.new_entry_ids()
    made = [
        replacement(known[name], listed.get(name, []), lists[name], cidrs, ids=ids, at=at, actor=actor)
        if replace
        else addition(known[name], lists[name], cidrs, ids=ids, at=at, actor=actor)
        for name, cidrs in accepted.items()
    ]
    transaction.apply([change for change in made if change.before or change.after], at=at, actor=actor)
    return ImportReport(
        accounts=len(accepted),
        entries=sum(len(cidrs) for cidrs in accepted.values()),
        created=len(new),
        problems=problems,
    )


def _validated(pieces: Sequence[NewEntry], listed: Sequence[Entry], policy: Policy, *, replace: bool) -> list[str]:
    """The canonical CIDRs of the pieces; to add nothing is no problem here, unlike in a submission."""
    if replace:
        return validate_replacement(pieces, policy)
    if not pieces:
        return []
    return validate_addition(pieces, [entry.cidr for entry in in_address_order(listed)], policy)
