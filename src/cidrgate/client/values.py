"""The responses of the service, as values with the fields of the OpenAPI document's objects."""

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
    """The effect of a change on a list."""

    account: str
    version: int
    enforced: bool
    entries: int
    before: list[EntryInfo]
    after: list[EntryInfo]


@dataclass(frozen=True, slots=True)
class PreviewInfo:
    """The effect that a change would have; `problems` and `caller` are JSON objects, `confirm` is needed to make it."""

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
    """Why an address may act for an account, or why not."""

    account: str
    address: str
    allowed: bool
    reason: str
    decided_by: str
    entry: EntryInfo | None
    nearest: EntryInfo | None


@dataclass(frozen=True, slots=True)
class ChangeInfo:
    """One change of a list, from its history."""

    sequence: int
    at: datetime
    actor: str | None
    account: str
    action: str
    before: list[EntryInfo]
    after: list[EntryInfo]


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A token; only the first response to its creation contains the secret."""

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
    """A session of the console."""

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
    """The name, the scopes and the address of the caller."""

    name: str
    scopes: list[str]
    address: str | None


def value_of(kind: type[_Value], record: Mapping[str, Any]) -> _Value:
    """Return a record as a value; fields that only a newer service knows are dropped."""
    known = [one.name for one in fields(kind) if one.name in record]  # type: ignore[arg-type]
    return kind(
        **{name: _time(record[name]) if name.endswith("_at") or name == "at" else record[name] for name in known}
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def entry_of(record: Mapping[str, Any]) -> EntryInfo:
    """Return a record as an entry."""
    return value_of(EntryInfo, record)


def account_of(record: Mapping[str, Any]) -> AccountInfo:
    """Return a record as an account."""
    return value_of(AccountInfo, record)


def token_of(record: Mapping[str, Any]) -> TokenInfo:
    """Return a record as a token."""
    return value_of(TokenInfo, record)


def session_of(record: Mapping[str, Any]) -> SessionInfo:
    """Return a record as a session."""
    return value_of(SessionInfo, record)


def problem_of(record: Mapping[str, Any]) -> Problem:
    """Return a record as a problem."""
    return value_of(Problem, {**record, "conflicts": tuple(record["conflicts"])})


def with_entries(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its entries before and after the change as values."""
    return {**record, **{name: [entry_of(one) for one in record[name]] for name in ("before", "after")}}


def list_change_of(record: Mapping[str, Any]) -> ListChange:
    """Return a record as the change of a list."""
    return value_of(ListChange, with_entries(record))


def change_of(record: Mapping[str, Any]) -> ChangeInfo:
    """Return a record as a change of the history."""
    return value_of(ChangeInfo, with_entries(record))
