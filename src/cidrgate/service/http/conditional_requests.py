"""The conditions of a change: `If-Match`, `Idempotency-Key`, and the confirmations that a change may need."""

import re
from typing import Annotated

from fastapi import Depends, Header, Query, Request

from cidrgate.manager.outcomes import Guard
from cidrgate.service.auth.principals import Principal
from cidrgate.service.http.idempotency import RequestKey
from cidrgate.service.http.limits import LONGEST_KEY
from cidrgate.service.http.problems import ServiceError

__all__ = ["Confirm", "IdempotencyKey", "IfMatch", "RawBody", "etag", "expected_version", "request_key"]

_TAG = re.compile(r'"v(0|[1-9][0-9]{0,17})"')

Confirm = Annotated[
    list[Guard],
    Query(
        description="Confirms an effect for which the change is otherwise refused with 409; that response names the "
        "values to send. May be repeated. `lock_out` confirms a change that denies the client address of this request. "
        "`disable_enforcement` confirms a change that leaves an enforced account without entries, so that every "
        "address is allowed."
    ),
]
IfMatch = Annotated[
    str | None,
    Header(description='The ETag of the list that was read, such as `"v3"`. A newer list is not changed.'),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=LONGEST_KEY,
        description="A text that the client chooses. A repeated request with the same key is not carried out again.",
    ),
]


def etag(version: int) -> str:
    """Return the entity tag of a version of a list."""
    return f'"v{version}"'


def expected_version(if_match: str | None) -> int | None:
    """Return the version that `If-Match` requires; None if any version is accepted.

    Raises:
        ServiceError: If the header does not contain an entity tag of this service.

    Example:
        >>> expected_version('"v3"'), expected_version("*"), expected_version(None)
        (3, None, None)
    """
    if if_match is None or if_match.strip() == "*":
        return None
    tag = _TAG.fullmatch(if_match.strip())
    if tag is None:
        raise ServiceError(
            412, "version_conflict", 'If-Match does not name a version of a list: send its ETag, such as "v3"'
        )
    return int(tag[1])


async def _body(request: Request) -> bytes:
    return await request.body()


RawBody = Annotated[bytes, Depends(_body)]
"""The body as it was sent."""


def request_key(request: Request, principal: Principal, key: str | None, body: bytes) -> RequestKey | None:
    """Return the identity of a request with an `Idempotency-Key`; None if it has no key.

    Args:
        request: The request.
        principal: The principal who sends the request.
        key: The request's `Idempotency-Key`.
        body: The request's body.
    """
    if key is None:
        return None
    parts = (request.method, request.scope["path"], request.headers.get("if-match", ""))
    sent = (part.encode("utf-8", "surrogatepass") for part in parts)
    return RequestKey.make(principal.key, key, *sent, request.scope.get("query_string", b""), body)
