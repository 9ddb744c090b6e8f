"""Idempotent responses: a change with an `Idempotency-Key` is carried out once, even if the request is repeated.

The response is stored in the transaction of the change, so a crash never leaves one without the other. A request that
fails changes and stores nothing, and its key can be used again. If a client does not know whether a request was carried
out, it repeats the request with the same key: it gets the stored response, or the request is carried out now.
"""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import urlsafe_b64encode
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fastapi import Response

from cidrgate.errors import CidrgateError, StoreError
from cidrgate.process.forking import join_forks
from cidrgate.service.http.problems import ServiceError
from cidrgate.stores.idempotency import IdempotentResponseRow, IdempotentResponseRows
from cidrgate.values import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cidrgate.stores import Store, Transaction
    from cidrgate.values import Duration

__all__ = ["Answer", "IdempotentResponses", "RequestKey"]

_TAG_BYTES = 12
"""Bytes of the hash in an entity tag."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a successful request.

    Attributes:
        record: The JSON object of the body.
        status: The HTTP status.
        headers: The headers of the response.
    """

    record: Mapping[str, Any]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """Return the HTTP response."""
        return _response(_text(self.record), self.status, self.headers)

    def read(self, version: int | None = None) -> Response:
        """Return the HTTP response to a request that reads, with an entity tag.

        The tag belongs to exactly these bytes: another page, or an entry that matched meanwhile, has another.

        Args:
            version: The version of the list that is represented, for `If-Match`; None if it is no list.
        """
        body = _text(self.record)
        digest = urlsafe_b64encode(hashlib.blake2b(body.encode(), digest_size=_TAG_BYTES).digest()).decode()
        tag = digest if version is None else f"v{version}-{digest}"
        return _response(body, self.status, {**self.headers, "ETag": f'"{tag}"'})


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Identifies a repeated request.

    Attributes:
        key_hash: The hash of the client's key and the client's identity.
        request_hash: The hash of everything that the response depends on.
    """

    key_hash: str
    request_hash: str

    @classmethod
    def make(cls, owner: str, key: str, *request: bytes) -> RequestKey:
        """Make the key of a request.

        Args:
            owner: The client's identity, so that no client gets the response to another client.
            key: The key that the client chose.
            request: The parts of the request.
        """
        return cls(_hash(owner.encode(), key.encode()), _hash(*request))


class IdempotentResponses:
    """The stored responses to requests with a key. Threads may share an instance.

    Args:
        store: The store that holds them.
        lifetime: How long a response is stored.
    """

    def __init__(self, store: Store, lifetime: Duration) -> None:
        self._store = store
        self._lifetime = timedelta(seconds=seconds(lifetime, "answer_lifetime"))
        self.after_fork(certain=True)
        join_forks(self, stage=2)

    def before_fork(self) -> None:
        """Do nothing: there is nothing to close."""

    def after_fork(self, *, certain: bool) -> None:
        """Forget, in a forked child, the requests that its parent is carrying out."""
        self._in_flight: set[str] = set()
        self._lock = threading.Lock()

    def once(self, key: RequestKey | None, carry_out: Callable[[], Answer]) -> Response:
        """Carry out a request, or return the stored response.

        Args:
            key: The key of the request; None carries it out each time.
            carry_out: A function that carries out the request and calls `record` in the same transaction.

        Raises:
            ServiceError: If the key was used for another request, or is in use at this moment.
        """
        if key is None:
            return carry_out().response()
        with self._alone(key.key_hash):
            given = self._given(key)
            if given is not None:
                return given
            try:
                return carry_out().response()
            except CidrgateError as error:
                # The request may still have been carried out: by another process, or the reply to a commit was lost.
                try:
                    given = self._given(key)
                except StoreError:
                    raise error from None
                if given is None:
                    raise
                return given

    def record(self, transaction: Transaction, key: RequestKey | None, answer: Answer) -> None:
        """Store a response together with its change.

        Args:
            transaction: The transaction of the change.
            key: The key of the request; None stores nothing.
            answer: The response.
        """
        if key is None:
            return
        now = datetime.now(UTC)
        row = IdempotentResponseRow(key.request_hash, answer.status, dict(answer.headers), _text(answer.record), now)
        IdempotentResponseRows(transaction).insert(key.key_hash, row, lifetime=self._lifetime)

    def _given(self, key: RequestKey) -> Response | None:
        with self._store.read_autocommit() as transaction:
            row = IdempotentResponseRows(transaction).find(key.key_hash)
            if row is None:
                return None
            at = transaction.certain_time(datetime.now(UTC))
        if row.created_at < at - self._lifetime:
            return None
        if row.request_hash != key.request_hash:
            raise ServiceError(
                "idempotency_key_reused", "this Idempotency-Key was used for another request: choose a new one"
            )
        return _response(row.body, row.status, {**row.headers, "Idempotency-Replayed": "true"})

    @contextmanager
    def _alone(self, key_hash: str) -> Iterator[None]:
        with self._lock:
            if key_hash in self._in_flight:
                raise ServiceError(
                    "idempotency_in_progress",
                    "a request with this Idempotency-Key is being carried out: wait for its response",
                    {"Retry-After": "1"},
                )
            self._in_flight.add(key_hash)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight.discard(key_hash)


def _response(body: str, status: int, headers: Mapping[str, str]) -> Response:
    return Response(body, status, dict(headers), "application/json")


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()
