"""Requested changes of lists, made in one write transaction that reads and stores all of them together.

Each change is checked separately, and accepted or refused before anything is written. Its outcome depends only on the
list that it changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from cidrgate.errors import CidrgateError, StoreError, VersionConflictError
from cidrgate.manager.accounts import no_such_account, refuse_subaccount
from cidrgate.manager.changes import Listing, changed, sweep
from cidrgate.manager.confirmations import guards_met, refuse_unconfirmed, with_wide
from cidrgate.manager.modes import consequences, has_expired
from cidrgate.manager.outcomes import ListOutcome
from cidrgate.rules.account_names import could_name_account
from cidrgate.rules.decisions import enforced
from cidrgate.rules.policy import DEFAULT_POLICY, effective_policy
from cidrgate.values import ListChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cidrgate.manager.outcomes import Guard
    from cidrgate.rules import Policy
    from cidrgate.stores import StoredAccount, StoredChange, Transaction
    from cidrgate.values import Entry, Origin

__all__ = ["ListRequest", "certain_expiry_time", "change_lists", "refuse_other_version", "worked_out"]


@dataclass(frozen=True, slots=True)
class ListRequest:
    """A requested change of one list.

    Attributes:
        account: The account whose list changes.
        make: The function that computes the change from the list as it is. It may read more in the transaction.
        actor: Who makes the change, for the change log.
        expect_version: The version of the account that the caller saw; None for any version.
        before_store: Called with the outcome before anything is stored. If it raises a `CidrgateError`, nothing is
            stored.
        in_transaction: Called in the transaction, to store more data with the change.
        address: The caller's address; None if it is unknown, and then no change is a lock-out.
        confirmed: The guards that the change may meet.
        origin: How the actor is known, and from where the change comes, for the change log.
        existing: Where `make` puts the entries that made a part of the request needless.
        policy: The policy of the process, for what no stored policy says.
        check: Called in the transaction with the account, which is locked, before anything is told of its list. If it
            raises a `CidrgateError`, nothing is stored.
    """

    account: str
    make: Callable[[Transaction, Listing], StoredChange]
    actor: str | None
    expect_version: int | None
    before_store: Callable[[ListOutcome], object] | None
    in_transaction: Callable[[Transaction, ListOutcome], object] | None
    address: str | None = None
    confirmed: frozenset[Guard] = frozenset()
    origin: Origin | None = None
    existing: list[Entry] = field(default_factory=list)
    policy: Policy = DEFAULT_POLICY
    check: Callable[[Transaction, StoredAccount], object] | None = None


def change_lists(
    transaction: Transaction, requests: Sequence[ListRequest], *, dry_run: bool = False
) -> list[ListOutcome | CidrgateError]:
    """Make changes of different lists.

    Args:
        transaction: A write transaction.
        requests: The changes. No two of them have the same account.
        dry_run: Whether to compute and check the changes without storing them; a read transaction is enough for that.
            The changes need no confirmation then, and the outcomes say which confirmations they would need.

    Returns:
        For each request, in the same order, its outcome or the error that refused it.
    """
    owners = transaction.accounts_named([one.account for one in requests if could_name_account(one.account)])
    listed = transaction.entries_of(owners.values())
    at = datetime.now(UTC)
    certain = certain_expiry_time(transaction, listed.values(), at, owners.values())
    ids = count(-1, -1) if dry_run else transaction.new_entry_ids(len(requests))
    results: list[ListOutcome | CidrgateError] = []
    made: list[StoredChange] = []
    for request in requests:
        try:
            outcome, changes = worked_out(transaction, request, owners, listed, at, certain, ids)
            if not dry_run:
                refuse_unconfirmed(outcome, request.address, request.confirmed)
        except StoreError:
            raise  # the transaction cannot be used any more
        except CidrgateError as error:
            results.append(error)
        else:
            results.append(outcome)
            made += changes
    if not dry_run:
        transaction.apply(made, at=at)
        for request, result in zip(requests, results, strict=True):
            if request.in_transaction is not None and isinstance(result, ListOutcome):
                request.in_transaction(transaction, result)
    return results


def certain_expiry_time(
    transaction: Transaction,
    lists: Iterable[Iterable[Entry]],
    at: datetime,
    owners: Iterable[StoredAccount] = (),
) -> datetime:
    """Return the time up to which all clocks agree that entries and modes have expired, so that a sweep may store it.

    Args:
        transaction: The transaction that reads the database's clock, if an entry has expired by this machine's clock.
        lists: The entries to check.
        at: The time of this machine's clock, with a time zone.
        owners: The accounts whose modes to check.
    """
    expired = any(entry.is_expired(at) for entries in lists for entry in entries)
    if not expired and not any(has_expired(owner, at) for owner in owners):
        return at
    return transaction.certain_time(at)


def worked_out(
    transaction: Transaction,
    request: ListRequest,
    owners: dict[str, StoredAccount],
    listed: dict[str, list[Entry]],
    at: datetime,
    certain: datetime,
    ids: Iterator[int],
) -> tuple[ListOutcome, list[StoredChange]]:
    """Return the outcome of a requested change, and the changes to store, without storing them.

    Args:
        transaction: The transaction that has read the list.
        request: The change.
        owners: The accounts by name.
        listed: The lists by account.
        at: The time of the change, with a time zone.
        certain: The time up to which all clocks agree that entries have expired.
        ids: The ids for new entries.

    Raises:
        CidrgateError: If the change is refused.
    """
    owner = owners.get(request.account)
    if owner is None:
        raise no_such_account(request.account)
    if request.check is not None:
        request.check(transaction, owner)
    refuse_subaccount(owner)
    refuse_other_version(owner, request.expect_version)
    policy = effective_policy(request.policy, owner.store_policy, owner.policy)
    listing = Listing(owner, listed[owner.name], at, ids, request.actor, certain, request.origin, policy)
    outcome, made = list_outcome(listing, request.make(transaction, listing), existing=request.existing)
    outcome = replace(outcome, confirm=guards_met(outcome, request.address, at), consequences=consequences(outcome))
    outcome = with_wide(outcome, policy)
    if request.before_store is not None:
        request.before_store(outcome)
    return outcome, made


def refuse_other_version(owner: StoredAccount, expected: int | None) -> None:
    """Refuse to change an account that has another version than the one that the caller saw; None for any version.

    Raises:
        VersionConflictError: If it has.
    """
    if expected not in (None, owner.version):
        raise VersionConflictError(
            f"the list of account {owner.name!r} has version {owner.version}, not {expected}: it was changed in the "
            "meantime; read it again, then decide",
            account=owner.name,
            expected=expected,
            actual=owner.version,
        )


def list_outcome(
    listing: Listing, change: StoredChange, *, existing: Iterable[Entry] = ()
) -> tuple[ListOutcome, list[StoredChange]]:
    """Return the outcome of a change, without the guards that it meets, and the changes to store.

    Args:
        listing: The list before the change.
        change: The change.
        existing: The entries because of which a part of the request changes nothing.
    """
    made = sweep(listing, change)
    was = listing.owner.value()
    settings = {name: value for name, value in change.settings.items() if name != "policy"}  # no part of the value
    now = replace(was, version=was.version + bool(made), **settings)
    after = changed(listing, made)
    value = ListChange(
        account=now.name,
        version=now.version,
        enforced=enforced(after, now, listing.at),
        before=change.before,
        after=change.after,
        entries=tuple(after),
        mode=now.mode_at(listing.at),
        existing=tuple(existing),
    )
    return ListOutcome(
        account=now,
        change=value,
        before=listing.entries,
        after=after,
        account_before=was,
        created=not listing.owner.exists,
    ), made
