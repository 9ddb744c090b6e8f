"""The meaning of PostgreSQL's errors, and advice for each."""

from __future__ import annotations

from contextlib import contextmanager
from traceback import walk_tb
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError, TimeoutError as PoolTimeoutError

from cidrgate.errors import StoreBusyError, StoreConflictError, StoreError
from cidrgate.stores.foreign_errors import unwrapped
from cidrgate.stores.urls import redacted_message

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DENIED", "explained", "hidden_rows", "refused_commit"]

_CONFLICTS = frozenset({"23505", "23P01", "40001", "40P01"})
"""Unique and exclusion violations, serialization failures and deadlocks: another writer was first."""

_LOCKED = "55P03"

_UNCLEAR = ("08", "40003", "57P", "58", "XX")
"""Errors that can follow a successful commit: of the connection, of a server that stops, of the system."""

_STANDBY = "is read-only: name the primary server, not a standby"
_ENCODING = "cannot store these characters: its encoding must be UTF8, and NUL characters must be left out"

_HIDDEN = "check_enable_rls"
"""The server's function that refuses a statement which row-level security keeps from some rows. Its message is in the
language of the server, and it shares its state with a denied right."""

_UNSUPPORTED = "0A000"
"""The refusal of a standby to begin a transaction that writes; and refusals of other statements."""

_OF_DRIVERS = ("psycopg", "psycopg_binary", "psycopg_c", "sqlalchemy")

DENIED = (
    "denies the user a right: run `cidrgate migrate --grant USER` as the owner of the tables; to create or alter "
    "tables, run `cidrgate migrate` as the administrator of the database"
)
"""The advice for a right that the user lacks."""

_ADVICE = {
    "28": "refuses this user: check the user and the password of the URL, and pg_hba.conf on the server",
    "3D000": "does not exist: create the database first, for example with `createdb`",
    "42501": DENIED,
    "42P01": "has no tables of cidrgate: run `cidrgate migrate` first",
    "3F000": "has no schema of cidrgate: run `cidrgate migrate` first",
    "53100": "cannot grow: the server's disk is full; free some space and try again",
    "53300": "has no connection left: raise max_connections on the server, use fewer processes, or a smaller pool_size",
    "25006": _STANDBY,
    "22P05": _ENCODING,
    "22021": _ENCODING,
    "25P03": "ended a transaction that waited longer than idle_in_transaction_session_timeout allows; nothing was "
    "changed: keep what runs inside of a change short, or raise the timeout for this user",
    "25P04": "ended a transaction that took longer than transaction_timeout allows; nothing was changed: raise the "
    "timeout for this user",
    "57P05": "closed a connection that was idle for longer than idle_session_timeout allows: try again, and raise the "
    "timeout for this user",
    "57014": "cancelled a statement: it took longer than a timeout of the server, or an administrator cancelled it",
    "57P": "was shut down or restarted; try again when it is up",
    "08": "cannot be reached; check the host, the port and the network",
    "26000": "lost a prepared statement: if the URL leads to a pooler in transaction mode, name that as pooled_url",
    "42P05": "has a prepared statement of another client: if the URL leads to a pooler in transaction mode, "
    "name that as pooled_url",
}


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn the database's errors into a `StoreError` that says what to do.

    Args:
        name: The name of the store in messages, without its password.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise StoreBusyError(
            f"all connections of this process to {name} are in use; nothing was changed: try again later, "
            "or raise pool_size"
        ) from error
    except SQLAlchemyError as error:
        foreign = unwrapped(error)
        if foreign is not None and not _raised_by_driver(foreign):
            raise foreign from foreign.__cause__
        if _refused_to_write(error):
            raise StoreError(f"{name} {_STANDBY}") from error
        raise _explanation(name, getattr(error, "orig", None) or error) from error
    except UnicodeEncodeError as error:
        raise StoreError(f"{name} can only store Unicode text: {error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "psycopg" and not _raised_by_driver(error):
            raise
        raise _explanation(name, error) from error


def refused_commit(error: Exception) -> bool:
    """Return whether an error of a COMMIT proves that nothing was committed.

    Example:
        >>> refused_commit(ConnectionError("the answer was lost"))
        False
    """
    state = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return state is not None and not state.startswith(_UNCLEAR)


def hidden_rows(what: str) -> str:
    """Return the advice for tables with row-level security.

    Args:
        what: Which tables, or the message of the server, which names one.
    """
    return (
        f"has row-level security, which may hide rows from its user ({what}): disable it with ALTER TABLE ... DISABLE "
        "ROW LEVEL SECURITY (for the owner of the table, NO FORCE is enough), or give the user BYPASSRLS; a policy "
        "that shows all rows is not enough"
    )


def _refused_to_write(error: SQLAlchemyError) -> bool:
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state == _UNSUPPORTED and (getattr(error, "statement", None) or "").startswith("BEGIN")


def _raised_by_driver(error: BaseException) -> bool:
    """Return whether code of a driver has raised an error that is none of a database: it cannot read an answer.

    Code of an application, such as a signal handler that a call in a driver runs, raises in a frame that belongs to it.
    """
    if not isinstance(error, (NotImplementedError, TypeError, ValueError, LookupError)):
        return False
    frames = list(walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__")).partition(".")[0] in _OF_DRIVERS


def _explanation(name: str, cause: BaseException) -> StoreError:
    state = getattr(cause, "sqlstate", None) or ""
    if state == _LOCKED:
        return StoreBusyError(f"{name} is locked by another transaction; nothing was changed: try again later")
    if state in _CONFLICTS:
        return StoreConflictError(
            f"{name} was changed by another writer at the same time: {redacted_message(str(cause))}"
        )
    diagnosis = getattr(cause, "diag", None)
    if diagnosis is not None and diagnosis.source_function == _HIDDEN:
        return StoreError(f"{name} {hidden_rows(redacted_message(str(diagnosis.message_primary)))}")
    for beginning, advice in _ADVICE.items():
        if state.startswith(beginning):
            return StoreError(f"{name} {advice}")
    if not state and "NUL" in str(cause):  # the driver's own refusal, in English
        return StoreError(f"{name} cannot store NUL characters: leave them out")
    reason = str(cause) or type(cause).__name__
    if not state and any(kind.__name__ == "OperationalError" for kind in type(cause).__mro__):
        return StoreError(f"{name} cannot be reached: {redacted_message(reason)}")
    return StoreError(f"{name} failed: {redacted_message(reason)}")
