"""What the service answers, as values with the fields of the OpenAPI document's objects."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from cidrgate.errors import Problem
from cidrgate.serialization import EntryInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AccountInfo",
    "ChangeInfo",
    "CheckInfo",
    "DecisionInfo",
    "EntryInfo",
    "ListChange",
    "ListInfo",
    "PreviewInfo",
    "SessionInfo",
    "TokenInfo",
    "WhoAmI",
    "account_of",
    "change_of",
    "entry_of",
    "list_change_of",
    "problem_of",
    "session_of",
    "token_of",
    "value_of",
    "with_entries",
]

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """An account."""

    name: str
    parent: str | None
    entries: int
    enforced: bool
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ListInfo:
    """A whole list, in address order."""

    account: str
    list_of: str
    version: int
    enforced: bool
    editable: bool
    max_entries: int
    items: list[EntryInfo]


@dataclass(frozen=True, slots=True)
class ListChange:
    """What a change did to a list."""

    account: str
    version: int
    enforced: bool
    entries: int
    before: list[EntryInfo]
    after: list[EntryInfo]


@dataclass(frozen=True, slots=True)
class PreviewInfo:
    """What a change would do; `problems` and `caller` as the service says them, `confirm` what it must be sent with."""

    account: str
    version: int
    ok: bool
    problems: list[dict[str, Any]]
    message: str | None
    before: list[EntryInfo]
    after: list[EntryInfo]
    enforcement_begins: bool
    enforcement_ends: bool
    loses_access: list[str]
    gains_access: list[str]
    caller: dict[str, Any] | None
    confirm: list[str]
    more_problems: int = 0
    more_lose_access: int = 0
    more_gain_access: int = 0


@dataclass(frozen=True, slots=True)
class CheckInfo:
    """Whether an address may act for an account."""

    account: str
    address: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class DecisionInfo:
    """Why it may, or may not."""

    account: str
    address: str
    allowed: bool
    reason: str
    decided_by: str
    entry: EntryInfo | None
    nearest: EntryInfo | None


@dataclass(frozen=True, slots=True)
class ChangeInfo:
    """One change of a history."""

    sequence: int
    at: datetime
    actor: str | None
    account: str
    action: str
    before: list[EntryInfo]
    after: list[EntryInfo]


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token; its secret is there only in the first answer to its creation."""

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """Somebody who is signed in to the console."""

    id: str
    name: str
    scopes: list[str]
    token: int | None
    by_link: bool
    address: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """Who asks, and from where."""

    name: str
    scopes: list[str]
    address: str | None


def value_of(kind: type[_Value], record: Mapping[str, Any]) -> _Value:
    """A value of a record; what a newer service says besides is left out."""
    known = [one.name for one in fields(kind) if one.name in record]  # type: ignore[arg-type]
    return kind(
        **{name: _time(record[name]) if name.endswith("_at") or name == "at" else record[name] for name in known}
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def entry_of(record: Mapping[str, Any]) -> EntryInfo:
    """The entry of a record."""
    return value_of(EntryInfo, record)


def account_of(record: Mapping[str, Any]) -> AccountInfo:
    """The account of a record."""
    return value_of(AccountInfo, record)


def token_of(record: Mapping[str, Any]) -> TokenInfo:
    """The token of a record."""
    return value_of(TokenInfo, record)


def session_of(record: Mapping[str, Any]) -> SessionInfo:
    """The session of a record."""
    return value_of(SessionInfo, record)


def problem_of(record: Mapping[str, Any]) -> Problem:
    """The broken rule of a record."""
    return value_of(Problem, {**record, "conflicts": tuple(record["conflicts"])})


def with_entries(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose entries, before and after a change, are values."""
    return {**record, **{name: [entry_of(one) for one in record[name]] for name in ("before", "after")}}


def list_change_of(record: Mapping[str, Any]) -> ListChange:
    """The change of a list of a record."""
    return value_of(ListChange, with_entries(record))


def change_of(record: Mapping[str, Any]) -> ChangeInfo:
    """The change of a history of a record."""
    return value_of(ChangeInfo, with_entries(record))
