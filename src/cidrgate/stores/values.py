"""The frozen values that a store takes and returns, without SQL."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from cidrgate.values import Account

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cidrgate.values import Action, Entry, Mode, NewEntry, Origin

__all__ = ["LogHolder", "NewList", "StoredAccount", "StoredChange", "StoredList"]

_NO_KEY = -1


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account with its key in the store, what it overrides of the policy, and the policy of the store."""

    id: int
    name: str
    parent: str | None
    created_at: datetime
    version: int
    display_name: str | None = None
    mode: Mode = "enforce"
    mode_until: datetime | None = None
    mode_reason: str | None = None
    closed: bool = False
    policy: dict[str, Any] | None = None
    store_policy: dict[str, Any] | None = None

    @classmethod
    def to_create(cls, name: str, at: datetime, store_policy: dict[str, Any] | None = None) -> StoredAccount:
        """Return an account that does not exist, as a change that would create it finds it."""
        return cls(_NO_KEY, name, None, at, 0, store_policy=store_policy)

    @property
    def exists(self) -> bool:
        """Whether the store has the account."""
        return self.id != _NO_KEY

    def value(self) -> Account:
        """Return the account without its key."""
        return Account(**{one.name: getattr(self, one.name) for one in fields(Account)})


class StoredList(NamedTuple):
    """The data of one account that a matcher needs.

    Attributes:
        account: The name of the account.
        parent: The account whose list it inherits, or None.
        cidrs: The CIDRs of its own entries that match, or matched until they expired.
        expiring: The expiry times of those entries that have one, by CIDR.
        enforced: Whether addresses that match no entry are denied in the mode `enforce`. This is the result of
            `cidrgate.rules.decisions.has_list` for the whole list, even if no entry of it matches.
        mode: The mode that somebody set.
        mode_until: When the mode expires; None for never.
    """

    account: str
    parent: str | None
    cidrs: list[str]
    expiring: dict[str, datetime]
    enforced: bool
    mode: Mode = "enforce"
    mode_until: datetime | None = None


class LogHolder(NamedTuple):
    """A session whose transaction has written to the change log and holds later rows back.

    Attributes:
        session: What messages call the session.
        seconds: How long its transaction has lasted; None if the database does not show it.
    """

    session: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class StoredChange:
    """One change of one account, exactly as it is stored and logged.

    The id identifies an entry. An entry only in `before` is removed, one only in `after` is inserted, and one in both
    is edited. `details` is what changed besides entries, as a JSON object with `before` and `after`, and `settings` are
    the columns of the account that change with their new values.
    """

    account: StoredAccount
    action: Action
    before: tuple[Entry, ...] = ()
    after: tuple[Entry, ...] = ()
    actor: str | None = None
    details: dict[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
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
