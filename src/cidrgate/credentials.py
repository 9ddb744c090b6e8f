"""Who may use the management service: bearer tokens, console sessions, one-time links, and what they are good for.

Secrets have 256 bits, so their SHA-256 is what is stored: there is nothing to guess that a slow hash would protect.
Each is shown once, when it is made. Nothing here knows HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from cidrgate.accounts import could_name_account
from cidrgate.characters import check_text, unseen_character
from cidrgate.errors import InvalidExpiryError, InvalidScopeError, TokenNotFoundError
from cidrgate.stores.credentials import CredentialRows, SessionRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from cidrgate.stores import Store, Transaction
    from cidrgate.stores.credentials import TokenRow

__all__ = ["Credentials", "NewToken", "Scope", "Session", "Token"]

_SECRET_BYTES = 32
_TOKEN = re.compile(r"cidrgate_([1-9][0-9]{0,17})_([A-Za-z0-9_-]{43})")
"""The id finds the row; only the rest is secret, and it is compared in constant time."""

_MOST_NAME = 255


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
        token_id: The token it was begun with; None if it was a one-time link.
        expires_at: When it ends.
    """

    name: str
    scopes: tuple[Scope, ...]
    token_id: int | None
    expires_at: datetime


class Credentials:
    """Tokens, sessions and links of a store. Safe to share between threads.

    Args:
        store: Where they are kept.

    Example:
        >>> from cidrgate.stores import open_store
        >>> credentials = Credentials(open_store("memory://"))
        >>> made = credentials.create_token("billing", [Scope.parse("account:acct-1:write")], actor="me")
        >>> credentials.authenticate(made.secret) == made.token
        True
        >>> revoked = credentials.revoke_token(made.token.id)
        >>> credentials.authenticate(made.secret) is None
        True
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    # -------------------------------------------------------------------------------------------------- tokens

    def create_token(
        self,
        name: str,
        scopes: Iterable[Scope],
        *,
        expires_at: datetime | None = None,
        actor: str | None = None,
    ) -> NewToken:
        """Make a token.

        Args:
            name: What people call it.
            scopes: What it is good for; at least one.
            expires_at: When it ends by itself; aware. None for never.
            actor: Who makes it.

        Raises:
            InvalidScopeError: If there is no scope, or the name cannot be used.
            InvalidTextError: If the actor holds a character that people cannot see.
            InvalidExpiryError: If it would end at a time that is over, or that names no zone.
            StoreError: If it cannot be stored.
        """
        with self._store.write() as transaction:
            return self.create_token_in(transaction, name, scopes, expires_at=expires_at, actor=actor)

    def create_token_in(
        self,
        transaction: Transaction,
        name: str,
        scopes: Iterable[Scope],
        *,
        expires_at: datetime | None = None,
        actor: str | None = None,
    ) -> NewToken:
        """Make a token in a transaction that does more than that; see `create_token`."""
        wanted = tuple(dict.fromkeys(scopes))
        now = datetime.now(UTC)
        if not wanted:
            raise InvalidScopeError("a token is good for something: name at least one scope")
        _check_name(name)
        check_text(actor, "an actor")
        if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now):
            raise InvalidExpiryError(f"expires_at {expires_at.isoformat()} is over, or names no time zone")
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        row = CredentialRows(transaction).insert_token(
            name, _hash(secret), [str(scope) for scope in wanted], at=now, by=actor, expires_at=expires_at
        )
        return NewToken(_token(row), f"cidrgate_{row.id}_{secret}")

    def authenticate(self, secret: str) -> Token | None:
        """The token whose secret this is; None if it is nobody's, revoked or over.

        Raises:
            StoreError: If the store cannot be read.
        """
        parts = _TOKEN.fullmatch(secret)
        if parts is None:
            return None
        with self._store.glance() as transaction:
            row = CredentialRows(transaction).token(int(parts[1]))
        # Compared in any case, so that time does not tell which ids there are.
        same = hmac.compare_digest(_hash(parts[2]), _hash("") if row is None else row.secret_hash)
        if row is None or not same:
            return None
        token = _token(row)
        return token if token.usable(datetime.now(UTC)) else None

    def tokens(self, *, after: int = 0, limit: int | None = None) -> list[Token]:
        """Tokens by id, those that are revoked or over too.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.read() as transaction:
            return [_token(row) for row in CredentialRows(transaction).tokens(after=after, limit=limit)]

    def revoke_token(self, token_id: int) -> Token:
        """Make a token useless, from the next request on, and end the sessions begun with it.

        Raises:
            TokenNotFoundError: If there is none of that id.
            StoreError: If it cannot be stored.
        """
        with self._store.write() as transaction:
            rows = CredentialRows(transaction)
            if rows.token(token_id) is None:
                raise TokenNotFoundError(f"there is no token {token_id}")
            rows.revoke_token(token_id, datetime.now(UTC))
            row = rows.token(token_id)
        if row is None:
            raise AssertionError("a token is never deleted")
        return _token(row)

    def any_usable(self) -> bool:
        """Whether there is a token that can be used; where not, somebody needs a link to begin with.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.read() as transaction:
            return CredentialRows(transaction).usable_token_exists(datetime.now(UTC))

    # --------------------------------------------------------------------------------------- sessions and links

    def create_link(self, name: str, scopes: Iterable[Scope], *, lifetime: timedelta) -> str:
        """The secret of a link that begins one session.

        Args:
            name: Who it is for.
            scopes: What the session is good for.
            lifetime: How long it can be used.

        Raises:
            StoreError: If it cannot be stored.
        """
        now = datetime.now(UTC)
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        row = SessionRow(name, [str(scope) for scope in scopes], None, now + lifetime)
        with self._store.write() as transaction:
            CredentialRows(transaction).insert_link(_hash(secret), row, now)
        return secret

    def open_link(self, secret: str, *, lifetime: timedelta) -> str | None:
        """The secret of a new session; None if the link was used before, is over, or there is no such link.

        Args:
            secret: The link's.
            lifetime: How long the session lasts.

        Raises:
            StoreError: If it cannot be stored.
        """
        now = datetime.now(UTC)
        with self._store.write() as transaction:
            rows = CredentialRows(transaction)
            link = rows.take_link(_hash(secret))
            if link is None or link.expires_at <= now:
                return None
            session = secrets.token_urlsafe(_SECRET_BYTES)
            rows.insert_session(_hash(session), SessionRow(link.name, link.scopes, None, now + lifetime), now)
        return session

    def begin_session(self, token: Token, *, lifetime: timedelta) -> str:
        """The secret of a new session, which can do what a token can and ends no later than it.

        Raises:
            StoreError: If it cannot be stored.
        """
        now = datetime.now(UTC)
        end = now + lifetime if token.expires_at is None else min(now + lifetime, token.expires_at)
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        row = SessionRow(token.name, [str(scope) for scope in token.scopes], token.id, end)
        with self._store.write() as transaction:
            CredentialRows(transaction).insert_session(_hash(secret), row, now)
        return secret

    def session(self, secret: str) -> Session | None:
        """The session whose secret this is; None if it is nobody's or over.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.glance() as transaction:
            row = CredentialRows(transaction).session(_hash(secret))
        if row is None or row.expires_at <= datetime.now(UTC):
            return None
        return Session(row.name, _scopes(row.scopes), row.token_id, row.expires_at)

    def end_session(self, secret: str) -> None:
        """End a session, if it is one.

        Raises:
            StoreError: If it cannot be stored.
        """
        with self._store.write() as transaction:
            CredentialRows(transaction).delete_session(_hash(secret))


def _check_name(name: str) -> None:
    if not name or len(name) > _MOST_NAME or name != name.strip() or unseen_character(name):
        raise InvalidScopeError(
            f"a token is called something on one line, of at most {_MOST_NAME} characters and without spaces around it"
        )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(row: TokenRow) -> Token:
    return Token(row.id, row.name, _scopes(row.scopes), row.created_at, row.created_by, row.expires_at, row.revoked_at)


def _scopes(texts: Iterable[str]) -> tuple[Scope, ...]:
    return tuple(Scope.parse(text) for text in texts)
