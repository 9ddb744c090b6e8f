"""The rows of idempotent responses: the stored responses to requests with an idempotency key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from cidrgate.process.clock import certain_time
from cidrgate.stores.schema import answers

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from cidrgate.stores.sql import Transaction

__all__ = ["IdempotentResponseRow", "IdempotentResponseRows"]

_columns = (answers.c.request_hash, answers.c.status, answers.c.headers, answers.c.body, answers.c.created_at)


@dataclass(frozen=True, slots=True)
class IdempotentResponseRow:
    """A stored response, and the hash of the request that got it."""

    request_hash: str
    status: int
    headers: dict[str, str]
    body: str
    created_at: datetime


class IdempotentResponseRows:
    """Statements on idempotent responses in one transaction of a store.

    Args:
        transaction: The transaction; a write transaction for methods that change rows.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._connection = transaction.connection
        self._server_clock = transaction.server_clock

    def find(self, key_hash: str) -> IdempotentResponseRow | None:
        """Return the stored response of a key, or None."""
        row = self._connection.execute(select(*_columns).where(answers.c.key_hash == key_hash)).one_or_none()
        return None if row is None else IdempotentResponseRow(*row)

    def insert(self, key_hash: str, answer: IdempotentResponseRow, *, lifetime: timedelta) -> None:
        """Store the response of a key, and delete the responses that have expired by all clocks.

        The clock that all processes share dates it, if there is one: others must not take it for an old response. This
        is done in the statements, so that it takes no message of the database's.
        """
        clock = self._server_clock
        expired = [answers.c.created_at < certain_time(answer.created_at) - lifetime]
        if clock is not None:
            expired.append(answers.c.created_at < clock - lifetime)
        self._connection.execute(delete(answers).where(*expired))
        self._connection.execute(
            insert(answers).values(
                key_hash=key_hash,
                request_hash=answer.request_hash,
                status=answer.status,
                headers=answer.headers,
                body=answer.body,
                created_at=answer.created_at if clock is None else clock,
            )
        )
