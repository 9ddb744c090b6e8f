"""The write transactions that are under way: how they commit, and how those that did not yet are taken back."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from cidrgate.errors import ChangeWithdrawnError, OutcomeUnknownError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

__all__ = ["Write", "Writes"]


class Write:
    """One transaction.

    Attributes:
        driver: Its connection; None before it has one.
        committing: Whether it was told to commit: from then on it cannot be taken back.
        withdrawn: Whether it was taken back.
    """

    def __init__(self) -> None:
        self.driver: Any = None
        self.committing = False
        self.withdrawn = threading.Event()


class Writes:
    """The write transactions of one store. Safe to share between threads.

    Args:
        name: What the store is called.
        cancel: Ends what a connection waits for; called from another thread.
        refused: Whether the error that answers a COMMIT says for certain that nothing was committed.
    """

    def __init__(self, name: str, cancel: Callable[[Any], object], refused: Callable[[Exception], bool]) -> None:
        self._name = name
        self._cancel = cancel
        self._refused = refused
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the transactions of threads that did not come along."""
        self._lock = threading.Lock()
        self._under_way: set[Write] = set()

    @contextmanager
    def one(self) -> Iterator[Write]:
        """One of them, which may be taken back until it commits.

        Raises:
            ChangeWithdrawnError: Instead of the error that the taking back caused.
        """
        write = Write()
        with self._lock:
            self._under_way.add(write)
        try:
            yield write
        except OutcomeUnknownError:
            raise
        except StoreError as error:
            if write.withdrawn.is_set():
                raise self._withdrawal() from error
            raise
        finally:
            with self._lock:
                self._under_way.discard(write)

    def began(self, write: Write, connection: Connection) -> None:
        """Note the connection of a transaction.

        Raises:
            ChangeWithdrawnError: If it was taken back before.
        """
        write.driver = connection.connection.driver_connection
        self.check(write)

    def check(self, write: Write) -> None:
        """Refuse to go on with a transaction that was taken back.

        Raises:
            ChangeWithdrawnError: If it was.
        """
        if write.withdrawn.is_set():
            raise self._withdrawal()

    def commit(self, write: Write, connection: Connection) -> None:
        """Commit a transaction.

        Raises:
            ChangeWithdrawnError: If it was taken back.
            OutcomeUnknownError: If the answer to COMMIT was lost, or does not say what became of it.
        """
        with self._lock:
            self.check(write)
            write.committing = True
        try:
            connection.commit()
        except Exception as error:
            if self._refused(error):
                raise
            cause = str(getattr(error, "orig", None) or error).partition("\n")[0]
            raise OutcomeUnknownError(
                f"{self._name} was told to commit, and did not say whether it did ({cause}): the change may be stored "
                "or not; look at the list before you try again"
            ) from error

    def withdraw(self) -> None:
        """Take back every transaction that was not told to commit; what waits for a lock stops to wait."""
        with self._lock:
            withdrawn = [write for write in self._under_way if not write.committing]
            for write in withdrawn:
                write.withdrawn.set()
        for write in withdrawn:
            if write.driver is not None:
                with suppress(Exception):  # it may be over by now
                    self._cancel(write.driver)

    def _withdrawal(self) -> ChangeWithdrawnError:
        return ChangeWithdrawnError(f"{self._name} is being left, as the process stops; nothing was changed: try again")
