"""Editing one entry in its row of the list."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response

from cidrgate.errors import CidrgateError, EntryNotFoundError, Problem, VersionConflictError
from cidrgate.manager.changes import named_entries
from cidrgate.service.console.changing import NOT_OF_THE_FORM, NeedsConfirmationError, make_change
from cidrgate.service.console.conflicts import conflict_since
from cidrgate.service.console.drafts import DraftCheck, DraftProblem, Edit, NewEdit, check_draft, corrections_for
from cidrgate.service.console.fields import ListQuery, numbers_in
from cidrgate.service.console.lists import HEADINGS, AccountQuery, view_of
from cidrgate.service.console.pages import go_to_list, page
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
def form(
    request: Request, person: SignedIn, account: AccountQuery, entry: _EntryQuery, cidr: ListQuery = ""
) -> Response:
    """Show the form of an entry, as it is or with another network."""
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)
    owner, listed = manager.listing(account)
    [found] = named_entries(account, listed, [entry])
    draft = Edit.begin(found, owner.version)
    if not cidr:
        return _form(request, person, found, listed, draft, None)
    draft = replace(draft, cidr=cidr)
    return _form(request, person, found, listed, draft, _checked(request, person, found, listed, draft))


@router.post("/edit/check")
def check(request: Request, person: SignedInForm, draft: NewEdit) -> Response:
    """Show what the rules report about the current input."""
    person.principal.require_account(service_of(request).manager, draft.account, write=True)
    found, listed = _listed(request, draft)
    verdict = _checked(request, person, found, listed, draft)
    return page(request, "verdict.html", person=person, **_known(found, listed, draft, verdict))


@router.post("/edit/rewrite")
def rewrite(
    request: Request, person: SignedInForm, draft: NewEdit, way: Annotated[str, Form(max_length=10_000)]
) -> Response:
    """Show the form after a correction was chosen: `0 text`, `0` to keep the network, or `replaces id id ...`."""
    manager = service_of(request).manager
    person.principal.require_account(manager, draft.account, write=True)
    word, _, rest = way.partition(" ")
    conflict = None
    if word == "replaces":
        conflict = conflict_since(manager, draft.account, draft.version)
        draft = replace(draft, replaces=tuple(sorted({*draft.replaces, *numbers_in(rest)})))
    found, listed = _listed(request, draft)
    if conflict is not None:
        draft, conflict = draft.after(conflict, found)
    if word != "replaces":
        draft = replace(draft, cidr=rest or found.cidr)
    verdict = _checked(request, person, found, listed, draft)
    return _form(request, person, found, listed, draft, verdict, conflict=conflict)


@router.post("/edit")
def edit(request: Request, person: SignedInForm, draft: NewEdit) -> Response:
    """Change the entry."""
    manager = service_of(request).manager
    person.principal.require_account(manager, draft.account, write=True)
    conflict = None
    try:
        change = draft.change(*_listed(request, draft), person.principal.name, version=draft.version)
        sequence = make_change(person.principal.changing(manager), change, person.guarded_address, draft.agreement)
        return go_to_list(request, draft.account, sequence)
    except (*NOT_OF_THE_FORM, EntryNotFoundError):
        raise
    except VersionConflictError:
        conflict = conflict_since(manager, draft.account, draft.version)
        draft = replace(draft, replaces=())
        status = 409
    except NeedsConfirmationError:
        status = 409
    except CidrgateError:
        status = 422
    found, listed = _listed(request, draft)
    if conflict is not None:
        draft, conflict = draft.after(conflict, found)
    verdict = _checked(request, person, found, listed, draft)
    return _form(
        request, person, found, listed, draft, verdict, status=status, conflict=conflict, refused=conflict is None
    )


def _listed(request: Request, draft: Edit) -> tuple[Entry, list[Entry]]:
    """Return the entry and its list."""
    listed = service_of(request).manager.entries(draft.account)
    [found] = named_entries(draft.account, listed, [draft.entry])
    return found, listed


def _checked(request: Request, person: Person, entry: Entry, listed: list[Entry], draft: Edit) -> DraftCheck:
    others = [one for one in listed if one.id != entry.id]

    def found(problem: Problem) -> DraftProblem:
        return corrections_for(problem, 0, [draft.cidr], others, several=False, replaces=draft.replaces)

    manager = service_of(request).manager
    return check_draft(
        manager,
        lambda: draft.change(entry, listed, person.principal.name, version=None),
        person.guarded_address,
        found,
    )


def _known(entry: Entry, listed: list[Entry], draft: Edit, verdict: DraftCheck | None) -> dict[str, Any]:
    """Return what the templates know of the input."""
    return {
        "entry": entry,
        "draft": draft,
        "verdict": verdict,
        "pieces": [draft.cidr],
        "path": "list/edit",
        "target": f"#verdict-{entry.id}",
        "giving_way": draft.leaving(listed),
        "refused": False,
    }


def _form(
    request: Request,
    person: Person,
    entry: Entry,
    listed: list[Entry],
    draft: Edit,
    verdict: DraftCheck | None,
    **known: Any,
) -> Response:
    return page(
        request,
        "edit.html",
        person=person,
        columns=len(HEADINGS) + bool(service_of(request).manager.last_matches(entry.account)) + 1,
        **(_known(entry, listed, draft, verdict) | {"conflict": None} | known),
    )
