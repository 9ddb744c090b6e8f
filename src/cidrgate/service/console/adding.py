"""Adding entries: the form, its check by the rules during typing, and the change."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from cidrgate.errors import CidrgateError, Problem, VersionConflictError
from cidrgate.service.console.changing import NOT_OF_THE_FORM, NeedsConfirmationError, make_change
from cidrgate.service.console.conflicts import conflict_since
from cidrgate.service.console.drafts import (
    LIFETIMES,
    Addition,
    DraftCheck,
    DraftProblem,
    NewAddition,
    check_draft,
    corrections_for,
    fixed,
)
from cidrgate.service.console.fields import ListQuery, numbers_in
from cidrgate.service.console.lists import AccountQuery
from cidrgate.service.console.pages import go_to_list, page
from cidrgate.service.console.pasting import pasted_networks
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of

__all__ = ["addition_page", "router"]

router = APIRouter(prefix="/list/add", route_class=ConsoleRoute)


@router.get("")
def form(request: Request, person: SignedIn, account: AccountQuery, cidrs: ListQuery = "") -> Response:
    """Show the form for new entries."""
    return addition_page(request, person, account, cidrs)


@router.post("/check")
def check(request: Request, person: SignedInForm, draft: NewAddition) -> Response:
    """Show what the rules report about the current input."""
    person.principal.require_account(service_of(request).manager, draft.account, write=True)
    verdict = _checked(request, person, draft) if draft.texts() else None
    return page(request, "verdict.html", person=person, **_known(request, draft, verdict))


@router.post("/rewrite")
def rewrite(
    request: Request,
    person: SignedInForm,
    draft: NewAddition,
    way: Annotated[str, Form(max_length=10_000)],
) -> Response:
    """Show the form after a correction was chosen.

    The ways are `position text`, `position` to omit it, `split position`, `omit position position ...`, `replaces id id
    ...`, and `fix` for everything that is obvious.
    """
    person.principal.require_account(service_of(request).manager, draft.account, write=True)
    word, _, rest = way.partition(" ")
    texts = draft.texts()
    conflict = None
    if word == "replaces":
        conflict = conflict_since(service_of(request).manager, draft.account, draft.version or 0)
        version = draft.version if conflict is None else conflict.version
        draft = replace(draft, replaces=tuple(sorted({*draft.replaces, *numbers_in(rest)})), version=version)
    elif word == "fix":
        draft = fixed(draft, lambda draft: _checked(request, person, draft))
    elif word == "split":
        draft = draft.rewritten({one: pasted_networks(texts[one]) for one in numbers_in(rest) if one < len(texts)})
    elif word == "omit":
        draft = draft.rewritten(dict.fromkeys(numbers_in(rest), ()))
    else:
        draft = draft.rewritten({position: [rest] if rest else [] for position in numbers_in(word)})
    verdict = _checked(request, person, draft) if draft.texts() else None
    return _form(request, person, draft, verdict, conflict=conflict, sent=True)


@router.post("")
def add(request: Request, person: SignedInForm, draft: NewAddition) -> Response:
    """Add the entries."""
    manager = service_of(request).manager
    person.principal.require_account(manager, draft.account, write=True)
    conflict = None
    try:
        change = draft.change(manager.entries(draft.account), person.principal.name)
        sequence = make_change(person.principal.changing(manager), change, person.guarded_address, draft.agreement)
        return go_to_list(request, draft.account, sequence)
    except NOT_OF_THE_FORM:
        raise
    except VersionConflictError:
        conflict = conflict_since(manager, draft.account, draft.version or 0)
        draft = replace(draft, version=draft.version if conflict is None else conflict.version, replaces=())
        status = 409
    except NeedsConfirmationError:
        status = 409
    except CidrgateError:
        status = 422
    verdict = _checked(request, person, draft)
    return _form(request, person, draft, verdict, status=status, conflict=conflict, refused=conflict is None, sent=True)


def addition_page(request: Request, person: Person, account: str, cidrs: str) -> Response:
    """Return the form for new entries with some networks in it, if the person may change the list.

    Raises:
        CidrgateError: If there is no such account, or the person may not change its list.
    """
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)
    draft = Addition(account, cidrs, version=manager.account(account).version)
    return _form(request, person, draft, _checked(request, person, draft) if cidrs else None)


def _checked(request: Request, person: Person, draft: Addition) -> DraftCheck:
    manager = service_of(request).manager
    listed = manager.entries(draft.account)

    texts = draft.texts()

    def found(problem: Problem) -> DraftProblem:
        return corrections_for(problem, draft.position_of(problem, listed), texts, listed, replaces=draft.replaces)

    return check_draft(
        manager, lambda: draft.change(listed, person.principal.name, checked=False), person.guarded_address, found
    )


def _form(request: Request, person: Person, draft: Addition, verdict: DraftCheck | None, **known: Any) -> Response:
    return page(
        request,
        "add.html",
        person=person,
        lifetimes=LIFETIMES,
        **(_known(request, draft, verdict) | {"conflict": None, "sent": False} | known),
    )


def _known(request: Request, draft: Addition, verdict: DraftCheck | None) -> dict[str, Any]:
    """Return what the templates know of the input."""
    giving_way = draft.leaving(service_of(request).manager.entries(draft.account)) if draft.replaces else []
    return {
        "draft": draft,
        "verdict": verdict,
        "pieces": draft.texts(),
        "path": "list/add",
        "target": "#verdict",
        "giving_way": giving_way,
        "refused": False,
    }
