"""The exit statuses of the command: one table from kinds of errors to statuses.

They are a promise to scripts: docs/cli.md and `--help` list them.
"""

from __future__ import annotations

import signal
from enum import IntEnum
from typing import TYPE_CHECKING

from cidrgate.cli.errors import BadRowsError, NotConfirmedError, PartialImportError
from cidrgate.errors import (
    AccountHasSubaccountsError,
    CidrgateError,
    ConflictError,
    InvalidAccountError,
    InvalidCopyError,
    InvalidExpiryError,
    InvalidScopeError,
    InvalidTextError,
    NotFoundError,
    RecommendationError,
    RuleError,
    StoreError,
    SubaccountError,
    UnconfirmedChangeError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DRIFT", "INTERRUPTED", "PLAN_FAILED", "STATUSES", "ExitStatus", "status_of"]

INTERRUPTED = 128 + signal.SIGINT
"""The exit status after ctrl-C, as in shells."""


class ExitStatus(IntEnum):
    """An exit status; its `meaning` is for people.

    Example:
        >>> int(ExitStatus.NOT_FOUND), ExitStatus.NOT_FOUND.meaning
        (4, 'the account, the entry or what else the command names does not exist')
    """

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitStatus:
        """Return the status with its meaning."""
        made = int.__new__(cls, value)
        made._value_ = value
        made.meaning = meaning
        return made

    DONE = 0, "success; for `check`: the address is allowed"
    DENIED = 1, "for `check`: the address is denied; for `plan`: every error"
    ERROR = 2, "the command line is wrong, or another error; for `check`: every error; for `plan`: a difference"
    REFUSED = 3, "a rule or a guard refused the change"
    NOT_FOUND = 4, "the account, the entry or what else the command names does not exist"
    CONFLICT = 5, "the list has another version than expected, or the account exists already"
    UNAVAILABLE = 6, "the store is missing, busy or cannot be reached: the same command may work later"
    PARTIAL = 7, "`import` or `apply` stored some accounts and refused others"


PLAN_FAILED = ExitStatus.DENIED
"""The exit status of every error of `plan`, as other tools that compare a plan with the world have it."""

DRIFT = int(ExitStatus.ERROR)
"""The exit status of `plan` if the store differs from the file."""


STATUSES: Mapping[type[CidrgateError], ExitStatus] = {
    CidrgateError: ExitStatus.ERROR,
    RuleError: ExitStatus.REFUSED,
    UnconfirmedChangeError: ExitStatus.REFUSED,
    NotConfirmedError: ExitStatus.REFUSED,
    BadRowsError: ExitStatus.REFUSED,
    SubaccountError: ExitStatus.REFUSED,
    AccountHasSubaccountsError: ExitStatus.REFUSED,
    InvalidAccountError: ExitStatus.REFUSED,
    InvalidTextError: ExitStatus.REFUSED,
    InvalidExpiryError: ExitStatus.REFUSED,
    InvalidScopeError: ExitStatus.REFUSED,
    InvalidCopyError: ExitStatus.REFUSED,
    RecommendationError: ExitStatus.REFUSED,
    NotFoundError: ExitStatus.NOT_FOUND,
    ConflictError: ExitStatus.CONFLICT,
    StoreError: ExitStatus.UNAVAILABLE,
    PartialImportError: ExitStatus.PARTIAL,
}
"""The status of each kind of errors; a kind that is not listed has the status of the kind that it belongs to."""


def status_of(error: CidrgateError) -> ExitStatus:
    """Return the exit status of a command that ends with an error.

    Example:
        >>> from cidrgate.errors import StoreBusyError
        >>> int(status_of(StoreBusyError("locked"))), int(status_of(RuleError([])))
        (6, 3)
    """
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
