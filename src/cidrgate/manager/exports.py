"""Exports: files with everything that decides for accounts and everything that people wrote about them.

An export is text, one JSON object on each line (JSON Lines):

    {"format": "cidrgate export", "version": 1, "policy": {"max_entries": 60}}
    {"name": "acct-1", "created_at": "…", "version": 1, "entries": [{"cidr": "8.8.8.0/24", "created_at": "…"}, …]}
    {"name": "sub-1", "parent": "acct-1", "created_at": "…"}
    {"end": {"account_count": 2, "entry_count": 1}}

Parents come before their subaccounts. Members with default values are left out. The last line tells a whole file from
one that was cut off: a part of the accounts must not be taken for all of them. The members are made of the columns of
the store (`cidrgate.stores.copies`), and of no list of names here.

Pure, except for the two functions that read and write a transaction. An account of an export is imported exactly, with
its author, its times and its version; only the keys of the store are new.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from cidrgate._engine import PrefixTrie
from cidrgate.errors import (
    AccountExistsError,
    CidrgateError,
    ConflictError,
    InvalidCopyError,
    RuleError,
    SubaccountError,
)
from cidrgate.manager.account_changes import creation_outcome, sibling_outcome
from cidrgate.manager.accounts import check_parent, no_such_account
from cidrgate.manager.confirmations import disables_enforcement, unconfirmed
from cidrgate.manager.copied_settings import account_of_copy, check_settings, settings_details
from cidrgate.manager.importing import ImportReport
from cidrgate.manager.modes import consequence_of
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.policies import checked_options, policy_change, stored_policy
from cidrgate.rules import Policy, validate_replacement
from cidrgate.rules.decisions import enforced
from cidrgate.rules.policy import OPTION_NAMES
from cidrgate.stores import StoredAccount
from cidrgate.values import ListChange, NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from cidrgate.stores import Transaction
    from cidrgate.stores.copies import AccountCopy
    from cidrgate.values import Account, Entry, Origin

    _Records: TypeAlias = tuple[dict[str, Any], list[dict[str, Any]]]
    """An account and its entries as JSON objects."""

__all__ = [
    "ANY_LIST",
    "EXPORT_FORMAT",
    "check_version",
    "export_lines",
    "has_format",
    "import_copies",
    "json_line",
    "object_of",
    "refuse_more",
]

EXPORT_FORMAT = "cidrgate export"
"""The member `format` of the first line."""

EXPORT_VERSION = 1
"""The member `version` of the first line. It grows when earlier versions of cidrgate would misunderstand a file."""

_ACCOUNTS_A_PART = 500
"""How many accounts of an import are in memory at once."""

_ENTRIES = "entries"
_END = "end"
ANY_LIST = Policy(max_entries=10**9, allow_special=True)
"""Refuses only what no list may contain under any policy: what is no network, and networks that overlap."""

_CHANGES_BY_ITSELF = ("version", "last_matched_at")
"""What differs between an account and its copy although nobody changed the account."""


def json_line(record: dict[str, Any]) -> str:
    """Return a JSON object as a line."""
    return json.dumps(record, ensure_ascii=False) + "\n"


def object_of(line: str, number: int) -> dict[str, Any]:
    """Return the JSON object of a line.

    Raises:
        InvalidCopyError: If the line is not a JSON object.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InvalidCopyError(f"line {number} is not valid JSON: {reason}", line=number) from None
    if not isinstance(record, dict):
        raise InvalidCopyError(f"line {number} is not a JSON object", line=number)
    return record


def refuse_more(numbered: Iterator[tuple[int, str]], what: str) -> None:
    """Refuse lines after the last line of a file, such as those of a second file in it. Empty lines are none.

    Args:
        numbered: The rest of the lines, with their numbers.
        what: What the file is.

    Raises:
        InvalidCopyError: If there is such a line.
    """
    for number, line in numbered:
        if line.strip():
            raise InvalidCopyError(
                f"line {number} comes after the last line of the {what}; nothing was stored", line=number
            )


