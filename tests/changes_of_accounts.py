"""The rows of the change log that change accounts, without events of the store such as sign-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cidrgate import Change, RuleManager

__all__ = ["changes_of_accounts"]


def changes_of_accounts(manager: RuleManager) -> list[Change]:
    """The rows, the newest first."""
    return [change for change in manager.history() if change.account is not None]
