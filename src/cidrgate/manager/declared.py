"""Declared lists: what the lists of many accounts have to be, the difference from what they are, and how to remove it.

A declaration says of an account its entries with all of their details, or the parent whose list it inherits. What it
does not say of an account does not change. `RuleManager.plan` shows the difference, and `RuleManager.apply` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from cidrgate.errors import (
    CidrgateError,
    InvalidExpiryError,
    RuleError,
    SubaccountError,
)
from cidrgate.manager.account_changes import creation_outcome, new_accounts, sibling_outcome
from cidrgate.manager.accounts import check_parent, no_such_account
from cidrgate.manager.change_requests import ListRequest, certain_expiry_time, refuse_other_version, worked_out
from cidrgate.manager.changes import canonical_or_itself, check_expiry, check_labels
from cidrgate.manager.confirmations import refuse_unconfirmed
from cidrgate.manager.policies import stored_policy
from cidrgate.rules import split_submission, validate_addition
from cidrgate.rules.account_names import check_account_name, could_name_account
from cidrgate.rules.limits import some_of
from cidrgate.rules.policy import effective_policy
from cidrgate.rules.submission import no_entry
from cidrgate.serialization import entry_record
from cidrgate.stores import StoredAccount
from cidrgate.values import NewEntry, account_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from cidrgate.manager.changes import Listing
    from cidrgate.manager.outcomes import Guard, ListOutcome
    from cidrgate.rules import Policy
    from cidrgate.rules.submission import Submission
    from cidrgate.stores import StoredChange, Transaction
    from cidrgate.values import Account, Entry, ListChange, Origin

__all__ = [
    "ApplyReport",
    "DeclaredAccount",
    "DeclaredChange",
    "apply_declared",
    "checked_declaration",
    "in_order",
    "in_parts",
    "refuse_other_accounts",
    "with_order",
]

_MOST_NAMED = 5
"""How many accounts a message names."""

_ACCOUNTS_A_PART = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredAccount:
    """What an account has to be.

    Args:
        entries: The whole list, in any form that `RuleManager.add` takes. A detail that an entry leaves out has its
            default. None says nothing about the list.
        parent: The account whose list it inherits; None for an account with its own list.

    Raises:
        TypeError: If the entries are a mapping, or the parent is no `str`.
        ValueError: If it has both a parent and entries.
    """

    entries: Submission | None = None
    parent: str | None = None

    def __post_init__(self) -> None:
        """Refuse a mapping, whose values would be lost, and a list of a subaccount."""
        if isinstance(self.entries, Mapping):
            raise no_entry(self.entries)
        if self.parent is not None:
            account_text(self.parent)
        if self.parent is not None and self.entries is not None:
            raise ValueError(f"an account with the parent {self.parent!r} inherits its list: leave out its entries")


def refuse_other_accounts(versions: Collection[str], declared: Collection[str]) -> None:
    """Refuse expected versions that are not those of the declared accounts: a plan of other accounts guards nothing.

    Args:
        versions: The accounts whose versions are expected; none to expect nothing.
        declared: The declared accounts.

    Raises:
        ValueError: If a version is of an account that is not declared, or a declared account has none.
    """
    undeclared = [name for name in versions if name not in declared]
    if undeclared:
        raise ValueError(f"expect_versions names accounts that are not declared: {some_of(undeclared, _MOST_NAMED)}")
    missing = [name for name in declared if name not in versions] if versions else []
    if missing:
        raise ValueError(
            f"expect_versions has no version of declared accounts: {some_of(missing, _MOST_NAMED)}; a new account has 0"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredChange:
    """What has to change, or what was changed, so that an account is what was declared.

    Attributes:
        account: The account.
        created: Whether it is created.
        parent: The account whose list it inherits, or None.
        version: The version of the list before the change, for `expect_versions`; 0 if the account is created.
        before: The entries that the change removes or edits, as they are before it.
        after: The entries that the change adds or edits, as they are after it.
        kept: The entries that are not declared and stay, because `prune` was not asked for.
        confirm: The guards that the change must be confirmed for.
    """

    account: str
    created: bool
    parent: str | None
    version: int
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]
    kept: tuple[Entry, ...] = ()
    confirm: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether the account differs from what was declared."""
        return self.created or bool(self.before or self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyReport:
    """What `apply` changed, or what it would change.

    Attributes:
        changes: The accounts that differ from what was declared, in the order of the declaration.
        unchanged: How many accounts are what was declared.
        versions: The version of each declared account before the change, 0 of one that did not exist; pass it to
            `apply` as `expect_versions`.
        kept: How many entries are not declared and stay.
        problems: The reason why an account cannot be what was declared, by account.
        applied: Whether the changes were made. They were not after a plan, or if `strict` met a problem.
    """

    changes: tuple[DeclaredChange, ...] = ()
    unchanged: int = 0
    versions: dict[str, int] = field(default_factory=dict, hash=False)
    kept: int = 0
    problems: dict[str, CidrgateError] = field(default_factory=dict, hash=False)
    applied: bool = False

    @property
    def drift(self) -> bool:
        """Whether an account differs from what was declared, or cannot be that."""
        return bool(self.changes or self.problems)

    def record(self) -> dict[str, Any]:
        """Return the JSON object that the API and the command line answer with."""
        return {
            "drift": self.drift,
            "applied": self.applied,
            "changes": [
                {
                    "account": change.account,
                    "created": change.created,
                    "parent": change.parent,
                    "version": change.version,
                    "before": [entry_record(entry) for entry in change.before],
                    "after": [entry_record(entry) for entry in change.after],
                    "kept": [entry.cidr for entry in change.kept],
                    "confirm": list(change.confirm),
                }
                for change in self.changes
            ],
            "unchanged_count": self.unchanged,
            "kept_count": self.kept,
            "versions": self.versions,
            "refused": sorted(self.problems),
        }

    def __add__(self, other: ApplyReport) -> ApplyReport:
        """Return the report of two parts together."""
        return ApplyReport(
            changes=self.changes + other.changes,
            unchanged=self.unchanged + other.unchanged,
            versions=self.versions | other.versions,
            kept=self.kept + other.kept,
            problems=self.problems | other.problems,
            applied=self.applied or other.applied,
        )


def _pieces_of(declared: DeclaredAccount, policy: Policy) -> list[NewEntry] | None:
    """Return the entries of a declaration with every detail, or None if it says nothing about the list.

    Raises:
        RuleError: If it has too many entries.
        InvalidTextError: If a label is not valid.
    """
    if declared.entries is None:
        return None
    pieces = split_submission(declared.entries, most=policy.most_pieces)
    check_labels(pieces)
    return [NewEntry(piece.cidr, **piece.details()) for piece in pieces]


def in_order(declared: Mapping[str, DeclaredAccount]) -> list[str]:
    """Return the names of declared accounts, parents before their subaccounts."""
    return sorted(declared, key=lambda name: declared[name].parent is not None)


def in_parts(declared: Mapping[str, DeclaredAccount], *, whole: bool) -> Iterator[dict[str, DeclaredAccount]]:
    """Yield declarations in parts for one transaction each, parents before their subaccounts.

    Args:
        declared: The declarations by account.
        whole: Whether all are one part.
    """
    names = in_order(declared)
    size = len(names) if whole else _ACCOUNTS_A_PART
    for first in range(0, len(names), max(1, size)):
        yield {name: declared[name] for name in names[first : first + size]}


def with_order(report: ApplyReport, declared: Iterable[str]) -> ApplyReport:
    """Return a report with its changes in the order in which the accounts are declared."""
    order = {name: place for place, name in enumerate(declared)}
    return replace(report, changes=tuple(sorted(report.changes, key=lambda one: order[one.account])))


def apply_declared(
    transaction: Transaction,
    declared: Mapping[str, DeclaredAccount],
    *,
    policy: Policy,
    prune: bool,
    create: bool,
    strict: bool,
    dry_run: bool,
    expect_versions: Mapping[str, int],
    confirmed: frozenset[Guard],
    address: str | None,
    before_store: Callable[[ListOutcome], object] | None,
    actor: str | None,
    origin: Origin | None,
) -> ApplyReport:
    """Make accounts what was declared, in one transaction.

    Args:
        transaction: A write transaction; a read transaction is enough for a dry run.
        declared: The declarations by account.
        policy: The policy of the process, for what no stored policy says.
        prune: Whether entries of these accounts that are not declared are removed.
        create: Whether accounts that do not exist are created.
        strict: Whether nothing is stored if one account has a problem.
        dry_run: Whether to store nothing.
        expect_versions: The versions that accounts must have, by account.
        confirmed: The guards that the changes may meet.
        address: The caller's address; None if it is unknown.
        before_store: Called with the outcome of each change, and in a dry run with those of accounts that it would
            create without a list of their own. A dry run that changes nothing because of `strict` calls it with none.
        actor: Who makes the changes.
        origin: How the actor is known, and from where the changes come.
    """
    parents = {one.parent for one in declared.values() if one.parent is not None}
    known = transaction.accounts_named([name for name in {*declared, *parents} if could_name_account(name)])
    of_store = stored_policy(transaction, known.values())
    tells_creations = dry_run and before_store is not None
    inherited = {one.parent for name, one in declared.items() if tells_creations and name not in known}
    listed = transaction.entries_of([known[name] for name in {*declared, *inherited} if name in known])
    at = datetime.now(UTC)
    certain = certain_expiry_time(transaction, listed.values(), at)
    problems: dict[str, CidrgateError] = {}
    found: list[DeclaredChange] = []
    requests: dict[str, ListRequest] = {}
    tried = _Tried(before_store, whole=strict and dry_run)
    for name in in_order(declared):
        one = declared[name]
        try:
            account = known.get(name)
            if account is None:
                if not create:
                    raise no_such_account(name)
                check_account_name(name)
                planned = None if one.parent in problems else declared.get(one.parent or "")
                coming = None if planned is None else planned.parent is None
                check_parent(name, one.parent, known.get(one.parent or ""), coming)
            elif account.parent != one.parent:
                raise _other_parent(account, one.parent)
            version = 0 if account is None else account.version
            owner = account or StoredAccount.to_create(name, at, of_store)
            refuse_other_version(owner, expect_versions.get(name))
            pieces = _pieces_of(one, effective_policy(policy, owner.store_policy, owner.policy))
            change = DeclaredChange(
                account=name, created=account is None, parent=one.parent, version=version, before=(), after=()
            )
            if pieces is not None:
                maker = _Maker(pieces, prune=prune)
                request = ListRequest(
                    name,
                    maker.change,
                    actor,
                    None,
                    tried.tell,
                    None,
                    address,
                    confirmed,
                    origin,
                    policy=policy,
                )
                owners = {name: owner}
                lists = {name: listed.get(name, [])}
                outcome, _ = worked_out(transaction, request, owners, lists, at, certain, count(-1, -1))
                if not dry_run:
                    refuse_unconfirmed(outcome, address, confirmed)
                made = outcome.change
                change = replace(
                    change,
                    before=made.before,
                    after=made.after,
                    kept=tuple(maker.kept),
                    confirm=tuple(map(str, outcome.confirm)),
                )
                requests[name] = replace(request, before_store=None)
            if tells_creations and account is None and name not in requests:
                tried.tell(_creation(replace(owner.value(), parent=one.parent), tried, known, listed, at))
        except CidrgateError as error:
            problems[name] = error
        else:
            found.append(change)
    if not problems and (problems := tried.tell_all()):
        found = [one for one in found if one.account not in problems]
    changes = tuple(one for one in found if one.changes)
    report = ApplyReport(
        changes=changes,
        unchanged=len(found) - len(changes),
        versions={name: known[name].version if name in known else 0 for name in declared},
        kept=sum(len(one.kept) for one in found),
        problems=problems,
    )
    if dry_run or (strict and problems):
        return report
    done = _store(transaction, changes, requests, known, listed, at, certain, actor, origin)
    stored = [
        replace(one, before=done[one.account].before, after=done[one.account].after) if one.account in done else one
        for one in changes
    ]
    return replace(report, changes=tuple(stored), applied=True)


def _store(
    transaction: Transaction,
    changes: Sequence[DeclaredChange],
    requests: Mapping[str, ListRequest],
    known: Mapping[str, StoredAccount],
    listed: Mapping[str, list[Entry]],
    at: datetime,
    certain: datetime,
    actor: str | None,
    origin: Origin | None,
) -> dict[str, ListChange]:
    """Store changes, and return what they did to lists, by account."""
    owners = dict(known)
    created: dict[str | None, list[str]] = {}
    for one in changes:
        if one.created:
            created.setdefault(one.parent, []).append(one.account)
    for parent, names in sorted(created.items(), key=lambda pair: pair[0] is not None):
        owner = None if parent is None else owners[parent]
        owners |= new_accounts(transaction, names, parent=owner, at=at, actor=actor, origin=origin)
    ids = transaction.new_entry_ids(max(1, sum(len(one.after) for one in changes)))
    lists = {one.account: listed.get(one.account, []) for one in changes}
    made: list[StoredChange] = []
    done: dict[str, ListChange] = {}
    for one in changes:
        if one.account in requests and (one.before or one.after):
            outcome, stored = worked_out(transaction, requests[one.account], owners, lists, at, certain, ids)
            made += stored
            done[one.account] = outcome.change
    transaction.apply(made, at=at)
    return done


def _creation(
    account: Account,
    tried: _Tried,
    known: Mapping[str, StoredAccount],
    listed: Mapping[str, list[Entry]],
    at: datetime,
) -> ListOutcome:
    """Return what the creation of an account without declared entries does. Its parent's list is as it is then."""
    parent = account.parent
    if parent is None:
        return creation_outcome(account, None, [], at)
    if parent in tried.children:
        return sibling_outcome(tried.children[parent], account)
    made = tried.lists.get(parent)
    owner, entries = (known[parent].value(), listed[parent]) if made is None else (made.account, made.after)
    return tried.children.setdefault(parent, creation_outcome(account, owner, entries, at))


class _Tried:
    """Tells a hook of outcomes, at once or only if all can be made.

    Attributes:
        lists: The outcomes that were not refused, by account.
        children: The outcome of the first created subaccount of each parent that has one.
    """

    def __init__(self, hook: Callable[[ListOutcome], object] | None, *, whole: bool) -> None:
        self._hook = hook
        self._whole = whole
        self.lists: dict[str, ListOutcome] = {}
        self.children: dict[str, ListOutcome] = {}

    def tell(self, outcome: ListOutcome) -> None:
        """Tell of one outcome, unless all are told at the end."""
        if self._hook is not None and not self._whole:
            self._hook(outcome)
        self.lists[outcome.account.name] = outcome

    def tell_all(self) -> dict[str, CidrgateError]:
        """Tell of the outcomes that were not told yet, and return the reasons why the hook refuses some, by account."""
        refused: dict[str, CidrgateError] = {}
        if self._hook is not None and self._whole:
            for name, outcome in self.lists.items():
                parent = None if outcome.parent is None else outcome.parent.name
                try:
                    if parent in refused and self.lists[parent].created:
                        raise no_such_account(parent)
                    self._hook(outcome)
                except CidrgateError as error:
                    refused[name] = error
        return refused


class _Maker:
    """Works out the change that makes a list what was declared.

    Attributes:
        kept: The entries that are not declared and stay.
    """

    def __init__(self, pieces: Sequence[NewEntry], *, prune: bool) -> None:
        self._pieces = pieces
        self._prune = prune
        self.kept: list[Entry] = []

    def change(self, _: Transaction, listing: Listing) -> StoredChange:
        """Return the change of a list.

        Raises:
            RuleError: If the declared list breaks a rule.
            InvalidExpiryError: If every declared entry has expired, or one has an invalid expiry.
        """
        action: Any = "replace" if listing.entries else "add"
        by_cidr = {entry.cidr: entry for entry in listing.entries}
        wanted, places = self._current(listing, by_cidr)
        declared = {canonical_or_itself(piece.cidr) for piece in wanted}
        others = [entry for entry in listing.active() if entry.cidr not in declared]
        self.kept = [] if self._prune else others
        cidrs = _validated(wanted, places, [entry.cidr for entry in self.kept], listing.policy)
        before, after = [], []
        for piece, cidr in zip(wanted, cidrs, strict=True):
            old = by_cidr.get(cidr)
            if old is None:
                after.append(listing.new_entry(cidr, piece))
                continue
            altered = replace(old, **piece.details())
            if altered.expires_at != old.expires_at:
                check_expiry(altered.expires_at, listing.at)
            if altered != old:
                before.append(old)
                after.append(altered)
        if self._prune:
            before.extend(others if wanted else listing.entries)
        return listing.change(action, before, after)

    def _current(self, listing: Listing, by_cidr: Mapping[str, Entry]) -> tuple[list[NewEntry], list[int]]:
        """Return the declared entries and their positions, without those that have expired and are not listed."""
        pieces = self._pieces
        wanted, places = [], []
        for place, piece in enumerate(pieces):
            over = isinstance(piece.expires_at, datetime) and _is_over(piece.expires_at, listing.at)
            if not over or canonical_or_itself(piece.cidr) in by_cidr:
                wanted.append(piece)
                places.append(place)
        if pieces and not wanted and not (listing.entries and not self._prune):
            expires_at = pieces[0].expires_at
            raise InvalidExpiryError(
                f"every declared entry of account {listing.owner.name!r} has expired: declare one that has not, or an "
                "empty list",
                expires_at=expires_at if isinstance(expires_at, datetime) else None,
            )
        return wanted, places


def _validated(wanted: Sequence[NewEntry], places: Sequence[int], kept: Sequence[str], policy: Policy) -> list[str]:
    """Return the canonical CIDRs of declared entries. Problems have the positions of the declaration."""
    if not wanted:
        return []
    try:
        return validate_addition(wanted, kept, policy)
    except RuleError as error:
        after = places[-1] + 1 - len(places)
        problems = [
            replace(one, position=places[one.position] if one.position < len(places) else one.position + after)
            for one in error.problems
        ]
        raise RuleError(problems, more=error.more) from error


def _is_over(expires_at: datetime, at: datetime) -> bool:
    return expires_at.utcoffset() is not None and expires_at <= at


def _other_parent(account: StoredAccount, declared: str | None) -> SubaccountError:
    inherits = "has its own list" if account.parent is None else f"inherits the list of {account.parent!r}"
    wanted = "its own list" if declared is None else f"the parent {declared!r}"
    instead = f"change {account.parent!r} instead" if declared is None else "correct the declaration"
    return SubaccountError(
        f"account {account.name!r} {inherits}, but is declared with {wanted}: {instead}, or move the account first",
        account=account.name,
        parent=account.parent,
    )


def checked_declaration(declared: Mapping[str, DeclaredAccount | Submission]) -> dict[str, DeclaredAccount]:
    """Return declarations; a submission declares the list of an account with its own list.

    Raises:
        TypeError: If they are not a mapping, or what they declare of an account is a mapping or None.
    """
    if not isinstance(declared, Mapping):
        raise TypeError("declare the lists as a mapping from accounts to their entries")
    return {name: _declaration(name, one) for name, one in declared.items()}


def _declaration(name: str, declared: DeclaredAccount | Submission) -> DeclaredAccount:
    account_text(name)
    if isinstance(declared, DeclaredAccount):
        return declared
    if declared is None or isinstance(declared, Mapping):
        raise TypeError(
            f"declare account {name!r} as its entries or as a DeclaredAccount, not as {type(declared).__name__}: an "
            "entry with details is NewEntry(cidr, label=..., expires_at=..., enabled=...)"
        )
    return DeclaredAccount(entries=declared)
