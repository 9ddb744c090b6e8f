"""Adds to the OpenAPI document what FastAPI cannot read from the routes: every error, and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from cidrgate.service.api.schemas import ProblemDetails
from cidrgate.service.http.problems import PROBLEM_JSON

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["ETAG", "LOCATION", "answers", "describe"]

ETAG = {"ETag": {"description": "The version of the list, for `If-Match`.", "schema": {"type": "string"}}}
LOCATION = {"Location": {"description": "The path of the new resource.", "schema": {"type": "string"}}}

_ERRORS = {
    401: "The token is missing, unknown, revoked or expired.",
    403: "The token's scopes do not allow this, or the client address may not use this service.",
    404: "The resource does not exist, or this token may not see it.",
    409: "The current state does not allow this request; `code` gives the reason.",
    400: "The Host header is invalid.",
    408: "The body did not arrive in time.",
    412: "The list has changed since the version in `If-Match`.",
    413: "The body is too large.",
    414: "The query is too long.",
    421: "The service has another host name.",
    431: "The headers are too large.",
    422: "The request is invalid, or it violates rules; `problems` lists every violation.",
    429: "This address has sent too many wrong credentials.",
    503: "The store is unavailable. Nothing was changed, unless `code` is `outcome_unknown`: then read the list, or "
    "send the request again with its `Idempotency-Key`.",
}
_RETRY = {"Retry-After": {"description": "The seconds to wait.", "schema": {"type": "integer"}}}
_HEADERS = {
    401: {"WWW-Authenticate": {"description": "The authentication scheme to use.", "schema": {"type": "string"}}},
    429: _RETRY,
    503: _RETRY,
}
_ALWAYS = (414, 422, 431)
_EVERYWHERE = (400, 401, 403, *_ALWAYS, 421, 429, 503)


def answers(
    *errors: int, public: bool = False, headers: dict[int, dict[str, Any]] | None = None
) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route other than its success.

    Args:
        errors: Statuses of errors, in addition to those of every route with a token.
        public: Whether the route needs no token.
        headers: Headers of further responses, by status.
    """
    statuses = sorted({*errors, *(_ALWAYS if public else _EVERYWHERE), *((408,) if 413 in errors else ())})
    described: dict[int | str, dict[str, Any]] = {status: _error(status) for status in statuses}
    for status, documented in (headers or {}).items():
        described[status] = {"headers": documented}
    return described


def describe(app: FastAPI) -> None:
    """Complete an application's OpenAPI document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                openapi_version=app.openapi_version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            schema = ProblemDetails.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
            schemas = made["components"]["schemas"]
            schemas.update(schema.pop("$defs", {}))
            schemas["ProblemDetails"] = schema
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _error(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": _ERRORS[status],
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
    if status in _HEADERS:
        described["headers"] = _HEADERS[status]
    return described
