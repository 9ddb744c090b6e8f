"""`Credentials`: makes, checks and ends the tokens, console sessions and one-time links of a store.

Secrets have 256 random bits, so the store holds only their SHA-256: a slow hash would not make guessing harder. Each
secret is shown once, when it is made. This module does not know HTTP.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cidrgate.errors import (
    CredentialEndedError,
    InvalidExpiryError,
    InvalidScopeError,
    InvalidTextError,
    SessionNotFoundError,
    TokenNotFoundError,
)
from cidrgate.manager.accounts import no_such_account
from cidrgate.manager.origins import checked_origin
from cidrgate.rules.account_names import could_name_account
from cidrgate.rules.characters import checked_text, unseen_character
from cidrgate.service.auth.values import NewLink, NewToken, Scope, Session, Token
from cidrgate.stores.credentials import SESSION_ID_LENGTH, CredentialRows, LinkRow, SessionRow
from cidrgate.stores.waits import SILENCE, tried_again
from cidrgate.values import Origin, in_utc, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cidrgate.service.auth.failed_sign_ins import FailedSignIns
    from cidrgate.stores import Store, Transaction
    from cidrgate.stores.credentials import TokenRow
    from cidrgate.values import Action, Duration

__all__ = ["Credentials", "lifetime_of"]

_Made = TypeVar("_Made")

_SECRET_BYTES = 32
_TOKEN = re.compile(r"cidrgate_([1-9][0-9]{0,17})_([A-Za-z0-9_-]{43})")
"""The form of a token. The id selects the row; only the rest is secret, and it is compared in constant time."""

_MOST_NAME = 255


_LONGEST_LIFETIME = 1_000 * 366 * 86_400
"""A thousand years, in seconds: no time may end after the year 9999."""


def lifetime_of(value: Duration, name: str, *, above_zero: bool = False) -> timedelta:
    """Return how long something lasts from now on.

    Args:
        value: A number of seconds, or a `timedelta`.
        name: The name of the setting or argument, for the message.
        above_zero: Whether zero is refused too.

    Raises:
        TypeError: If the value is neither a number nor a `timedelta`.
        ValueError: If it is negative or no number, or more than a thousand years.
    """
    found = seconds(value, name, above_zero=above_zero)
    if found > _LONGEST_LIFETIME:
        raise ValueError(f"{name} is more than a thousand years")
    return timedelta(seconds=found)


class Credentials:
    """The tokens, sessions and links of a store. Threads may share an instance.

    Args:
        store: The store that holds them.

    Example:
        >>> from cidrgate.stores import open_store
        >>> credentials = Credentials(open_store("memory://"))
        >>> made = credentials.create_token("billing", [Scope.parse("metrics")], actor="me")
        >>> credentials.authenticate(made.secret) == made.token
        True
        >>> revoked = credentials.revoke_token(made.token.id)
        >>> credentials.authenticate(made.secret) is None
        True
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._origin = Origin(kind="library")

    def with_origin(self, origin: Origin) -> Self:
        """Return a copy that makes and ends credentials for an actor of this origin, as the change log says.

        Args:
            origin: How the actor is known, and from where the request comes.
        """
        seen = copy(self)
        seen._origin = checked_origin(origin)
        return seen

    def written(self, make: Callable[[Transaction], _Made]) -> _Made:
        """Return the result of a function that is called in a write transaction, and again after a conflict.

        Raises:
            StoreError: If what it changes cannot be stored.
        """

        def once() -> _Made:
            with self._store.write() as transaction:
                return make(transaction)

        return tried_again(once, self._store.lock_timeout)

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
            name: The name for people.
            scopes: What the token permits; at least one.
            expires_at: When it expires, with a time zone; None if it does not.
            actor: The actor who makes it.

        Raises:
            InvalidScopeError: If there is no scope, or if the name is not valid.
            AccountNotFoundError: If a scope names an account that does not exist.
            InvalidTextError: If the actor contains an invisible character.
            InvalidExpiryError: If the expiry is in the past or has no time zone.
            StoreError: If the token cannot be stored.
        """
        wanted = list(scopes)
        return self.written(
            lambda transaction: self.create_token_in(transaction, name, wanted, expires_at=expires_at, actor=actor)
        )

    def create_token_in(
        self,
        transaction: Transaction,
        name: str,
        scopes: Iterable[Scope],
        *,
        expires_at: datetime | None = None,
        actor: str | None = None,
    ) -> NewToken:
        """Make a token in an existing transaction; see `create_token`."""
        wanted = _wanted(name, scopes)
        now = datetime.now(UTC)
        actor = checked_text(actor, "actor")
        _check_accounts(transaction, wanted)
        if expires_at is not None:
            expires_at = in_utc(expires_at, "expires_at")
            if expires_at.utcoffset() is None or expires_at <= now:
                raise InvalidExpiryError(
                    f"expires_at {expires_at.isoformat()} is in the past or has no time zone", expires_at=expires_at
                )
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        row = CredentialRows(transaction).insert_token(
            name, _hash(secret), [str(scope) for scope in wanted], at=now, by=actor, expires_at=expires_at
        )
        self._log(transaction, "create_token", now, actor, after=_told(row, token=row.id))
        return NewToken(_token(row), f"cidrgate_{row.id}_{secret}")

    def authenticate(self, secret: str) -> Token | None:
        """Return the token with this secret; None if the secret is unknown or the token is revoked or expired.

        Raises:
            StoreError: If the store cannot be read.
        """
        parts = _TOKEN.fullmatch(secret)
        if parts is None:
            return None
        with self._store.read_autocommit() as transaction:
            row = CredentialRows(transaction).token(int(parts[1]))
        return _usable_token(row, parts[2])

    def authenticate_all(self, secrets: Iterable[str]) -> dict[str, Token | Exception | None]:
        """Return for each secret what `authenticate` returns, or the error that it raises, with one statement."""
        parts = {secret: _TOKEN.fullmatch(secret) for secret in secrets}
        ids = {int(found[1]) for found in parts.values() if found is not None}
        rows: dict[int, TokenRow] = {}
        if ids:
            try:
                with self._store.read_autocommit() as transaction:
                    rows = CredentialRows(transaction).tokens_with(ids)
            except Exception as error:  # noqa: BLE001 - the row of one token may be damaged, in whatever way
                return self._authenticate_each(parts, error)
        return {
            secret: None if found is None else _result_of(_usable_token, rows.get(int(found[1])), found[2])
            for secret, found in parts.items()
        }

    def _authenticate_each(self, secrets: Iterable[str], error: Exception) -> dict[str, Token | Exception | None]:
        """Return the result of each secret by a statement of its own; the error where that would take too long."""
        end = time.monotonic() + SILENCE
        return {
            secret: error if time.monotonic() > end else _result_of(self.authenticate, secret) for secret in secrets
        }

    def is_usable(self, token_id: int) -> bool:
        """Return whether a token is neither revoked nor expired now.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.read_autocommit() as transaction:
            row = CredentialRows(transaction).token(token_id)
        return row is not None and _token(row).usable(datetime.now(UTC))

    def tokens(self, *, after: int = 0, limit: int | None = None) -> list[Token]:
        """Return the tokens ordered by id, including revoked and expired ones.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.read_autocommit() as transaction:
            return [_token(row) for row in CredentialRows(transaction).tokens(after=after, limit=limit)]

    def newest_token_id(self) -> int:
        """Return the greatest id of a token; 0 without tokens.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.read_autocommit() as transaction:
            return CredentialRows(transaction).newest_token_id()

    def token_made_since(
        self, transaction: Transaction, known: int, name: str, scope: Scope, actor: str | None
    ) -> Token | None:
        """Return the first token of a name that somebody has created with one scope since a moment; None without one.

        Args:
            transaction: Reads the tokens.
            known: The greatest id of a token at that moment.
            name: The name of the token.
            scope: Its scope.
            actor: Who created it.
        """
        made = map(_token, CredentialRows(transaction).tokens(after=known))
        return next((one for one in made if (one.name, one.scopes, one.created_by) == (name, (scope,), actor)), None)

    def revoke_token(self, token_id: int, *, actor: str | None = None) -> Token:
        """Revoke a token from the next request on. Its sessions end, and the links made with it become invalid.

        Args:
            token_id: The id of the token.
            actor: Who revokes it, for the change log.

        Raises:
            TokenNotFoundError: If no token has this id.
            StoreError: If the change cannot be stored.
        """
        return self.written(lambda transaction: self.revoke_token_in(transaction, token_id, actor=actor))

    def revoke_token_in(self, transaction: Transaction, token_id: int, *, actor: str | None = None) -> Token:
        """Revoke a token in an existing transaction; see `revoke_token`."""
        rows, transaction.event = CredentialRows(transaction), "revoke_token"
        if rows.token(token_id) is None:
            raise TokenNotFoundError(f"there is no token {token_id}", token=token_id)
        now = datetime.now(UTC)
        revoked = rows.revoke_token(token_id, now)
        row = rows.token(token_id)
        if row is None:
            raise AssertionError("a token is never deleted")
        if revoked:
            self._log(transaction, "revoke_token", now, checked_text(actor, "actor"), before=_told(row, token=row.id))
        return _token(row)

    def any_usable(self) -> bool:
        """Return whether any valid token exists. If not, a person needs a one-time link to log in.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.read_autocommit() as transaction:
            return CredentialRows(transaction).usable_token_exists(datetime.now(UTC))

    # --------------------------------------------------------------------------------------- sessions and links

    def create_link(
        self,
        name: str,
        scopes: Iterable[Scope],
        *,
        lifetime: Duration,
        issuer: Token | None = None,
        actor: str | None = None,
    ) -> str:
        """Make a one-time link that starts a session, and return its secret.

        Args:
            name: The name of the person who gets the link.
            scopes: What the session permits.
            lifetime: How long the link can be used.
            issuer: The token that makes the link; the link and its session end with this token. None for the command
                line, which needs no token.
            actor: The actor who makes the link.

        Raises:
            InvalidScopeError: If there is no scope, or if the name is not valid.
            AccountNotFoundError: If a scope names an account that does not exist.
            CredentialEndedError: If the issuer's token is revoked or expired.
            StoreError: If the link cannot be stored.
        """
        wanted = list(scopes)
        end = datetime.now(UTC) + lifetime_of(lifetime, "lifetime")

        def make(transaction: Transaction) -> NewLink:
            if issuer is not None:
                self.rely_on_token(transaction, issuer.id, issuer.scopes)
            token_id = None if issuer is None else issuer.id
            return self.create_link_in(transaction, name, wanted, expires_at=end, token_id=token_id, actor=actor)

        return self.written(make).secret

    def create_link_in(
        self,
        transaction: Transaction,
        name: str,
        scopes: Iterable[Scope],
        *,
        expires_at: datetime,
        token_id: int | None = None,
        actor: str | None = None,
    ) -> NewLink:
        """Make a one-time link in an existing transaction, which has checked the token; see `create_link`."""
        wanted = _wanted(name, scopes)
        now = datetime.now(UTC)
        actor = checked_text(actor, "actor")
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        row = LinkRow(_hash(secret), name, [str(scope) for scope in wanted], expires_at, actor, token_id)
        _check_accounts(transaction, wanted)
        CredentialRows(transaction).insert_link(row, now)
        link_id = row.secret_hash[:SESSION_ID_LENGTH]
        self._log(transaction, "create_link", now, actor, after=_told(row, link=link_id))
        return NewLink(id=link_id, name=name, scopes=wanted, created_by=actor, expires_at=expires_at, secret=secret)

    def open_link(self, secret: str, *, lifetime: Duration, address: str | None = None) -> str | None:
        """Start a session with a link, and return its secret; None if the link was used, is expired or unknown.

        Args:
            secret: The secret of the link.
            lifetime: How long the session lasts.
            address: The client address that opens the link.

        Raises:
            StoreError: If the session cannot be stored.
        """
        now = datetime.now(UTC)

        def start(transaction: Transaction) -> str | None:
            rows = CredentialRows(transaction)
            # What this machine's clock says has expired stays: the clock may be wrong.
            link = rows.take_link(_hash(secret), now)
            if link is None:
                return None
            end = now + lifetime_of(lifetime, "lifetime")
            if link.token_id is not None:
                issuer = self.rely_on_token(transaction, link.token_id)
                end = end if issuer.expires_at is None else min(end, issuer.expires_at)
            session = secrets.token_urlsafe(_SECRET_BYTES)
            link_id = link.secret_hash[:SESSION_ID_LENGTH]
            row = SessionRow(_hash(session), link.name, link.scopes, link.token_id, now, end, link_id, address)
            rows.insert_session(row)
            self._log_sign_in(transaction, row, Origin(kind="link", id=link_id))
            return session

        try:
            return self.written(start)
        except CredentialEndedError:  # of the token that made the link
            return None

    def begin_session(self, token: Token, *, lifetime: Duration, address: str | None = None) -> str:
        """Start a session with a token, and return its secret. The session has the token's scopes and ends with it.

        Args:
            token: The token from `authenticate`. It is checked again in the transaction that stores the session.
            lifetime: How long the session lasts.
            address: The client address that starts the session.

        Raises:
            CredentialEndedError: If the token is revoked or expired.
            StoreError: If the session cannot be stored.
        """
        now = datetime.now(UTC)
        secret = secrets.token_urlsafe(_SECRET_BYTES)

        def start(transaction: Transaction) -> None:
            known = self.rely_on_token(transaction, token.id)
            end = (
                now + lifetime_of(lifetime, "lifetime")
                if known.expires_at is None
                else min(now + lifetime_of(lifetime, "lifetime"), known.expires_at)
            )
            scopes = [str(scope) for scope in known.scopes]
            row = SessionRow(_hash(secret), known.name, scopes, known.id, now, end, address=address)
            CredentialRows(transaction).insert_session(row)
            self._log_sign_in(transaction, row, Origin(kind="token", id=f"{known.id}"))

        self.written(start)
        return secret

    def session(self, secret: str) -> Session | None:
        """Return the session with this secret; None if the secret is unknown, or the session or its token has ended.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._store.read_autocommit() as transaction:
            row = CredentialRows(transaction).session(_hash(secret))
        return _session(row, datetime.now(UTC))

    def sessions(
        self, *, token_id: int | None = None, before: tuple[datetime, str] | None = None, limit: int | None = None
    ) -> list[Session]:
        """Return the sessions that have not ended, the newest first.

        Args:
            token_id: Return only the sessions of this token; None for all.
            before: Return only the sessions that started before the one with this time and this id, which may have
                ended.
            limit: The most sessions to return; None for all.

        Raises:
            StoreError: If the store cannot be read.
        """
        now = datetime.now(UTC)
        with self._store.read_autocommit() as transaction:
            rows = CredentialRows(transaction).sessions(now, token_id=token_id, before=before, limit=limit)
        return [found for row in rows if (found := _session(row, now)) is not None]

    def session_by_id(self, session_id: str) -> Session:
        """Return the session with this public id.

        Raises:
            SessionNotFoundError: If no session has this id, or if it has ended.
            StoreError: If the store cannot be read.
        """
        with self._store.read_autocommit() as transaction:
            found = _session(CredentialRows(transaction).session_by_id(session_id), datetime.now(UTC))
        if found is None:
            raise SessionNotFoundError(
                f"there is no session {session_id[:SESSION_ID_LENGTH]!r}", session=session_id[:SESSION_ID_LENGTH]
            )
        return found

    def end_session(self, secret: str) -> None:
        """End the session with this secret, if there is one.

        Raises:
            StoreError: If the change cannot be stored.
        """

        def end(transaction: Transaction) -> None:
            rows = CredentialRows(transaction)
            row = rows.session(_hash(secret))
            if row is not None and rows.delete_session(row.secret_hash):
                self._log_end(transaction, row, row.name)

        self.written(end)

    def end_session_by_id(self, session_id: str, *, actor: str | None = None) -> Session:
        """End the session with this public id.

        Args:
            session_id: The id.
            actor: Who ends it, for the change log.

        Returns:
            The ended session.

        Raises:
            SessionNotFoundError: If no session has this id, or if it has ended.
            StoreError: If the change cannot be stored.
        """
        return self.written(lambda transaction: self.end_session_in(transaction, session_id, actor=actor))

    def end_session_in(self, transaction: Transaction, session_id: str, *, actor: str | None = None) -> Session:
        """End a session in an existing transaction; see `end_session_by_id`."""
        rows = CredentialRows(transaction)
        row = rows.session_by_id(session_id)
        found = _session(row, datetime.now(UTC))
        if row is None or found is None:
            raise SessionNotFoundError(
                f"there is no session {session_id[:SESSION_ID_LENGTH]!r}", session=session_id[:SESSION_ID_LENGTH]
            )
        if rows.delete_session(row.secret_hash):
            self._log_end(transaction, row, checked_text(actor, "actor"))
        return found

    def end_all_sessions(self, *, actor: str | None = None) -> int:
        """End every session, and delete every one-time link.

        Args:
            actor: Who ends them, for the change log.

        Returns:
            How many sessions were ended.

        Raises:
            StoreError: If the change cannot be stored.
        """

        def end(transaction: Transaction) -> int:
            rows, transaction.event = CredentialRows(transaction), "end_all_sessions"
            links, sessions = rows.delete_links(), rows.delete_sessions()
            if links or sessions:
                ended = {"sessions": sessions, "links": links}
                self._log(
                    transaction, "end_all_sessions", datetime.now(UTC), checked_text(actor, "actor"), before=ended
                )
            return sessions

        return self.written(end)

    # ---------------------------------------------------------------------------------------- in the change log

    def log_failures(self, failures: Iterable[FailedSignIns]) -> None:
        """Log wrong credentials that clients have sent, in one transaction.

        Raises:
            StoreError: If they cannot be stored.
        """
        told = list(failures)

        def log(transaction: Transaction) -> None:
            for one in told:
                transaction.record_event(
                    "sign_in_failed", at=datetime.now(UTC), actor=None, origin=one.origin, details=one.details()
                )

        self.written(log)

    def _log(
        self,
        transaction: Transaction,
        action: Action,
        at: datetime,
        actor: str | None,
        *,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        """Log what became of a credential, in the transaction that stores it."""
        told = {"before": before, "after": after}
        details = {name: value for name, value in told.items() if value is not None}
        transaction.record_event(action, at=at, actor=actor, origin=self._origin, details=details)

    def _log_sign_in(self, transaction: Transaction, row: SessionRow, by: Origin) -> None:
        """Log a sign-in. The credential says who signs in, and the session from where."""
        origin = replace(by, address=row.address, request_id=self._origin.request_id)
        session_id = row.secret_hash[:SESSION_ID_LENGTH]
        details = {"after": _told(row, session=session_id)}
        transaction.record_event("sign_in", at=row.created_at, actor=row.name, origin=origin, details=details)

    def _log_end(self, transaction: Transaction, row: SessionRow, actor: str | None) -> None:
        session_id = row.secret_hash[:SESSION_ID_LENGTH]
        self._log(transaction, "end_session", datetime.now(UTC), actor, before=_told(row, session=session_id))

    # --------------------------------------------------------------------------- in the transaction that uses them

    def rely_on_token(self, transaction: Transaction, token_id: int, scopes: Iterable[Scope] | None = None) -> Token:
        """Check a token in a transaction. The token cannot be revoked before the transaction ends.

        Args:
            transaction: A write transaction that makes a change with the token's permission.
            token_id: The id of the token.
            scopes: The scopes from the first check; None if no permission was derived from them yet.

        Raises:
            CredentialEndedError: If the token is revoked or expired, or if its scopes have changed.
        """
        row = CredentialRows(transaction).token_to_rely_on(token_id)
        token = None if row is None else _token(row)
        if (
            token is None
            or not token.usable(datetime.now(UTC))
            or (scopes is not None and token.scopes != tuple(scopes))
        ):
            raise CredentialEndedError("this token is revoked or expired: nothing was changed")
        return token

    def rely_on_session(self, transaction: Transaction, secret: str) -> Session:
        """Check a session in a transaction. The session and its token cannot end before the transaction ends.

        Args:
            transaction: A write transaction.
            secret: The secret of the session.

        Raises:
            CredentialEndedError: If the session has ended or expired.
        """
        found = _session(CredentialRows(transaction).session_to_rely_on(_hash(secret)), datetime.now(UTC))
        if found is None:
            raise CredentialEndedError("this session has ended: nothing was changed")
        return found


def _told(row: TokenRow | SessionRow | LinkRow, **which: str | int) -> dict[str, Any]:
    """Return what the change log says of a credential: which it is, whose, and what it permits. It has no secret."""
    expires_at = None if row.expires_at is None else row.expires_at.isoformat()
    return {**which, "name": row.name, "scopes": row.scopes, "expires_at": expires_at}


def _wanted(name: str, scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Check the name and the scopes of a new credential, and return each scope once."""
    wanted = tuple(dict.fromkeys(scopes))
    if not wanted:
        raise InvalidScopeError("a token without a scope permits nothing: name at least one scope")
    _check_name(name)
    return wanted


def _check_accounts(transaction: Transaction, scopes: Iterable[Scope]) -> None:
    """Refuse scopes for accounts that do not exist: they would silently apply to accounts created later."""
    names = [scope.account for scope in scopes if scope.account is not None and could_name_account(scope.account)]
    known = transaction.accounts_named(names) if names else {}
    for scope in scopes:
        if scope.account is not None and scope.account not in known:
            raise no_such_account(scope.account)


def _check_name(name: str) -> None:
    if not name or len(name) > _MOST_NAME or name != name.strip() or unseen_character(name):
        raise InvalidTextError(
            f"a token or link needs a name on one line, of at most {_MOST_NAME} characters, with no space around it",
            field="name",
            text=name,
        )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _result_of(check: Callable[..., Token | None], *arguments: Any) -> Token | Exception | None:
    """Return what a check returns, or the error that it raises."""
    try:
        return check(*arguments)
    except Exception as error:  # noqa: BLE001 - it is raised for the request with this token
        return error


def _usable_token(row: TokenRow | None, secret: str) -> Token | None:
    """Return the token of a row; None if it has another secret, or is revoked or expired."""
    # Always compared, so that the time does not reveal which ids exist.
    same = hmac.compare_digest(_hash(secret), _hash("") if row is None else row.secret_hash)
    if row is None or not same:
        return None
    token = _token(row)
    return token if token.usable(datetime.now(UTC)) else None


def _token(row: TokenRow) -> Token:
    return Token(row.id, row.name, _scopes(row.scopes), row.created_at, row.created_by, row.expires_at, row.revoked_at)


def _session(row: SessionRow | None, at: datetime) -> Session | None:
    """Return the session if it is valid at a time; None if it has expired or its token has ended."""
    if row is None or row.expires_at <= at:
        return None
    scopes = row.scopes
    if row.token_id is not None:
        if row.token is None or not _token(row.token).usable(at):
            return None
        if row.link_id is None:
            # The current scopes of the token: they may be fewer than at the start of the session.
            scopes = row.token.scopes
    return Session(
        row.name,
        _scopes(scopes),
        row.token_id,
        row.expires_at,
        row.secret_hash[:SESSION_ID_LENGTH],
        row.created_at,
        row.link_id,
        row.address,
    )


def _scopes(texts: Iterable[str]) -> tuple[Scope, ...]:
    return tuple(Scope.parse(text) for text in texts)
