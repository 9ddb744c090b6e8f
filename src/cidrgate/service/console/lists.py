"""The page of one list: it shows the list, and deletes entries."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response

from cidrgate.errors import AccountNotFoundError, EntryNotFoundError, VersionConflictError
from cidrgate.manager import RuleManager
from cidrgate.manager.changes import named_entries
from cidrgate.rules import special_block
from cidrgate.rules.decisions import decide
from cidrgate.service.console.changing import (
    Agreement,
    ListEdit,
    NeedsConfirmationError,
    make_asked_change,
)
from cidrgate.service.console.conflicts import conflict_since
from cidrgate.service.console.details import COLUMN_DETAILS, flag_words
from cidrgate.service.console.fields import Confirmations, Proof, ShortQuery
from cidrgate.service.console.formatting import can_undo, isolated, utc_text
from cidrgate.service.console.list_pages import ListPage, found_entries
from cidrgate.service.console.pages import go_to_list, page
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.console.standing import Standing
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.values import Account, Change, Decision, Entry

__all__ = ["AccountQuery", "HEADINGS", "ListView", "change_from_page", "router", "view_of"]

router = APIRouter(route_class=ConsoleRoute)

HEADINGS = (
    *("CIDR", "Prefix", "Subnet mask", "Label", "Added", "Expires"),
    *(detail.title for detail in COLUMN_DETAILS),
)
"""The columns of `row.html` for every entry; the last match and the actions may follow."""

_SHORT = 10
"""The most entries of a list that needs no search."""

AccountQuery = Annotated[str, Query(alias="account", max_length=1_000)]
_Name = Annotated[str, Form(max_length=1_000)]
_Number = Annotated[int, Form(ge=0, le=2**63 - 1), PLAIN]


@dataclass(frozen=True, slots=True)
class ListView:
    """What a person sees of an account on each of its pages.

    Attributes:
        account: The account.
        owner: The account that owns the list.
        entries: The list, expired entries included.
        standing: What the list means now for addresses that it does not cover.
        limit: The largest number of entries.
        editable: Whether the person may change it here.
        owner_visible: Whether the person may see the owner of the list.
        decision: The decision of the list for the person's own address; None if the address is unknown, or if the
            person runs the service and calls for none of the accounts.
        unlistable: The kind of the person's address, if no list may contain it.
        subaccounts: Whether there are subaccounts.
    """

    account: Account
    owner: Account
    entries: list[Entry]
    standing: Standing
    limit: int
    editable: bool
    owner_visible: bool
    decision: Decision | None
    unlistable: str | None
    subaccounts: bool

    @property
    def inherited(self) -> bool:
        """Return whether the account inherits its list."""
        return self.account.parent is not None

    @property
    def active(self) -> list[Entry]:
        """Return the entries that are not expired."""
        now = datetime.now(UTC)
        return [entry for entry in self.entries if entry.counts(now)]


def view_of(request: Request, person: Person, name: str) -> ListView:
    """Return what a person sees of an account.

    Raises:
        AccountNotFoundError: If it does not exist, or if the person may not see it.
        StoreError: If the store cannot be read.
    """
    manager = service_of(request).manager
    principal = person.principal
    principal.require_account(manager, name)
    account = manager.account(name)
    owner, entries = manager.listing(name)
    own, now = person.guarded_address, datetime.now(UTC)
    decision = None if own is None else decide(owner, entries, own, now)
    policy = manager.policy_state(name).effective
    block = None if own is None or policy.allow_special else special_block(str(ip_network(own)))
    return ListView(
        account,
        owner,
        entries,
        Standing.of(owner, entries, now),
        policy.max_entries,
        editable=account.parent is None and principal.may_write(name, None),
        owner_visible=_may_see(manager, person, owner.name),
        decision=decision,
        unlistable=None if block is None else f"{block.name}, {block.rfc}",
        subaccounts=account.parent is None and bool(manager.accounts(parent=name, limit=1)),
    )


def _may_see(manager: RuleManager, person: Person, account: str) -> bool:
    try:
        person.principal.require_account(manager, account)
    except AccountNotFoundError:
        return False
    return True


@router.get("/list")
def list_page(
    request: Request,
    person: SignedIn,
    account: AccountQuery,
    q: ShortQuery = "",
    number: Annotated[int, Query(alias="page", ge=1, le=2**63 - 1), PLAIN] = 1,
    entry: Annotated[int | None, Query(ge=1, le=2**63 - 1), PLAIN] = None,
    done: Annotated[int | None, Query(ge=1, lt=2**63 - 1), PLAIN] = None,
) -> Response:
    """Show the entries of an account that a search finds: one page of them, the one with an entry, or with a change."""
    view = view_of(request, person, account)
    manager = service_of(request).manager
    notice, undo = None, False
    if done is not None and not view.inherited:
        made = manager.history(view.account.name, limit=1, before=done + 1, present=True)
        notice = made[0] if made and made[0].sequence == done else None
        last = manager.history(view.account.name, limit=1)
        undo = view.editable and notice is not None and [notice] == last and can_undo(notice)
    found = found_entries(view.entries, q.strip())
    places = [one for one in view.entries if one.id == entry] or (notice and (notice.after or notice.before))
    shown = ListPage.around(found, places) if places else ListPage.of(found, number)
    return page(
        request,
        "list.html",
        person=person,
        view=view,
        shown=shown,
        searchable=bool(q) or len(view.entries) > _SHORT,
        headings=HEADINGS,
        matched=manager.last_matches(account),
        notice=notice,
        changed=_listed_still(view.entries, notice),
        undo=undo,
        tab="list",
    )


def _listed_still(entries: list[Entry], change: Change | None) -> Entry | None:
    """Return the first entry of a list that a change has added or altered; None if there is none."""
    altered = {entry.id for entry in change.after} if change else set()
    return next((entry for entry in entries if entry.id in altered), None)


@router.post("/list/remove")
def remove(
    request: Request,
    person: SignedInForm,
    account: _Name,
    entry: _Number,
    version: _Number,
    confirm: Confirmations = [],  # noqa: B006 - FastAPI copies defaults
    shown_for: Proof = "",
) -> Response:
    """Delete an entry."""
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)

    def change(manager: RuleManager) -> object:
        return manager.remove(account, entry, actor=person.principal.name, expect_version=version)

    def question() -> str:
        return f"Delete {_named(manager, account, entry)}?"

    fields = {"account": account, "entry": entry, "version": version}
    agreement = Agreement("list/remove", fields, tuple(confirm), shown_for)
    return change_from_page(request, person, account, change, version, agreement, question, "Delete")


@router.post("/list/enable")
def enable(
    request: Request,
    person: SignedInForm,
    account: _Name,
    entry: _Number,
    version: _Number,
    enabled: Annotated[str, Form(pattern="^(yes|no)$")] = "no",
    confirm: Confirmations = [],  # noqa: B006
    shown_for: Proof = "",
) -> Response:
    """Disable an entry, which stays in the list and allows nothing, or enable it again."""
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)
    verb = "Enable" if enabled == "yes" else "Disable"

    def change(manager: RuleManager) -> object:
        return manager.edit(
            account, entry, enabled=enabled == "yes", actor=person.principal.name, expect_version=version
        )

    def question() -> str:
        return f"{verb} {_named(manager, account, entry)}?"

    fields = {"account": account, "entry": entry, "version": version, "enabled": enabled}
    agreement = Agreement("list/enable", fields, tuple(confirm), shown_for)
    return change_from_page(request, person, account, change, version, agreement, question, verb)


def _named(manager: RuleManager, account: str, entry: int) -> str:
    [found] = named_entries(account, manager.entries(account), [entry])
    words = [*([isolated(found.label)] if found.label else []), *flag_words(found)]
    if found.expires_at is not None:
        words.append(f"expires {utc_text(found.expires_at)}")
    return f"{found.cidr} ({'; '.join(words)})" if words else found.cidr


def change_from_page(
    request: Request,
    person: Person,
    account: str,
    change: ListEdit,
    version: int,
    agreement: Agreement,
    question: Callable[[], str],
    verb: str,
) -> Response:
    """Make a change after one click, or show its confirmations first if it needs any.

    Args:
        request: The request.
        person: Who makes the change.
        account: The account of the list.
        change: The change.
        version: The version of the list that the person saw.
        agreement: The form of the change, and what the person has confirmed.
        question: Returns the question above the confirmations.
        verb: The words on the button.
    """
    manager = service_of(request).manager
    try:
        try:
            changing = person.principal.changing(manager)
            sequence = make_asked_change(changing, change, person.guarded_address, agreement)
        except NeedsConfirmationError as error:
            return page(
                request,
                "confirm.html",
                person=person,
                status=409,
                account=account,
                question=question(),
                needed=error.needed,
                preview=error.preview,
                agreement=agreement,
                verb=verb,
            )
    except (VersionConflictError, EntryNotFoundError):
        conflict = conflict_since(manager, account, version)
        return page(request, "changed.html", person=person, status=409, account=account, conflict=conflict)
    return go_to_list(request, account, sequence)
