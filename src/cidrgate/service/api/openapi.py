"""Adds to the OpenAPI document what FastAPI cannot read from the routes: every error, headers, formats and names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from cidrgate.authorize import AUTHORIZE_PATH
from cidrgate.problem_types import PROBLEM_JSON
from cidrgate.service.api.schemas import ProblemModel, open_enum
from cidrgate.service.auth.origins import ON_BEHALF_OF
from cidrgate.service.http.limits import LONGEST_LABEL
from cidrgate.service.http.strict_requests import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

__all__ = ["CONTACT", "LICENSE", "LOCATION", "READ", "answers", "describe"]

CONTACT = {"name": "The cidrgate maintainers"}
"""Whom the document names."""

LICENSE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
"""The license of cidrgate, as the document has it."""

READ = {
    "ETag": {
        "description": "The entity tag of exactly this representation, for `If-None-Match`; that of a list or an entry "
        "also for `If-Match`.",
        "schema": {"type": "string"},
    }
}
"""The headers of a response to a request that reads."""
LOCATION = {
    "Location": {
        "description": "The path of the new resource; missing if several entries were added.",
        "schema": {"type": "string", "format": "uri-reference"},
    }
}

_ON_BEHALF_OF = {
    "name": ON_BEHALF_OF,
    "in": "header",
    "required": False,
    "description": "The person for whom a program makes the change, as UTF-8. The change log shows it in `origin`; the "
    "service does not check it.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_LABEL},
}
"""The header of operations that change something. `cidrgate.service.auth.access` reads it, for every request."""

_MODEL = "Model"
"""The end of the name of a class of the code, which the name of its schema does not have."""

_ERRORS = {
    400: "The request is malformed: its headers, such as Host, or its body, which is no JSON that the service accepts.",
    401: "The token is missing, unknown, revoked or expired.",
    403: "The token's scopes do not allow this, or the client address may not use this service.",
    404: "The resource does not exist, or this token may not see it.",
    408: "The body did not arrive in time.",
    409: "The current state does not allow this request; `code` gives the reason.",
    412: "The list has another version than `If-Match` or `cursor` names.",
    413: "The body is too large.",
    414: "The query is too long.",
    415: "The body has another media type than JSON, or is encoded.",
    421: "The service has another host name.",
    422: "The request is invalid, or it breaks rules; `errors` lists what is wrong.",
    429: "This address has sent too many wrong credentials.",
    431: "The headers are too large.",
    503: "The store is unavailable. Nothing was changed, unless `code` is `outcome_unknown`: then send the "
    "request again with its `Idempotency-Key`, or look at what it changes, as `detail` says.",
}
_RETRY = {"Retry-After": {"description": "The seconds to wait.", "schema": {"type": "integer", "format": "int32"}}}
_HEADERS = {
    401: {"WWW-Authenticate": {"description": "The authentication scheme to use.", "schema": {"type": "string"}}},
    429: _RETRY,
    503: _RETRY,
}
_BEFORE_ROUTES = (400, 414, 431)
_ALWAYS = (*_BEFORE_ROUTES, 408, 422)
_EVERYWHERE = (401, 403, *_ALWAYS, 421, 429, 503)
_WITH_BODY = (413, 415)


def answers(
    *errors: int, public: bool = False, body: bool = False, headers: dict[int, dict[str, Any]] | None = None
) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route other than its success.

    Args:
        errors: Statuses of errors, in addition to those of every route with a token.
        public: Whether the route needs no token.
        body: Whether the route takes a body.
        headers: Headers of further responses, by status. A response with an entity tag can also be 304.
    """
    statuses = sorted({*errors, *(_ALWAYS if public else _EVERYWHERE), *(_WITH_BODY if body else ())})
    described: dict[int | str, dict[str, Any]] = {status: _error(status) for status in statuses}
    for status, documented in (headers or {}).items():
        described[status] = {"headers": documented}
        if documented is READ:
            described[304] = {"description": "The client has it already: `If-None-Match` names it.", "headers": READ}
    return described


def describe(app: FastAPI, *, servers: Sequence[str], authorize: bool) -> None:
    """Complete an application's OpenAPI document.

    Args:
        app: The application.
        servers: The URLs of the service.
        authorize: Whether the service answers proxies at `/v1/authorize`.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                openapi_version=app.openapi_version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
                servers=[{"url": url} for url in servers],
                contact=CONTACT,
                license_info=LICENSE,
            )
            schema = ProblemModel.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
            schemas = made["components"]["schemas"]
            schemas.update(schema.pop("$defs", {}))
            schemas["ProblemModel"] = schema
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for operations in made["paths"].values():
                for operation in operations.values():
                    parameters = operation.get("parameters", [])
                    if any(one["name"].lower() == "idempotency-key" for one in parameters):
                        parameters.append(_ON_BEHALF_OF)
                if "patch" in operations:
                    content = operations["patch"]["requestBody"]["content"]
                    content[MERGE_PATCH] = content["application/json"]
            if authorize:
                made["paths"][AUTHORIZE_PATH] = {"get": _AUTHORIZE}
            app.openapi_schema = _plain(made)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _plain(part: Any) -> Any:
    """Return a part of the document with the names of schemas, and with a format for every integer."""
    if isinstance(part, list):
        return [_plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    made: dict[str, Any] = {}
    for name, value in part.items():
        if name in ("$ref", "title") and isinstance(value, str):
            made[name] = value.removesuffix(_MODEL)
        elif name == "mapping" and isinstance(value, dict):
            made[name] = {key: str(ref).removesuffix(_MODEL) for key, ref in value.items()}
        elif name == "schemas" and isinstance(value, dict):
            made[name] = {key.removesuffix(_MODEL): _plain(schema) for key, schema in sorted(value.items())}
        else:
            made[name] = value if name in ("example", "examples") else _plain(value)
    if made.get("type") == "integer":
        made.setdefault("format", "int64")
    return made


def _error(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": _ERRORS[status],
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/ProblemModel"}}},
    }
    if status in _HEADERS:
        described["headers"] = _HEADERS[status]
    return described


_REASON = {
    "X-Cidrgate-Reason": {
        "description": "Why the request is allowed or denied. The proxy must not pass it on to clients, because it "
        "tells which accounts exist.",
        "schema": {
            "type": "string",
            **open_enum(["matched", "not_listed", "not_enforced", "invalid_address", "no_account", "unclear_account"]),
        },
    }
}
_AUTHORIZE: dict[str, Any] = {
    "tags": ["operation"],
    "summary": "Authorize Request",
    "description": "Tell a proxy whether the client of its request may act for an account. It accepts every method, "
    "also at paths below it. It needs no token: only the proxy may be able to reach it.",
    "operationId": "authorize_request",
    "security": [],
    "parameters": [
        {
            "name": "X-Account",
            "in": "header",
            "required": False,
            "description": "The account for which the client acts.",
            "schema": {"type": "string", "maxLength": 255},
        },
        {
            "name": "X-Forwarded-For",
            "in": "header",
            "required": False,
            "description": "The client address, which counts if the proxy is trusted.",
            "schema": {"type": "string", "maxLength": 1000},
        },
    ],
    "responses": {
        "200": {"description": "The client may act for the account.", "headers": _REASON},
        "403": {
            "description": "The client may not act for the account.",
            "headers": _REASON,
            "content": {
                PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/ProblemModel"}},
                "text/html": {"schema": {"type": "string"}},
            },
        },
        **{str(status): _error(status) for status in _BEFORE_ROUTES},
    },
}
