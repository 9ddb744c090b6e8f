"""`/v1/links`: one-time links to the console, for the customers of an application. Only admins make them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from cidrgate.errors import InvalidExpiryError
from cidrgate.service.api.openapi import answers
from cidrgate.service.api.schemas import (
    AccountText,
    FirstErrorOnly,
    RequestModel,
    ResponseModel,
    Time,
    request_example,
    response_example,
)
from cidrgate.service.api.tokens import ScopeText
from cidrgate.service.auth.access import Admin
from cidrgate.service.auth.serialization import link_record
from cidrgate.service.auth.values import LINK_LIFETIME, Scope, link_url
from cidrgate.service.http.conditional_requests import IdempotencyKey, RawBody, request_key
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.limits import MOST_SCOPES
from cidrgate.service.http.prefix import prefix_of
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction
from cidrgate.values import in_utc

__all__ = ["LinkCreateModel", "LinkModel", "router"]

router = APIRouter(prefix="/v1/links", tags=["links"], route_class=StrictRoute)

_LONGEST_LIFETIME = timedelta(days=7)
"""A link waits in a mailbox: whoever reads the mail later must not get in."""


class LinkCreateModel(RequestModel):
    """A one-time link to create."""

    model_config = request_example({"name": "Ada of Example Ltd", "scopes": ["account:acct-1:write"]})

    name: AccountText = Field(description="The name of the person; the history shows it as the author of changes.")
    scopes: Annotated[list[ScopeText], FirstErrorOnly()] = Field(
        max_length=MOST_SCOPES,
        description="`account:NAME:read`, `account:NAME:write` or `admin`: what the session permits.",
    )
    expires_at: Time | None = Field(
        None, description="Until when it can be opened, at most seven days from now; null for an hour."
    )


class LinkModel(ResponseModel):
    """A one-time link that was just created."""

    model_config = response_example(
        {
            "id": "9f86d081884c7d65",
            "name": "Ada of Example Ltd",
            "scopes": ["account:acct-1:write"],
            "created_by": "billing",
            "expires_at": "2026-01-02T04:04:05+00:00",
            "url": "https://lists.example.com/console/link/0000000000000000000000000000000000000000000",
        }
    )

    id: str = Field(description="The id, which the change log names.")
    name: str = Field(description="The name of the person; the history shows it as the author of changes.")
    scopes: list[str] = Field(description="What the session permits.")
    created_by: str | None = Field(description="Who created it.")
    expires_at: datetime = Field(description="Until when it can be opened.")
    url: str | None = Field(description="The URL to open, in this response only; null in a repeated response.")


@router.post("", status_code=201, response_model=LinkModel, responses=answers(404, 409, body=True))
def create_link(
    request: Request, principal: Admin, new: LinkCreateModel, body: RawBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Create a link that signs one person in to the console, once. It ends with the token of this request.

    Only this response contains the URL; a repeated response does not.
    """
    service = service_of(request)
    once = request_key(request, principal, idempotency_key, body)

    def carry_out() -> Answer:
        scopes = [Scope.parse(text) for text in new.scopes]

        def store(transaction: Transaction) -> Answer:
            principal.now(transaction).require_admin()
            made = service.credentials.with_origin(principal.origin).create_link_in(
                transaction,
                new.name,
                scopes,
                expires_at=_end(new.expires_at),
                token_id=principal.token_id,
                actor=principal.name,
            )
            record = link_record(made)
            service.answers.record(transaction, once, Answer({**record, "url": None}, 201))
            return Answer({**record, "url": link_url(_base_url(request), made.secret)}, 201)

        return service.credentials.written(store)

    return service.answers.once(once, carry_out)


def _end(expires_at: datetime | None) -> datetime:
    """Return until when a link can be opened."""
    now = datetime.now(UTC)
    if expires_at is None:
        return now + LINK_LIFETIME
    end = in_utc(expires_at, "expires_at")
    if not now < end <= now + _LONGEST_LIFETIME:
        raise InvalidExpiryError(
            f"expires_at {end.isoformat()} is not within the next {_LONGEST_LIFETIME.days} days", expires_at=end
        )
    return end


def _base_url(request: Request) -> str:
    """Return the URL below which people see the service: the public URL, or else what this request was sent to."""
    public = service_of(request).settings._public
    origin = f"{request.url.scheme}://{request.url.netloc}" if public is None else str(public)
    return origin + prefix_of(request.scope)
