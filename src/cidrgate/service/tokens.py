"""`/v1/tokens` and `/v1/me`: who may use the service. Everything but `/v1/me` is for admins."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from cidrgate.credentials import Scope
from cidrgate.errors import TokenNotFoundError
from cidrgate.records import token_record
from cidrgate.service.access import Admin, Known
from cidrgate.service.addresses import client_address
from cidrgate.service.answers import Answer
from cidrgate.service.conditions import IdempotencyKey, RawBody, request_key
from cidrgate.service.documents import LOCATION, answers
from cidrgate.service.models import MOST_ID, CreatedTokenModel, NewTokenModel, TokenModel, TokenPage, WhoAmIModel
from cidrgate.service.pages import Cursor, Limit, a_page, cursor_after, number_of_cursor
from cidrgate.service.settings import service_of
from cidrgate.service.threads import ChangingRoute

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["tokens"], route_class=ChangingRoute)

TokenId = Annotated[int, Path(ge=1, le=MOST_ID, description="The token's id.")]


@router.get("/me", response_model=WhoAmIModel, responses=answers())
def who_am_i(request: Request, principal: Known) -> Response:
    """Who this token is, what it is good for, and which address the request came from."""
    scopes = [str(scope) for scope in principal.scopes]
    return Answer({"name": principal.name, "scopes": scopes, "address": client_address(request)}).response()


@router.get("/tokens", response_model=TokenPage, responses=answers())
def list_tokens(request: Request, _principal: Admin, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Every token by id, those that are revoked or over too; without secrets."""
    found = service_of(request).credentials.tokens(after=number_of_cursor(cursor) or 0, limit=limit + 1)
    shown, last = a_page(found, limit)
    page = {
        "items": [token_record(token) for token in shown],
        "next_cursor": None if last is None else cursor_after(last.id),
    }
    return Answer(page).response()


@router.post(
    "/tokens", status_code=201, response_model=CreatedTokenModel, responses=answers(409, 413, headers={201: LOCATION})
)
def create_token(
    request: Request, principal: Admin, new: NewTokenModel, body: RawBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Make a token. Its secret is shown in this answer only: an answer that is repeated holds none."""
    service = service_of(request)
    once = request_key(request, principal, idempotency_key, body)

    def carry_out() -> Answer:
        scopes = [Scope.parse(text) for text in new.scopes]
        with service.manager.store.write() as transaction:
            made = service.credentials.create_token_in(
                transaction, new.name, scopes, expires_at=new.expires_at, actor=principal.name
            )
            record = token_record(made.token)
            headers = {"Location": str(request.app.url_path_for("get_token", token=made.token.id))}
            service.answers.keep(transaction, once, Answer({**record, "token": None}, 201, headers))
        return Answer({**record, "token": made.secret}, 201, headers)

    return service.answers.once(once, carry_out)


@router.get("/tokens/{token}", response_model=TokenModel, responses=answers(404))
def get_token(request: Request, _principal: Admin, token: TokenId) -> Response:
    """One token, without its secret."""
    found = service_of(request).credentials.tokens(after=token - 1, limit=1)
    if not found or found[0].id != token:
        raise TokenNotFoundError(f"there is no token {token}")
    return Answer(token_record(found[0])).response()


@router.delete("/tokens/{token}", response_model=TokenModel, responses=answers(404))
def revoke_token(request: Request, _principal: Admin, token: TokenId) -> Response:
    """Make a token useless, from the next request on, and end the console sessions begun with it."""
    return Answer(token_record(service_of(request).credentials.revoke_token(token))).response()
