"""The frozen values that all layers share: accounts, entries, decisions and changes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import EllipsisType
from typing import Any, Literal, TypeAlias, TypedDict, cast

__all__ = [
    "Account",
    "Action",
    "Address",
    "Change",
    "Decision",
    "Duration",
    "Entry",
    "EntryDetails",
    "EntryEdit",
    "EntryRef",
    "ListState",
    "NewEntry",
    "Prefix",
    "Reason",
    "seconds",
]

Address: TypeAlias = str | bytes | IPv4Address | IPv6Address
"""An address: text, packed bytes (4 or 16), or an `ipaddress` object."""

Prefix: TypeAlias = str | IPv4Network | IPv6Network
"""A network: text such as `8.8.8.0/24`, or an `ipaddress` object."""

Duration: TypeAlias = float | timedelta
"""A duration: a number of seconds, or a `timedelta`. `seconds` checks it."""

Reason: TypeAlias = Literal["matched", "not_listed", "not_enforced", "invalid_address"]
"""Why an address is allowed or denied. Later versions may add values."""

Action: TypeAlias = Literal["create_account", "add", "edit", "remove", "replace", "restore", "expire"]
"""What a change did. Later versions may add values."""


def seconds(value: Duration, name: str, *, above_zero: bool = False) -> float:
    """Return a duration in seconds. Every setting and argument that is a duration is checked here.

    Args:
        value: A number of seconds, or a `timedelta`.
        name: The name of the setting or argument, for the message.
        above_zero: Whether zero is refused too.

    Raises:
        TypeError: If the value is neither a number nor a `timedelta`. Text, True and False are not numbers.
        ValueError: If it is negative, infinite or not a number, or is zero with `above_zero`.

    Example:
        >>> seconds(timedelta(minutes=5), "log_every"), seconds(0.5, "log_every")
        (300.0, 0.5)
        >>> seconds("5m", "log_every")
        Traceback (most recent call last):
        ...
        TypeError: log_every must be a number of seconds or a timedelta, not '5m'
        >>> seconds(-1, "log_every")
        Traceback (most recent call last):
        ...
        ValueError: log_every must be a number of seconds from 0 on, not -1
    """
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = _float(value)
    else:
        raise TypeError(f"{name} must be a number of seconds or a timedelta, not {value!r}")
    if not (0 < found < math.inf or (found == 0 and not above_zero)):
        wanted = "above 0" if above_zero else "from 0 on"
        raise ValueError(f"{name} must be a number of seconds {wanted}, not {value}")
    return found


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


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


class EntryDetails(TypedDict, total=False):
    """The optional details of an entry besides its network; a detail that is left out is not set.

    Attributes:
        label: The label, or None for no label.
        expires_at: When the entry expires, with a time zone; None for never.
    """

    label: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A submitted entry: the CIDR as it was written, and optional details, such as a label and an expiry.

    A detail is None if the submission does not set it.
    """

    cidr: str
    label: str | None = None
    expires_at: datetime | None = None

    @classmethod
    def of(cls, entry: Entry) -> NewEntry:
        """Return the submission that asks for an entry as it is.

        Example:
            >>> from datetime import UTC, datetime
            >>> NewEntry.of(Entry(7, "acct-1", "8.8.8.0/24", "dns", datetime(2025, 1, 2, tzinfo=UTC), "me"))
            NewEntry(cidr='8.8.8.0/24', label='dns', expires_at=None)
        """
        return cls(**{one.name: getattr(entry, one.name) for one in fields(cls)})

    def details(self) -> EntryDetails:
        """Return every detail, including those that are None."""
        return cast("EntryDetails", {one.name: getattr(self, one.name) for one in fields(self) if one.name != "cidr"})

    def said(self) -> EntryDetails:
        """Return the details that are not None."""
        return cast("EntryDetails", {name: value for name, value in self.details().items() if value is not None})


@dataclass(frozen=True, slots=True)
class EntryEdit:
    """An edit of an entry. A field that is `...` does not change.

    Attributes:
        cidr: The new network, as written.
        label: The new label, or None for no label.
        expires_at: The new expiry, or None for never.
    """

    cidr: str | EllipsisType = ...
    label: str | EllipsisType | None = ...
    expires_at: datetime | EllipsisType | None = ...

    def changes(self) -> dict[str, Any]:
        """Return the new values, by field name, without the fields that do not change."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if not isinstance(value, EllipsisType)}

    def applied(self, entry: Entry) -> Entry:
        """Return the entry after the edit.

        Example:
            >>> from datetime import UTC, datetime
            >>> entry = Entry(7, "acct-1", "8.8.8.0/24", "dns", datetime(2025, 1, 2, tzinfo=UTC), "me")
            >>> EntryEdit(label=None).applied(entry).label, EntryEdit(label=None).applied(entry).cidr
            (None, '8.8.8.0/24')
        """
        return replace(entry, **self.changes())


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
        """Return whether the entry has expired at a time.

        Use it to show and to sweep entries; `counts` and `matches` say what that means for the list.
        """
        return self.expires_at is not None and self.expires_at <= at

    def counts(self, at: datetime) -> bool:
        """Return whether, at a time, the entry counts toward its list's limit and conflicts with new entries."""
        return not self.expired(at)

    def matches(self, at: datetime) -> bool:
        """Return whether the entry allows the addresses of its network at a time."""
        return not self.expired(at)


EntryRef: TypeAlias = int | Prefix | Entry
"""What names an entry of a list: its id, its network, or the entry itself."""


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
