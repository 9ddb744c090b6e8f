"""Editing one entry in its row of the list."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response

from cidrgate.errors import (
    CidrgateError,
    CredentialEndedError,
    EntryNotFoundError,
    Problem,
    StoreError,
    VersionConflictError,
)
from cidrgate.manager.changes import named_entries
from cidrgate.service.console.changing import NeedsConfirmationError, make_change
from cidrgate.service.console.drafts import DraftCheck, DraftProblem, Edit, NewEdit, check_draft, corrections_for
from cidrgate.service.console.lists import HEADINGS, AccountQuery, last_change, view_of
from cidrgate.service.console.pages import go, page
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.values import Entry

__all__ = ["router"]

router = APIRouter(prefix="/list", route_class=ConsoleRoute)

_EntryQuery = Annotated[int, Query(ge=1, le=2**63 - 1), PLAIN]


@router.get("/row")
def row(request: Request, person: SignedIn, account: AccountQuery, entry: _EntryQuery) -> Response:
    """Show the row of an entry, after a person has cancelled an edit."""
    view = view_of(request, person, account)
    [found] = named_entries(account, view.entries, [entry])
    matched = service_of(request).manager.last_matches(account)
    return page(request, "row.html", person=person, view=view, matched=matched, entry=found, focus=True)


@router.get("/edit")
def form(request: Request, person: SignedIn, account: AccountQuery, entry: _EntryQuery) -> Response:
    """Show the form of an entry."""
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)
    owner, listed = manager.listing(account)
    [found] = named_entries(account, listed, [entry])
    return _form(request, person, found, Edit.begin(found, owner.version), None)


@router.post("/edit/check")
def check(request: Request, person: SignedInForm, draft: NewEdit) -> Response:
    """Show what the rules report about the current input."""
    person.principal.require_account(service_of(request).manager, draft.account, write=True)
    found = _entry(request, draft)
    verdict = _checked(request, person, found, draft)
    return page(
        request, "verdict.html", person=person, draft=draft, verdict=verdict, path="list/edit", pieces=[draft.cidr]
    )


@router.post("/edit/rewrite")
def rewrite(
    request: Request, person: SignedInForm, draft: NewEdit, way: Annotated[str, Form(max_length=10_000)]
) -> Response:
    """Show the form after a hint was accepted: `0 text`."""
    person.principal.require_account(service_of(request).manager, draft.account, write=True)
    found = _entry(request, draft)
    draft = replace(draft, cidr=way.partition(" ")[2])
    return _form(request, person, found, draft, _checked(request, person, found, draft))


@router.post("/edit")
def edit(request: Request, person: SignedInForm, draft: NewEdit) -> Response:
    """Change the entry."""
    manager = service_of(request).manager
    person.principal.require_account(manager, draft.account, write=True)
    conflict = None
    try:
        change = draft.change(_entry(request, draft), person.principal.name, version=draft.version)
        sequence = make_change(person.principal.changing(manager), change, person.address, draft.confirmed)
        return go(request, "list", account=draft.account, done=sequence)
    except (StoreError, CredentialEndedError, EntryNotFoundError):
        raise
    except VersionConflictError:
        conflict = last_change(manager, draft.account)
        draft = replace(draft, version=manager.account(draft.account).version)
        status = 409
    except NeedsConfirmationError:
        status = 409
    except CidrgateError:
        status = 422
    found = _entry(request, draft)
    return _form(
        request, person, found, draft, _checked(request, person, found, draft), status=status, conflict=conflict
    )


def _entry(request: Request, draft: Edit) -> Entry:
    [found] = named_entries(draft.account, service_of(request).manager.entries(draft.account), [draft.entry])
    return found


def _checked(request: Request, person: Person, entry: Entry, draft: Edit) -> DraftCheck:
    def found(problem: Problem) -> DraftProblem:
        return corrections_for(problem, problem.position, None)

    manager = service_of(request).manager
    return check_draft(manager, lambda: draft.change(entry, person.principal.name, version=None), person.address, found)


def _form(
    request: Request, person: Person, entry: Entry, draft: Edit, verdict: DraftCheck | None, **known: Any
) -> Response:
    return page(
        request,
        "edit.html",
        person=person,
        entry=entry,
        draft=draft,
        verdict=verdict,
        pieces=[draft.cidr],
        path="list/edit",
        columns=len(HEADINGS) + bool(service_of(request).manager.last_matches(entry.account)) + 1,
        **({"conflict": None} | known),
    )
