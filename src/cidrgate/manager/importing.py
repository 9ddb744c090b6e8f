"""Import: validate and store the lists of many accounts in one transaction.

The list of each account is stored completely or not at all, and a list that breaks a rule does not affect the other
lists. `RuleManager.import_accounts` divides an import into transactions, and publishes what they stored.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace as dataclass_replace
from itertools import count
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from cidrgate._engine import PrefixTrie
from cidrgate.errors import CidrgateError, InvalidAddressError, RuleError
from cidrgate.manager.account_changes import new_accounts
from cidrgate.manager.accounts import no_such_account, refuse_subaccount
from cidrgate.manager.change_requests import certain_expiry_time, list_outcome
from cidrgate.manager.changes import Listing, addition, check_expiry, check_labels, replacement, stands_for, sweep
from cidrgate.manager.confirmations import disables_enforcement, unconfirmed, wide_consequence
from cidrgate.manager.modes import closing_change
from cidrgate.manager.outcomes import Guard
from cidrgate.manager.policies import stored_policy
from cidrgate.rules import Policy, split_submission, validate_addition, validate_replacement
from cidrgate.rules.account_names import can_name_account, check_account_name, could_name_account
from cidrgate.rules.decisions import enforced
from cidrgate.rules.policy import effective_policy
from cidrgate.stores import NewList, StoredAccount
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from cidrgate.manager.outcomes import ListOutcome
    from cidrgate.rules.submission import Submission
    from cidrgate.stores import StoredChange, Transaction
    from cidrgate.values import Entry, Origin

__all__ = ["ImportReport", "ListDifference", "import_lists", "in_background"]

_Part = TypeVar("_Part")
_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDifference:
    """What an import would change in a list.

    Attributes:
        added: The networks that would be added.
        removed: The networks that would be removed.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """The result of an import; after a dry run, what the import would store.

    Attributes:
        accounts: How many accounts' lists were stored.
        entries: How many entries those lists contain.
        created: How many of these accounts the import created.
        unchanged: How many accounts of an export stayed as they were.
        skipped: How many entries were left out because the account's list allows their addresses already.
        problems: The reason why a list was not stored, by account name. The problems of a `RuleError` have the
            positions of the entries in that account's list.
        open: The accounts with a problem that have no entries and are not enforced, or do not exist, in order.
        closed: The accounts with a problem that deny every address now, because the import was asked to close them.
            An account that is paused or only reports is closed too; it is in `open`, as it denies nothing until then.
        differences: After a dry run, what would change, by account name; only for lists that would change.
    """

    accounts: int = 0
    entries: int = 0
    created: int = 0
    unchanged: int = 0
    skipped: int = 0
    problems: dict[str, CidrgateError] = field(default_factory=dict, hash=False)
    open: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    differences: dict[str, ListDifference] = field(default_factory=dict, hash=False)

    def __add__(self, other: ImportReport) -> ImportReport:
        """Return the report of two parts of one import together."""
        return ImportReport(
            accounts=self.accounts + other.accounts,
            entries=self.entries + other.entries,
            created=self.created + other.created,
            unchanged=self.unchanged + other.unchanged,
            skipped=self.skipped + other.skipped,
            problems=self.problems | other.problems,
            open=self.open + other.open,
            closed=self.closed + other.closed,
            differences=self.differences | other.differences,
        )


