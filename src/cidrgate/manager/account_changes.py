"""Changes of an account itself: its name, its parent, its display name, and its deletion, each in one transaction.

`RuleManager` calls these functions in a write transaction, or in a read transaction for a dry run. They return what the
change would do, and a function that stores it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from cidrgate.errors import (
    AccountExistsError,
    AccountHasSubaccountsError,
    SubaccountError,
    VersionConflictError,
)
from cidrgate.manager.accounts import no_such_account
from cidrgate.manager.changes import Listing
from cidrgate.manager.confirmations import guards_met
from cidrgate.manager.modes import DEFAULT_SETTINGS, closing_change, parents_settings, settings_record
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.manager.previews import access_change
from cidrgate.rules.account_names import check_account_name, could_name_account
from cidrgate.rules.characters import checked_text
from cidrgate.rules.decisions import enforced, has_list, in_address_order
from cidrgate.rules.limits import some_of
from cidrgate.stores import StoredChange
from cidrgate.values import AccountDeletion, ListChange, account_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from cidrgate.stores import StoredAccount, Transaction
    from cidrgate.values import Account, Entry, Origin

__all__ = [
    "AccountEdit",
    "DeletedAccount",
    "EditedAccount",
    "account_deletion",
    "account_edit",
    "created_account",
    "created_version",
    "creation_outcome",
    "new_accounts",
    "sibling_outcome",
]

_MOST_NAMED = 20
"""How many subaccounts a message names."""

_MOST_SUBACCOUNTS = 100
"""How many subaccounts an error carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEdit:
    """An edit of an account. A field that is `...` does not change.

    Attributes:
        name: The new name.
        parent: The account whose list it inherits from now on, or None for a list of its own.
        display_name: The new name for people, or None.
    """

    name: str | EllipsisType = ...
    parent: str | EllipsisType | None = ...
    display_name: str | EllipsisType | None = ...

    def checked(self) -> AccountEdit:
        """Return the edit in the form that is stored.

        Raises:
            InvalidAccountError: If the new name is not valid.
            InvalidTextError: If the display name is too long, or contains an invisible character.
        """
        if not isinstance(self.name, EllipsisType):
            check_account_name(account_text(self.name))
        if self.parent is not None and not isinstance(self.parent, EllipsisType):
            account_text(self.parent)
        if isinstance(self.display_name, EllipsisType):
            return self
        return replace(self, display_name=checked_text(self.display_name, "display_name"))


@dataclass(frozen=True, slots=True)
class EditedAccount:
    """What an edit of an account does.

    Attributes:
        outcome: The outcome for the list that decides for the account.
        account: The account after the edit.
        store: Stores the edit.
    """

    outcome: ListOutcome
    account: Account
    store: Callable[[], None]


@dataclass(frozen=True, slots=True)
class DeletedAccount:
    """What the deletion of an account does.

    Attributes:
        outcome: The outcome for the list that decides for the account.
        deletion: What is deleted.
        store: Stores the deletion.
    """

    outcome: ListOutcome
    deletion: AccountDeletion
    store: Callable[[], None]


def created_account(
    transaction: Transaction,
    name: str,
    *,
    parent: StoredAccount | None,
    display_name: str | None,
    at: datetime,
    actor: str | None,
    origin: Origin | None = None,
    closed: bool = False,
) -> Account:
    """Create an account in a write transaction, and return it.

    Args:
        transaction: The transaction.
        name: A checked name that no account has.
        parent: The account whose subaccount it becomes, or None.
        display_name: Its checked name for people, or None.
        at: The time of the change, with a time zone.
        actor: Who makes the change.
        origin: How the actor is known, and from where the change comes.
        closed: Whether it is enforced even while its list is empty.
    """
    from cidrgate.stores.account_rows import AccountRows  # it needs SQLAlchemy, which `stores` loads late

    made = new_accounts(transaction, [name], parent=parent, at=at, actor=actor, origin=origin)[name]
    created = made.value()
    if display_name is not None:
        AccountRows(transaction).change(made, name=name, parent=parent, display_name=display_name)
        details = {"before": {"display_name": None}, "after": {"display_name": display_name}}
        transaction.apply([StoredChange(made, "edit_account", actor=actor, details=details, origin=origin)], at=at)
        created = replace(created, version=created.version + 1, display_name=display_name)
    if closed:
        transaction.apply([closing_change(Listing(made, (), at, iter(()), actor, origin=origin))], at=at)
        created = replace(created, version=created.version + 1, closed=True)
    return created


