"""The stored policy: options of the whole store, and what accounts override of them.

An option of an account's policy wins over that of the store, and a stored option wins over the policy of a process
(`Policy`, `--max-entries`), so that every process that changes a list keeps the same rules. A process that was given
another value than the stored one says so in its log, once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cidrgate.errors import VersionConflictError
from cidrgate.event_log import log_event
from cidrgate.manager.accounts import existing_account, refuse_subaccount
from cidrgate.rules import Policy
from cidrgate.rules.policy import DEFAULT_POLICY, OPTION_NAMES, PolicyChange, PolicyState, effective_policy
from cidrgate.rules.special_ranges import special_blocks
from cidrgate.stores import StoredChange

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from cidrgate.stores import StoredAccount, Transaction
    from cidrgate.values import Origin

__all__ = [
    "checked_options",
    "differences",
    "entry_limits",
    "policy_change",
    "policy_state",
    "say_differences",
    "stored_policy",
]

MOST_NAMED = 1_000
"""How many lists a change of the policy names."""

LARGEST_LIMIT = 100_000
"""The largest limit of entries that can be stored: a longer list would make each change of it slow."""


def stored_policy(transaction: Transaction, known: Collection[StoredAccount] = ()) -> dict[str, Any] | None:
    """Return the stored policy of the store; it needs no statement if an account was read."""
    from cidrgate.stores.account_rows import AccountRows  # it needs SQLAlchemy, which `stores` loads late

    for account in known:
        return account.store_policy
    return AccountRows(transaction).store_policy()


def policy_state(transaction: Transaction, account: str | None, process: Policy) -> PolicyState:
    """Return the policy of the store or of an account. A subaccount has that of its parent.

    Raises:
        AccountNotFoundError: If there is no such account.
    """
    if account is None:
        return _of_store(stored_policy(transaction), process)
    found = existing_account(transaction, account)
    owner = found if found.parent is None else existing_account(transaction, found.parent)
    return _of_account(owner, process)


def entry_limits(transaction: Transaction, accounts: Collection[str], process: Policy) -> dict[str, int]:
    """Return the largest number of entries of each account's list; accounts that do not exist are left out.

    Args:
        transaction: Reads the accounts.
        accounts: The accounts, without subaccounts.
        process: The policy of the process.
    """
    found = transaction.accounts_named(accounts)
    return {name: _of_account(account, process).effective.max_entries for name, account in found.items()}


def policy_change(
    transaction: Transaction,
    account: str | None,
    options: Mapping[str, Any],
    process: Policy,
    *,
    at: datetime,
    actor: str | None,
    origin: Origin | None,
    expect_version: int | None,
    dry_run: bool,
) -> PolicyChange:
    """Change the stored policy of the store or of an account in a write transaction; a dry run only reads.

    Args:
        transaction: The transaction.
        account: The account; None for the store.
        options: The options to store; None takes one back.
        process: The policy of the process.
        at: The time of the change, with a time zone.
        actor: Who makes the change.
        origin: How the actor is known, and from where the change comes.
        expect_version: The version that the caller saw; None for any version.
        dry_run: Whether to store nothing.

    Raises:
        TypeError: If there is no such option, or an option has another type.
        ValueError: If the value of an option is out of range.
        AccountNotFoundError: If there is no such account.
        SubaccountError: If the account is a subaccount.
        VersionConflictError: If the version is not the expected version.
    """
    from cidrgate.stores.account_rows import AccountRows

    _check(options)
    transaction.event = "set_policy"
    rows = AccountRows(transaction)
    owner = None
    if account is None:
        before = _of_store(rows.store_policy(locks=not dry_run), process)
    else:
        owner = existing_account(transaction, account)
        refuse_subaccount(owner)
        before = _of_account(owner, process)
    if expect_version not in (None, before.version):
        raise VersionConflictError(
            f"the policy has version {before.version}, not {expect_version}: it was changed in the meantime; read it "
            "again, then decide",
            account=account,
            expected=expect_version,
            actual=before.version,
        )
    stored = {name: value for name, value in {**before.stored, **options}.items() if value is not None}
    changed = [name for name in OPTION_NAMES if stored.get(name) != before.stored.get(name)]
    if not changed:
        return PolicyChange(state=before)
    details = {
        "before": {name: before.stored.get(name) for name in changed},
        "after": {name: stored.get(name) for name in changed},
    }
    version = before.version + 1
    if owner is None:
        after = _of_store({**stored, "version": version}, process)
        if not dry_run:
            rows.set_store_policy({**stored, "version": version})
            transaction.record_event("set_policy", at=at, actor=actor, origin=origin, details=details)
    else:
        effective = effective_policy(process, owner.store_policy, stored)
        after = PolicyState(account=account, version=version, stored=stored, effective=effective)
        if not dry_run:
            rows.set_policy(owner, stored or None)
            transaction.apply([StoredChange(owner, "set_policy", actor=actor, details=details, origin=origin)], at=at)
    over: list[str] = []
    special: list[str] = []
    if after.effective.max_entries < before.effective.max_entries:
        over = rows.longer_than(after.effective.max_entries, at, owner)
    if before.effective.allow_special and not after.effective.allow_special:
        lists = transaction.lists() if owner is None else transaction.lists_named([owner.name])
        special = sorted(one.account for one in lists if any(map(special_blocks, one.cidrs)))
    if owner is None and (over or special):
        overridden = rows.policies()
        over = [name for name in over if "max_entries" not in overridden.get(name, ())]
        special = [name for name in special if "allow_special" not in overridden.get(name, ())]
    return PolicyChange(
        state=after,
        over_limit=tuple(over[:MOST_NAMED]),
        special=tuple(special[:MOST_NAMED]),
        more_over_limit=max(0, len(over) - MOST_NAMED),
        more_special=max(0, len(special) - MOST_NAMED),
    )


_said: set[str] = set()
"""The differences that this process has logged."""


def differences(process: Policy, stored: Mapping[str, Any] | None) -> list[str]:
    """Return what is said of each option that a process was given with another value than the stored one.

    An option with its default value counts as not given.
    """
    return [
        f"the stored policy has {name} {stored[name]}, which counts; {given} was given and has no effect"
        for name, given in process.options().items()
        if stored and name in stored and given not in (getattr(DEFAULT_POLICY, name), stored[name])
    ]


def say_differences(process: Policy, stored: Mapping[str, Any] | None) -> None:
    """Log the `differences`, each once for each process."""
    for message in differences(process, stored):
        if message not in _said:
            _said.add(message)
            log_event(logging.WARNING, "policy_differs", message)


def _of_store(stored: Mapping[str, Any] | None, process: Policy) -> PolicyState:
    version = int((stored or {}).get("version", 0))
    return PolicyState(
        account=None, version=version, stored=_options(stored), effective=effective_policy(process, stored)
    )


def _of_account(owner: StoredAccount, process: Policy) -> PolicyState:
    return PolicyState(
        account=owner.name,
        version=owner.version,
        stored=_options(owner.policy),
        effective=effective_policy(process, owner.store_policy, owner.policy),
    )


def _options(stored: Mapping[str, Any] | None) -> dict[str, int | bool]:
    return {name: stored[name] for name in OPTION_NAMES if stored and name in stored}


def checked_options(said: object) -> dict[str, Any]:
    """Return the options of a stored policy that a file contains.

    Raises:
        TypeError: If it is no object, if there is no such option, or if an option has another type.
        ValueError: If the value of an option is out of range.
    """
    if not isinstance(said, dict):
        raise TypeError(f"the policy must be an object with {', '.join(OPTION_NAMES)}")
    empty = [name for name, value in said.items() if value is None]
    if empty:
        raise TypeError(f"the option {empty[0]!r} of the policy has no value: leave it out")
    _check(said)
    return said


def _check(options: Mapping[str, Any]) -> None:
    unknown = _unknown(options)
    if unknown:
        raise TypeError(f"there is no option {unknown[0]!r} of the policy: there are {', '.join(OPTION_NAMES)}")
    effective_policy(Policy(), {name: value for name, value in options.items() if value is not None})
    limit = options.get("max_entries")
    if limit is not None and limit > LARGEST_LIMIT:
        raise ValueError(f"max_entries must be at most {LARGEST_LIMIT:,}, not {limit}")


def _unknown(options: Iterable[str]) -> list[str]:
    return [name for name in options if name not in OPTION_NAMES]
