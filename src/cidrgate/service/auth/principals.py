"""`Principal`: an authenticated token or session, and what it may read and change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cidrgate.errors import AccountNotFoundError
from cidrgate.manager.accounts import no_such_account
from cidrgate.service.http.problems import ForbiddenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cidrgate.manager import RuleManager
    from cidrgate.service.auth.values import Scope
    from cidrgate.stores import Transaction
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
        rely_on: Checks the credential again in a transaction that makes a change for the principal. It raises
            `CredentialEndedError` if the credential is no longer valid, and then nothing is changed.
        origin: How the principal is known, and from where its request came, for the change log.
    """

    name: str
    scopes: tuple[Scope, ...]
    key: str
    token_id: int | None
    rely_on: Callable[[Transaction], object]
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
        """Return a manager for the principal's changes. Each change checks the credential in its transaction."""
        return manager.with_origin(self.origin)._with_transaction_hook(lambda transaction, _: self.rely_on(transaction))

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
        if self.admin:
            return
        scopes = self._scopes_of(account)
        if not scopes:
            try:
                parent = manager.account(account).parent
            except AccountNotFoundError:
                parent = None
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
