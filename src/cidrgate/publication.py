"""A store and a matcher that never differ: what a transaction commits, the matcher publishes right after."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cidrgate._engine import Matcher
from cidrgate.accounts import existing_account, refuse_subaccount
from cidrgate.errors import CidrgateError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cidrgate.stores import Store, StoredAccount, StoredList, Transaction

__all__ = ["PublishedStore"]


class PublishedStore:
    """A store whose committed lists are published to a matcher, in the order of the commits.

    Safe to share between threads.

    Args:
        store: Where lists are kept; to be written through `change` only.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._matcher = Matcher()
        self._loaded = False
        # Held from the first read of a change to its publication.
        self._lock = threading.RLock()
        # Accounts whose change may be committed but could not be published.
        self._stale: set[str] = set()

    def load(self) -> None:
        """Fill the matcher from the store, all accounts as of one moment.

        Raises:
            StoreError: If the store cannot be read.
        """
        with self._lock:
            with self._store.read() as transaction:
                self._publish(transaction.lists())
            self._stale.clear()
            self._loaded = True

    @property
    def matcher(self) -> Matcher:
        """The matcher, equal to the store.

        Raises:
            CidrgateError: If it was not loaded.
            StoreError: If a change was stored but not published, and the store cannot be read to catch up.
        """
        if not self._loaded:
            raise CidrgateError("the matcher is not loaded, and an empty one would allow everything: call load()")
        if self._stale:
            with self._lock:
                self._catch_up()
        return self._matcher

    @contextmanager
    def change(self) -> Iterator[tuple[Transaction, set[str]]]:
        """A write transaction, and a set into which the block puts the name of every account it changes.

        At the end of the block the transaction is committed, then those accounts are published as it left
        them; before `load` they are not published. An exception in the block changes nothing.

        Raises:
            StoreError: If it cannot begin or be committed; the store and the matcher are as before.
        """
        with self._lock:
            self._catch_up()
            changed: set[str] = set()
            in_doubt = False
            try:
                with self._store.write() as transaction:
                    yield transaction, changed
                    lists = list(transaction.lists(changed)) if self._loaded else []
                    in_doubt = self._loaded
                self._publish(lists)
                in_doubt = False
            except StoreError:
                in_doubt = False  # a commit that fails has changed nothing
                raise
            finally:
                # Interrupted or out of memory between the commit and the end of the publication: the matcher
                # may be wider than the store, so it is not handed out again until it has caught up.
                if in_doubt:
                    self._stale |= changed
                    with suppress(CidrgateError):
                        self._catch_up()

    @contextmanager
    def list_change(self, account: str) -> Iterator[tuple[Transaction, StoredAccount]]:
        """A `change` of one account's list.

        Raises:
            AccountNotFoundError: If there is no such account.
            SubaccountError: If the account inherits its list.
            StoreError: As for `change`.
        """
        with self.change() as (transaction, changed):
            owner = existing_account(transaction, account)
            refuse_subaccount(owner)
            changed.add(account)
            yield transaction, owner

    def _catch_up(self) -> None:
        """Publish, as the store has them now, the accounts an earlier change could not publish."""
        if self._stale:
            with self._store.read() as transaction:
                lists = list(transaction.lists(self._stale))
            self._publish(lists)
            self._stale.clear()

    def _publish(self, lists: Iterable[StoredList]) -> None:
        for account, parent, cidrs in lists:
            if parent is not None:
                self._matcher.link(account, parent)
            elif cidrs or account in self._matcher:
                self._matcher.publish(account, cidrs)
