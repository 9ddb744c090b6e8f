"""What a request makes its change depend on: `If-Match`, `Idempotency-Key`, and the confirmations of guards."""

import re
from typing import Annotated

from fastapi import Depends, Header, Query, Request

from cidrgate.manager.confirmations import Guard
from cidrgate.service.auth.principals import Principal
from cidrgate.service.http.idempotency import RequestKey
from cidrgate.service.http.limits import LONGEST_KEY
from cidrgate.service.http.problems import ServiceError

__all__ = ["Confirm", "IdempotencyKey", "IfMatch", "RawBody", "etag", "expected_version", "request_key"]

_TAG = re.compile(r'"v(0|[1-9][0-9]{0,17})"')

Confirm = Annotated[
    list[Guard],
    Query(
        description="What the change may do that is otherwise refused with 409, which names what to send here. May be "
        "given several times: `lock_out` for a change that denies the address the request comes from, "
        "`disable_enforcement` for one after which an enforced account has no entries and every address is allowed."
    ),
]
IfMatch = Annotated[
    str | None,
    Header(description='The ETag of the list that was looked at, such as `"v3"`: a newer one is not changed.'),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=LONGEST_KEY,
        description="A text of the client's choice: a request that comes again with it is not carried out again.",
    ),
]


def etag(version: int) -> str:
    """The entity tag of a version of a list."""
    return f'"v{version}"'


def expected_version(if_match: str | None) -> int | None:
    """The version `If-Match` asks for; None for any.

    Raises:
        ServiceError: If it names no version that a list of this service can have.

    Example:
        >>> expected_version('"v3"'), expected_version("*"), expected_version(None)
        (3, None, None)
    """
    if if_match is None or if_match.strip() == "*":
        return None
    tag = _TAG.fullmatch(if_match.strip())
    if tag is None:
        raise ServiceError(412, "version_conflict", 'If-Match names no version of a list: send its ETag, such as "v3"')
    return int(tag[1])


async def _body(request: Request) -> bytes:
    return await request.body()


RawBody = Annotated[bytes, Depends(_body)]
"""The request as it was sent."""


def request_key(request: Request, principal: Principal, key: str | None, body: bytes) -> RequestKey | None:
    """What tells a request from others, if it was given a key.

    Args:
        request: The request.
        principal: Who asks.
        key: Its `Idempotency-Key`.
        body: Its body.
    """
    if key is None:
        return None
    parts = (request.method, request.scope["path"], request.headers.get("if-match", ""))
    sent = (part.encode("utf-8", "surrogatepass") for part in parts)
    return RequestKey.make(principal.key, key, *sent, request.scope.get("query_string", b""), body)
