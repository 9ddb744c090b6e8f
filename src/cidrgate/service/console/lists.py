"""The page of one list, deleting from it, and the way back from any change."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response

from cidrgate.errors import AccountNotFoundError, EntryNotFoundError, VersionConflictError
from cidrgate.manager import RuleManager
from cidrgate.manager.changes import named_entries
from cidrgate.rules import special_block
from cidrgate.rules.decisions import decide, enforced
from cidrgate.service.console.changing import ListEdit, NeedsConfirmationError, make_change
from cidrgate.service.console.fields import Confirmations
from cidrgate.service.console.pages import go, page
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.values import Account, Change, Decision, Entry

__all__ = ["AccountQuery", "HEADINGS", "ListView", "last_change", "router", "view_of"]

router = APIRouter(route_class=ConsoleRoute)

HEADINGS = ("CIDR", "Prefix", "Subnet mask", "Label", "Added", "Expires")
"""Of what `row.html` says of every entry; when it last matched and what can be done with it may follow."""

AccountQuery = Annotated[str, Query(alias="account", max_length=1_000)]
_Name = Annotated[str, Form(max_length=1_000)]
_Number = Annotated[int, Form(ge=0, le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class ListView:
    """What a person sees of an account on each of its pages.

    Attributes:
        account: The account.
        owner: The account whose list it is.
        entries: The list, expired entries too.
        limit: How many entries it may hold.
        editable: Whether the person may change it here.
        owner_visible: Whether the person may see the account whose list it is.
        decision: What the list says to the person's own address; None if that cannot be told.
        unlistable: What kind of address theirs is, where no list may hold it.
        subaccounts: Whether there are any.
    """

    account: Account
    owner: Account
    entries: list[Entry]
    limit: int
    editable: bool
    owner_visible: bool
    decision: Decision | None
    unlistable: str | None
    subaccounts: bool

    @property
    def inherited(self) -> bool:
        """Whether the list is that of another account."""
        return self.account.parent is not None

    @property
    def enforced(self) -> bool:
        """Whether addresses that are not on the list are denied."""
        return enforced(self.entries)

    @property
    def active(self) -> list[Entry]:
        """The entries that count."""
        now = datetime.now(UTC)
        return [entry for entry in self.entries if entry.counts(now)]


def view_of(request: Request, person: Person, name: str) -> ListView:
    """What a person sees of an account.

    Raises:
        AccountNotFoundError: If there is none, or they may not see it.
        StoreError: If the store cannot be read.
    """
    manager = service_of(request).manager
    principal = person.principal
    principal.require_account(manager, name)
    account = manager.account(name)
    owner, entries = manager.listing(name)
    decision = None if person.address is None else decide(owner.name, entries, person.address, datetime.now(UTC))
    block = (
        None
        if person.address is None or manager.policy.allow_special
        else special_block(str(ip_network(person.address)))
    )
    return ListView(
        account,
        owner,
        entries,
        manager.policy.max_entries,
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


def last_change(manager: RuleManager, account: str) -> Change | None:
    """The last change of an account's own list, for people who find it changed."""
    changes = manager.history(account, limit=1)
    return changes[0] if changes else None


@router.get("/list")
def list_page(
    request: Request,
    person: SignedIn,
    account: AccountQuery,
    done: Annotated[int | None, Query(ge=1, lt=2**63 - 1)] = None,
) -> Response:
    """The list of an account."""
    view = view_of(request, person, account)
    manager = service_of(request).manager
    notice, undo = None, False
    if done is not None and not view.inherited:
        found = manager.history(view.account.name, limit=1, before=done + 1)
        notice = found[0] if found and found[0].sequence == done else None
        last = last_change(manager, view.account.name)
        undo = view.editable and notice is not None and notice == last and notice.action != "create_account"
    matched = manager.last_matches(account)
    return page(
        request,
        "list.html",
        person=person,
        view=view,
        headings=HEADINGS,
        matched=matched,
        notice=notice,
        undo=undo,
        tab="list",
    )


@router.post("/list/remove")
def remove(
    request: Request,
    person: SignedInForm,
    account: _Name,
    entry: _Number,
    version: _Number,
    confirm: Confirmations = [],  # noqa: B006 - FastAPI copies defaults
) -> Response:
    """Delete an entry."""
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)

    def change(manager: RuleManager) -> object:
        return manager.remove(account, entry, actor=person.principal.name, expect_version=version)

    def question() -> str:
        [found] = named_entries(account, manager.entries(account), [entry])
        return f"Delete {found.cidr}{f' ({found.label})' if found.label else ''}?"

    fields = {"account": account, "entry": entry, "version": version}
    return _change_from_page(request, person, account, change, confirm, question, "list/remove", "Delete", fields)


@router.post("/list/restore")
def restore(
    request: Request,
    person: SignedInForm,
    account: _Name,
    at: _Number,
    version: _Number,
    confirm: Confirmations = [],  # noqa: B006
) -> Response:
    """Make a list what it was, as a new change."""
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)

    def change(manager: RuleManager) -> object:
        return manager.restore(account, at=at, actor=person.principal.name, expect_version=version)

    fields = {"account": account, "at": at, "version": version}
    return _change_from_page(
        request, person, account, change, confirm, lambda: "Restore the list?", "list/restore", "Restore", fields
    )


def _change_from_page(
    request: Request,
    person: Person,
    account: str,
    change: ListEdit,
    confirmed: list[str],
    question: Callable[[], str],
    path: str,
    verb: str,
    fields: dict[str, Any],
) -> Response:
    """Make a change that one click asks for; ask back where it has to be confirmed."""
    manager = service_of(request).manager
    try:
        sequence = make_change(person.principal.changing(manager), change, person.address, confirmed)
    except NeedsConfirmationError as error:
        return page(
            request,
            "confirm.html",
            person=person,
            status=409,
            account=account,
            question=question(),
            needed=error.needed,
            confirmed=confirmed,
            path=path,
            verb=verb,
            fields=fields,
        )
    except (VersionConflictError, EntryNotFoundError):
        conflict = last_change(manager, account)
        return page(request, "changed.html", person=person, status=409, account=account, change=conflict, verb=verb)
    return go(request, "list", account=account, done=sequence)
