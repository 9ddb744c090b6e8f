"""Who asks: a token or a session of a person, and what they may see and change."""

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

__all__ = ["Principal"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in.

    Attributes:
        name: What the change log calls them.
        scopes: What they may do.
        key: What tells them apart from others, for what is stored for them.
        token_id: The token they came with, or that their session ends with; None where there is none.
        rely_on: Looks at what they came with again, in a transaction that changes something for them; raises
            `CredentialEndedError` where it does not stand any more, and then nothing is changed.
    """

    name: str
    scopes: tuple[Scope, ...]
    key: str
    token_id: int | None
    rely_on: Callable[[Transaction], object]

    @property
    def admin(self) -> bool:
        """Whether they may do everything."""
        return any(scope.kind == "admin" for scope in self.scopes)

    @property
    def accounts(self) -> list[str]:
        """The accounts they were given, each once, by name; an admin needs none to be given."""
        return sorted({scope.account for scope in self.scopes if scope.account is not None})

    def changing(self, manager: RuleManager) -> RuleManager:
        """A manager for their changes: each relies, in its transaction, on what they came with."""
        return manager.supervised(keep=lambda transaction, _: self.rely_on(transaction))

    def require_admin(self) -> None:
        """Refuse everybody else.

        Raises:
            ForbiddenError: If they are no admin.
        """
        if not self.admin:
            raise ForbiddenError("this needs the scope admin")

    def require_account(self, manager: RuleManager, account: str, *, write: bool = False) -> None:
        """Refuse what is not theirs. An account comes with its subaccounts, which inherit its list.

        Whoever may not see an account is told what is told of one that does not exist.

        Args:
            manager: Knows whose subaccount it is.
            account: The account.
            write: Whether its list shall be changed.

        Raises:
            AccountNotFoundError: If they may not see it.
            ForbiddenError: If they may see it, but not change it.
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
        """Whether they may change the list of an account, which they may see."""
        own: Iterable[str] = (account,) if parent is None else (account, parent)
        return self.admin or any(scope.write for name in own for scope in self._scopes_of(name))

    def _scopes_of(self, account: str) -> list[Scope]:
        return [scope for scope in self.scopes if scope.account == account]
