"""The conditions of requests: `If-Match`, `If-None-Match`, `Idempotency-Key`, and the confirmations of a change."""

import re
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Header, Query, Request

from cidrgate.gate.request_paths import routed_path
from cidrgate.manager.outcomes import Guard
from cidrgate.service.auth.principals import Principal
from cidrgate.service.http.idempotency import RequestKey
from cidrgate.service.http.limits import LONGEST_KEY, LONGEST_TAGS
from cidrgate.service.http.problems import ServiceError

__all__ = [
    "Confirm",
    "IdempotencyKey",
    "IfMatch",
    "RawBody",
    "etag",
    "expected_versions",
    "matches_none",
    "request_key",
]

_TAGS = re.compile(r'[ \t,]*+((?:W/)?"[\x21\x23-\x7e\x80-\xff]*+")[ \t]*+(?:,|$)')
# The version of the list, and in a response's header what distinguishes one representation from another.
_OF_LIST = re.compile(r'"v(0|[1-9][0-9]{0,999})(?:-[A-Za-z0-9_-]{16})?"')

Confirm = Annotated[
    list[Guard],
    Query(
        description="Confirms an effect for which the change is otherwise refused with 409; that response names the "
        "values to send. May be repeated. `lock_out` confirms a change that denies the client address of this request. "
        "`disable_enforcement` confirms a change after which no list decides any more for an enforced account, such as "
        "that of the last entry. `other_list` confirms another parent, by whose list other addresses are allowed. "
        "`wide_entry` confirms a network that is wider than the policy allows."
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        max_length=LONGEST_TAGS,
        description='The `etag` of the list that was read, such as `"v3"`, or the `ETag` header of the list or the '
        "entry; or several, separated by commas. A list with another version is not changed.",
    ),
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
    """Return the entity tag of a version of a list, whatever represents it."""
    return f'"v{version}"'


def expected_versions(if_match: str | None) -> frozenset[int] | None:
    """Return the versions that `If-Match` accepts; None if any version is accepted.

    A weak tag never matches (RFC 9110 section 13.1.1). A tag is compared by its version: what changes without one, such
    as when an entry last matched, is nothing that a change of the list could lose.

    Raises:
        ServiceError: If no tag of the header can be that of a list.

    Example:
        >>> sorted(expected_versions('"v3", W/"v4", "v5-0123456789abcdef"'))
        [3, 5]
        >>> expected_versions("*"), expected_versions(None)
        (None, None)
    """
    if if_match is None or if_match.strip() == "*":
        return None
    found = frozenset(int(tag[1]) for tag in map(_OF_LIST.fullmatch, _tags(if_match)) if tag is not None)
    if not found:
        raise ServiceError(
            "version_conflict", 'If-Match does not name a version of a list: send its etag, such as "v3"'
        )
    return found


def matches_none(if_none_match: str, tag: str) -> bool:
    """Return whether `If-None-Match` allows a response: whether it does not name the entity tag of what is there.

    Example:
        >>> matches_none('"a", W/"b"', '"b"'), matches_none("*", '"b"'), matches_none('"c"', '"b"')
        (False, False, True)
    """
    if if_none_match.strip() == "*":
        return False
    return tag.removeprefix("W/") not in {one.removeprefix("W/") for one in _tags(if_none_match)}


def _tags(header: str) -> Iterable[str]:
    """Return the entity tags of a header up to the first that is not valid."""
    position = 0
    while (found := _TAGS.match(header, position)) is not None:
        yield found[1]
        position = found.end()


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
    person = principal.origin.on_behalf_of  # the history names the person, so another one makes another change
    path = routed_path(request.scope)
    parts = (request.method, path, ", ".join(request.headers.getlist("if-match")), person or "")
    sent = (part.encode("utf-8", "surrogatepass") for part in parts)
    return RequestKey.make(principal.key, key, *sent, request.scope.get("query_string", b""), body)
