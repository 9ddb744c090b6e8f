"""The frozen values that a store takes and returns, without SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cidrgate.values import Account

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any

    from cidrgate.values import Action, Entry, NewEntry, Origin

__all__ = ["StoredChange", "NewList", "StoredAccount", "StoredList"]


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account with its key in the store, what it overrides of the policy, and the policy of the store."""

    id: int
    name: str
    parent: str | None
    created_at: datetime
    version: int
    display_name: str | None = None
    policy: dict[str, Any] | None = None
    store_policy: dict[str, Any] | None = None

    def value(self) -> Account:
        """Return the account without its key."""
        return Account(
            name=self.name,
            parent=self.parent,
            created_at=self.created_at,
            version=self.version,
            display_name=self.display_name,
        )


class StoredList(NamedTuple):
    """The data of one account that a matcher needs.

    Attributes:
        account: The name of the account.
        parent: The account whose list it inherits, or None.
        cidrs: The CIDRs of its own entries that match, or matched until they expired.
        expiring: The expiry times of those entries that have one, by CIDR.
        enforced: Whether addresses that match no entry are denied. This is the result of
            `cidrgate.rules.decisions.enforced` for the whole list, even if no entry of it matches.
    """

    account: str
    parent: str | None
    cidrs: list[str]
    expiring: dict[str, datetime]
    enforced: bool


@dataclass(frozen=True, slots=True)
class StoredChange:
    """One change of one account, exactly as it is stored and logged.

    The id identifies an entry. An entry only in `before` is removed, one only in `after` is inserted, and one in both
    is edited. `details` is what changed besides entries, as a JSON object with `before` and `after`.
    """

    account: StoredAccount
    action: Action
    before: tuple[Entry, ...] = ()
    after: tuple[Entry, ...] = ()
    actor: str | None = None
    details: dict[str, Any] | None = None
    origin: Origin | None = None


class NewList(NamedTuple):
    """The first entries of an account without entries.

    Attributes:
        account_id: The key of the account in the store.
        account: The name of the account.
        pieces: The submitted entries, with their details.
        cidrs: The validated, canonical CIDR of each submitted entry.
        counted: Whether the account's version already includes this change.
    """

    account_id: int
    account: str
    pieces: Sequence[NewEntry]
    cidrs: Sequence[str]
    counted: bool = False
