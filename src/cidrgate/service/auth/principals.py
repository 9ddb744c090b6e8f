"""`Principal`: an authenticated token or session, and what it may read and change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cidrgate.errors import AccountNotFoundError
from cidrgate.manager.accounts import no_such_account
from cidrgate.manager.outcomes import ListOutcome
from cidrgate.service.http.problems import ForbiddenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cidrgate.manager import RuleManager
    from cidrgate.service.auth.values import Scope
    from cidrgate.stores import StoredAccount, Transaction
    from cidrgate.values import Origin

__all__ = ["Principal"]


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated client.

    Attributes:
        name: The actor in the change log.
        scopes: What the principal may do.
        key: A unique identity, for data that is stored for the principal.
        token_id: The token of the request, or the token that the session depends on; None if there is none.
        rely_on: Checks the credential again in a transaction that makes a change for the principal, and returns its
            present scopes. It raises `CredentialEndedError` if the credential is no longer valid, and then nothing is
            changed.
        origin: How the principal is known, and from where its request came, for the change log.
    """

    name: str
    scopes: tuple[Scope, ...]
    key: str
    token_id: int | None
    rely_on: Callable[[Transaction], tuple[Scope, ...]]
    origin: Origin

    @property
    def admin(self) -> bool:
        """Whether the principal may do everything."""
        return any(scope.kind == "admin" for scope in self.scopes)

    @property
    def accounts(self) -> list[str]:
        """The names of the accounts in the scopes, sorted and unique. An admin may use all accounts without them."""
        return sorted({scope.account for scope in self.scopes if scope.account is not None})

    def changing(self, manager: RuleManager) -> RuleManager:
        """Return a manager for the principal's changes. Each checks in its transaction what the principal may do.

        A change of a list checks that after it has locked the account: while it waited for the lock, the account may
        have got another parent or another name, and the name another account. Only admins make other changes.
        """

        def check_list(transaction: Transaction, account: StoredAccount) -> None:
            self.now(transaction)._require(account.name, lambda: account.parent, write=True)

        def check_other(transaction: Transaction, made: object) -> None:
            if not isinstance(made, ListOutcome):
                self.now(transaction).require_admin()

        seen = manager.with_origin(self.origin)._with_account_check(check_list)
        return seen._with_transaction_hook(check_other)

    def now(self, transaction: Transaction) -> Principal:
        """Return the principal with its present scopes. Its credential cannot end before the transaction does.

        Args:
            transaction: A write transaction that makes a change for the principal.

        Raises:
            CredentialEndedError: If the credential is no longer valid.
        """
        return replace(self, scopes=self.rely_on(transaction))

    def require_admin(self) -> None:
        """Check that the principal is an admin.

        Raises:
            ForbiddenError: If the principal is not an admin.
        """
        if not self.admin:
            raise ForbiddenError("this needs the scope admin")

    def names(self, account: str) -> bool:
        """Return whether a scope alone says what the principal may do with an account, without its parent."""
        return self.admin or bool(self._scopes_of(account))

    def require_account(self, manager: RuleManager, account: str, *, write: bool = False) -> None:
        """Check that the principal may use an account. A scope for an account includes its subaccounts.

        A principal that may not read an account gets the same error as for an account that does not exist.

        Args:
            manager: The manager that knows the parents of subaccounts.
            account: The account.
            write: Whether the principal wants to change the list.

        Raises:
            AccountNotFoundError: If the principal may not read the account.
            ForbiddenError: If the principal may read the account, but not change its list.
            StoreError: If the store cannot be read.
        """

        def parent() -> str | None:
            try:
                return manager.account(account).parent
            except AccountNotFoundError:
                return None

        self._require(account, parent, write=write)

    def _require(self, account: str, parent_of: Callable[[], str | None], *, write: bool) -> None:
        if self.admin:
            return
        scopes = self._scopes_of(account)
        if not scopes:
            parent = parent_of()
            scopes = [] if parent is None else self._scopes_of(parent)
        if not scopes:
            raise no_such_account(account)
        if write and not any(scope.write for scope in scopes):
            raise ForbiddenError(f"this needs the scope account:{scopes[0].account}:write")

    def may_write(self, account: str, parent: str | None) -> bool:
        """Return whether the principal may change the list of an account that it may read."""
        own: Iterable[str] = (account,) if parent is None else (account, parent)
        return self.admin or any(scope.write for name in own for scope in self._scopes_of(name))

    def _scopes_of(self, account: str) -> list[Scope]:
        return [scope for scope in self.scopes if scope.account == account]
