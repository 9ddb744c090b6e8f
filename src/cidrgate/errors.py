"""Every error that cidrgate raises, and the value that describes one broken rule.

All errors derive from `CidrgateError`, so an edge can catch one type. This module imports no other module of the
package, because the native engine raises `InvalidAddressError` and `SubaccountError` from here too.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

__all__ = [
    "CidrgateError",
    "NotFoundError",
    "ConflictError",
    "InvalidAddressError",
    "InvalidAccountError",
    "InvalidTextError",
    "AccountExistsError",
    "AccountNotFoundError",
    "AccountHasSubaccountsError",
    "EntryNotFoundError",
    "SubaccountError",
    "VersionConflictError",
    "UnconfirmedChangeError",
    "WouldDisableEnforcementError",
    "WouldLockOutCallerError",
    "WouldUseOtherListError",
    "WouldAddWideEntryError",
    "StoreError",
    "StoreNotFoundError",
    "StoreOutgrownError",
    "StoreConflictError",
    "StoreNotEmptyError",
    "StoreBusyError",
    "AccountsLockedError",
    "ChangeWithdrawnError",
    "ForkedError",
    "OutcomeUnknownError",
    "InvalidExpiryError",
    "HistoryError",
    "UndoConflictError",
    "NoTrafficError",
    "SnapshotError",
    "InvalidCopyError",
    "RecommendationError",
    "ProxyProtocolError",
    "MissingAccountError",
    "UnclearAccountError",
    "InvalidScopeError",
    "TokenNotFoundError",
    "SessionNotFoundError",
    "CredentialEndedError",
    "MissingExtraError",
    "Problem",
    "ProblemCode",
    "Confirmation",
    "RuleError",
]


class CidrgateError(Exception):
    """The base class of every error that cidrgate raises.

    Attributes:
        code: The kind of the error for programs. The command line (`--json`) and the API use the same code. Each class
            has its own; later versions may add codes.
    """

    code: str = "cidrgate"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle an error with all its data, whatever its constructor asks for."""
        reduced: Any = super().__reduce__()
        return (_remade, (type(self), self.args), *reduced[2:])


def _remade(kind: type[CidrgateError], arguments: tuple[Any, ...]) -> CidrgateError:
    """Return an error without a call of its constructor; its data come from the pickle."""
    return kind.__new__(kind, *arguments)


class NotFoundError(CidrgateError, LookupError):
    """The base class of errors about an account, an entry, a change or a credential that does not exist."""

    code = "not_found"


class ConflictError(CidrgateError):
    """The base class of errors about a change that another one came before. Read again, then decide."""

    code = "conflict"


class InvalidAddressError(CidrgateError, ValueError):
    """Text, bytes or an object is not an IP address, or not a network prefix where one is expected."""

    code = "invalid_address"


class InvalidAccountError(CidrgateError, ValueError):
    """An account name is not valid: it is empty, too long, or looks like another name.

    Attributes:
        account: The name, if the error knows it.
    """

    code = "invalid_account"

    def __init__(self, message: str, *, account: str | None = None) -> None:
        super().__init__(message)
        self.account = account


