"""The guard against locking oneself out: a change that denies the address it comes from must be confirmed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cidrgate.previews import shuts_out
from cidrgate.service.problems import WouldLockOutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.list_changes import ListOutcome
    from cidrgate.manager import RuleManager
    from cidrgate.stores import Transaction
    from cidrgate.values import Account

__all__ = ["guarded"]


def guarded(
    manager: RuleManager,
    address: str | None,
    *,
    confirmed: bool,
    keep: Callable[[Transaction, ListOutcome | Account], object] | None = None,
) -> RuleManager:
    """A manager for one person's changes.

    Judged is the list the change really meets, in its transaction: nobody can change it in between.

    Args:
        manager: What makes the changes.
        address: Where the person is; None if that cannot be told, which then cannot be judged.
        confirmed: Whether they know what they do.
        keep: As for `RuleManager.supervised`.

    Returns:
        A manager whose changes raise `WouldLockOutError` where they would deny an address that is allowed.
    """

    def judge(made: ListOutcome) -> None:
        if address is not None and not confirmed and shuts_out(made, address, datetime.now(UTC)) is not None:
            raise WouldLockOutError(made.account.name, address)

    return manager.supervised(judge=judge, keep=keep)