def import_lists(
    transaction: Transaction,
    lists: Mapping[str, Submission],
    *,
    policy: Policy,
    replace: bool,
    skip_existing: bool,
    create: bool,
    close: bool,
    strict: bool,
    dry_run: bool,
    confirmed: Collection[Guard],
    at: datetime,
    actor: str | None,
    origin: Origin | None = None,
    before_store: Callable[[ListOutcome], object] | None = None,
) -> ImportReport:
    """Store the lists of many accounts in one write transaction.

    Args:
        transaction: The write transaction.
        lists: The entries by account name.
        policy: The policy of the process, for what no stored policy says.
        replace: Whether each list replaces the account's list, instead of being added to it.
        skip_existing: Whether to leave out entries whose addresses the account's list allows already.
        create: Whether to create accounts that do not exist.
        close: Whether to close an account whose list cannot be stored, and that has no entries.
        strict: Whether to store nothing if the list of any account cannot be stored.
        dry_run: Whether to store nothing at all.
        confirmed: The guards that the changes may meet.
        at: The time of the change, with a time zone.
        actor: Who makes the change.
        origin: How the actor is known, and from where the change comes, for the change log.
        before_store: Called with the outcome of each change that a dry run has tried.

    Returns:
        What was stored, and the problems of the accounts whose lists cannot be stored.
    """
    known = transaction.accounts_named([name for name in lists if could_name_account(name)])
    listed = transaction.entries_of(known.values())
    ids = transaction.new_entry_ids()
    certain = certain_expiry_time(transaction, listed.values(), at)
    listings = {name: Listing(owner, listed[name], at, ids, actor, certain, origin) for name, owner in known.items()}
    accepted: dict[str, list[str]] = {}
    problems: dict[str, CidrgateError] = {}
    split: dict[str, Sequence[NewEntry]] = {}
    skipped = 0
    of_store = stored_policy(transaction, known.values())
    process = policy
    for name, submitted in lists.items():
        kept: Sequence[int] | None = None
        policy = effective_policy(process, of_store, known[name].policy if name in known else None)
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
            if skip_existing and active:
                kept = _not_allowed_yet(pieces, active)
                pieces = split[name] = [pieces[position] for position in kept]
            cidrs = _validated(pieces, active, policy, replace=replace)
            if (
                replace
                and name in listed
                and disables_enforcement(listed[name], cidrs, at, was=known[name].value(), now=known[name].value())
                and Guard.DISABLE_ENFORCEMENT not in confirmed
            ):
                raise unconfirmed(Guard.DISABLE_ENFORCEMENT, name)
            if Guard.WIDE_ENTRY not in confirmed and (wide := policy.wider(cidrs)):
                there = {entry.cidr for entry in listed.get(name, ())}
                if wide := [cidr for cidr in wide if cidr not in there]:
                    told = wide_consequence(wide, policy)
                    raise unconfirmed(Guard.WIDE_ENTRY, name, consequence=told, networks=wide)
            accepted[name] = cidrs
            skipped += 0 if kept is None else len(_pieces(submitted, policy)) - len(kept)
        except RuleError as error:
            problems[name] = error if kept is None else _at_positions(error, kept)
        except CidrgateError as error:
            problems[name] = error
    without = [name for name in problems if not _has_list(name, known, listed, at)]
    if strict and problems:
        return ImportReport(problems=problems, open=tuple(without))
    closing = [name for name in without if close and _can_close(name, known, create=create)]
    closed = [name for name in closing if name not in known or known[name].value().mode_at(at) == "enforce"]
    new = [name for name in accepted if name not in known]
    report = ImportReport(
        accounts=len(accepted),
        entries=sum(len(cidrs) for cidrs in accepted.values()),
        created=len(new),
        skipped=skipped,
        problems=problems,
        open=tuple(name for name in without if name not in set(closed)),
        closed=tuple(closed),
    )
    make = replacement if replace else addition
    if dry_run:
        if before_store is not None:
            for name in (*accepted, *closing):
                listing = listings.get(name) or Listing(StoredAccount.to_create(name, at), (), at, ids, actor)
                listing = dataclass_replace(listing, ids=count(-1, -1))
                tried = make(listing, split[name], accepted[name]) if name in accepted else closing_change(listing)
                before_store(list_outcome(listing, tried)[0])
        differences = (
            (name, _difference(cidrs, listings[name].active() if name in listings else (), replace=replace))
            for name, cidrs in accepted.items()
        )
        return dataclass_replace(
            report, differences={name: one for name, one in differences if one.added or one.removed}
        )
    filled = [name for name in new if accepted[name]]
    unfilled = [name for name in new if not accepted[name]] + [name for name in closing if name not in known]
    created = new_accounts(transaction, filled, parent=None, at=at, actor=actor, version=1, origin=origin)
    created |= new_accounts(transaction, unfilled, parent=None, at=at, actor=actor, origin=origin)
    listings |= {name: Listing(owner, (), at, ids, actor, origin=origin) for name, owner in created.items()}
    made: list[StoredChange] = []
    first: list[NewList] = []
    for name, cidrs in accepted.items():
        listing = listings[name]
        if cidrs and not listing.entries:
            first.append(NewList(listing.owner.id, name, split[name], cidrs, name in created))
        else:
            made += sweep(listing, make(listing, split[name], cidrs))
    made += [closing_change(listings[name]) for name in closing]
    transaction.apply(made, at=at)
    transaction.insert_lists(first, at=at, actor=actor, origin=origin)
    return report


def _has_list(
    name: str, known: Mapping[str, StoredAccount], listed: Mapping[str, Sequence[Entry]], at: datetime
) -> bool:
    """Return whether an account has entries, inherits its list, or denies every address: what needs no closing."""
    owner = known.get(name)
    return owner is not None and (
        owner.parent is not None or bool(listed[name]) or enforced(listed[name], owner.value(), at)
    )


def _can_close(name: str, known: Mapping[str, StoredAccount], *, create: bool) -> bool:
    return name in known or (create and can_name_account(name))


def _difference(cidrs: Sequence[str], active: Iterable[Entry], *, replace: bool) -> ListDifference:
    before = {entry.cidr for entry in active}
    removed = before - set(cidrs) if replace else ()
    return ListDifference(added=tuple(cidr for cidr in cidrs if cidr not in before), removed=tuple(sorted(removed)))


def _not_allowed_yet(pieces: Sequence[NewEntry], active: Sequence[Entry]) -> list[int]:
    """Return the positions of the submitted entries whose addresses a list does not allow yet, or not as long."""
    listed = PrefixTrie({entry.cidr: entry for entry in active})
    kept = []
    for position, piece in enumerate(pieces):
        try:
            around = listed.covering(piece.cidr)
        except InvalidAddressError:
            around = []
        if not any(stands_for(listed[cidr], piece) for cidr in around):
            kept.append(position)
    return kept


def _at_positions(error: RuleError, kept: Sequence[int]) -> RuleError:
    """Return the error of a shortened list, with the positions of the whole one."""
    return RuleError(
        [dataclass_replace(problem, position=kept[problem.position]) for problem in error.problems], more=error.more
    )


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
