"""Error responses of the service, as RFC 9457 problem details.

`cidrgate.problem_types` has every type of problem. `errors` lists what is wrong in particular: each broken rule with
its position in the submission, or each invalid member, parameter and header of the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cidrgate.errors import (
    CidrgateError,
    OutcomeUnknownError,
    RuleError,
    StoreBusyError,
    StoreError,
    UnconfirmedChangeError,
)
from cidrgate.gate.request_paths import routed_path
from cidrgate.problem_types import PROBLEM_JSON, TYPE_OF_CODE, problem_details, type_of_error
from cidrgate.serialization import error_data_record, problem_record
from cidrgate.service.http.limits import GREATEST_INTEGER, LONGEST_DATA, MOST_INVALID, MOST_PROBLEMS_TOLD
from cidrgate.service.http.prefix import prefix_of
from cidrgate.service.http.store_events import log_store_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fastapi import FastAPI, Request, Response
    from fastapi.routing import APIRoute
    from starlette.types import Receive, Scope, Send

    from cidrgate.errors import Problem
    from cidrgate.problem_types import ProblemType

__all__ = [
    "POINTERS",
    "ForbiddenError",
    "InvalidRequestError",
    "MalformedBodyError",
    "ServiceError",
    "add_handlers",
    "detail_of",
    "problem_response",
    "rule_errors",
]

POINTERS = "cidrgate.pointers"
"""The key of the scope for the function from a position in a submission to its JSON pointer in the body, or None."""

_LONGEST_PART = 100
"""The most characters of a member's name that a response repeats."""


