"""The frozen values that cross layers: what a list holds, what a check decided, what a change did."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime  # noqa: TC003 - what the fields are is read at runtime too
from types import EllipsisType
from typing import Any, Literal, TypedDict, cast

__all__ = [
    "Account",
    "Action",
    "Change",
    "Decision",
    "Entry",
    "EntryDetails",
    "EntryEdit",
    "ListState",
    "NewEntry",
    "Reason",
]

Reason = Literal["matched", "not_listed", "not_enforced", "invalid_address"]
Action = Literal["create_account", "add", "edit", "remove", "replace", "restore", "expire"]


@dataclass(frozen=True, slots=True)
class Account:
    """An account, its parent when it is a subaccount, and how often its list was changed."""

    name: str
    parent: str | None
    created_at: datetime
    version: int = 0


@dataclass(frozen=True, slots=True)
class ListState:
    """What an overview says of the list that counts for an account: its own, or its parent's.

    Attributes:
        entries: How many entries it holds, without expired ones.
        enforced: Whether addresses that it does not hold are denied. So they are while it has entries at all: one of
            none but expired entries denies every address.
    """

    entries: int
    enforced: bool


class EntryDetails(TypedDict, total=False):
    """What may be said of an entry besides its network; what is left out is not said.

    Attributes:
        label: What people call it, None for no label.
        expires_at: When it ends by itself, aware; None for never.
    """

    label: str | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A network somebody asks to have listed: text as written, an optional label, and when it ends by itself.

    What it may say besides its network are details: None where it does not say.
    """

    cidr: str
    label: str | None = None
    expires_at: datetime | None = None

    @classmethod
    def of(cls, entry: Entry) -> NewEntry:
        """What somebody asks for who wants an entry as it is.

        Example:
            >>> from datetime import UTC, datetime
            >>> NewEntry.of(Entry(7, "acct-1", "8.8.8.0/24", "dns", datetime(2025, 1, 2, tzinfo=UTC), "me"))
            NewEntry(cidr='8.8.8.0/24', label='dns', expires_at=None)
        """
        return cls(**{one.name: getattr(entry, one.name) for one in fields(cls)})

    def details(self) -> EntryDetails:
        """Every detail, None too."""
        return cast("EntryDetails", {one.name: getattr(self, one.name) for one in fields(self) if one.name != "cidr"})

    def said(self) -> EntryDetails:
        """The details that are not None."""
        return cast("EntryDetails", {name: value for name, value in self.details().items() if value is not None})


@dataclass(frozen=True, slots=True)
class EntryEdit:
    """What shall be different of an entry; a field that is `...` stays as it is.

    Attributes:
        cidr: The network it shall have, as written.
        label: The label it shall have, None for no label.
        expires_at: When it shall end, None for never.
    """

    cidr: str | EllipsisType = ...
    label: str | EllipsisType | None = ...
    expires_at: datetime | EllipsisType | None = ...

    def changes(self) -> dict[str, Any]:
        """What shall be different, by the name of the field."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if not isinstance(value, EllipsisType)}

    def applied(self, entry: Entry) -> Entry:
        """The entry as it shall be.

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
        id: Stable identity of the entry in its store; an edit keeps it.
        account: The account whose list holds it.
        cidr: Canonical text, such as `8.8.8.0/24` or `2606:4700::/32`.
        label: What people called it, or None.
        created_at: When it was added; aware, UTC.
        created_by: Who added it, or None when nobody said.
        expires_at: When it ends by itself, or None.
    """

    id: int
    account: str
    cidr: str
    label: str | None
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None = None

    def expired(self, at: datetime) -> bool:
        """Whether the entry has ended by itself before or at a time.

        To show and to sweep it. What that means for its list is for `counts` and `matches` to say.
        """
        return self.expires_at is not None and self.expires_at <= at

    def counts(self, at: datetime) -> bool:
        """Whether it takes one of the places of its list at a time, and overlaps with what is added."""
        return not self.expired(at)

    def matches(self, at: datetime) -> bool:
        """Whether the addresses of its network are allowed at a time."""
        return not self.expired(at)


@dataclass(frozen=True, slots=True)
class Decision:
    """Why an address may, or may not, act for an account.

    Attributes:
        allowed: The answer; equal to what `Matcher.allows` says.
        reason: `matched`, `not_listed`, `not_enforced` or `invalid_address`.
        account: The account whose list decided: the parent for a subaccount.
        entry: The longest matching entry when `reason` is `matched`.
        nearest: The listed entry with the longest common prefix when `reason` is `not_listed`.
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
        at: When it was committed; aware, UTC.
        actor: Who made it, or None when nobody said.
        account: The account that changed.
        action: `create_account`, `add`, `edit`, `remove`, `replace`, `restore`, or `expire` where entries that had
            ended by themselves were taken off the list.
        before: The entries the change removed or altered, as they were.
        after: The entries the change added or altered, as they are now.
    """

    sequence: int
    at: datetime
    actor: str | None
    account: str
    action: Action
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]
