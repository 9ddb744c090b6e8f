"""Going back to an earlier list, and undoing one change: both show the difference first, and are new changes."""

from datetime import datetime
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Form, Query, Request, Response

from cidrgate.errors import AccountNotFoundError, CidrgateError, StoreError, SubaccountError
from cidrgate.manager import RuleManager
from cidrgate.manager.outcomes import ListOutcome
from cidrgate.service.console.changing import Agreement, Preview, preview_change
from cidrgate.service.console.fields import Confirmations, Proof
from cidrgate.service.console.lists import AccountQuery, change_from_page
from cidrgate.service.console.messages import message_of
from cidrgate.service.console.pages import page
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.values import Account, Entry, Mode

__all__ = ["router"]

router = APIRouter(prefix="/list", route_class=ConsoleRoute)

_Name = Annotated[str, Form(max_length=1_000)]
_Number = Annotated[int, Form(ge=0, le=2**63 - 1), PLAIN]
_Sequence = Annotated[int, Query(ge=0, le=2**63 - 1), PLAIN]


_MOST_SHOWN = 100
"""How many entries of each kind a difference names."""


class _Way(NamedTuple):
    """One of the two ways back.

    Attributes:
        path: The path of its page, and of the form on it.
        title: The title of its page.
        verb: The words on its button.
        begin: Returns the change, from a manager, the account, the sequence and further arguments.
    """

    path: str
    title: str
    verb: str
    begin: Any


_RESTORE = _Way(
    "list/restore",
    "Go back to this list?",
    "Go back",
    lambda manager, account, at, **more: manager.restore(account, to_sequence=at, **more),
)
_UNDO = _Way(
    "list/undo",
    "Undo this change?",
    "Undo",
    lambda manager, account, at, **more: manager.undo(account, at, **more),
)


@router.get("/restore")
def restore_page(request: Request, person: SignedIn, account: AccountQuery, at: _Sequence) -> Response:
    """Show what would be different in an earlier list."""
    return _difference_page(request, person, account, at, _RESTORE)


@router.get("/undo")
def undo_page(request: Request, person: SignedIn, account: AccountQuery, at: _Sequence) -> Response:
    """Show what would be different without one change."""
    return _difference_page(request, person, account, at, _UNDO)


@router.post("/restore")
def restore(
    request: Request,
    person: SignedInForm,
    account: _Name,
    at: _Number,
    version: _Number,
    confirm: Confirmations = [],  # noqa: B006 - FastAPI copies defaults
    shown_for: Proof = "",
) -> Response:
    """Restore an earlier list, as a new change."""
    agreement = _agreement(_RESTORE, account, at, version, tuple(confirm), shown_for)
    return _made(request, person, account, at, version, agreement, _RESTORE)


@router.post("/undo")
def undo(
    request: Request,
    person: SignedInForm,
    account: _Name,
    at: _Number,
    version: _Number,
    confirm: Confirmations = [],  # noqa: B006
    shown_for: Proof = "",
) -> Response:
    """Undo one change, as a new change."""
    agreement = _agreement(_UNDO, account, at, version, tuple(confirm), shown_for)
    return _made(request, person, account, at, version, agreement, _UNDO)


class _Difference(NamedTuple):
    """What a change would do to a list.

    Attributes:
        added: The entries that come back.
        removed: The entries that go.
        altered: The entries that change, each as it is and as it would be.
    """

    added: list[Entry]
    removed: list[Entry]
    altered: list[tuple[Entry, Entry]]

    @classmethod
    def of(cls, outcome: ListOutcome) -> "_Difference":
        """Return the difference that the outcome of a change makes."""
        before = {entry.id: entry for entry in outcome.change.before}
        after = {entry.id: entry for entry in outcome.change.after}
        return cls(
            [entry for entry in outcome.change.after if entry.id not in before],
            [entry for entry in outcome.change.before if entry.id not in after],
            [(before[key], entry) for key, entry in after.items() if key in before],
        )


class _Mode(NamedTuple):
    """How a list decides.

    Attributes:
        mode: The mode that counts.
        until: When it ends; None for never.
        closed: Whether the list denies every address while it is empty.
    """

    mode: Mode
    until: datetime | None
    closed: bool

    @classmethod
    def of(cls, account: Account) -> "_Mode":
        """Return how the list of an account decides now. A mode that has ended does not count."""
        mode = account.mode_at()
        return cls(mode, account.mode_until if mode == account.mode else None, account.closed)


def _modes(outcome: ListOutcome) -> tuple[_Mode, _Mode] | None:
    """Return how the list decides before and after a change; None if that stays."""
    was, now = _Mode.of(outcome.account_before), _Mode.of(outcome.account)
    return None if was == now else (was, now)


def _difference_page(request: Request, person: Person, account: str, at: int, way: _Way) -> Response:
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)
    preview: Preview | None = None
    refused: str | None = None

    def change(manager: RuleManager) -> object:
        return way.begin(manager, account, at, actor=person.principal.name)

    try:
        preview = preview_change(manager, change, person.guarded_address)
    except (StoreError, AccountNotFoundError, SubaccountError):
        raise
    except CidrgateError as error:
        refused = message_of(error)
    version = 0 if preview is None else preview.outcome.account_before.version
    return page(
        request,
        "difference.html",
        person=person,
        account=account,
        at=at,
        way=way,
        refused=refused,
        preview=preview,
        most=_MOST_SHOWN,
        difference=None if preview is None else _Difference.of(preview.outcome),
        modes=None if preview is None else _modes(preview.outcome),
        row=next(iter(manager.history(account, limit=1, before=at + 1)), None),
        version=version,
        agreement=_agreement(way, account, at, version),
    )


def _made(
    request: Request, person: Person, account: str, at: int, version: int, agreement: Agreement, way: _Way
) -> Response:
    person.principal.require_account(service_of(request).manager, account, write=True)

    def change(manager: RuleManager) -> object:
        return way.begin(manager, account, at, actor=person.principal.name, expect_version=version)

    return change_from_page(request, person, account, change, version, agreement, lambda: way.title, way.verb)


def _agreement(
    way: _Way, account: str, at: int, version: int, confirmed: tuple[str, ...] = (), shown_for: str = ""
) -> Agreement:
    return Agreement(way.path, {"account": account, "at": at, "version": version}, confirmed, shown_for)
