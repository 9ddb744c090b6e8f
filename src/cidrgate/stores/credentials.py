"""The rows of tokens, console sessions and one-time links. This module sees only hashes of secrets."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, bindparam, cast, delete, exists, func, insert, or_, select, update

from cidrgate.stores.key_lists import in_keys
from cidrgate.stores.schema import links, sessions, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Row, Select, Table

    from cidrgate.stores.sql import Transaction

__all__ = ["SESSION_ID_LENGTH", "CredentialRows", "LinkRow", "SessionRow", "TokenRow"]

SESSION_ID_LENGTH = 16
"""The number of leading digits of the secret's hash that are the id of a session. They reveal nothing of the secret."""


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
    """A session as it is stored.

    Attributes:
        secret_hash: The hash of its secret.
        name: The name of the user who is signed in.
        scopes: The scopes of the session.
        token_id: The token that signed in, or that created the one-time link. The session ends with this token.
        created_at: When the session began.
        expires_at: When the session expires.
        link_id: The one-time link that signed in, or None.
        address: The client address that signed in, or None.
        token: The current state of the token, or None.
    """

    secret_hash: str
    name: str
    scopes: list[str]
    token_id: int | None
    created_at: datetime
    expires_at: datetime
    link_id: str | None = None
    address: str | None = None
    token: TokenRow | None = None


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A one-time link as it is stored."""

    secret_hash: str
    name: str
    scopes: list[str]
    expires_at: datetime
    created_by: str | None = None
    token_id: int | None = None


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
_select_tokens_with = _select_tokens.where(in_keys(tokens.c.id, "ids"))
_select_token_to_rely_on = _select_token.with_for_update(read=True)
_session_columns = (
    sessions.c.secret_hash,
    sessions.c.name,
    sessions.c.scopes,
    sessions.c.token_id,
    sessions.c.created_at,
    sessions.c.expires_at,
    sessions.c.link_id,
    sessions.c.address,
)
_select_sessions = select(
    *_session_columns, *(column.label(f"token_{column.name}_now") for column in _select_tokens.selected_columns)
).select_from(sessions.outerjoin(tokens, tokens.c.id == sessions.c.token_id))
_session_id = func.substr(sessions.c.secret_hash, 1, SESSION_ID_LENGTH)


def _has(table: Table, beginning: str) -> ColumnElement[bool]:
    """Return the condition that the scopes of a row contain a text; some other rows fulfil it too."""
    column = cast(table.c.scopes, Text)
    written = {json.dumps(beginning, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    return or_(*(column.contains(one, autoescape=True) for one in written))


def _renamed(scope: str, old: str, new: str | None) -> str | None:
    """Return a scope for the account's new name; None if it is for an account that has none."""
    for use in ("read", "write"):
        if scope == f"account:{old}:{use}":
            return None if new is None else f"account:{new}:{use}"
    return scope


