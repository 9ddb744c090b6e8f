"""The frozen values that all layers share: accounts, entries, decisions and changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Account", "Action", "Change", "Decision", "Entry", "ListState", "NewEntry", "Reason"]

Reason = Literal["matched", "not_listed", "not_enforced", "invalid_address"]
Action = Literal["create_account", "add", "edit", "remove", "replace", "restore", "expire"]


@dataclass(frozen=True, slots=True)
class Account:
    """An account, its parent if it is a subaccount, and the number of changes to its list."""

    name: str
    parent: str | None
    created_at: datetime
    version: int = 0


@dataclass(frozen=True, slots=True)
class ListState:
    """The summary of an account's effective list: its own list, or its parent's for a subaccount.

    Attributes:
        entries: How many entries the list contains, without expired entries.
        enforced: Whether addresses that are not on the list are denied. This is the case while the list has any entry,
            expired or not: a list with only expired entries denies every address.
    """

    entries: int
    enforced: bool


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A submitted entry: the CIDR as it was written, an optional label and an optional expiry."""

    cidr: str
    label: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an account's list.

    Attributes:
        id: Stable id of the entry in its store; an edit keeps it.
        account: The account whose list contains the entry.
        cidr: Canonical text, such as `8.8.8.0/24` or `2606:4700::/32`.
        label: The label that a person gave it, or None.
        created_at: When the entry was added; a time in UTC with a time zone.
        created_by: The actor who added it, or None if no actor was named.
        expires_at: When the entry expires, or None if it does not.
    """

    id: int
    account: str
    cidr: str
    label: str | None
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None = None

    def expired(self, at: datetime) -> bool:
        """Return whether the entry has expired at a time; an expired entry matches nothing and is not counted."""
        return self.expires_at is not None and self.expires_at <= at


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an address may act for an account, and why.

    Attributes:
        allowed: Whether the address is allowed; equal to the result of `Matcher.allows`.
        reason: `matched`, `not_listed`, `not_enforced` or `invalid_address`.
        account: The account whose list decided: the parent for a subaccount.
        entry: The longest matching entry if `reason` is `matched`.
        nearest: The listed entry with the longest common prefix if `reason` is `not_listed`.
    """

    allowed: bool
    reason: Reason
    account: str
    entry: Entry | None = None
    nearest: Entry | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the append-only change log.

    Attributes:
        sequence: Position in the log; grows with every change of an account.
        at: When the change was committed; a time in UTC with a time zone.
        actor: The actor who made the change, or None if no actor was named.
        account: The account that changed.
        action: `create_account`, `add`, `edit`, `remove`, `replace`, `restore`, or `expire` if the change removed
            expired entries from the list.
        before: The entries that the change removed or edited, as they were before.
        after: The entries that the change added or edited, as they are after.
    """

    sequence: int
    at: datetime
    actor: str | None
    account: str
    action: Action
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]