def created_version(transaction: Transaction, name: str, *, display_name: str | None, closed: bool) -> int:
    """Return the version that `created_account` would give an account.

    Args:
        transaction: A transaction that may only read.
        name: A checked name that no account has.
        display_name: Its checked name for people, or None.
        closed: Whether it is enforced even while its list is empty.
    """
    from cidrgate.stores.account_rows import AccountRows  # it needs SQLAlchemy, which `stores` loads late

    version: int = AccountRows(transaction).versions_left([name]).get(name, -1) + 1
    return version + (display_name is not None) + closed


def creation_outcome(account: Account, parent: Account | None, listed: Sequence[Entry], at: datetime) -> ListOutcome:
    """Return what the creation of an account does: from then on a list decides, an empty one or that of the parent.

    Args:
        account: The account as it would be created.
        parent: The account whose list it inherits, or None.
        listed: The list of the parent; empty without one.
        at: The time of the change, with a time zone.
    """
    decider, entries = parent or account, in_address_order(listed)
    value = ListChange(
        account=account.name,
        version=account.version,
        enforced=enforced(entries, decider, at),
        before=(),
        after=(),
        entries=tuple(entries),
        mode=decider.mode_at(at),
    )
    before = replace(account, parent=None, closed=False)
    return ListOutcome(
        account=account, change=value, before=[], after=entries, account_before=before, parent=parent, created=True
    )


def sibling_outcome(outcome: ListOutcome, account: Account) -> ListOutcome:
    """Return what the creation of another subaccount of the same parent does. The outcomes share the list."""
    change = replace(outcome.change, account=account.name, version=account.version)
    before = replace(account, parent=None, closed=False)
    return replace(outcome, account=account, change=change, account_before=before)


def new_accounts(
    transaction: Transaction,
    names: Sequence[str],
    *,
    parent: StoredAccount | None,
    at: datetime,
    actor: str | None,
    origin: Origin | None = None,
    version: int = 0,
) -> dict[str, StoredAccount]:
    """Create accounts in a write transaction, and return them by name: every way to create accounts ends here.

    They continue the versions of accounts that had their names before: a client that expects a version of the old
    account must not change the new one.

    Args:
        transaction: The transaction.
        names: Checked names that no account has.
        parent: The account whose subaccounts they become, or None.
        at: The time of the change, with a time zone.
        actor: Who makes the change.
        origin: How the actor is known, and from where the change comes.
        version: The first version where no account had the name; 1 if the transaction also adds their first entries.
    """
    from cidrgate.stores.account_rows import AccountRows  # it needs SQLAlchemy, which `stores` loads late

    found = transaction.insert_accounts(names, parent=parent, at=at, actor=actor, version=version, origin=origin)
    if found:
        rows = AccountRows(transaction)
        for name, left in rows.versions_left(names).items():
            found[name] = replace(found[name], version=version + left + 1)
            rows.set_version(found[name], found[name].version)
    return found