class CredentialRows:
    """Statements on credentials in one transaction of a store.

    Args:
        transaction: The transaction; a write transaction for methods that change rows.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._relied_on: dict[int, TokenRow] = transaction.tokens_relied_on

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
        """Return the token with this id, even if it is revoked or expired, or None."""
        row = self._connection.execute(_select_token, {"token_id": token_id}).one_or_none()
        return None if row is None else TokenRow(*row)

    def tokens_with(self, ids: Iterable[int]) -> dict[int, TokenRow]:
        """Return the tokens with these ids by their ids, even if they are revoked or expired."""
        rows = self._connection.execute(_select_tokens_with, {"ids": list(ids)})
        return {row.id: TokenRow(*row) for row in rows}

    def token_to_rely_on(self, token_id: int) -> TokenRow | None:
        """Return the token with this id, and lock it so that it cannot be revoked until this write transaction ends."""
        # One transaction makes the changes of many requests, most of them with the same token.
        found = self._relied_on.get(token_id)
        if found is None:
            row = self._connection.execute(_select_token_to_rely_on, {"token_id": token_id}).one_or_none()
            if row is not None:
                found = self._relied_on[token_id] = TokenRow(*row)
        return found

    def tokens(self, *, after: int = 0, limit: int | None = None) -> list[TokenRow]:
        """Return tokens in the order of their ids, including revoked and expired ones."""
        rows = self._connection.execute(_select_tokens.where(tokens.c.id > after).order_by(tokens.c.id).limit(limit))
        return [TokenRow(*row) for row in rows]

    def newest_token_id(self) -> int:
        """Return the greatest id of a token; 0 without tokens."""
        return self._connection.execute(select(func.max(tokens.c.id))).scalar() or 0

    def revoke_token(self, token_id: int, at: datetime) -> bool:
        """Revoke a token if it is not revoked yet, and delete its sessions and the one-time links it created.

        Returns:
            Whether it was not revoked yet.
        """
        self._relied_on.pop(token_id, None)
        unrevoked = tokens.c.revoked_at.is_(None)
        # First, because it waits for the transactions that rely on the token: then the deletions see what they stored.
        revoked = self._connection.execute(
            update(tokens).where(tokens.c.id == token_id, unrevoked).values(revoked_at=at)
        ).rowcount
        self._connection.execute(delete(sessions).where(sessions.c.token_id == token_id))
        self._connection.execute(delete(links).where(links.c.token_id == token_id))
        return bool(revoked)

    def rename_account(self, old: str, new: str) -> None:
        """Let every token, session and link for an account be for its new name."""
        self._change_scopes(old, new, None)

    def forget_account(self, account: str, at: datetime) -> None:
        """Take an account away from every token, session and link: they must not be good for a later account.

        A token without scopes is revoked, and sessions and links without scopes end.
        """
        self._change_scopes(account, None, at)

    def _change_scopes(self, old: str, new: str | None, at: datetime | None) -> None:
        beginning = f"account:{old}:"
        found = [select(table.c.scopes).where(_has(table, beginning)).limit(1) for table in (tokens, sessions, links)]
        if all(self._connection.execute(statement).first() is None for statement in found):
            return
        if self._connection.dialect.name == "postgresql":
            # Other transactions lock tokens in any order, as their changes need them. After this lock none of them can
            # hold one of the rows below. One that makes a credential for an account, which this transaction has locked,
            # may hold a token and wait for the account: the database then ends one of the two, and it is tried again.
            for table in (tokens, sessions, links):
                preparer = self._connection.dialect.identifier_preparer
                schema = self._connection.get_execution_options().get("schema_translate_map", {}).get(None)
                named = table.name if schema is None else f"{preparer.quote(schema)}.{preparer.quote(table.name)}"
                self._connection.exec_driver_sql(f"LOCK TABLE {named} IN EXCLUSIVE MODE")
        for table in (sessions, links, tokens):
            [key] = table.primary_key.columns
            for row in self._connection.execute(select(key, table.c.scopes).where(_has(table, beginning))).all():
                scopes = [scope for scope in (_renamed(text, old, new) for text in row.scopes) if scope is not None]
                if scopes == row.scopes:
                    continue
                this = key == row[0]
                if scopes:
                    self._connection.execute(update(table).where(this).values(scopes=scopes))
                elif table is not tokens:
                    self._connection.execute(delete(table).where(this))
                elif at is not None:
                    self._connection.execute(update(tokens).where(this).values(scopes=scopes))
                    self.revoke_token(row[0], at)
                self._relied_on.pop(row[0], None)

    def usable_token_exists(self, at: datetime) -> bool:
        """Return whether there is a token that is neither revoked nor expired at a time."""
        usable = exists().where(
            tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > at)
        )
        return bool(self._connection.scalar(select(usable)))

    def insert_session(self, session: SessionRow) -> None:
        """Store a session, and delete expired sessions."""
        self._connection.execute(
            delete(sessions).where(sessions.c.expires_at <= self._transaction.certain_time(session.created_at))
        )
        self._connection.execute(
            insert(sessions).values(
                secret_hash=session.secret_hash,
                name=session.name,
                scopes=session.scopes,
                token_id=session.token_id,
                created_at=session.created_at,
                expires_at=session.expires_at,
                link_id=session.link_id,
                address=session.address,
            )
        )

    def session(self, secret_hash: str) -> SessionRow | None:
        """Return a session with the current state of its token, even if the session has expired, or None."""
        return self._one_session(_select_sessions.where(sessions.c.secret_hash == secret_hash))

    def session_to_rely_on(self, secret_hash: str) -> SessionRow | None:
        """Return a session, and lock it and its token so that neither can end before this write transaction does."""
        found = _select_sessions.where(sessions.c.secret_hash == secret_hash).with_for_update(read=True, of=sessions)
        session = self._one_session(found)
        if session is not None and session.token_id is not None:
            return replace(session, token=self.token_to_rely_on(session.token_id))
        return session

    def sessions(
        self,
        at: datetime,
        *,
        token_id: int | None = None,
        before: tuple[datetime, str] | None = None,
        limit: int | None,
    ) -> list[SessionRow]:
        """Return sessions that have not expired at a time, the newest first.

        Args:
            at: The time.
            token_id: Only the sessions of this token.
            before: Only sessions older than the session with this time and this id.
            limit: The largest number of sessions to return; None for all.
        """
        wanted = _select_sessions.where(sessions.c.expires_at > at)
        if token_id is not None:
            wanted = wanted.where(sessions.c.token_id == token_id)
        if before is not None:
            time, session_id = before
            earlier = and_(sessions.c.created_at == time, _session_id > session_id)
            wanted = wanted.where(or_(sessions.c.created_at < time, earlier))
        rows = self._connection.execute(wanted.order_by(sessions.c.created_at.desc(), _session_id).limit(limit))
        return [_session_row(row) for row in rows]

    def session_by_id(self, session_id: str) -> SessionRow | None:
        """Return the session with this id, even if it has expired, or None."""
        rows = self._connection.execute(_select_sessions.where(_session_id == session_id)).all()
        return _session_row(rows[0]) if len(rows) == 1 else None

    def delete_session(self, secret_hash: str) -> bool:
        """End a session, and return whether it had not ended yet."""
        return bool(self._connection.execute(delete(sessions).where(sessions.c.secret_hash == secret_hash)).rowcount)

    def delete_sessions(self) -> int:
        """End every session, and return their number."""
        return self._connection.execute(delete(sessions)).rowcount

    def insert_link(self, link: LinkRow, at: datetime) -> None:
        """Store a one-time link, and delete expired links."""
        self._connection.execute(delete(links).where(links.c.expires_at <= self._transaction.certain_time(at)))
        self._connection.execute(
            insert(links).values(
                secret_hash=link.secret_hash,
                name=link.name,
                scopes=link.scopes,
                expires_at=link.expires_at,
                created_by=link.created_by,
                token_id=link.token_id,
            )
        )

    def delete_links(self) -> int:
        """Delete every one-time link, and return their number."""
        return self._connection.execute(delete(links)).rowcount

    def take_link(self, secret_hash: str, at: datetime) -> LinkRow | None:
        """Delete a one-time link and return it, or return None if it was used already or has expired at a time."""
        row = self._connection.execute(
            delete(links)
            .where(links.c.secret_hash == secret_hash, links.c.expires_at > at)
            .returning(
                links.c.secret_hash,
                links.c.name,
                links.c.scopes,
                links.c.expires_at,
                links.c.created_by,
                links.c.token_id,
            )
        ).one_or_none()
        return None if row is None else LinkRow(*row)

    def _one_session(self, statement: Select[Any]) -> SessionRow | None:
        row = self._connection.execute(statement).one_or_none()
        return None if row is None else _session_row(row)


def _session_row(row: Row[Any]) -> SessionRow:
    own = len(_session_columns)
    token = None if row[own] is None else TokenRow(*row[own:])
    return replace(SessionRow(*row[:own]), token=token)
