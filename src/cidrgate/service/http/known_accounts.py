"""Looks up accounts for the API and the console."""

from cidrgate.errors import AccountNotFoundError
from cidrgate.manager import RuleManager
from cidrgate.values import Account

__all__ = ["find_account"]


def find_account(manager: RuleManager, name: str) -> Account | None:
    """Return an account; None if no account has this name."""
    try:
        return manager.account(name)
    except AccountNotFoundError:
        return None
