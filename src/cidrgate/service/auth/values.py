"""Scopes, tokens and console sessions as frozen values, without their secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from cidrgate.errors import InvalidScopeError
from cidrgate.rules.account_names import could_name_account

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["NewToken", "Scope", "Session", "Token"]


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing a token is good for.

    Attributes:
        kind: `admin` for everything, `metrics` for the measurements alone, `account` for one account.
        account: Which one.
        write: Whether the account's list may be changed, not only looked at.

    Example:
        >>> Scope.parse("account:acct-1:read")
        Scope(kind='account', account='acct-1', write=False)
        >>> str(Scope.parse("admin")), str(Scope.parse("account:a:b:write"))
        ('admin', 'account:a:b:write')
        >>> Scope.parse("account:acct-1")
        Traceback (most recent call last):
        ...
        cidrgate.errors.InvalidScopeError: 'account:acct-1' is no scope: write admin, metrics, account:NAME:read or ...
    """

    kind: str
    account: str | None = None
    write: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """The scope a text means.

        Raises:
            InvalidScopeError: If it means none.
        """
        if text in ("admin", "metrics"):
            return cls(text)
        kind, _, rest = text.partition(":")
        account, _, mode = rest.rpartition(":")
        if kind != "account" or mode not in ("read", "write"):
            raise InvalidScopeError(
                f"{text!r} is no scope: write admin, metrics, account:NAME:read or account:NAME:write"
            )
        if not could_name_account(account):
            raise InvalidScopeError(f"{text!r} is no scope: no account has such a name")
        return cls(kind, account, mode == "write")

    def __str__(self) -> str:
        """As it is written."""
        return self.kind if self.account is None else f"account:{self.account}:{'write' if self.write else 'read'}"


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, without its secret.

    Attributes:
        id: Stable identity.
        name: What people call it; it stands in the change log for who made a change.
        scopes: What it is good for.
        created_at: When it was made; aware, UTC.
        created_by: Who made it, or None when nobody said.
        expires_at: When it ends by itself, or None.
        revoked_at: When it was revoked, or None.
    """

    id: int
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None

    def usable(self, at: datetime) -> bool:
        """Whether it is neither revoked nor over at a time."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made, with what its owner shall send; nobody can find that out again."""

    token: Token
    secret: str


@dataclass(frozen=True, slots=True)
class Session:
    """What a person signed in to the console may do.

    Attributes:
        name: Who it is, for the change log.
        scopes: What the session is good for.
        token_id: The token it was begun with, or under which its one-time link was made; None for a link that was
            made under none. The session ends with its token.
        expires_at: When it ends.
        id: What people call it by; it says nothing of its secret.
        created_at: When it began.
        by_link: Whether it was begun with a one-time link.
        address: Where it was begun, or None if that is not known.
    """

    name: str
    scopes: tuple[Scope, ...]
    token_id: int | None
    expires_at: datetime
    id: str
    created_at: datetime
    by_link: bool
    address: str | None
