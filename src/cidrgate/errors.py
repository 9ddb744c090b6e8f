"""Every error cidrgate raises, and the value that describes one broken rule.

All of them are under `CidrgateError`, so an edge can catch one type. Nothing here imports another module
of the package: the native engine raises `InvalidAddressError` and `SubaccountError` from here too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CidrgateError",
    "InvalidAddressError",
    "InvalidAccountError",
    "InvalidTextError",
    "AccountExistsError",
    "AccountNotFoundError",
    "EntryNotFoundError",
    "SubaccountError",
    "VersionConflictError",
    "StoreError",
    "StoreNotFoundError",
    "StoreConflictError",
    "StoreBusyError",
    "AccountsLockedError",
    "ChangeWithdrawnError",
    "OutcomeUnknownError",
    "InvalidExpiryError",
    "HistoryError",
    "SnapshotError",
    "ProxyProtocolError",
    "UnclearAccountError",
    "InvalidScopeError",
    "TokenNotFoundError",
    "Problem",
    "RuleError",
]


class CidrgateError(Exception):
    """The root of every error raised by cidrgate."""


class InvalidAddressError(CidrgateError, ValueError):
    """Text, bytes or an object that is no IP address, or no network prefix where one was expected."""


class InvalidAccountError(CidrgateError, ValueError):
    """An account name that cannot be used: empty, too long, or one that looks like another."""


class InvalidTextError(CidrgateError, ValueError):
    """A label, or an actor, with a character that people cannot see."""


class AccountExistsError(CidrgateError, ValueError):
    """An account of that name exists already."""


class AccountNotFoundError(CidrgateError, LookupError):
    """No account of that name. Changes never create one silently: create it first."""


class EntryNotFoundError(CidrgateError, LookupError):
    """The account's list holds no such entry."""


class SubaccountError(CidrgateError):
    """The list of a subaccount is its parent's and cannot be managed on its own."""


class VersionConflictError(CidrgateError):
    """The list changed since the version the caller saw."""


class StoreError(CidrgateError):
    """The store could not be opened, read or written.

    A change that ends in this error was not stored, and is not stored later, unless it is an `OutcomeUnknownError`.
    """


class StoreNotFoundError(StoreError):
    """There is no store of cidrgate where the URL says: nothing is there, or something else is. Nothing was created."""


class StoreConflictError(StoreError):
    """Another writer was first, in a way the store found out by itself; nothing was changed. Worth another try."""


class StoreBusyError(StoreError):
    """The store was locked by somebody else for longer than the lock timeout; nothing was changed. Try again later."""


class AccountsLockedError(StoreBusyError):
    """Some accounts are locked by another transaction, in a change that does not wait for such; nothing was changed.

    Attributes:
        accounts: Their names.
    """

    def __init__(self, message: str, accounts: Iterable[str]) -> None:
        super().__init__(message)
        self.accounts = frozenset(accounts)


class ChangeWithdrawnError(StoreError):
    """The process stops, and took back a change that was not committed; nothing was changed."""


class OutcomeUnknownError(StoreError):
    """The store was told to commit a change, and its answer was lost: the change may be stored or not.

    Look at the list, or at the change log, before you try again.
    """


class InvalidExpiryError(CidrgateError, ValueError):
    """A time at which an entry shall end that is naive, or over already."""


class HistoryError(CidrgateError, LookupError):
    """A place in the change log that is not there: before the account existed, deleted by retention, or to come."""


class SnapshotError(CidrgateError):
    """A snapshot file is not one, is damaged, or was written by a newer version."""


class ProxyProtocolError(CidrgateError, ValueError):
    """What a connection starts with is no PROXY protocol header: drop the connection."""


class UnclearAccountError(CidrgateError, ValueError):
    """A request names its account more than once, or in a way that could be read as another one."""


class InvalidScopeError(CidrgateError, ValueError):
    """What a token shall be good for, written in a way that says nothing."""


class TokenNotFoundError(CidrgateError, LookupError):
    """No token of that id."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule in a submission.

    Attributes:
        code: One of `invalid_format`, `duplicate_entry`, `subset_exists`, `superset_conflict`,
            `special_range`, `limit_reached`.
        text: The offending text as it was submitted.
        position: 0-based ordinal of the piece in the submission.
        conflicts: CIDRs the text conflicts with: listed entries, or the special-purpose block.
        hint: What to do about it, for a person; empty when there is nothing useful to say.
    """

    code: str
    text: str
    position: int
    conflicts: tuple[str, ...] = field(default=())
    hint: str = field(default="")

    def __str__(self) -> str:
        """One line for a person: the code, the text, what it conflicts with and the way out."""
        against = f" (conflicts with {', '.join(self.conflicts)})" if self.conflicts else ""
        advice = f": {self.hint}" if self.hint else ""
        return f"{self.code}: {self.text!r}{against}{advice}"


class RuleError(CidrgateError, ValueError):
    """A submission broke at least one rule; nothing of it was stored.

    Attributes:
        problems: Every problem of the submission, in the order of their positions.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "; ".join(str(problem) for problem in self.problems)