def account_edit(
    transaction: Transaction,
    name: str,
    edit: AccountEdit,
    *,
    at: datetime,
    actor: str | None,
    expect_version: int | None,
    address: str | None,
    origin: Origin | None = None,
) -> EditedAccount:
    """Return what an edit of an account does.

    Args:
        transaction: A write transaction; a read transaction for a dry run.
        name: The account.
        edit: The checked edit.
        at: The time of the change, with a time zone.
        actor: Who makes the change.
        expect_version: The version of the account that the caller saw; None for any version.
        address: The caller's address; None if it is unknown.
        origin: How the actor is known, and from where the change comes.

    Raises:
        AccountNotFoundError: If there is no such account, or no such parent.
        AccountExistsError: If another account has the new name.
        SubaccountError: If the new parent is a subaccount, or the account itself.
        AccountHasSubaccountsError: If an account with subaccounts would become a subaccount.
        VersionConflictError: If the account's version is not the expected version.
    """
    from cidrgate.stores.account_rows import AccountRows  # it needs SQLAlchemy, which `stores` loads late

    if not could_name_account(name):
        raise no_such_account(name)
    rows = AccountRows(transaction)
    wanted = edit.parent if isinstance(edit.parent, str) and could_name_account(edit.parent) else None
    family = rows.family(name, *([] if wanted is None else [wanted]))
    owner = _owner(family.get(name), name, expect_version)
    new_name = owner.name if isinstance(edit.name, EllipsisType) else edit.name
    display_name = owner.display_name if isinstance(edit.display_name, EllipsisType) else edit.display_name
    parent_name = owner.parent if isinstance(edit.parent, EllipsisType) else edit.parent
    subaccounts = _subaccounts(family, owner)
    parent = None if parent_name is None else family.get(parent_name)
    if parent_name != owner.parent:
        _check_parent(owner, parent_name, parent, subaccounts)
    if new_name != owner.name and transaction.account(new_name) is not None:
        raise AccountExistsError(f"an account {new_name!r} exists already", account=new_name)

    own = transaction.entries(owner) if owner.parent is None else []
    decided_by = owner if owner.parent is None else family[owner.parent]
    deciding = own if owner.parent is None else transaction.entries(decided_by)
    after = deciding
    settings = parents_settings(owner) if parent_name is not None and owner.parent is None else {}
    changes: list[StoredChange] = []

    def told(what: str, before: object, now: object) -> dict[str, Any]:
        return {"before": {what: before}, "after": {what: now}}

    renamed = replace(owner, name=new_name)
    if new_name != owner.name:
        details: dict[str, Any] = {
            "before": {"name": owner.name, "version": owner.version},
            "after": {"name": new_name},
        }
        changes += [
            StoredChange(one, "rename_account", actor=actor, details=details, origin=origin) for one in (owner, renamed)
        ]
        parents = told("parent", owner.name, new_name)
        changes += [
            StoredChange(one, "rename_account", actor=actor, details=parents, origin=origin) for one in subaccounts
        ]
    if parent_name != owner.parent:
        gone = tuple(in_address_order([replace(entry, account=new_name) for entry in own]))
        moved = told("parent", owner.parent, parent_name)
        moved["before"] |= settings_record({name: getattr(owner, name) for name in settings})
        moved["after"] |= settings_record(settings)
        changes.append(
            StoredChange(renamed, "move_account", gone, actor=actor, details=moved, origin=origin, settings=settings)
        )
        after = [] if parent is None else transaction.entries(parent)
    if display_name != owner.display_name:
        shown = told("display_name", owner.display_name, display_name)
        changes.append(StoredChange(renamed, "edit_account", actor=actor, details=shown, origin=origin))

    version = owner.version + bool(changes)
    left: dict[str, int] = {}
    if new_name != owner.name:
        left = rows.versions_left([new_name])
        version = max(version, left.get(new_name, 0) + 1)
    account = replace(
        owner.value(), name=new_name, parent=parent_name, version=version, display_name=display_name, **settings
    )
    listed = in_address_order([replace(entry, account=new_name) for entry in after] if after is own else after)
    removed = tuple(entry for change in changes for entry in change.before)
    now = account if parent_name is None else (parent or decided_by).value()
    value = ListChange(
        account=new_name,
        version=version,
        enforced=enforced(listed, now, at),
        before=removed,
        after=(),
        entries=tuple(listed),
        mode=now.mode_at(at),
    )
    outcome = ListOutcome(
        account=account,
        change=value,
        before=deciding,
        after=listed,
        account_before=decided_by.value(),
        parent=None if parent_name is None else now,
        former_name=owner.name,
    )
    outcome = _guarded(outcome, owner, new_name, parent_name, address, at)

    def store() -> None:
        from cidrgate.stores.credentials import CredentialRows

        if not changes:
            return
        rows.change(owner, name=new_name, parent=parent, display_name=display_name)
        transaction.apply(changes, at=at)
        if new_name != owner.name:
            rows.set_version(owner, version)
            CredentialRows(transaction).rename_account(owner.name, new_name)

    return EditedAccount(outcome, account, store)


