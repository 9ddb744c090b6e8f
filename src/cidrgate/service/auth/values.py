"""Scopes, tokens and console sessions as frozen values, without their secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from cidrgate.errors import InvalidScopeError
from cidrgate.rules.account_names import could_name_account

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["LINK_LIFETIME", "NewLink", "NewToken", "Scope", "Session", "Token", "link_url"]

LINK_LIFETIME = timedelta(hours=1)
"""How long a one-time link to the console is valid, unless its creator says otherwise."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One permission of a token.

    Attributes:
        kind: `admin` for everything, `metrics` for only the metrics, `account` for one account.
        account: The account, or None.
        write: Whether the account's list may be changed and not only read.

    Example:
        >>> Scope.parse("account:acct-1:read")
        Scope(kind='account', account='acct-1', write=False)
        >>> str(Scope.parse("admin")), str(Scope.parse("account:a:b:write"))
        ('admin', 'account:a:b:write')
        >>> Scope.parse("account:acct-1")
        Traceback (most recent call last):
        ...
        cidrgate.errors.InvalidScopeError: 'account:acct-1' is not a scope: write admin, metrics, account:NAME:read ...
    """

    kind: str
    account: str | None = None
    write: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a scope.

        Raises:
            InvalidScopeError: If the text is not a scope.
        """
        if text in ("admin", "metrics"):
            return cls(text)
        kind, _, rest = text.partition(":")
        account, _, mode = rest.rpartition(":")
        if kind != "account" or mode not in ("read", "write"):
            raise InvalidScopeError(
                f"{text!r} is not a scope: write admin, metrics, account:NAME:read or account:NAME:write",
                scope=text,
            )
        if not could_name_account(account):
            raise InvalidScopeError(f"{text!r} is not a scope: no account can have this name", scope=text)
        return cls(kind, account, mode == "write")

    def __str__(self) -> str:
        """Return the scope as text."""
        return self.kind if self.account is None else f"account:{self.account}:{'write' if self.write else 'read'}"


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, without its secret.

    Attributes:
        id: The stable id.
        name: The name that people gave it; the actor of its changes in the change log.
        scopes: What the token permits.
        created_at: When it was made; a time in UTC with a time zone.
        created_by: The actor who made it, or None if no actor was named.
        expires_at: When it expires, or None if it does not.
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
        """Return whether the token is neither revoked nor expired at a time."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new token with its secret. The secret cannot be shown again later."""

    token: Token
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLink:
    """A new one-time link with its secret. The secret cannot be shown again later.

    Attributes:
        id: The public id, which its session and the change log name; it reveals nothing about the secret.
        name: The name of the person who gets it: the actor of the session in the change log.
        scopes: What the session permits.
        created_by: The actor who made it, or None if that is unknown.
        expires_at: Until when it can be opened.
        secret: The last part of its URL.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_by: str | None
    expires_at: datetime
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """The session of a person who is logged in to the console.

    Attributes:
        name: The actor in the change log.
        scopes: What the session permits.
        token_id: The token that started the session, or that made its one-time link. None if the link was made without
            a token. The session ends with its token.
        expires_at: When it expires.
        id: The public id; it reveals nothing about the secret.
        created_at: When it started.
        link_id: The one-time link that started it, or None.
        address: The client address that started it, or None if it is unknown.
    """

    name: str
    scopes: tuple[Scope, ...]
    token_id: int | None
    expires_at: datetime
    id: str
    created_at: datetime
    link_id: str | None
    address: str | None

    @property
    def by_link(self) -> bool:
        """Whether a one-time link started it."""
        return self.link_id is not None


def link_url(url: str, secret: str) -> str:
    """Return the URL to open for a one-time link, below that of the service.

    Example:
        >>> link_url("https://lists.example.com", "kept-secret")
        'https://lists.example.com/console/link/kept-secret'
    """
    return f"{url}/console/link/{secret}"
