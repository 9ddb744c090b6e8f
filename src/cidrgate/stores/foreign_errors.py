"""Errors that come out of SQLAlchemy although neither it nor a database has raised them.

A signal handler may raise an exception at any call in the main thread, such as the soft time limit of Celery. If that
happens while SQLAlchemy prepares a statement, SQLAlchemy takes it for an error of the statement's parameters.
"""

from __future__ import annotations

import threading

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError

__all__ = ["may_be_of_signal_handler", "unwrapped"]


def unwrapped(error: Exception) -> BaseException | None:
    """Return the error that SQLAlchemy has wrapped, if it is no error of a database, of SQLAlchemy or of text.

    Example:
        >>> unwrapped(StatementError("", "SELECT ?", [], TimeoutError("soft time limit")))
        TimeoutError('soft time limit')
        >>> unwrapped(DBAPIError("SELECT ?", [], Exception("no such table")))
    """
    if not isinstance(error, StatementError) or isinstance(error, DBAPIError):
        return None
    return None if isinstance(error.orig, (SQLAlchemyError, UnicodeError)) else error.orig


def may_be_of_signal_handler(error: Exception) -> bool:
    """Return whether an exception may come from a signal handler, because no database has raised it.

    Example:
        >>> may_be_of_signal_handler(DBAPIError("COMMIT", [], Exception("the connection is lost")))
        False
    """
    return not isinstance(error, SQLAlchemyError) and threading.get_ident() == threading.main_thread().ident
