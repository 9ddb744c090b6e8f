"""Tokens, one-time links and console sessions as JSON objects without their secrets, for the command line and HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cidrgate.serialization import utc_text

if TYPE_CHECKING:
    from cidrgate.service.auth.values import NewLink, Session, Token

__all__ = ["link_record", "session_record", "token_record"]


def token_record(token: Token) -> dict[str, Any]:
    """Return a token as a JSON object, without its secret."""
    return {
        "id": token.id,
        "name": token.name,
        "scopes": [str(scope) for scope in token.scopes],
        "created_at": utc_text(token.created_at),
        "created_by": token.created_by,
        "expires_at": utc_text(token.expires_at),
        "revoked_at": utc_text(token.revoked_at),
    }


def link_record(link: NewLink) -> dict[str, Any]:
    """Return a one-time link as a JSON object, without its secret."""
    return {
        "id": link.id,
        "name": link.name,
        "scopes": [str(scope) for scope in link.scopes],
        "created_by": link.created_by,
        "expires_at": utc_text(link.expires_at),
    }


def session_record(session: Session) -> dict[str, Any]:
    """Return a console session as a JSON object, without its secret."""
    return {
        "id": session.id,
        "name": session.name,
        "scopes": [str(scope) for scope in session.scopes],
        "token_id": session.token_id,
        "by_link": session.by_link,
        "address": session.address,
        "created_at": utc_text(session.created_at),
        "expires_at": utc_text(session.expires_at),
    }
