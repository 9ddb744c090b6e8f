"""Which store a person means by a path or a URL, and whether it is there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cidrgate.errors import StoreError
from cidrgate.manager import RuleManager

if TYPE_CHECKING:
    from cidrgate.rules import Policy

__all__ = ["DEFAULT_DATABASE", "database_url", "open_database"]

DEFAULT_DATABASE = "sqlite:///cidrgate.db"

_SQLITE = "sqlite:///"


def database_url(text: str) -> str:
    """The URL of a store; a bare path means an SQLite file.

    Args:
        text: A URL, or the path of a file.

    Example:
        >>> database_url("lists/allow.db"), database_url("/srv/allow.db"), database_url("memory://")
        ('sqlite:///lists/allow.db', 'sqlite:////srv/allow.db', 'memory://')
    """
    return text if "://" in text else _SQLITE + text


def open_database(url: str, policy: Policy, *, create: bool, lock_timeout: float | None = None) -> RuleManager:
    """Connect to a store; its matcher is not loaded.

    Args:
        url: By `database_url`.
        policy: What a list may hold.
        create: Whether a file, or the tables of a database, that do not exist are created.
        lock_timeout: Seconds to wait for locks of others; None for the default.

    Raises:
        StoreError: If the store cannot be opened, or does not exist and shall not be created.
    """
    if not create and url.startswith(_SQLITE):
        path = Path(url.removeprefix(_SQLITE))
        if not path.exists():
            raise StoreError(
                f"there is no database {path}: create it with `cidrgate account create NAME`, "
                "or name another with --database or CIDRGATE_DATABASE"
            )
    return RuleManager.connect(url, policy, create=create, lock_timeout=lock_timeout)
