"""The rows of tokens, console sessions and one-time links. Secrets come as hashes; what they mean is known above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, exists, insert, or_, select, update

from cidrgate.clock import certain_time
from cidrgate.stores.schema import links, sessions, tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cidrgate.stores.sql import Transaction

__all__ = ["CredentialRows", "SessionRow", "TokenRow"]


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it is stored."""

    id: int
    name: str
    secret_hash: str
    scopes: list[str]
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session, or what a link begins one with."""

    name: str
    scopes: list[str]
    token_id: int | None
    expires_at: datetime


_select_tokens = select(
    tokens.c.id,
    tokens.c.name,
    tokens.c.secret_hash,
    tokens.c.scopes,
    tokens.c.created_at,
    tokens.c.created_by,
    tokens.c.expires_at,
    tokens.c.revoked_at,
)
_select_token = _select_tokens.where(tokens.c.id == bindparam("token_id"))


class CredentialRows:
    """Statements on credentials in one transaction of a store.

    Args:
        transaction: One that writes, for what changes.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._connection = transaction.connection

    def insert_token(
        self,
        name: str,
        secret_hash: str,
        scopes: Sequence[str],
        *,
        at: datetime,
        by: str | None,
        expires_at: datetime | None,
    ) -> TokenRow:
        """Store a new token."""
        made = self._connection.execute(
            insert(tokens).values(
                name=name,
                secret_hash=secret_hash,
                scopes=list(scopes),
                created_at=at,
                created_by=by,
                expires_at=expires_at,
            )
        )
        key = made.inserted_primary_key
        assert key is not None  # noqa: S101 - one row was inserted
        return TokenRow(key[0], name, secret_hash, list(scopes), at, by, expires_at, None)

    def token(self, token_id: int) -> TokenRow | None:
        """The token of that id, revoked or expired ones too."""
        row = self._connection.execute(_select_token, {"token_id": token_id}).one_or_none()
        return None if row is None else TokenRow(*row)

    def tokens(self, *, after: int = 0, limit: int | None = None) -> list[TokenRow]:
        """Tokens by id, revoked and expired ones too."""
        rows = self._connection.execute(_select_tokens.where(tokens.c.id > after).order_by(tokens.c.id).limit(limit))
        return [TokenRow(*row) for row in rows]

    def revoke_token(self, token_id: int, at: datetime) -> None:
        """Revoke a token, unless it is already, and end the sessions begun with it."""
        self._connection.execute(delete(sessions).where(sessions.c.token_id == token_id))
        unrevoked = tokens.c.revoked_at.is_(None)
        self._connection.execute(update(tokens).where(tokens.c.id == token_id, unrevoked).values(revoked_at=at))

    def usable_token_exists(self, at: datetime) -> bool:
        """Whether there is a token that is neither revoked nor expired at a time."""
        usable = exists().where(
            tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > at)
        )
        return bool(self._connection.scalar(select(usable)))

    def insert_session(self, secret_hash: str, session: SessionRow, at: datetime) -> None:
        """Store a session, and forget those that are over."""
        self._connection.execute(delete(sessions).where(sessions.c.expires_at <= certain_time(at)))
        self._connection.execute(
            insert(sessions).values(
                secret_hash=secret_hash,
                name=session.name,
                scopes=session.scopes,
                token_id=session.token_id,
                created_at=at,
                expires_at=session.expires_at,
            )
        )

    def session(self, secret_hash: str) -> SessionRow | None:
        """A session, also one that is over."""
        columns = (sessions.c.name, sessions.c.scopes, sessions.c.token_id, sessions.c.expires_at)
        row = self._connection.execute(select(*columns).where(sessions.c.secret_hash == secret_hash)).one_or_none()
        return None if row is None else SessionRow(*row)

    def delete_session(self, secret_hash: str) -> None:
        """End a session."""
        self._connection.execute(delete(sessions).where(sessions.c.secret_hash == secret_hash))

    def insert_link(self, secret_hash: str, session: SessionRow, at: datetime) -> None:
        """Store a one-time link, and forget those that are over."""
        self._connection.execute(delete(links).where(links.c.expires_at <= certain_time(at)))
        self._connection.execute(
            insert(links).values(
                secret_hash=secret_hash, name=session.name, scopes=session.scopes, expires_at=session.expires_at
            )
        )

    def take_link(self, secret_hash: str) -> SessionRow | None:
        """Delete a link, and what it was; None for who comes second."""
        row = self._connection.execute(
            delete(links)
            .where(links.c.secret_hash == secret_hash)
            .returning(links.c.name, links.c.scopes, links.c.expires_at)
        ).one_or_none()
        return None if row is None else SessionRow(row.name, row.scopes, None, row.expires_at)
