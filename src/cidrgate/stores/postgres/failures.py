"""What the errors of PostgreSQL mean, and what a person can do about them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from cidrgate.errors import StoreConflictError, StoreError
from cidrgate.stores.urls import redacted_message

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["explained"]

_CONFLICTS = frozenset({"23505", "23P01", "40001", "40P01"})
"""Unique and exclusion violation, serialization failure, deadlock: another writer was first."""

_ADVICE = {
    "28": "refuses this user: check the user and the password of the URL, and pg_hba.conf on the server",
    "3D000": "does not exist: create the database first, for example with `createdb`",
    "42501": "refuses this: give the user the right to it, or let the database's administrator run `cidrgate migrate`",
    "42P01": "has no tables of cidrgate: run `cidrgate migrate` first",
    "3F000": "has no schema of cidrgate: run `cidrgate migrate` first",
    "53100": "cannot grow: the server's disk is full; free some space and try again",
    "53300": "has no connection left: raise max_connections on the server, or use fewer processes",
    "25006": "is read-only: name the primary server, not a standby",
    "57P": "was shut down or restarted; try again when it is up",
    "08": "is not reached; check the host, the port and the network",
}


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn the database's errors into a `StoreError` that says what to do.

    Args:
        name: What the store is called, without its password.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise _explanation(name, getattr(error, "orig", None) or error) from error
    except UnicodeEncodeError as error:
        raise StoreError(f"{name} holds Unicode text only: {error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "psycopg":
            raise
        raise _explanation(name, error) from error


def _explanation(name: str, cause: BaseException) -> StoreError:
    state = getattr(cause, "sqlstate", None) or ""
    if state in _CONFLICTS:
        return StoreConflictError(
            f"{name} was changed by another writer at the same time: {redacted_message(str(cause))}"
        )
    for beginning, advice in _ADVICE.items():
        if state.startswith(beginning):
            return StoreError(f"{name} {advice}")
    if "NUL" in str(cause):
        return StoreError(f"{name} holds text without NUL characters only: leave them out")
    if not state and type(cause).__name__ == "OperationalError":
        return StoreError(f"{name} is not reached: {redacted_message(str(cause))}")
    return StoreError(f"{name} failed: {redacted_message(str(cause))}")
