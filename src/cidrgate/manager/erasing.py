"""Erases personal data that is older than an age, and logs that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cidrgate.manager.queries import names_in_log

if TYPE_CHECKING:
    from datetime import timedelta

    from cidrgate.stores import Transaction
    from cidrgate.values import Origin

__all__ = ["erasure"]


def erasure(
    transaction: Transaction,
    age: timedelta,
    account: str | None,
    actor: str | None,
    origin: Origin,
    *,
    dry_run: bool,
) -> int:
    """Erase personal data older than an age, and return how many rows of the log and entries lost something.

    The number includes the observations that were deleted.

    Raises:
        AccountNotFoundError: If neither an account nor the change log has the name.
    """
    from cidrgate.stores.erasing import erase_personal_data  # it needs SQLAlchemy, which `stores` loads late

    names = None if account is None else names_in_log(transaction, account)
    now, transaction.event = datetime.now(UTC), "erase"
    before = transaction.certain_time(now) - age
    erased = erase_personal_data(transaction, before, names=names, dry_run=dry_run)
    if any(erased) and not dry_run:
        what = {"before_time": before.isoformat(), "account": account, "rows": erased.rows, "entries": erased.entries}
        what["observations"] = erased.observations or None
        details = {"after": {name: value for name, value in what.items() if value is not None}}
        transaction.record_event("erase", at=now, actor=actor, origin=origin, details=details)
    return sum(erased)
