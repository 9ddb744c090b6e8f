"""Changes of accounts themselves: their names, parents and display names, their deletion, and the policy.

`AccountRows` locks the rows that a change is about in the fixed order of `Transaction.accounts_named`, so that it never
deadlocks with changes of lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import bindparam, delete, func, or_, select, update

from cidrgate.errors import StoreConflictError
from cidrgate.stores.key_lists import in_keys
from cidrgate.stores.schema import accounts, changes, entries, facts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cidrgate.stores.sql import Transaction
    from cidrgate.stores.values import StoredAccount

__all__ = ["AccountRows", "Lineage"]

_self = accounts.alias("itself")
_select_family = select(accounts.c.name).where(
    _self.c.name == bindparam("account"),
    or_(accounts.c.id == _self.c.id, accounts.c.id == _self.c.parent_id, accounts.c.parent_id == _self.c.id),
)
_select_left = select(changes.c.account, changes.c.details).where(
    in_keys(changes.c.account, "names"), changes.c.action.in_(["delete_account", "rename_account"])
)
_delete_accounts = delete(accounts).where(in_keys(accounts.c.id, "ids"))
_renames = (
    select(changes.c.sequence, changes.c.action, changes.c.details)
    .where(
        changes.c.account == bindparam("account"),
        changes.c.sequence < bindparam("below"),
        changes.c.action.in_(["create_account", "rename_account"]),
    )
    .order_by(changes.c.sequence.desc())
)


Lineage: TypeAlias = list[tuple[str, int, int | None]]
"""The names that an account has had, the newest first. Each has the sequence after which the account had it, and the
sequence before which it had it; None for the present name."""


class AccountRows:
    """Statements on accounts in one transaction of a store.

    Args:
        transaction: The transaction; a write transaction for methods that change rows.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._connection = transaction.connection

    def family(self, account: str, *others: str) -> dict[str, StoredAccount]:
        """Return an account, its parent, its subaccounts and other accounts, by name, as far as they exist.

        A write transaction locks all of them. Nobody can then give them another parent or further subaccounts.

        Args:
            account: The name of the account.
            others: The names of other accounts, such as its next parent.

        Raises:
            StoreConflictError: If another writer has changed which accounts belong together in the meantime.
        """
        before = {*self._names(account), *others}
        found = self._transaction.accounts_named(before)
        if before - found.keys() - set(others) or {*self._names(account), *others} != before:
            raise StoreConflictError(
                "accounts were moved, renamed or deleted in the meantime; nothing was changed: try again"
            )
        return found

    def _names(self, account: str) -> list[str]:
        return list(self._connection.scalars(_select_family, {"account": account}))

    def versions_left(self, names: Sequence[str]) -> dict[str, int]:
        """Return the last versions that accounts with these names had which were deleted or renamed, by name.

        An account that gets such a name continues with the next version: a client that expects a version of the old
        account must not change the new one.
        """
        found: dict[str, int] = {}
        for row in self._connection.execute(_select_left, {"names": list(names)}):
            said = (row.details or {}).get("before") or {}
            if said.get("name") == row.account:
                found[row.account] = max(found.get(row.account, 0), said.get("version", 0))
        return found

    def store_policy(self, *, locks: bool = False) -> dict[str, Any] | None:
        """Return the policy of the store as it is stored; None if nobody set one.

        Args:
            locks: Whether other writers wait until this transaction ends, before they change it.
        """
        statement = select(facts.c.policy)
        found: dict[str, Any] | None = self._connection.scalars(
            statement.with_for_update() if locks else statement
        ).one()
        return found

    def set_store_policy(self, policy: dict[str, Any]) -> None:
        """Store the policy of the store."""
        self._connection.execute(update(facts).values(policy=policy))

    def set_policy(self, account: StoredAccount, policy: dict[str, Any] | None) -> None:
        """Store what an account overrides of the policy; None for nothing."""
        self._connection.execute(update(accounts).where(accounts.c.id == account.id).values(policy=policy))

    def policies(self) -> dict[str, dict[str, Any]]:
        """Return what accounts override of the policy, by name; accounts that override nothing are left out."""
        rows = self._connection.execute(
            select(accounts.c.name, accounts.c.policy).where(accounts.c.policy.is_not(None))
        )
        return {row.name: row.policy for row in rows}

    def longer_than(self, limit: int, at: datetime, account: StoredAccount | None = None) -> list[str]:
        """Return the accounts with more entries than a limit, sorted by name.

        Args:
            limit: The limit.
            at: The time at which entries have expired or not, with a time zone.
            account: Only this account; None for all.
        """
        counted = or_(entries.c.expires_at.is_(None), entries.c.expires_at > at)
        statement = (
            select(accounts.c.name)
            .join(entries, entries.c.account_id == accounts.c.id)
            .where(counted)
            .group_by(accounts.c.id, accounts.c.name)
            .having(func.count() > limit)
            .order_by(accounts.c.name)
        )
        if account is not None:
            statement = statement.where(accounts.c.id == account.id)
        return list(self._connection.scalars(statement))

    def set_version(self, account: StoredAccount, version: int) -> None:
        """Set the version of an account."""
        self._connection.execute(update(accounts).where(accounts.c.id == account.id).values(version=version))

    def delete(self, ids: Sequence[int]) -> None:
        """Delete accounts without entries, and their subaccounts if they are among them."""
        self._connection.execute(_delete_accounts, {"ids": list(ids)})

    def change(
        self, account: StoredAccount, *, name: str, parent: StoredAccount | None, display_name: str | None
    ) -> None:
        """Change the name, the parent and the display name of an account. Its version does not change."""
        self._connection.execute(
            update(accounts)
            .where(accounts.c.id == account.id)
            .values(name=name, parent_id=None if parent is None else parent.id, display_name=display_name)
        )

    def lineage(self, account: str) -> Lineage:
        """Return the names that the account with this name has had, as far as the log tells.

        The name may have belonged to other accounts before: their rows are not part of it.
        """
        found: Lineage = []
        name, below = account, None
        while True:
            limit = _GREATEST if below is None else below
            rows = self._connection.execute(_renames, {"account": name, "below": limit})
            begun = next((row for row in rows if _begins(row, name)), None)
            if begun is None:
                found.append((name, 0, below))
                return found
            # A row that gives it its name belongs to it, like the row that creates it.
            found.append((name, begun.sequence - 1, below))
            if begun.action == "create_account":
                return found
            old = begun.details["before"]["name"]
            # The row with the old name was written together with this one, just before it.
            before = self._connection.execute(_renames, {"account": old, "below": begun.sequence})
            left = next((row for row in before if row.details and row.details["before"].get("name") == old), None)
            if left is None:
                return found
            name, below = old, left.sequence


_GREATEST = 2**63 - 1


def _begins(row: Any, name: str) -> bool:
    """Return whether a row of the log is the first one that an account has under a name."""
    return bool(row.action == "create_account" or (row.details or {}).get("after", {}).get("name") == name)
