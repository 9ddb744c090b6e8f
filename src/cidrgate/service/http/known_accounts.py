"""What pages about accounts, of the API and of the console, ask the manager."""

from cidrgate.errors import AccountNotFoundError
from cidrgate.manager import RuleManager
from cidrgate.values import Account

__all__ = ["find_account"]


def find_account(manager: RuleManager, name: str) -> Account | None:
    """An account; None if there is none of that name."""
    try:
        return manager.account(name)
    except AccountNotFoundError:
        return None
