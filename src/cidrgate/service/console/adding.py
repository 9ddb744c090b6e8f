"""Adding entries: the form, its check by the rules during typing, and the change."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from cidrgate.errors import CidrgateError, CredentialEndedError, Problem, StoreError, VersionConflictError
from cidrgate.service.console.changing import NeedsConfirmationError, make_change
from cidrgate.service.console.drafts import (
    LIFETIMES,
    Addition,
    DraftCheck,
    DraftProblem,
    NewAddition,
    check_draft,
    corrections_for,
)
from cidrgate.service.console.fields import ListQuery, numbers_in
from cidrgate.service.console.lists import AccountQuery, last_change
from cidrgate.service.console.pages import go, page
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of

__all__ = ["router"]

router = APIRouter(prefix="/list/add", route_class=ConsoleRoute)


@router.get("")
def form(request: Request, person: SignedIn, account: AccountQuery, cidrs: ListQuery = "") -> Response:
    """Show the form for new entries."""
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)
    draft = Addition(account, cidrs, version=manager.account(account).version)
    return _form(request, person, draft, _checked(request, person, draft) if cidrs else None)


@router.post("/check")
def check(request: Request, person: SignedInForm, draft: NewAddition) -> Response:
    """Show what the rules report about the current input."""
    person.principal.require_account(service_of(request).manager, draft.account, write=True)
    verdict = _checked(request, person, draft) if draft.texts() else None
    return page(
        request, "verdict.html", person=person, draft=draft, verdict=verdict, path="list/add", pieces=draft.texts()
    )


@router.post("/rewrite")
def rewrite(
    request: Request,
    person: SignedInForm,
    draft: NewAddition,
    way: Annotated[str, Form(max_length=10_000)],
) -> Response:
    """Show the form after a hint was accepted: `position text`, `position` to omit it, or `replaces id id ...`."""
    person.principal.require_account(service_of(request).manager, draft.account, write=True)
    word, *rest = way.split(" ", 1)
    if word == "replaces":
        giving_way = numbers_in(rest[0]) if rest else set()
        version = service_of(request).manager.account(draft.account).version
        draft = replace(draft, replaces=tuple(sorted({*draft.replaces, *giving_way})), version=version)
    elif (position := next(iter(numbers_in(word)), None)) is not None and position < len(draft.texts()):
        draft = draft.rewritten(position, rest[0] if rest else "")
    verdict = _checked(request, person, draft) if draft.texts() else None
    return _form(request, person, draft, verdict)


@router.post("")
def add(request: Request, person: SignedInForm, draft: NewAddition) -> Response:
    """Add the entries."""
    manager = service_of(request).manager
    person.principal.require_account(manager, draft.account, write=True)
    conflict = None
    try:
        change = draft.change(manager.entries(draft.account), person.principal.name)
        sequence = make_change(person.principal.changing(manager), change, person.address, draft.confirmed)
        return go(request, "list", account=draft.account, done=sequence)
    except (StoreError, CredentialEndedError):
        raise
    except VersionConflictError:
        conflict = last_change(manager, draft.account)
        draft = replace(draft, version=manager.account(draft.account).version, replaces=())
        status = 409
    except NeedsConfirmationError:
        status = 409
    except CidrgateError:
        status = 422
    return _form(request, person, draft, _checked(request, person, draft), status=status, conflict=conflict)


def _checked(request: Request, person: Person, draft: Addition) -> DraftCheck:
    manager = service_of(request).manager
    listed = manager.entries(draft.account)

    def found(problem: Problem) -> DraftProblem:
        return corrections_for(problem, draft.position_of(problem, listed), listed)

    return check_draft(
        manager, lambda: draft.change(listed, person.principal.name, checked=False), person.address, found
    )


def _form(request: Request, person: Person, draft: Addition, verdict: DraftCheck | None, **known: Any) -> Response:
    manager = service_of(request).manager
    listed = manager.entries(draft.account)
    return page(
        request,
        "add.html",
        person=person,
        draft=draft,
        verdict=verdict,
        pieces=draft.texts(),
        path="list/add",
        lifetimes=LIFETIMES,
        giving_way=[entry for entry in listed if entry.id in draft.replaces],
        **({"conflict": None} | known),
    )
