"""The settings of accounts in exports and backups: checked as where people set them, compared, and logged."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from cidrgate.manager.modes import DEFAULT_SETTINGS, mode_setting, settings_record
from cidrgate.manager.policies import checked_options
from cidrgate.rules.account_names import could_name_account
from cidrgate.rules.characters import checked_text
from cidrgate.values import Account

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cidrgate.stores import StoredAccount
    from cidrgate.stores.copies import AccountCopy

__all__ = ["account_of_copy", "check_settings", "settings_details"]

_NEW: Mapping[str, Any] = {**DEFAULT_SETTINGS, "display_name": None, "policy": None}
"""Every setting, with its value in a new account."""


def check_settings(values: Mapping[str, Any], parent: str | None) -> None:
    """Refuse settings that no account can have: a file may have been written by another program.

    Args:
        values: The columns of the account, by name.
        parent: The name of its parent, or None.

    Raises:
        ValueError: If the account has a name, a parent or a setting that none can have.
    """
    name = values["name"]
    for one in (name, parent):
        if one is not None and not could_name_account(one):
            raise ValueError(f"{one[:40]!r} cannot be the name of an account")
    if values["version"] < 0:
        raise ValueError("the version is negative")
    try:
        mode_setting(values["mode"], values["mode_until"], values["mode_reason"], values["closed"])
        for field in ("display_name", "mode_reason"):
            if checked_text(values[field], field) != values[field]:
                raise ValueError(f"the {field} is empty: leave it out")
        if values["policy"] is not None:
            checked_options(values["policy"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"account {name!r}: {error}") from None
    if parent is not None and any(values[field] != value for field, value in DEFAULT_SETTINGS.items()):
        raise ValueError(f"the subaccount {name!r} follows its parent, but has a mode of its own or is closed")


def account_of_copy(copy: AccountCopy) -> Account:
    """Return the account that a copy describes."""
    said = {one.name: copy.values[one.name] for one in fields(Account) if one.name != "parent"}
    return Account(parent=copy.parent, **said)


def settings_details(copy: AccountCopy, owner: StoredAccount | None) -> dict[str, Any] | None:
    """Return the details of a change that gives an account the settings of a copy; None if they stay.

    Args:
        copy: The copy.
        owner: The account before the change; None for a new one.
    """
    before = {name: value if owner is None else getattr(owner, name) for name, value in _NEW.items()}
    differing = [name for name in _NEW if before[name] != copy.values[name]]
    if not differing:
        return None
    return {
        "before": settings_record({name: before[name] for name in differing}),
        "after": settings_record({name: copy.values[name] for name in differing}),
    }
