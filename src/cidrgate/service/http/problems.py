"""Error responses of the service, as RFC 9457 problem details.

`code` identifies the kind of error. `problems` lists the problems of a `RuleError`: each broken rule with its position
in the submission, its conflicts and a hint.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cidrgate.errors import (
    AccountExistsError,
    AccountNotFoundError,
    CidrgateError,
    CredentialEndedError,
    EntryNotFoundError,
    HistoryError,
    InvalidAccountError,
    InvalidAddressError,
    InvalidExpiryError,
    InvalidScopeError,
    InvalidTextError,
    OutcomeUnknownError,
    RuleError,
    SessionNotFoundError,
    StoreBusyError,
    StoreError,
    SubaccountError,
    TokenNotFoundError,
    UnclearAccountError,
    UnconfirmedChangeError,
    VersionConflictError,
)
from cidrgate.serialization import problem_record
from cidrgate.service.http.limits import MOST_INVALID, MOST_PROBLEMS_TOLD
from cidrgate.service.http.store_events import log_store_error

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response
    from fastapi.routing import APIRoute

    from cidrgate.errors import Problem

__all__ = ["PROBLEM_JSON", "ForbiddenError", "ServiceError", "add_handlers", "problem_response"]

PROBLEM_JSON = "application/problem+json"

_LONGEST_PART = 100
"""The most characters of a member's name that a response repeats."""


class ServiceError(CidrgateError):
    """An error of the HTTP service itself.

    Args:
        status: The HTTP status.
        code: The error code, for programs.
        detail: What is wrong and what to do about it, for people.
        headers: Additional headers of the response.
    """

    code = "service"

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = headers


class ForbiddenError(ServiceError):
    """The principal is authenticated, but has no scope for this request."""

    code = "insufficient_scope"

    def __init__(self, detail: str) -> None:
        super().__init__(403, self.code, detail)


_STATUS: dict[type[CidrgateError], int] = {
    RuleError: 422,
    InvalidExpiryError: 422,
    InvalidAccountError: 422,
    InvalidAddressError: 422,
    UnclearAccountError: 422,
    InvalidTextError: 422,
    InvalidScopeError: 422,
    CredentialEndedError: 401,
    AccountExistsError: 409,
    SubaccountError: 409,
    AccountNotFoundError: 404,
    EntryNotFoundError: 404,
    TokenNotFoundError: 404,
    SessionNotFoundError: 404,
    HistoryError: 404,
    VersionConflictError: 412,
}
"""The HTTP status for each error of the lower layers."""


_CODES = {404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_large", 422: "invalid_request"}
"""The codes of errors that the web framework raises."""


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    problems: tuple[Problem, ...] | list[Problem] = (),
    more_problems: int = 0,
    confirm: tuple[str, ...] = (),
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """Return an error response.

    Args:
        status: The HTTP status.
        code: The error code, for programs.
        detail: What is wrong and what to do about it, for people.
        problems: The broken rules. The response lists only the first `MOST_PROBLEMS_TOLD`.
        more_problems: How many problems there are that are not in `problems`.
        confirm: The values of `confirm` that a repeated request needs for the change to be made.
        headers: Additional headers of the response.
        more: Additional members of the response.
    """
    body = {
        "type": f"urn:cidrgate:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "problems": [problem_record(problem) for problem in problems[:MOST_PROBLEMS_TOLD]],
        "more_problems": max(0, len(problems) - MOST_PROBLEMS_TOLD) + more_problems,
        "confirm": list(confirm),
        **more,
    }
    return JSONResponse(body, status, headers, PROBLEM_JSON)


def add_handlers(app: FastAPI) -> None:
    """Let an application return every error as problem details."""
    app.add_exception_handler(CidrgateError, _cidrgate_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


def _cidrgate_error(request: Request, error: Exception) -> Response:
    if isinstance(error, ServiceError):
        return problem_response(error.status, error.code, str(error), headers=error.headers)
    if isinstance(error, UnconfirmedChangeError):
        way = f"repeat the request with {'&'.join(f'confirm={name}' for name in error.confirm)}"
        return problem_response(409, error.code, error.told(way), confirm=error.confirm)
    if isinstance(error, StoreError):
        log_store_error(request, error)  # the message may name hosts and users, so only the log gets it
    if isinstance(error, OutcomeUnknownError):
        return problem_response(
            503,
            "outcome_unknown",
            "the store did not confirm this change, so it may or may not be stored. Repeat the request with the same "
            "Idempotency-Key; if it has no key, check the list before you try again",
            outcome="unknown",
            headers={"Retry-After": "1"},
        )
    if isinstance(error, StoreBusyError):
        return problem_response(
            503,
            "store_busy",
            "other requests held a lock that this request needs for too long; nothing was changed: try again later",
            headers={"Retry-After": "5"},
        )
    if isinstance(error, StoreError):
        return problem_response(
            503, StoreError.code, "the store is not available; nothing was changed", headers={"Retry-After": "1"}
        )
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            problems, more = (error.problems, error.more) if isinstance(error, RuleError) else ([], 0)
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            return problem_response(
                status, error.code, str(error), problems=problems, more_problems=more, headers=headers
            )
    raise error


def _invalid_request(_request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    # The response does not repeat what was sent: it may be a secret, or bytes that are not text.
    invalid = [
        {"where": ".".join(str(part)[:_LONGEST_PART] for part in one["loc"]), "message": str(one["msg"])}
        for one in found[:MOST_INVALID]
    ]
    detail = "; ".join(f"{one['where']}: {one['message']}" for one in invalid)
    if len(found) > MOST_INVALID:
        detail += f"; and {len(found) - MOST_INVALID:,} more"
    return problem_response(422, "invalid_request", detail, invalid=invalid)


def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code in (400, 422):
        # FastAPI reports a body that is not text in this way; treat it like a body that is not JSON.
        invalid = [{"where": "request", "message": error.detail}]
        return problem_response(422, "invalid_request", error.detail, invalid=invalid)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    code = _CODES.get(error.status_code, "http_error")
    return problem_response(error.status_code, code, error.detail, headers=headers)


def _methods(request: Request) -> list[str]:
    """Return all methods that a path accepts. Each route knows only its own methods."""
    routes: list[APIRoute] = request.app.state.routes
    same_path = (route for route in routes if route.path_regex.match(request.scope["path"]))
    return sorted({method for route in same_path for method in route.methods or ()})


def _unexpected(_request: Request, _error: Exception) -> Response:
    return problem_response(500, "internal_error", "the service failed; see its log for the cause")
