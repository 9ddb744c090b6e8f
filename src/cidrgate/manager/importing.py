"""Import: validate and store the lists of many accounts in one transaction.

The list of each account is stored completely or not at all, and a list that breaks a rule does not affect the other
lists. `RuleManager.import_accounts` divides an import into transactions, and publishes what they stored.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from cidrgate.errors import CidrgateError
from cidrgate.manager.accounts import no_such_account, refuse_subaccount
from cidrgate.manager.change_requests import certain_expiry_time
from cidrgate.manager.changes import Listing, addition, check_expiry, check_labels, replacement, sweep
from cidrgate.manager.confirmations import disables_enforcement, unconfirmed
from cidrgate.manager.outcomes import Guard
from cidrgate.rules import Policy, split_submission, validate_addition, validate_replacement
from cidrgate.rules.account_names import check_account_name, could_name_account
from cidrgate.stores import NewList
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from cidrgate.rules.submission import Submission
    from cidrgate.stores import StoredChange, Transaction
    from cidrgate.values import Entry

__all__ = ["ImportReport", "import_lists", "in_background"]

_Part = TypeVar("_Part")
_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """The result of an import; after a dry run, what the import would store.

    Attributes:
        accounts: How many accounts' lists were stored.
        entries: How many entries those lists contain.
        created: How many of these accounts the import created.
        problems: The reason why a list was not stored, by account name. The problems of a `RuleError` have the
            positions of the entries in that account's list.
    """

    accounts: int = 0
    entries: int = 0
    created: int = 0
    problems: dict[str, CidrgateError] = field(default_factory=dict)

    def __add__(self, other: ImportReport) -> ImportReport:
        """Return the report of two parts of one import together."""
        return ImportReport(
            accounts=self.accounts + other.accounts,
            entries=self.entries + other.entries,
            created=self.created + other.created,
            problems=self.problems | other.problems,
        )


def import_lists(
    transaction: Transaction,
    lists: Mapping[str, Submission],
    *,
    policy: Policy,
    replace: bool,
    create: bool,
    strict: bool,
    dry_run: bool,
    confirmed: Collection[Guard],
    at: datetime,
    actor: str | None,
) -> ImportReport:
    """Store the lists of many accounts in one write transaction.

    Args:
        transaction: The write transaction.
        lists: The entries by account name.
        policy: What a list may contain.
        replace: Whether each list replaces the account's list, instead of being added to it.
        create: Whether to create accounts that do not exist.
        strict: Whether to store nothing if the list of any account cannot be stored.
        dry_run: Whether to store nothing at all.
        confirmed: The guards that the changes may meet.
        at: The time of the change, with a time zone.
        actor: Who makes the change.

    Returns:
        What was stored, and the problems of the accounts whose lists cannot be stored.
    """
    known = transaction.accounts_named([name for name in lists if could_name_account(name)])
    listed = transaction.entries_of(known.values())
    ids = transaction.new_entry_ids()
    certain = certain_expiry_time(transaction, listed.values(), at)
    listings = {name: Listing(owner, listed[name], at, ids, actor, certain) for name, owner in known.items()}
    accepted: dict[str, list[str]] = {}
    problems: dict[str, CidrgateError] = {}
    split: dict[str, Sequence[NewEntry]] = {}
    for name, submitted in lists.items():
        try:
            pieces = split[name] = _pieces(submitted, policy)
            if name in known:
                refuse_subaccount(known[name])
            elif create:
                check_account_name(name)
            else:
                raise no_such_account(name)
            for piece in pieces:
                check_expiry(piece.expires_at, at)
            check_labels(pieces)
            active = listings[name].active() if name in listings else []
            cidrs = _validated(pieces, active, policy, replace=replace)
            if (
                replace
                and name in listed
                and disables_enforcement(listed[name], cidrs, at, was=known[name].value(), now=known[name].value())
                and Guard.DISABLE_ENFORCEMENT not in confirmed
            ):
                raise unconfirmed(Guard.DISABLE_ENFORCEMENT, name)
            accepted[name] = cidrs
        except CidrgateError as error:
            problems[name] = error
    if strict and problems:
        return ImportReport(problems=problems)
    new = [name for name in accepted if name not in known]
    report = ImportReport(
        accounts=len(accepted),
        entries=sum(len(cidrs) for cidrs in accepted.values()),
        created=len(new),
        problems=problems,
    )
    if dry_run:
        return report
    filled = [name for name in new if accepted[name]]
    created = transaction.insert_accounts(filled, parent=None, at=at, actor=actor, version=1)
    created |= transaction.insert_accounts(
        [name for name in new if not accepted[name]], parent=None, at=at, actor=actor
    )
    listings |= {name: Listing(owner, (), at, ids, actor) for name, owner in created.items()}
    made: list[StoredChange] = []
    first: list[NewList] = []
    for name, cidrs in accepted.items():
        listing = listings[name]
        if cidrs and not listing.entries:
            first.append(NewList(listing.owner.id, name, split[name], cidrs, name in created))
        else:
            change = replacement if replace else addition
            made += sweep(listing, change(listing, split[name], cidrs))
    transaction.apply(made, at=at)
    transaction.insert_lists(first, at=at, actor=actor)
    return report


def in_background(work: Callable[[_Part], _Done], parts: Iterable[_Part], threads: int) -> Iterator[_Done]:
    """Process parts in threads while the caller's thread creates the next parts, and yield the results in order.

    Only as many parts are created ahead as keep the threads busy. After an error no further part is started.

    Args:
        work: The function that processes a part.
        parts: The parts.
        threads: The number of threads.

    Example:
        >>> list(in_background(lambda number: number * number, range(5), 2))
        [0, 1, 4, 9, 16]
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="cidrgate-import") as pool:
        if not _all_started(pool, threads):
            yield from map(work, parts)
            return
        waiting: deque[Future[_Done]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                while len(waiting) > threads or (waiting and waiting[0].done()):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _all_started(pool: ThreadPoolExecutor, threads: int) -> bool:
    """Start every thread of a pool in advance, and return whether all of them could be started."""
    go_on = Event()
    try:
        for _ in range(threads):
            pool.submit(go_on.wait)
    except RuntimeError:  # the system has no thread left: the caller's thread does the work
        return False
    finally:
        go_on.set()
    return True


def _pieces(submitted: Submission, policy: Policy) -> Sequence[NewEntry]:
    """Return the entries of a list. A list of `NewEntry` is long in a large import, and is not split."""
    if isinstance(submitted, list | tuple) and all(type(piece) is NewEntry for piece in submitted):
        return submitted
    return split_submission(submitted, most=policy.most_pieces)


def _validated(pieces: Sequence[NewEntry], active: Sequence[Entry], policy: Policy, *, replace: bool) -> list[str]:
    """Return the canonical CIDRs of the submitted entries. An import may add no entries, unlike a submission."""
    if replace:
        return validate_replacement(pieces, policy)
    if not pieces:
        return []
    return validate_addition(pieces, [entry.cidr for entry in active], policy)
