"""What other people and programs changed while a person had a form open."""

from dataclasses import dataclass

from cidrgate.manager import RuleManager
from cidrgate.manager.accounts import existing_account
from cidrgate.manager.queries import changes_of_present_account
from cidrgate.values import Change

__all__ = ["Conflict", "conflict_since"]

_MOST_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Conflict:
    """The changes of an account that a form does not know yet. A form that shows them may take the new version.

    Attributes:
        version: The version of the account after them.
        changes: The newest of them, the newest first; empty if the change log does not have them any more.
        more: Whether there are more.
    """

    version: int
    changes: list[Change]
    more: bool


def conflict_since(manager: RuleManager, account: str, version: int) -> Conflict | None:
    """Return what has changed an account since a version; None if it has this version.

    Args:
        manager: Reads the account.
        account: The account.
        version: The version that a form shows.

    Raises:
        AccountNotFoundError: If there is no such account.
        StoreError: If the store cannot be read.
    """
    with manager._store.read() as transaction:
        now = existing_account(transaction, account).version
        if now == version:
            return None
        newest = changes_of_present_account(transaction, account, limit=_MOST_SHOWN + 1)[::-1]
    found = _last_steps(newest, max(1, now - version))
    return Conflict(now, found[:_MOST_SHOWN], len(found) > _MOST_SHOWN)


def _last_steps(newest: list[Change], steps: int) -> list[Change]:
    """Return the rows of the log that belong to the last steps of a version: one or more rows of the same time each."""
    times: list[object] = []
    found = []
    for change in newest:
        if not times or change.at != times[-1]:
            times.append(change.at)
        if len(times) > steps:
            break
        found.append(change)
    return found