class ServiceError(CidrgateError):
    """An error of the HTTP service itself.

    Args:
        code: The code of a type of problem, for programs; the status is that of the type.
        detail: What is wrong and what to do about it, for people.
        headers: Additional headers of the response.
    """

    code = "service"

    def __init__(self, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.kind = TYPE_OF_CODE[code]
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _status_of(self.kind)


class ForbiddenError(ServiceError):
    """The principal is authenticated, but has no scope for this request."""

    code = "insufficient_scope"

    def __init__(self, detail: str) -> None:
        super().__init__(self.code, detail)


class InvalidRequestError(ServiceError):
    """Parts of a request are unknown, repeated, missing or have invalid values.

    Args:
        errors: What is wrong with each, as the response lists it.
    """

    code = "invalid_request"

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(self.code, _told(errors))
        self.errors = errors


class MalformedBodyError(HTTPException):
    """The body is not JSON that the service accepts. FastAPI passes on only this kind of error while it reads one."""

    def __init__(self, why: str) -> None:
        super().__init__(400, f"the body is not JSON that this service accepts: {why}")


_CODES = {
    400: "malformed_body",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_timeout",
    413: "body_too_large",
}
"""The codes of errors that the web framework raises."""

_INVALID = {
    "missing": "missing",
    "union_tag_not_found": "missing",
    "extra_forbidden": "unknown",
    "string_too_long": "too_long",
    "too_long": "too_long",
    "string_too_short": "too_short",
    "too_short": "too_short",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
    "timezone_aware": "invalid_expiry",
    "invalid_expiry": "invalid_expiry",
}
"""The codes of what is wrong with a part of a request, by pydantic's types of errors."""

_MESSAGES = {
    "missing": "is required",
    "union_tag_not_found": "is required",
    "extra_forbidden": "is unknown",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be an array",
    "string_type": "must be a string",
    "timezone_aware": "has no time zone; add one, such as +00:00",
}
"""What people are told instead of pydantic's messages, by its types of errors."""

_RETRY = {"store_busy": "5"}
"""The seconds after which a request that the store could not carry out may be repeated; 1 for other codes."""

_OF_STORES = {
    "outcome_unknown": "the store did not confirm this change, so it may or may not be stored. Repeat the request with "
    "the same Idempotency-Key; if it has no key, {check}",
    "store_busy": "other requests held a lock that this request needs for too long; nothing was changed: try again "
    "later",
    "store_conflict": "another writer was first; nothing was changed: repeat the request",
    "store_outgrown": "a newer cidrgate has migrated the store; nothing was changed: the operator must start the newer "
    "one here too",
    "change_withdrawn": "the service is stopping and rolled this change back; nothing was changed: repeat the request",
    "store_unavailable": "the store is not available; nothing was changed: try again later",
}
"""The details of the store's errors. Their own messages may name hosts and users."""


def problem_response(
    code: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, Any]] = (),
    more_errors: int = 0,
    confirm: Iterable[str] = (),
    data: Mapping[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """Return an error response.

    Args:
        code: The code of a type of problem, for programs.
        detail: What is wrong and what to do about it, for people.
        errors: What is wrong in particular.
        more_errors: How many errors there are that are not in `errors`.
        confirm: The values of `confirm` that a repeated request needs for the change to be made.
        data: The data of the error of the library. Texts and lists longer than `LONGEST_DATA` are left out, and numbers
            above `GREATEST_INTEGER`.
        headers: Additional headers of the response.
        more: Additional members of the response.
    """
    # What is longer would make the response of a large request large too.
    said = {name: value for name, value in (data or {}).items() if _is_small(value)}
    more |= {"data": said} if said else {}
    body = problem_details(code, detail, errors=list(errors), more_errors=more_errors, confirm=list(confirm), **more)
    return _ProblemResponse(body, headers)


class _ProblemResponse(JSONResponse):
    """A problem whose `type` leads to the page of its type, also below the prefix at which the service is mounted."""

    def __init__(self, problem: Mapping[str, Any], headers: Mapping[str, str] | None) -> None:
        super().__init__(problem, problem["status"], headers, PROBLEM_JSON)
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the problem."""
        prefix = prefix_of(scope)
        if prefix:
            self.body = self.render({**self._problem, "type": prefix + self._problem["type"]})
            self.headers["Content-Length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def _is_small(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= LONGEST_DATA and all(map(_is_small, value))
    if isinstance(value, int):
        return value <= GREATEST_INTEGER
    return not isinstance(value, str) or len(value) <= LONGEST_DATA


def rule_errors(
    problems: Sequence[Problem], more: int = 0, pointer: Callable[[int], str] | None = None
) -> tuple[list[dict[str, Any]], int]:
    """Return the broken rules that a response lists, and how many there are beyond those.

    Args:
        problems: The broken rules. The response lists only the first `MOST_PROBLEMS_TOLD`.
        more: How many there are that are not in `problems`.
        pointer: Returns the part of the body that has the submitted entry at a position; None if no part has one.
    """
    told = []
    for problem in problems[:MOST_PROBLEMS_TOLD]:
        record = problem_record(problem)
        told.append(record if pointer is None else {**record, "pointer": pointer(problem.position)})
    return told, max(0, len(problems) - MOST_PROBLEMS_TOLD) + more


def add_handlers(app: FastAPI) -> None:
    """Let an application return every error as problem details."""
    app.add_exception_handler(CidrgateError, _cidrgate_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


def detail_of(error: CidrgateError) -> str:
    """Return the message of an error for the API: a change is confirmed by a parameter of the request."""
    if isinstance(error, UnconfirmedChangeError):
        return error.told(f"repeat the request with {'&'.join(f'confirm={name}' for name in error.confirm)}")
    return str(error)


def _cidrgate_error(request: Request, error: Exception) -> Response:
    if isinstance(error, InvalidRequestError):
        return _invalid(error.errors)
    if isinstance(error, ServiceError):
        return problem_response(error.code, str(error), headers=error.headers)
    if not isinstance(error, CidrgateError):
        raise error
    if isinstance(error, StoreError):
        log_store_error(request, error)  # the message may name hosts and users, so only the log gets it
        return _of_store(error)
    kind = type_of_error(error)
    if kind is None or kind.status is None:
        raise error
    if isinstance(error, UnconfirmedChangeError):
        return problem_response(kind.code, detail_of(error), confirm=error.confirm, data=error_data_record(error))
    errors: list[dict[str, Any]] = []
    more = 0
    if isinstance(error, RuleError):
        errors, more = rule_errors(error.problems, error.more, request.scope.get(POINTERS))
    headers = {"WWW-Authenticate": "Bearer"} if kind.status == 401 else None
    data = error_data_record(error)
    return problem_response(kind.code, str(error), errors=errors, more_errors=more, headers=headers, data=data)


def _of_store(error: StoreError) -> Response:
    kind = TYPE_OF_CODE["store_busy"] if isinstance(error, StoreBusyError) else type_of_error(error)
    if kind is None or kind.status is None:
        kind = TYPE_OF_CODE["store_unavailable"]
    detail, more = _OF_STORES[kind.code], dict[str, Any]()
    if isinstance(error, OutcomeUnknownError):
        detail, more = detail.format(check=error._check), {"outcome": "unknown"}
    return problem_response(kind.code, detail, headers={"Retry-After": _RETRY.get(kind.code, "1")}, **more)


def _invalid_request(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    # The response does not repeat what was sent: it may be a secret, or bytes that are not text.
    found = error.errors()
    return _invalid([_error_of(one, error.body) for one in found[:MOST_INVALID]], len(found))


def _error_of(one: Mapping[str, Any], body: Any) -> dict[str, Any]:
    where, *parts = one["loc"]
    code = _INVALID.get(one["type"], "wrong_type" if one["type"].endswith(("_type", "_parsing")) else "invalid_value")
    # The prefix is pydantic's own; it says nothing about the value.
    detail = _MESSAGES.get(one["type"], str(one["msg"]).removeprefix("Value error, "))
    if one["type"] in {"union_tag_not_found", "union_tag_invalid"}:
        # The member that says which variant of a body it is.
        parts.append(one["ctx"]["discriminator"].strip("'"))
        if tags := one["ctx"].get("expected_tags"):
            detail = f"must be one of {tags}"
    made: dict[str, Any] = {"code": code, "detail": detail}
    if where == "body":
        made["pointer"] = _pointer(parts, body, missing=code == "missing")
    else:
        name = str(parts[0])[:_LONGEST_PART] if parts else ""
        made |= {"header": "-".join(map(str.capitalize, name.split("-")))} if where == "header" else {"parameter": name}
    return made


def _pointer(parts: Sequence[str | int], body: Any, *, missing: bool = False) -> str:
    """Return the JSON pointer (RFC 6901) of a part of a body.

    Args:
        parts: The names and indexes that lead there. Those of a union's variant, which no body contains, are left out.
        body: The body.
        missing: Whether the last part is a member that the body should have.

    Example:
        >>> _pointer(["add"], {"change": "add"}), _pointer(["add", "cidr"], {"change": "add"}, missing=True)
        ('', '/cidr')
        >>> _pointer(["add", "entries", 0, "a/b"], {"change": "add", "entries": [{"a/b": 1}]})
        '/entries/0/a~1b'
    """
    found = []
    for number, part in enumerate(parts):
        inside: Any = None
        if isinstance(body, dict) and isinstance(part, str):
            if part not in body and not (missing and number + 1 == len(parts)):
                continue
            inside = body.get(part)
        elif isinstance(body, list) and isinstance(part, int) and part < len(body):
            inside = body[part]
        elif number + 1 < len(parts):
            continue
        found.append(str(part)[:_LONGEST_PART].replace("~", "~0").replace("/", "~1"))
        body = inside
    return "".join(f"/{part}" for part in found)


def _invalid(errors: Sequence[Mapping[str, Any]], count: int | None = None) -> Response:
    more = 0 if count is None else count - len(errors)
    detail = _told(errors) + (f"; and {more:,} more" if more else "")
    return problem_response("invalid_request", detail, errors=errors, more_errors=more)


def _told(errors: Sequence[Mapping[str, Any]]) -> str:
    told = []
    for one in errors:
        where = one.get("pointer") or one.get("parameter") or one.get("header")
        told.append(f"{where}: {one['detail']}" if where else str(one["detail"]))
    return "; ".join(told)


def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    code = _CODES.get(error.status_code, "invalid_request" if error.status_code < 500 else "internal_error")
    return problem_response(code, error.detail, headers=headers)


def _methods(request: Request) -> list[str]:
    """Return all methods that a path accepts. Each route knows only its own methods."""
    routes: list[APIRoute] = request.app.state.routes
    same_path = (route for route in routes if route.path_regex.match(routed_path(request.scope)))
    found = {method for route in same_path for method in route.methods or ()}
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _unexpected(_request: Request, _error: Exception) -> Response:
    return problem_response("internal_error", "the service failed; see its log for the cause")


def _status_of(kind: ProblemType) -> int:
    if kind.status is None:
        raise AssertionError(f"no HTTP response has the type {kind.code}")
    return kind.status
