"""What goes into a store and comes out of it: frozen values, without SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cidrgate.values import Account

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cidrgate.values import Action, Entry, NewEntry

__all__ = ["ListChange", "NewList", "StoredAccount", "StoredList"]


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account with its key in the store."""

    id: int
    name: str
    parent: str | None
    created_at: datetime
    version: int

    def value(self) -> Account:
        """The account without its key."""
        return Account(self.name, self.parent, self.created_at, self.version)


class StoredList(NamedTuple):
    """What a matcher needs of one account.

    Attributes:
        account: Its name.
        parent: The account whose list it inherits, or None.
        cidrs: The entries of its own list that match, or would if they had not expired.
        expiring: When those of them end that do so by themselves.
        enforced: Whether addresses that match none of them are denied: as `cidrgate.rules.decisions.enforced` says of
            the whole list, whatever of it matches.
    """

    account: str
    parent: str | None
    cidrs: list[str]
    expiring: dict[str, datetime]
    enforced: bool


@dataclass(frozen=True, slots=True)
class ListChange:
    """One change of one account: exactly what is stored, and exactly what is logged.

    Entries are told apart by id. An id only in `before` is removed, one only in `after` is inserted, one in
    both is altered.
    """

    account: StoredAccount
    action: Action
    before: tuple[Entry, ...] = ()
    after: tuple[Entry, ...] = ()
    actor: str | None = None


class NewList(NamedTuple):
    """The first entries of an account that has none.

    Attributes:
        account_id: Its key in the store.
        account: Its name.
        pieces: What was asked for; labels and ends are taken from here.
        cidrs: The canonical CIDR of each piece, as validated.
        counted: Whether the account's version counts this change already.
    """

    account_id: int
    account: str
    pieces: Sequence[NewEntry]
    cidrs: Sequence[str]
    counted: bool = False
