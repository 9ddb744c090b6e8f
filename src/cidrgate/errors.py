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
    "UnconfirmedChangeError",
    "WouldDisableEnforcementError",
    "WouldLockOutCallerError",
    "StoreError",
    "StoreNotFoundError",
    "StoreOutgrownError",
    "StoreConflictError",
    "StoreBusyError",
    "AccountsLockedError",
    "ChangeWithdrawnError",
    "OutcomeUnknownError",
    "InvalidExpiryError",
    "HistoryError",
    "SnapshotError",
    "ProxyProtocolError",
    "MissingAccountError",
    "UnclearAccountError",
    "InvalidScopeError",
    "TokenNotFoundError",
    "SessionNotFoundError",
    "CredentialEndedError",
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


class UnconfirmedChangeError(CidrgateError):
    """A change that must be confirmed before it is made; nothing was changed.

    Each kind says what the change would do. How it is confirmed depends on where the caller stands: the message of the
    error names the way of the library, and an edge names its own with `told`.

    Attributes:
        account: Whose list.
        consequence: What the change would do.
        confirm: The names of all confirmations the change needs, those that were given too.
    """

    def __init__(self, account: str, consequence: str, confirm: Iterable[str], way: str) -> None:
        self.account = account
        self.consequence = consequence
        self.confirm = tuple(confirm)
        super().__init__(self.told(way))

    def told(self, way: str) -> str:
        """The message with the way to confirm the change.

        Args:
            way: What to do, such as `pass allow_empty=True`.
        """
        return f"{self.consequence}. Nothing was changed: {way} if that is wanted"


class WouldDisableEnforcementError(UnconfirmedChangeError):
    """A change after which an enforced account has no entries, so that every address may act for it."""

    def __init__(self, account: str, confirm: Iterable[str] = ("disable_enforcement",)) -> None:
        super().__init__(
            account,
            f"without entries account {account!r} would not be enforced: every address would be allowed",
            confirm,
            "pass allow_empty=True",
        )


class WouldLockOutCallerError(UnconfirmedChangeError):
    """A change that would deny the address of the one who asks for it.

    Attributes:
        address: The address.
    """

    def __init__(self, account: str, address: str, confirm: Iterable[str] = ("lock_out",)) -> None:
        super().__init__(
            account,
            f"after this change {address}, your own address, could not act for account {account!r} any more",
            confirm,
            "list it too, or pass confirmed={'lock_out'}",
        )
        self.address = address


class StoreError(CidrgateError):
    """The store could not be opened, read or written.

    A change that ends in this error was not stored, and is not stored later, unless it is an `OutcomeUnknownError`.
    """


class StoreNotFoundError(StoreError):
    """There is no store of cidrgate where the URL says: nothing is there, or something else is. Nothing was created."""


class StoreOutgrownError(StoreError):
    """A newer cidrgate has migrated the store so that this one cannot tell what its lists match; nothing was changed.

    Start a newer cidrgate in place of this process.
    """


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


class MissingAccountError(CidrgateError, ValueError):
    """A request that has to name its account names none."""


class UnclearAccountError(CidrgateError, ValueError):
    """A request names its account more than once, or in a way that could be read as another one."""


class InvalidScopeError(CidrgateError, ValueError):
    """What a token shall be good for, written in a way that says nothing."""


class TokenNotFoundError(CidrgateError, LookupError):
    """No token of that id."""


class SessionNotFoundError(CidrgateError, LookupError):
    """No console session of that id, or it is over."""


class CredentialEndedError(CidrgateError):
    """A token or a session that was revoked, ended or altered since it was looked at; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule in a submission.

    Attributes:
        code: That of a rule, such as `invalid_format`; `cidrgate.rules.RULES` lists them.
        text: The offending text as it was submitted.
        position: 0-based ordinal of the piece in the submission.
        conflicts: CIDRs the text conflicts with: listed entries, or the special-purpose block. At most
            `cidrgate.rules.limits.MOST_CONFLICTS`.
        hint: What to do about it, for a person; empty when there is nothing useful to say.
        more_conflicts: How many conflicts there are beyond those in `conflicts`.
    """

    code: str
    text: str
    position: int
    conflicts: tuple[str, ...] = field(default=())
    hint: str = field(default="")
    more_conflicts: int = field(default=0)

    def __str__(self) -> str:
        """One line for a person: the code, the text, what it conflicts with and the way out."""
        against = f" (conflicts with {_some(self.conflicts, self.more_conflicts)})" if self.conflicts else ""
        advice = f": {self.hint}" if self.hint else ""
        return f"{self.code}: {self.text!r}{against}{advice}"


class RuleError(CidrgateError, ValueError):
    """A submission broke at least one rule; nothing of it was stored.

    Attributes:
        problems: Every problem of the submission, in the order of their positions. At most
            `cidrgate.rules.limits.MOST_PROBLEMS`.
        more: How many problems there are beyond those in `problems`.
    """

    def __init__(self, problems: Iterable[Problem], more: int = 0) -> None:
        self.problems: list[Problem] = list(problems)
        self.more = more
        super().__init__(self.problems)

    def __str__(self) -> str:
        left = max(0, len(self.problems) - _MOST_NAMED) + self.more
        named = "; ".join(str(problem) for problem in self.problems[:_MOST_NAMED])
        return f"{named}; and {left:,} more problems" if left else named


_MOST_NAMED = 20
"""How many problems, and conflicts of a problem, a message names."""


def _some(conflicts: tuple[str, ...], more: int) -> str:
    left = max(0, len(conflicts) - _MOST_NAMED) + more
    named = ", ".join(conflicts[:_MOST_NAMED])
    return f"{named} and {left:,} more" if left else named