def account_deletion(
    transaction: Transaction,
    name: str,
    *,
    recursive: bool,
    at: datetime,
    actor: str | None,
    expect_version: int | None,
    origin: Origin | None = None,
) -> DeletedAccount:
    """Return what the deletion of an account does.

    Args:
        transaction: A write transaction; a read transaction for a dry run.
        name: The account.
        recursive: Whether its subaccounts are deleted too.
        at: The time of the change, with a time zone.
        actor: Who makes the change.
        expect_version: The version of the account that the caller saw; None for any version.
        origin: How the actor is known, and from where the change comes.

    Raises:
        AccountNotFoundError: If there is no such account.
        AccountHasSubaccountsError: If it has subaccounts, and `recursive` is false.
        VersionConflictError: If the account's version is not the expected version.
    """
    from cidrgate.stores.account_rows import AccountRows

    if not could_name_account(name):
        raise no_such_account(name)
    rows = AccountRows(transaction)
    family = rows.family(name)
    owner = _owner(family.get(name), name, expect_version)
    subaccounts = _subaccounts(family, owner)
    if subaccounts and not recursive:
        raise _has_subaccounts(owner, subaccounts, "delete them first, or delete it with its subaccounts (recursive)")
    own = in_address_order(transaction.entries(owner)) if owner.parent is None else []
    decided_by = owner if owner.parent is None else family[owner.parent]
    deciding = own if owner.parent is None else transaction.entries(decided_by)
    changes = [
        StoredChange(one, "delete_account", actor=actor, details=_was(one), origin=origin) for one in subaccounts
    ]
    changes.append(StoredChange(owner, "delete_account", tuple(own), actor=actor, details=_was(owner), origin=origin))
    deletion = AccountDeletion(
        account=owner.value(), entries=tuple(own), subaccounts=tuple(sorted(one.name for one in subaccounts))
    )
    value = ListChange(account=name, version=owner.version + 1, enforced=False, before=tuple(own), after=(), entries=())
    gone = replace(owner.value(), version=owner.version + 1)
    outcome = ListOutcome(
        account=gone, change=value, before=deciding, after=[], account_before=decided_by.value(), deleted=True
    )
    if has_list(deciding, decided_by.value()):  # also during a pause, after which it would decide again
        consequence = f"without account {name!r} its list would not decide any more: {_AS_UNKNOWN}"
        guard = Guard.DISABLE_ENFORCEMENT
        outcome = replace(outcome, confirm=(guard,), consequences={guard: consequence})

    def store() -> None:
        from cidrgate.stores.credentials import CredentialRows

        transaction.apply(changes, at=at)
        rows.delete([one.account.id for one in changes])
        for one in changes:
            CredentialRows(transaction).forget_account(one.account.name, at)

    return DeletedAccount(outcome, deletion, store)


_AS_UNKNOWN = "its requests would get what a gate answers for unknown accounts"


def _owner(found: StoredAccount | None, name: str, expect_version: int | None) -> StoredAccount:
    if found is None:
        raise no_such_account(name)
    if expect_version not in (None, found.version):
        raise VersionConflictError(
            f"account {name!r} has version {found.version}, not {expect_version}: it was changed in the meantime; "
            "read it again, then decide",
            account=name,
            expected=expect_version,
            actual=found.version,
        )
    return found