def has_format(first_line: str, name: str) -> bool:
    """Return whether the first line of a file says that it has a format, of whatever version.

    Example:
        >>> has_format('{"format": "cidrgate export", "version": 1}', EXPORT_FORMAT)
        True
        >>> has_format("account,cidr", EXPORT_FORMAT)
        False
    """
    try:
        record = json.loads(first_line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("format") == name


def export_lines(
    transaction: Transaction, names: Collection[str] | None = None, progress: Callable[[int], object] | None = None
) -> Iterator[str]:
    """Yield the lines of an export.

    Args:
        transaction: A read transaction, which sees one moment.
        names: Only these accounts and their subaccounts; None for all.
        progress: Called with the number of accounts since the last call.
    """
    from cidrgate.stores.copies import read_copies

    accounts = entries = 0
    header: dict[str, Any] = {"format": EXPORT_FORMAT, "version": EXPORT_VERSION}
    policy = _options(stored_policy(transaction))
    if policy and names is None:  # the policy of the store is none of single accounts
        header["policy"] = policy
    yield json_line(header)
    for account, listed in read_copies(transaction, names):
        if listed:
            by_cidr = {entry["cidr"]: entry for entry in listed}
            account[_ENTRIES] = [by_cidr[cidr] for cidr in PrefixTrie(by_cidr)]
        accounts += 1
        entries += len(listed)
        yield json_line(account)
        if progress is not None:
            progress(1)
    yield json_line({_END: {"account_count": accounts, "entry_count": entries}})


def import_copies(
    transaction: Transaction,
    lines: Iterable[str],
    *,
    policy: Policy,
    replace: bool,
    skip_existing: bool,
    create: bool,
    dry_run: bool,
    confirmed: Collection[Guard],
    at: datetime,
    actor: str | None,
    origin: Origin | None = None,
    progress: Callable[[int], object] | None = None,
    before_store: Callable[[ListOutcome], object] | None = None,
) -> ImportReport:
    """Store the accounts of an export exactly.

    Args:
        transaction: A write transaction; a read transaction is enough for a dry run. The caller rolls it back if the
            report has problems.
        lines: The lines of the file.
        policy: The policy of the process.
        replace: Whether accounts that exist become what the file says.
        skip_existing: Whether accounts that exist stay as they are.
        create: Whether accounts that do not exist are created.
        dry_run: Whether to check everything and store nothing.
        confirmed: The guards that the changes may meet.
        at: The time of the change, with a time zone.
        actor: Who imports, for the change log.
        origin: How the actor is known, and from where the change comes.
        progress: Called with the number of accounts since the last call.
        before_store: Called with the outcome of each list that a dry run would store, and then with those of the
            subaccounts that it would create.

    Raises:
        InvalidCopyError: If the file is damaged, incomplete, or of a newer version.
        ConflictError: If the store has another policy than the file.
    """
    reader = _Reader(lines)
    report = ImportReport()
    transaction.expect_all()
    stored = _options(stored_policy(transaction))
    if reader.policy and reader.policy != stored and not skip_existing:
        if stored and not replace:
            raise ConflictError("the store has another policy than the file: skip what exists, or replace it")
        dropped = dict.fromkeys(stored)
        policy_change(
            transaction,
            None,
            {**dropped, **reader.policy},
            policy,
            at=at,
            actor=actor,
            origin=origin,
            expect_version=None,
            dry_run=dry_run,
        )
    subaccounts: list[Account] = []
    deciding: dict[str, tuple[Account, Sequence[Entry]]] = {}
    while part := list(islice(reader, _ACCOUNTS_A_PART)):
        names = [copy.name for copy in part]
        parents = {copy.parent for copy in part if copy.parent is not None}
        known = transaction.accounts_named({*names, *parents})
        existing = _records(transaction, known.keys() & set(names))
        listed = transaction.entries_of([known[name] for name in existing]) if replace else {}
        problems: dict[str, CidrgateError] = {}
        new: list[AccountCopy] = []
        changed: list[AccountCopy] = []
        unchanged = 0
        for copy in part:
            try:
                check_parent(
                    copy.name, copy.parent, known.get(copy.parent or ""), reader.parents.get(copy.parent or "")
                )
                if copy.name not in known:
                    if not create:
                        raise no_such_account(copy.name)
                    new.append(copy)
                elif skip_existing or existing[copy.name] == _comparable(*_record(copy)):
                    unchanged += 1
                else:
                    _check_replacement(
                        copy, known[copy.name], listed.get(copy.name, ()), confirmed, at, replace=replace
                    )
                    changed.append(copy)
            except CidrgateError as error:
                problems[copy.name] = error
        if not dry_run and not (problems or report.problems):
            _store(transaction, new, changed, known, listed, at, actor, origin)
        if dry_run and before_store is not None:
            subaccounts += [account_of_copy(copy) for copy in new if copy.parent is not None]
            for copy in (*new, *changed):
                if copy.parent is None:
                    outcome = _outcome(copy, known.get(copy.name), listed.get(copy.name, ()), at)
                    deciding[copy.name] = (outcome.account, outcome.after)
                    before_store(outcome)
        report += ImportReport(
            accounts=len(new) + len(changed),
            entries=sum(len(copy.entries) for copy in (*new, *changed)),
            created=len(new),
            unchanged=unchanged,
            problems=problems,
        )
        if progress is not None:
            progress(len(part))
    if before_store is not None:
        for outcome in _new_subaccounts(transaction, subaccounts, deciding, at):
            before_store(outcome)
    return report


def _new_subaccounts(
    transaction: Transaction,
    subaccounts: Sequence[Account],
    deciding: Mapping[str, tuple[Account, Sequence[Entry]]],
    at: datetime,
) -> Iterator[ListOutcome]:
    """Yield what the creation of subaccounts does, those of one parent one after the other.

    Args:
        transaction: A transaction.
        subaccounts: The subaccounts. Those of a parent that does not exist are left out: they are problems.
        deciding: The accounts with lists that the same import stores, and these lists.
        at: The time of the change, with a time zone.
    """
    children: dict[str, list[Account]] = {}
    for one in subaccounts:
        children.setdefault(one.parent or "", []).append(one)
    names = list(children)
    for first in range(0, len(names), _ACCOUNTS_A_PART):
        part = names[first : first + _ACCOUNTS_A_PART]
        known = transaction.accounts_named([name for name in part if name not in deciding])
        listed = transaction.entries_of(known.values())
        for name in part:
            if name not in deciding and name not in known:
                continue
            parent, entries = deciding[name] if name in deciding else (known[name].value(), listed[name])
            outcome = creation_outcome(children[name][0], parent, entries, at)
            yield outcome
            yield from (sibling_outcome(outcome, other) for other in children[name][1:])


def _store(
    transaction: Transaction,
    new: Sequence[AccountCopy],
    changed: Sequence[AccountCopy],
    known: dict[str, StoredAccount],
    listed: Mapping[str, Sequence[Entry]],
    at: datetime,
    actor: str | None,
    origin: Origin | None,
) -> None:
    from cidrgate.stores.copies import insert_copies, replace_by_copy

    keys = {name: account.id for name, account in known.items()}
    for copies in ([copy for copy in new if copy.parent is None], [copy for copy in new if copy.parent is not None]):
        if copies:
            details = {copy.name: settings_details(copy, None) for copy in copies}
            keys |= insert_copies(transaction, copies, keys, at=at, actor=actor, origin=origin, details=details)
    for copy in changed:
        owner = known[copy.name]
        details_of = settings_details(copy, owner)
        replace_by_copy(
            transaction, owner, listed[copy.name], copy, at=at, actor=actor, origin=origin, details=details_of
        )


def _outcome(copy: AccountCopy, owner: StoredAccount | None, listed: Sequence[Entry], at: datetime) -> ListOutcome:
    """Return what a copy would do to the list of an account."""
    was = StoredAccount.to_create(copy.name, at) if owner is None else owner
    now = account_of_copy(copy)
    after = [entry.entry(-1 - place, copy.name) for place, entry in enumerate(copy.entries)]
    change = ListChange(
        account=now.name,
        version=now.version,
        enforced=enforced(after, now, at),
        before=tuple(listed),
        after=tuple(after),
        entries=tuple(after),
        mode=now.mode_at(at),
    )
    return ListOutcome(
        account=now, change=change, before=listed, after=after, account_before=was.value(), created=not was.exists
    )


def _records(transaction: Transaction, names: Collection[str]) -> dict[str, _Records]:
    """Return accounts as exports write them, in a form in which they can be compared with copies."""
    from cidrgate.stores.copies import read_copies

    if not names:
        return {}
    return {
        account["name"]: _comparable(account, listed)
        for account, listed in read_copies(transaction, names)
        if account["name"] in names
    }


def _record(copy: AccountCopy) -> _Records:
    from cidrgate.stores.copies import record_of_copy

    return record_of_copy(copy)


def _comparable(account: dict[str, Any], listed: list[dict[str, Any]]) -> _Records:
    def without(record: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in record.items() if name not in _CHANGES_BY_ITSELF}

    return without(account), sorted(map(without, listed), key=lambda entry: str(entry["cidr"]))


def _check_replacement(
    copy: AccountCopy,
    owner: StoredAccount,
    listed: Collection[Entry],
    confirmed: Collection[Guard],
    at: datetime,
    *,
    replace: bool,
) -> None:
    """Refuse to replace an account that exists, unless that was asked for and is no danger."""
    if not replace:
        raise AccountExistsError(
            f"account {copy.name!r} exists already and differs from the file: leave it as it is, or replace it",
            account=copy.name,
        )
    if owner.parent != copy.parent:
        inherits = "has its own list" if copy.parent is None else f"inherits the list of {copy.parent!r}"
        raise SubaccountError(
            f"account {copy.name!r} {inherits} in the file and not in the store: move it first",
            account=copy.name,
            parent=copy.parent,
        )
    was, now = owner.value(), account_of_copy(copy)
    disables = disables_enforcement(listed, copy.entries, at, was=was, now=now)
    if disables and Guard.DISABLE_ENFORCEMENT not in confirmed:
        raise unconfirmed(Guard.DISABLE_ENFORCEMENT, copy.name, consequence=consequence_of(was, now))


def _options(policy: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of a stored policy, without its version."""
    return {name: value for name, value in (policy or {}).items() if name in OPTION_NAMES}


class _Reader:
    """Reads the accounts of an export, and checks all that can be checked without a store.

    Attributes:
        parents: The accounts that were read, with whether they may be parents.
        policy: The options of the store's policy; empty for none.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = enumerate(lines, 1)
        self._entries = 0
        self._ended = False
        self.parents: dict[str, bool] = {}
        self.policy: dict[str, Any] = {}
        self._read_header()

    def __iter__(self) -> Iterator[AccountCopy]:
        return self

    def __next__(self) -> AccountCopy:
        if self._ended:
            raise StopIteration
        for number, line in self._lines:
            if not line.strip():
                continue
            record = object_of(line, number)
            if _END in record:
                self._check_end(record[_END], number)
                raise StopIteration
            copy = _copy_of(record, number)
            if copy.name in self.parents:
                raise InvalidCopyError(f"line {number}: the account {copy.name!r} is repeated", line=number)
            self.parents[copy.name] = copy.parent is None
            self._entries += len(copy.entries)
            return copy
        raise InvalidCopyError("the file ends without its last line, so it was cut off; nothing was imported")

    def _read_header(self) -> None:
        for number, line in self._lines:
            header = object_of(line, number)
            if header.get("format") != EXPORT_FORMAT:
                break
            check_version(header, EXPORT_VERSION)
            try:
                self.policy = checked_options(header.get("policy", {}))
            except (TypeError, ValueError) as error:
                raise InvalidCopyError(f"line {number}: {error}", line=number) from None
            return
        raise InvalidCopyError("the file is not an export of cidrgate: its first line does not say so")

    def _check_end(self, end: Any, number: int) -> None:
        self._ended = True
        found = {"account_count": len(self.parents), "entry_count": self._entries}
        if end != found:
            raise InvalidCopyError(
                f"the last line says {json.dumps(end)}, but the file has {json.dumps(found)}: lines are missing or "
                "were added; correct the last line if you changed the file on purpose",
                line=number,
            )
        refuse_more(self._lines, "export")


def check_version(header: dict[str, Any], newest: int) -> None:
    """Refuse a file of a version that this cidrgate does not know.

    Raises:
        InvalidCopyError: If the version is missing or newer.
    """
    version = header.get("version")
    if type(version) is not int or not 1 <= version <= newest:
        raise InvalidCopyError(
            f"the file has version {json.dumps(version)}, and this cidrgate reads versions 1 to {newest}: use the "
            "cidrgate that wrote it, or a newer one",
            line=1,
        )


def _copy_of(record: dict[str, Any], number: int) -> AccountCopy:
    """Return the account of a line.

    Raises:
        InvalidCopyError: If the line is not one.
    """
    from cidrgate.stores.copies import copy_of_record

    listed = record.pop(_ENTRIES, [])
    try:
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise ValueError("entries must be a list of objects")
        copy = copy_of_record(record, listed)
        check_settings(copy.values, copy.parent)
        if copy.parent is not None and copy.entries:
            raise ValueError(f"the subaccount {copy.name!r} inherits its list, but has entries")
        cidrs = [entry.values["cidr"] for entry in copy.entries]
        if cidrs and (canonical := validate_replacement(list(map(NewEntry, cidrs)), ANY_LIST)) != cidrs:
            other = next(pair for pair in zip(cidrs, canonical, strict=True) if pair[0] != pair[1])
            raise ValueError(f"the network {other[0]!r} must be written {other[1]!r}")
    except RuleError as error:
        raise InvalidCopyError(f"line {number}: account {record.get('name')!r}: {error}", line=number) from None
    except ValueError as error:
        raise InvalidCopyError(f"line {number}: {error}", line=number) from None
    return copy
