"""The write transactions in progress: how they commit, and how they are cancelled before their commit."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from cidrgate.errors import ChangeWithdrawnError, OutcomeUnknownError, StoreError
from cidrgate.process.wakeups import WakeUp
from cidrgate.stores.foreign_errors import may_be_of_signal_handler
from cidrgate.stores.unknown_outcomes import LIST, Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

__all__ = ["MIGRATE_AGAIN", "Write", "Writes", "confirmed"]

MIGRATE_AGAIN = Check("run `cidrgate migrate` again, which does only what is not done yet")
"""What to do after the answer to the commit of a migration, or of new tables, was lost."""


@contextmanager
def confirmed(name: str, refused: Callable[[Exception], bool], check: Check) -> Iterator[None]:
    """Report an error of a COMMIT as an unknown outcome, unless it proves that nothing was committed.

    Args:
        name: The name of the store in messages.
        refused: Returns whether an error of a COMMIT proves that nothing was committed.
        check: What to do before the change is made again.

    Raises:
        OutcomeUnknownError: If the answer to COMMIT was lost, or does not say whether it succeeded.
        Exception: If a signal handler raised it meanwhile: the transaction is committed or not.
    """
    try:
        yield
    except Exception as error:
        if refused(error) or may_be_of_signal_handler(error):
            raise
        cause = str(getattr(error, "orig", None) or error).partition("\n")[0]
        unknown = OutcomeUnknownError(
            f"{name} did not say whether the commit succeeded ({cause}): the change may be stored or not; "
            f"{check.told(command=True)}"
        )
        unknown._check = check.told(command=False)
        raise unknown from error


class Write:
    """One transaction.

    Attributes:
        driver: Its connection; None before it has one.
        committing: Whether its commit has begun: from then on it cannot be cancelled.
        withdrawn: Whether it was cancelled.
    """

    def __init__(self) -> None:
        self.driver: Any = None
        self.committing = False
        self.withdrawn = WakeUp()


class Writes:
    """The write transactions of one store. Threads can share it.

    Args:
        name: The name of the store in messages.
        cancel: Cancels the statement that a connection executes; called from another thread.
        refused: Returns whether an error of a COMMIT proves that nothing was committed.
        commit: Commits the transaction of a connection.
    """

    def __init__(
        self,
        name: str,
        cancel: Callable[[Any], object],
        refused: Callable[[Exception], bool],
        commit: Callable[[Connection], object] = methodcaller("commit"),
    ) -> None:
        self._name = name
        self._cancel = cancel
        self._refused = refused
        self._commit = commit
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the transactions of the parent's threads, which do not exist in a forked child."""
        self._lock = threading.Lock()
        self._under_way: set[Write] = set()

    @contextmanager
    def one(self) -> Iterator[Write]:
        """Register a transaction, which can be cancelled until its commit begins.

        Raises:
            ChangeWithdrawnError: Instead of the error that the cancellation caused.
        """
        write = Write()
        try:
            with self._lock:
                self._under_way.add(write)
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
        """Record the connection of a transaction.

        Raises:
            ChangeWithdrawnError: If the transaction was already cancelled.
        """
        write.driver = connection.connection.driver_connection
        self.check(write)

    def check(self, write: Write) -> None:
        """Refuse to continue a cancelled transaction.

        Raises:
            ChangeWithdrawnError: If the transaction was cancelled.
        """
        if write.withdrawn.is_set():
            raise self._withdrawal()

    def commit(self, write: Write, connection: Connection, check: Check = LIST) -> None:
        """Commit a transaction.

        Args:
            write: The transaction.
            connection: Its connection.
            check: What to look at if the outcome is unknown.

        Raises:
            ChangeWithdrawnError: If the transaction was cancelled.
            OutcomeUnknownError: If the answer to COMMIT was lost, or does not say whether it succeeded.
            Exception: If a signal handler raised it meanwhile: the transaction is committed or not.
        """
        with self._lock:
            self.check(write)
            write.committing = True
        with confirmed(self._name, self._refused, check):
            self._commit(connection)

    def withdraw(self) -> None:
        """Cancel every transaction whose commit has not begun, including those that wait for a lock."""
        with self._lock:
            withdrawn = [write for write in self._under_way if not write.committing]
            for write in withdrawn:
                write.withdrawn.set()
        for write in withdrawn:
            if write.driver is not None:
                with suppress(Exception):  # the transaction may have ended by now
                    self._cancel(write.driver)

    def _withdrawal(self) -> ChangeWithdrawnError:
        return ChangeWithdrawnError(f"the process stops using {self._name}; nothing was changed: try again")
