"""The page of tokens, for admins: programs use the API with them, and people sign in with them."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response

from cidrgate.errors import (
    AccountNotFoundError,
    CidrgateError,
    InvalidExpiryError,
    InvalidScopeError,
    InvalidTextError,
    TokenNotFoundError,
)
from cidrgate.service.auth.values import NewToken, Scope, Token
from cidrgate.service.console.fields import ShortQuery
from cidrgate.service.console.messages import field_of, message_of
from cidrgate.service.console.pages import go, page
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction

__all__ = ["router"]

router = APIRouter(prefix="/tokens", route_class=ConsoleRoute)

_A_PAGE = 50
_DAYS = {"never": None, "30": 30, "90": 90, "365": 365}
_Text = Annotated[str, Form(max_length=1_000)]


@router.get("")
def tokens_page(
    request: Request, person: SignedIn, after: Annotated[int, Query(ge=0, le=2**63 - 1), PLAIN] = 0
) -> Response:
    """Show every token, without its secret."""
    person.principal.require_admin()
    found = service_of(request).credentials.tokens(after=after, limit=_A_PAGE + 1)
    more = found[_A_PAGE - 1].id if len(found) > _A_PAGE else None
    return page(request, "tokens.html", person=person, tokens=found[:_A_PAGE], after=after, more=more)


@router.get("/new")
def new_token_page(request: Request, person: SignedIn, account: ShortQuery = "") -> Response:
    """Show the form for a token."""
    person.principal.require_admin()
    known = service_of(request).credentials.newest_token_id()
    return _form(request, person, name="", may="write", account=account, ends="never", known=known)


@router.post("/new")
def create_token(
    request: Request,
    person: SignedInForm,
    name: _Text = "",
    may: _Text = "",
    account: _Text = "",
    ends: _Text = "never",
    known: Annotated[int | None, Form(ge=0, le=2**63 - 1), PLAIN] = None,
) -> Response:
    """Create a token, and show its secret this once. The same form creates no second token."""
    person.principal.require_admin()
    typed = {"name": name, "may": may, "account": account, "ends": ends, "known": known}
    service = service_of(request)
    try:
        scope = Scope.parse(may if may in ("admin", "metrics") else f"account:{account.strip()}:{may}")
        if ends not in _DAYS:
            raise InvalidExpiryError("a token ends after a number of days, or never")
        days = _DAYS[ends]
        expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)

        def store(transaction: Transaction) -> NewToken | Token:
            person.principal.now(transaction).require_admin()
            made = service.credentials.token_made_since
            actor = person.principal.name
            already = None if known is None else made(transaction, known, name.strip(), scope, actor)
            return already or service.credentials.with_origin(person.principal.origin).create_token_in(
                transaction, name.strip(), [scope], expires_at=expires_at, actor=actor
            )

        made = service.credentials.written(store)
    except (InvalidScopeError, InvalidExpiryError, InvalidTextError, AccountNotFoundError) as error:
        return _form(request, person, refused=message_of(error), wrong=_field_of(error, may), status=422, **typed)
    if isinstance(made, Token):
        return page(request, "token_made_before.html", person=person, token=made, status=409)
    return page(request, "new_token_made.html", person=person, made=made)


@router.get("/revoke")
def revoke_page(
    request: Request, person: SignedIn, token: Annotated[int, Query(ge=1, le=2**63 - 1), PLAIN]
) -> Response:
    """Ask before a token is revoked: nothing can bring it back."""
    person.principal.require_admin()
    found = service_of(request).credentials.tokens(after=token - 1, limit=1)
    if not found or found[0].id != token:
        raise TokenNotFoundError(f"there is no token {token}", token=token)
    return page(request, "revoke.html", person=person, token=found[0])


@router.post("/revoke")
def revoke_token(
    request: Request, person: SignedInForm, token: Annotated[int, Form(ge=1, le=2**63 - 1), PLAIN]
) -> Response:
    """Revoke a token."""
    person.principal.require_admin()
    service = service_of(request)

    def revoke(transaction: Transaction) -> None:
        person.principal.now(transaction).require_admin()
        credentials = service.credentials.with_origin(person.principal.origin)
        credentials.revoke_token_in(transaction, token, actor=person.principal.name)

    service.credentials.written(revoke)
    return go(request, "tokens")


def _field_of(error: CidrgateError, may: str) -> str | None:
    """Return the field of the form that an error is about."""
    match error:
        case InvalidExpiryError():
            return "ends"
        case AccountNotFoundError():
            return "account"
        case InvalidScopeError():
            return "account" if may in ("write", "read") else "may"
        case _:
            return field_of(error)


def _form(
    request: Request,
    person: Person,
    *,
    refused: str | None = None,
    wrong: str | None = None,
    status: int = 200,
    **typed: Any,
) -> Response:
    return page(request, "new_token.html", person=person, refused=refused, wrong=wrong, status=status, **typed)