class InvalidTextError(CidrgateError, ValueError):
    """A label or an actor is too long, or contains an invisible character.

    Attributes:
        field: What the text is: `label`, `actor` or the name of another field.
        text: The text.
    """

    code = "invalid_text"

    def __init__(self, message: str, *, field: str | None = None, text: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.text = text


class AccountExistsError(ConflictError, ValueError):
    """An account with this name already exists.

    Attributes:
        account: The name.
    """

    code = "account_exists"

    def __init__(self, message: str, *, account: str | None = None) -> None:
        super().__init__(message)
        self.account = account


class AccountNotFoundError(NotFoundError):
    """No account has this name. A change never creates an account silently: create it first.

    Attributes:
        account: The name.
    """

    code = "account_not_found"

    def __init__(self, message: str, *, account: str | None = None) -> None:
        super().__init__(message)
        self.account = account


class AccountHasSubaccountsError(CidrgateError, ValueError):
    """An account has subaccounts, so it cannot be deleted alone, or become a subaccount.

    Attributes:
        account: The account.
        subaccounts: The names of its subaccounts, at most the first 100.
    """

    code = "account_has_subaccounts"

    def __init__(self, message: str, *, account: str | None = None, subaccounts: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.account = account
        self.subaccounts = tuple(subaccounts)


class EntryNotFoundError(NotFoundError):
    """The account's list does not contain an entry.

    Attributes:
        account: The account whose list was searched.
        entries: Every entry that was named and is not in the list: ids, or CIDRs as written. Empty if none was named.
    """

    code = "entry_not_found"

    def __init__(self, message: str, *, account: str | None = None, entries: Iterable[int | str] = ()) -> None:
        super().__init__(message)
        self.account = account
        self.entries = tuple(entries)

    @property
    def entry(self) -> int | str | None:
        """The first entry that is not in the list."""
        return self.entries[0] if self.entries else None


class SubaccountError(CidrgateError, ValueError):
    """A subaccount uses its parent's list, so its own list cannot be changed, and it cannot have subaccounts.

    Attributes:
        account: The subaccount.
        parent: The account whose list it uses.
    """

    code = "list_inherited"

    def __init__(self, message: str, *, account: str | None = None, parent: str | None = None) -> None:
        super().__init__(message)
        self.account = account
        self.parent = parent


class VersionConflictError(ConflictError):
    """The list changed since the version the caller saw.

    Attributes:
        account: The account whose list changed.
        expected: The version that the caller saw.
        actual: The version of the list.
    """

    code = "version_conflict"

    def __init__(
        self, message: str, *, account: str | None = None, expected: int | None = None, actual: int | None = None
    ) -> None:
        super().__init__(message)
        self.account = account
        self.expected = expected
        self.actual = actual


class UnconfirmedChangeError(CidrgateError):
    """A change needs a confirmation; nothing was changed.

    Each subclass says what the change would do. The library, the API and the command line confirm a change in
    different ways: the message of the error names the library's way, and an edge names its own way with `told`.

    Attributes:
        account: The account whose list would change.
        consequence: What the change would do.
        confirm: The names of all confirmations that the change needs, including those already given.
        way: How the library confirms it.
    """

    code = "unconfirmed_change"

    def __init__(self, *, account: str, consequence: str, confirm: Iterable[Confirmation], way: str) -> None:
        self.account = account
        self.consequence = consequence
        self.confirm = tuple(confirm)
        self.way = way
        super().__init__(self.told(way))

    def told(self, way: str) -> str:
        """Return the message, with the way to confirm the change.

        Args:
            way: What the caller has to do, such as `pass allow_empty=True`.
        """
        return f"{self.consequence}. Nothing was changed: {way} if that is wanted"


def confirming(names: Iterable[str]) -> str:
    """Return how the library confirms guards.

    Example:
        >>> confirming(["disable_enforcement", "lock_out"])
        "pass confirmed={'disable_enforcement', 'lock_out'}"
    """
    return f"pass confirmed={{{', '.join(map(repr, names))}}}"


class WouldDisableEnforcementError(UnconfirmedChangeError):
    """A change would end the enforcement of an account: no list would decide about its requests any more."""

    code = "would_disable_enforcement"

    def __init__(
        self,
        *,
        account: str,
        confirm: Iterable[Confirmation] = ("disable_enforcement",),
        consequence: str | None = None,
        way: str = "pass allow_empty=True",
    ) -> None:
        confirm = tuple(confirm)
        super().__init__(
            account=account,
            consequence=f"without entries account {account!r} would not be enforced: every address would be allowed"
            if consequence is None
            else consequence,
            confirm=confirm,
            way=way if len(confirm) == 1 else confirming(confirm),
        )


class WouldLockOutCallerError(UnconfirmedChangeError):
    """A change would lock out the caller: it would deny the address that requests the change.

    Attributes:
        address: The caller's address.
    """

    code = "would_lock_out_caller"

    def __init__(self, *, account: str, address: str, confirm: Iterable[Confirmation] = ("lock_out",)) -> None:
        confirm = tuple(confirm)
        super().__init__(
            account=account,
            consequence=f"after this change {address}, your own address, could not act for account {account!r} any "
            "more",
            confirm=confirm,
            way=f"list it too, or {confirming(confirm)}",
        )
        self.address = address


class WouldUseOtherListError(UnconfirmedChangeError):
    """A change would let another list decide for an account, by which some addresses lose or gain access."""

    code = "would_use_other_list"

    def __init__(self, *, account: str, consequence: str, confirm: Iterable[Confirmation] = ("other_list",)) -> None:
        confirm = tuple(confirm)
        super().__init__(account=account, consequence=consequence, confirm=confirm, way=confirming(confirm))


class WouldAddWideEntryError(UnconfirmedChangeError):
    """A change would list a network that is wider than the policy allows without a confirmation.

    Attributes:
        networks: The wide networks.
    """

    code = "would_add_wide_entry"

    def __init__(
        self,
        *,
        account: str,
        networks: Iterable[str],
        consequence: str,
        confirm: Iterable[Confirmation] = ("wide_entry",),
    ) -> None:
        confirm = tuple(confirm)
        super().__init__(account=account, consequence=consequence, confirm=confirm, way=confirming(confirm))
        self.networks = tuple(networks)


class StoreError(CidrgateError):
    """The store could not be opened, read or written.

    A change that raises this error was not stored and will not be stored later. There are two exceptions: the subclass
    `OutcomeUnknownError`, and what earlier commits of a change in several commits have stored, as `stored` says.

    Attributes:
        stored: What earlier commits of the same call have stored, as the message says it too, such as "500 of 600
            accounts are done, and a repetition does the rest"; None if there are none.
    """

    code = "store_unavailable"

    def __init__(self, message: str = "", *, stored: str | None = None) -> None:
        super().__init__(message)
        self.stored = stored


def after_commits(error: StoreError, stored: str) -> StoreError:
    """Return an error of the store, of the same class, for a call of which earlier commits are stored.

    Args:
        error: The error of a later commit.
        stored: What the earlier ones have stored.

    Example:
        >>> after_commits(StoreBusyError("it is locked; nothing was changed: try again"), "the first is stored")
        StoreBusyError('it is locked; the first is stored: try again')
    """
    before, found, after = str(error).partition("nothing was changed")
    made = copy(error)
    made.args = (f"{before}{stored}{after}" if found else f"{error}; {stored}",)
    made.stored = stored
    return made


class StoreNotFoundError(StoreError):
    """The URL does not name a cidrgate store: nothing is there, or something else is. Nothing was created."""

    code = "store_not_found"


class StoreOutgrownError(StoreError):
    """A newer cidrgate has migrated the store, so this version cannot read its lists correctly; nothing was changed.

    Stop this process, and start a newer cidrgate.
    """

    code = "store_outgrown"


class StoreConflictError(StoreError, ConflictError):
    """The store found a conflict with another writer; nothing was changed. Try again."""

    code = "store_conflict"


class StoreNotEmptyError(ConflictError):
    """A backup was to be restored to a store that has accounts, changes or tokens already. Nothing was changed."""

    code = "store_not_empty"


class StoreBusyError(StoreError):
    """Another writer held the store's lock for longer than the lock timeout; nothing was changed. Try again later."""

    code = "store_busy"


class AccountsLockedError(StoreBusyError):
    """Another transaction locks some accounts, and this change does not wait for locks; nothing was changed.

    A caller who catches `StoreBusyError` need not tell the two apart, so they have one code.

    Attributes:
        accounts: The names of the locked accounts.
    """

    code = "store_busy"

    def __init__(self, message: str, *, accounts: Iterable[str]) -> None:
        super().__init__(message)
        self.accounts = frozenset(accounts)


class ChangeWithdrawnError(StoreError):
    """The process is stopping and rolled back a change before its commit; nothing was changed."""

    code = "change_withdrawn"


class ForkedError(StoreError):
    """The process was forked during an operation on the store. Only the parent process continues it."""

    code = "forked"


class OutcomeUnknownError(StoreError):
    """The store received a commit, but its answer was lost: the change may or may not be stored.

    The message says what to look at before you try again: the list, or what else the change was about.
    """

    code = "outcome_unknown"
    _check = "check the list before you try again"


class InvalidExpiryError(CidrgateError, ValueError):
    """The expiry of an entry or of a mode has no time zone, is in the past, or is out of range in UTC.

    Attributes:
        expires_at: The expiry.
    """

    code = "invalid_expiry"

    def __init__(self, message: str, *, expires_at: datetime | None = None) -> None:
        super().__init__(message)
        self.expires_at = expires_at


class HistoryError(NotFoundError):
    """The change log has no such sequence: it is before the account existed, deleted by retention, or in the future.

    Attributes:
        sequence: The sequence that was asked for.
    """

    code = "change_not_found"

    def __init__(self, message: str, *, sequence: int | None = None) -> None:
        super().__init__(message)
        self.sequence = sequence


class UndoConflictError(ConflictError):
    """A change of a list cannot be undone, because of later changes or because of what it is; nothing was changed.

    The message says what stands in the way.

    Attributes:
        account: The account whose list was to change.
        sequence: The sequence of the change that was to be undone.
        entries: The networks of that change that are no longer as it left them, or have expired.
        later: The sequence of the last change that altered them; None if there is none.
    """

    code = "undo_conflict"

    def __init__(
        self,
        message: str,
        *,
        account: str | None = None,
        sequence: int | None = None,
        entries: Iterable[str] = (),
        later: int | None = None,
    ) -> None:
        super().__init__(message)
        self.account = account
        self.sequence = sequence
        self.entries = tuple(entries)
        self.later = later


class NoTrafficError(NotFoundError):
    """No traffic is stored, so nothing is known of who uses the lists."""

    code = "no_traffic"


class SnapshotError(CidrgateError):
    """A file is not a snapshot, is damaged, or was written by a newer version; or no snapshot can be written."""

    code = "snapshot"


class InvalidCopyError(CidrgateError, ValueError):
    """A file that should be an export or a backup is damaged, incomplete or of a newer cidrgate.

    Attributes:
        line: The number of the line where it is wrong, from 1; None if it is the whole file.
    """

    code = "invalid_copy"

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class RecommendationError(CidrgateError, ValueError):
    """No list does all that is asked of a recommendation: too few entries are allowed, or a forced network is not.

    Attributes:
        fewest: The fewest entries that would cover everything, if the number of entries is too small; None otherwise.
        networks: The forced networks that no list may contain.
    """

    code = "recommendation"

    def __init__(self, message: str, *, fewest: int | None = None, networks: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.fewest = fewest
        self.networks = tuple(networks)


class ProxyProtocolError(CidrgateError, ValueError):
    """A connection does not start with a valid PROXY protocol header. Close the connection."""

    code = "proxy_protocol"


class MissingAccountError(CidrgateError, ValueError):
    """A request does not name an account, although it must."""

    code = "missing_account"


class UnclearAccountError(CidrgateError, ValueError):
    """A request names its account more than once, or in a way that two readers could understand differently."""

    code = "unclear_account"


class InvalidScopeError(CidrgateError, ValueError):
    """The scope of a token is not valid.

    Attributes:
        scope: The scope as written.
    """

    code = "invalid_scope"

    def __init__(self, message: str, *, scope: str | None = None) -> None:
        super().__init__(message)
        self.scope = scope


class TokenNotFoundError(NotFoundError):
    """No token has this id.

    Attributes:
        token: The id.
    """

    code = "token_not_found"

    def __init__(self, message: str, *, token: int | None = None) -> None:
        super().__init__(message)
        self.token = token


class SessionNotFoundError(NotFoundError):
    """No console session has this id, or the session has expired.

    Attributes:
        session: The id.
    """

    code = "session_not_found"

    def __init__(self, message: str, *, session: str | None = None) -> None:
        super().__init__(message)
        self.session = session


class CredentialEndedError(CidrgateError):
    """A token or a session expired, was revoked or was changed after it was checked; nothing was changed."""

    code = "credential_ended"


class MissingExtraError(CidrgateError, ModuleNotFoundError):
    """A library is not installed that a part of the package needs. The message names the extra that installs it."""

    code = "missing_extra"


@contextmanager
def needs_extra(extra: str, part: str) -> Iterator[None]:
    """Wrap imports of libraries that only an extra installs: if one is missing, the error says how to install it.

    Args:
        extra: The name of the extra.
        part: The part of the package that needs the libraries; the subject of the message.

    Raises:
        MissingExtraError: If a library is not installed. A missing module of Python or of this package raises
            `ModuleNotFoundError` as usual.

    Example:
        >>> with needs_extra("cli", "the command"):
        ...     raise ModuleNotFoundError(name="rich")
        Traceback (most recent call last):
            ...
        cidrgate.errors.MissingExtraError: the command needs rich, which is not installed: pip install 'cidrgate[cli]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if not library or library == "cidrgate" or library in sys.stdlib_module_names:
            raise
        message = f"{part} needs {library}, which is not installed: pip install 'cidrgate[{extra}]'"
        raise MissingExtraError(message, name=error.name) from error


Confirmation: TypeAlias = Literal["disable_enforcement", "lock_out", "other_list", "wide_entry"]
"""The name of a confirmation, for a change that a guard refuses. Later versions may add names."""

ProblemCode: TypeAlias = Literal[
    "invalid_format", "special_range", "duplicate_entry", "subset_exists", "superset_conflict", "limit_reached"
]
"""The codes of the rules. Later versions may add codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One broken rule in a submission.

    Attributes:
        code: The code of a rule, such as `invalid_format`; `cidrgate.rules.RULES` lists them. Later versions may add
            codes.
        text: The invalid text as it was submitted.
        position: 0-based position of the submitted entry in the submission.
        conflicts: CIDRs that the text conflicts with: listed entries, or special-purpose blocks. At most
            `cidrgate.rules.limits.MOST_CONFLICTS`.
        hint: Advice on how to solve the problem; empty if there is no useful advice.
        more_conflicts: How many conflicts there are beyond those in `conflicts`.
        suggestions: What could be submitted instead of the text, the best first. The list accepts each of them beside
            the rest of the submission; several networks of one suggestion are separated by commas.
    """

    code: ProblemCode
    text: str
    position: int
    conflicts: tuple[str, ...] = field(default=())
    hint: str = field(default="")
    more_conflicts: int = field(default=0)
    suggestions: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        """Return one line of text: the code, the text, the conflicts and the hint."""
        against = f" (conflicts with {_some(self.conflicts, self.more_conflicts)})" if self.conflicts else ""
        advice = f": {self.hint}" if self.hint else ""
        return f"{self.code}: {self.text!r}{against}{advice}"


class RuleError(CidrgateError, ValueError):
    """A submission breaks at least one rule; no part of it was stored.

    Attributes:
        problems: Every problem of the submission, ordered by position. At most
            `cidrgate.rules.limits.MOST_PROBLEMS`.
        more: How many problems there are beyond those in `problems`.
    """

    code = "rules_broken"

    def __init__(self, problems: Iterable[Problem], *, more: int = 0) -> None:
        self.problems: list[Problem] = list(problems)
        if not all(isinstance(problem, Problem) for problem in self.problems):
            raise TypeError("a RuleError consists of Problem values")
        self.more = more
        super().__init__(self.problems)

    def __str__(self) -> str:
        left = max(0, len(self.problems) - _MOST_NAMED) + self.more
        named = "; ".join(str(problem) for problem in self.problems[:_MOST_NAMED])
        return f"{named}; and {left:,} more problems" if left else named


_MOST_NAMED = 20
"""How many problems a message names, and how many conflicts of each problem."""


def _some(conflicts: tuple[str, ...], more: int) -> str:
    left = max(0, len(conflicts) - _MOST_NAMED) + more
    named = ", ".join(conflicts[:_MOST_NAMED])
    return f"{named} and {left:,} more" if left else named