def _subaccounts(family: dict[str, StoredAccount], owner: StoredAccount) -> list[StoredAccount]:
    return sorted((one for one in family.values() if one.parent == owner.name), key=lambda one: one.id)


def _check_parent(
    owner: StoredAccount, name: str | None, parent: StoredAccount | None, subaccounts: list[StoredAccount]
) -> None:
    """Refuse a parent that an account cannot have."""
    if name is None:
        return
    if parent is None:
        raise no_such_account(name)
    if name == owner.name:
        raise SubaccountError(f"account {name!r} cannot be its own parent", account=name)
    if parent.parent is not None:
        raise SubaccountError(
            f"account {name!r} is a subaccount of {parent.parent!r} and cannot have subaccounts; "
            f"choose {parent.parent!r} as the parent",
            account=name,
            parent=parent.parent,
        )
    if subaccounts:
        raise _has_subaccounts(owner, subaccounts, "move or delete them first: a subaccount cannot have subaccounts")


def _has_subaccounts(owner: StoredAccount, subaccounts: list[StoredAccount], way: str) -> AccountHasSubaccountsError:
    names = sorted(one.name for one in subaccounts)
    return AccountHasSubaccountsError(
        f"account {owner.name!r} has {len(names)} subaccounts ({some_of(names, _MOST_NAMED)}): {way}"
        if len(names) > 1
        else f"account {owner.name!r} has the subaccount {names[0]!r}: {way}",
        account=owner.name,
        subaccounts=names[:_MOST_SUBACCOUNTS],
    )


def _guarded(
    outcome: ListOutcome, owner: StoredAccount, name: str, parent: str | None, address: str | None, at: datetime
) -> ListOutcome:
    """Return the outcome of an edit with the guards that it meets."""
    met: list[Guard] = []
    consequences: dict[Guard, str] = {}
    if parent != owner.parent:
        met += guards_met(outcome, address, at)
        whose = f"the list of {parent!r}"
        if Guard.DISABLE_ENFORCEMENT in met:
            consequences[Guard.DISABLE_ENFORCEMENT] = (
                f"{'without a parent' if parent is None else f'with {whose}'}, account {owner.name!r} would not be "
                "enforced: every address would be allowed"
            )
        else:
            # As without modes: a list that a pause opens decides again after the pause.
            was, now = (
                replace(one, mode="enforce", mode_until=None) for one in (outcome.account_before, outcome.decider)
            )
            access = access_change(outcome.before, outcome.after, at, was=was, now=now)
            if access.begins or access.lost or access.gained:
                met.append(Guard.OTHER_LIST)
                consequences[Guard.OTHER_LIST] = (
                    f"{whose} would decide for account {owner.name!r}: {_access(access.lost, access.more_lost, 'lose')}"
                    f"{_access(access.gained, access.more_gained, 'gain')}"
                    f"{'every address outside of it would lose access' if access.begins else ''}"
                ).removesuffix("; ")
    if name != owner.name and has_list(outcome.before, outcome.account_before) and Guard.DISABLE_ENFORCEMENT not in met:
        met.insert(0, Guard.DISABLE_ENFORCEMENT)
        consequences[Guard.DISABLE_ENFORCEMENT] = (
            f"the list would not decide for the name {owner.name!r} any more: {_AS_UNKNOWN}"
        )
    return replace(outcome, confirm=tuple(met), consequences=consequences)


def _access(networks: tuple[str, ...], more: int, verb: str) -> str:
    if not networks:
        return ""
    return f"{some_of(networks, _MOST_NAMED, more)} would {verb} access; "


def _was(account: StoredAccount) -> dict[str, Any]:
    """Return what the log says of an account that is deleted, besides its list."""
    return {
        "before": {
            "name": account.name,
            "parent": account.parent,
            "display_name": account.display_name,
            "version": account.version,
            "policy": account.policy,
            **settings_record({name: getattr(account, name) for name in DEFAULT_SETTINGS}),
        },
        "after": None,
    }
