"""What the OpenAPI document says besides what FastAPI reads off the routes: every error, and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from cidrgate.service.api.schemas import ProblemDetails
from cidrgate.service.http.problems import PROBLEM_JSON

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["ETAG", "LOCATION", "answers", "describe"]

ETAG = {"ETag": {"description": "The version of the list, for `If-Match`.", "schema": {"type": "string"}}}
LOCATION = {"Location": {"description": "The path of what was created.", "schema": {"type": "string"}}}

_ERRORS = {
    401: "No token, or one that is unknown, revoked or over.",
    403: "The token's scope does not allow it, or the client's address is not listed for this service.",
    404: "There is no such thing, or this token may not see it.",
    409: "It cannot be done as things are: `code` says why.",
    400: "The Host header is none.",
    408: "The body did not come in time.",
    412: "The list changed since the version of `If-Match`.",
    413: "The body is too large.",
    414: "The query is too long.",
    421: "The service is reached by another host.",
    431: "The head is too large.",
    422: "The request cannot be understood, or breaks rules; `problems` holds each of them.",
    429: "Too many wrong credentials came from this address.",
    503: "The store cannot be used now. Nothing was changed, unless `code` is `outcome_unknown`: look, or send the "
    "request again with its `Idempotency-Key`.",
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
_HEADERS = {
    401: {"WWW-Authenticate": {"description": "The scheme to use.", "schema": {"type": "string"}}},
    429: _RETRY,
    503: _RETRY,
}
_ALWAYS = (414, 422, 431)
_EVERYWHERE = (400, 401, 403, *_ALWAYS, 421, 429, 503)


def answers(
    *errors: int, public: bool = False, headers: dict[int, dict[str, Any]] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route besides the one when it works.

    Args:
        errors: Statuses of errors, beyond those of every route with a token.
        public: Whether it takes no token.
        headers: What headers other answers have, by status.
    """
    statuses = sorted({*errors, *(_ALWAYS if public else _EVERYWHERE), *((408,) if 413 in errors else ())})
    described: dict[int | str, dict[str, Any]] = {status: _error(status) for status in statuses}
    for status, documented in (headers or {}).items():
        described[status] = {"headers": documented}
    return described


def describe(app: FastAPI) -> None:
    """Make an application's OpenAPI document complete."""

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
