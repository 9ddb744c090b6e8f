"""What pages about accounts, of the API and of the console, ask the manager."""

from collections.abc import Sequence

from cidrgate.errors import AccountNotFoundError
from cidrgate.manager import RuleManager
from cidrgate.values import Account

__all__ = ["entries_held", "find_account"]


def find_account(manager: RuleManager, name: str) -> Account | None:
    """An account; None if there is none of that name."""
    try:
        return manager.account(name)
    except AccountNotFoundError:
        return None


def entries_held(manager: RuleManager, accounts: Sequence[Account]) -> dict[str, int]:
    """How many entries the list that counts for each account holds, by the account's name."""
    counts = manager.counts({account.parent or account.name for account in accounts}) if accounts else {}
    return {account.name: counts.get(account.parent or account.name, 0) for account in accounts}
