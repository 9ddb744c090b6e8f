"""`/v1/tokens` and `/v1/me`: who may use the service. Only `/v1/me` is open to principals that are not admins."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from cidrgate.errors import TokenNotFoundError
from cidrgate.service.api.openapi import LOCATION, READ, answers
from cidrgate.service.api.schemas import (
    AccountText,
    FirstErrorOnly,
    RequestModel,
    ResponseModel,
    Text,
    Time,
    request_example,
    response_example,
)
from cidrgate.service.auth.access import Admin, Known
from cidrgate.service.auth.serialization import token_record
from cidrgate.service.auth.values import Scope
from cidrgate.service.http.client_address import client_address
from cidrgate.service.http.conditional_requests import IdempotencyKey, RawBody, request_key
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.limits import GREATEST_INTEGER, LONGEST_NAME, MOST_SCOPES
from cidrgate.service.http.pagination import Cursor, Limit, cursor_after, filled, number_of_cursor
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction

__all__ = [
    "CreatedTokenModel",
    "ScopeText",
    "TokenCreateModel",
    "TokenModel",
    "TokenPageModel",
    "WhoAmIModel",
    "router",
]

router = APIRouter(prefix="/v1", tags=["tokens"], route_class=StrictRoute)

TokenId = Annotated[int, Path(ge=1, le=GREATEST_INTEGER, description="The id of the token."), PLAIN]
ScopeText = Annotated[Text, Field(json_schema_extra={"maxLength": len("account::write") + LONGEST_NAME})]


class TokenCreateModel(RequestModel):
    """A token to create."""

    model_config = request_example({"name": "billing", "scopes": ["account:acct-1:write"]})

    name: AccountText = Field(description="A name for people; the history shows it as the author of changes.")
    scopes: Annotated[list[ScopeText], FirstErrorOnly()] = Field(
        max_length=MOST_SCOPES, description="`admin`, `metrics`, `account:NAME:read`, `account:NAME:write`."
    )
    expires_at: Time | None = Field(None, description="When it expires; null for never.")


_TOKEN = {
    "id": 3,
    "name": "billing",
    "scopes": ["account:acct-1:write"],
    "created_at": "2026-01-02T03:04:05+00:00",
    "created_by": "ops",
    "expires_at": None,
    "revoked_at": None,
}


class TokenModel(ResponseModel):
    """A token, without its secret."""

    model_config = response_example(_TOKEN)

    id: int = Field(description="The id of the token.")
    name: str = Field(description="The name; the history shows it as the author of changes.")
    scopes: list[str] = Field(description="What the token permits.")
    created_at: datetime = Field(description="When it was created.")
    created_by: str | None = Field(description="Who created it.")
    expires_at: datetime | None = Field(description="When it expires; null for never.")
    revoked_at: datetime | None = Field(description="When it was revoked; null if it was not.")


class CreatedTokenModel(TokenModel):
    """A token that was just created."""

    model_config = response_example({**_TOKEN, "token": "cidrgate_3_0000000000000000000000000000000000000000000"})

    token: str | None = Field(description="The secret, in this response only; null in a repeated response.")


class TokenPageModel(ResponseModel):
    """A page of tokens, by id."""

    items: list[TokenModel]
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last page.")


class WhoAmIModel(ResponseModel):
    """The token's name and scopes, and the caller's address."""

    model_config = response_example({"name": "billing", "scopes": ["account:acct-1:write"], "address": "198.51.100.7"})

    name: str = Field(description="The name of the token.")
    scopes: list[str] = Field(description="What the token permits.")
    address: str | None = Field(description="The client address of the request, as the lock-out guard sees it.")


@router.get("/me", response_model=WhoAmIModel, responses=answers(headers={200: READ}))
def who_am_i(request: Request, principal: Known) -> Response:
    """Return the name and the scopes of this token, and the client address of the request."""
    scopes = [str(scope) for scope in principal.scopes]
    return Answer({"name": principal.name, "scopes": scopes, "address": client_address(request)}).read()


@router.get("/tokens", response_model=TokenPageModel, responses=answers(headers={200: READ}))
def list_tokens(request: Request, _principal: Admin, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """List every token by id, also revoked and expired ones, without secrets."""
    found = service_of(request).credentials.tokens(after=number_of_cursor(cursor) or 0, limit=limit + 1)
    items, last = filled(found, token_record, lambda token: token.id, limit)
    page = {
        "items": items,
        "next_cursor": None if last is None else cursor_after(last),
    }
    return Answer(page).read()


@router.post(
    "/tokens",
    status_code=201,
    response_model=CreatedTokenModel,
    responses=answers(404, 409, body=True, headers={201: LOCATION}),
)
def create_token(
    request: Request, principal: Admin, new: TokenCreateModel, body: RawBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Create a token. Only this response contains its secret; a repeated response does not."""
    service = service_of(request)
    once = request_key(request, principal, idempotency_key, body)

    def carry_out() -> Answer:
        scopes = [Scope.parse(text) for text in new.scopes]

        def store(transaction: Transaction) -> Answer:
            principal.now(transaction).require_admin()
            made = service.credentials.with_origin(principal.origin).create_token_in(
                transaction, new.name, scopes, expires_at=new.expires_at, actor=principal.name
            )
            record = token_record(made.token)
            headers = {"Location": str(request.app.url_path_for("get_token", token_id=made.token.id))}
            service.answers.record(transaction, once, Answer({**record, "token": None}, 201, headers))
            return Answer({**record, "token": made.secret}, 201, headers)

        return service.credentials.written(store)

    return service.answers.once(once, carry_out)


@router.get("/tokens/{token_id}", response_model=TokenModel, responses=answers(404, headers={200: READ}))
def get_token(request: Request, _principal: Admin, token_id: TokenId) -> Response:
    """Return one token, without its secret."""
    found = service_of(request).credentials.tokens(after=token_id - 1, limit=1)
    if not found or found[0].id != token_id:
        raise TokenNotFoundError(f"there is no token {token_id}", token=token_id)
    return Answer(token_record(found[0])).read()


@router.delete("/tokens/{token_id}", response_model=TokenModel, responses=answers(404, 409))
def revoke_token(
    request: Request, principal: Admin, token_id: TokenId, body: RawBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Revoke a token from the next request on, and end the console sessions that began with it."""
    service = service_of(request)
    once = request_key(request, principal, idempotency_key, body)

    def store(transaction: Transaction) -> Answer:
        principal.now(transaction).require_admin()
        credentials = service.credentials.with_origin(principal.origin)
        answer = Answer(token_record(credentials.revoke_token_in(transaction, token_id, actor=principal.name)))
        service.answers.record(transaction, once, answer)
        return answer

    return service.answers.once(once, lambda: service.credentials.written(store))
