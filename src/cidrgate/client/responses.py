"""Reads responses: as values, as errors of the service, or as responses of something else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from cidrgate.client.decoding import UnexpectedJsonError, json_of
from cidrgate.client.errors import error_of
from cidrgate.client.values import ProblemInfo, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from cidrgate.client.errors import ApiError

__all__ = [
    "check_media_type",
    "check_success",
    "code_of",
    "error_of_another_service",
    "leaves_outcome_open",
    "tells_nothing",
    "unknown_outcome",
    "value_of_response",
    "what_to_check",
]

_REFUSED_BEFORE = frozenset({401, 403, 408, 429})
"""Statuses with which a request is refused before the service, or something in front of it, knows its key."""

_RESOURCE = re.compile(r"/v1/(?:accounts/[^/]+/(?=policy))?([a-z]+)")
_CHECKS = {
    "links": "make another link, because nobody has the secret of this one",
    "policy": "read the policy",
    "sessions": "list the sessions",
    "tokens": "list the tokens, and revoke what should not be there",
}
"""What to look at after an unknown outcome, by the resource that was changed; the list for others."""

_Value = TypeVar("_Value")


def value_of_response(read: Callable[[object], _Value], response: httpx.Response) -> _Value:
    """Return the value of a response.

    Args:
        read: Makes the value from the JSON.
        response: The response.

    Raises:
        ApiError: If the response is an error.
        UnexpectedJsonError: If it is not what the service sends.
    """
    check_success(response)
    return read(json_of(response.content))


def check_success(response: httpx.Response) -> None:
    """Raise an `ApiError` if a response is an error, of the service or of something in front of it."""
    if response.is_success:
        return
    try:
        raise _error_of(response, problem_of(json_of(response.content)))
    except UnexpectedJsonError as error:
        raise error_of_another_service(response, error) from None


def check_media_type(response: httpx.Response, media_type: str) -> None:
    """Raise an `ApiError` if a response that is no JSON is not of a type."""
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() != media_type:
        raise error_of_another_service(response, UnexpectedJsonError(f"not {media_type}"))


def error_of_another_service(response: httpx.Response, wrong: UnexpectedJsonError) -> ApiError:
    """Return the error for a response that no cidrgate service makes."""
    problem = ProblemInfo(
        type="about:blank",
        title="HTTP error",
        status=response.status_code,
        detail=_said(response, wrong),
        code="http_error",
    )
    return _error_of(response, problem)


def unknown_outcome(response: httpx.Response, wrong: UnexpectedJsonError) -> ApiError:
    """Return the error for a change that was answered with success, by what no cidrgate service says."""
    problem = ProblemInfo(
        type="/problems/outcome_unknown",
        title="The outcome is unknown",
        status=response.status_code,
        detail=f"{_said(response, wrong)}. The change may be made or not: {what_to_check(response.request)}",
        code="outcome_unknown",
        outcome="unknown",
    )
    return _error_of(response, problem)


def what_to_check(request: httpx.Request) -> str:
    """Return what to look at after a change of which nobody knows whether it was made."""
    found = _RESOURCE.search(request.url.raw_path.decode("ascii", "replace"))
    return _CHECKS.get(found[1] if found else "", "read the list")


def code_of(response: httpx.Response) -> str | None:
    """Return the code of an error of the service; None for any other response."""
    if response.is_success:
        return None
    try:
        return problem_of(json_of(response.content)).code
    except UnexpectedJsonError:
        return None


def leaves_outcome_open(response: httpx.Response) -> bool:
    """Return whether a change may be made although the response is an error.

    The service says so, or something in front of it failed, perhaps after the service had made the change.
    """
    code = code_of(response)
    return code == "outcome_unknown" or (response.is_server_error and code is None)


def tells_nothing(response: httpx.Response) -> bool:
    """Return whether the response to a second attempt does not tell what became of the first."""
    code = code_of(response)
    if code == "outcome_unknown":  # this is the error that says so
        return False
    return code == "idempotency_in_progress" or response.status_code in _REFUSED_BEFORE or response.is_server_error


def _said(response: httpx.Response, wrong: UnexpectedJsonError) -> str:
    return (
        f"the answer {response.status_code} {wrong}: it is not from a cidrgate service; check the URL of the client, "
        "and what is between it and the service"
    )


def _error_of(response: httpx.Response, problem: ProblemInfo) -> ApiError:
    retry = response.headers.get("Retry-After", "")
    try:
        return error_of(
            problem,
            request_id=response.headers.get("X-Request-ID") or problem.request_id,
            retry_after=float(retry) if retry.isascii() and retry.isdecimal() else None,
            account=_account_of(response),
        )
    except ValueError:
        raise UnexpectedJsonError("not what errors have", ".data") from None


def _account_of(response: httpx.Response) -> str | None:
    """Return the account that a request was about."""
    _, found, rest = response.request.url.raw_path.decode("ascii").partition("/v1/accounts/")
    return unquote(rest.partition("?")[0].partition("/")[0]) if found else None
