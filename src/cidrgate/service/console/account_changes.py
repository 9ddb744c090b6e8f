"""Changing an account itself, for people who run the service: its name, its name for people, its parent, its end."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from cidrgate.errors import (
    AccountExistsError,
    AccountHasSubaccountsError,
    AccountNotFoundError,
    CidrgateError,
    InvalidAccountError,
    InvalidTextError,
    SubaccountError,
    VersionConflictError,
)
from cidrgate.manager import RuleManager
from cidrgate.manager.outcomes import Guard
from cidrgate.service.console.changing import (
    NOT_OF_THE_FORM,
    Agreement,
    NeedsConfirmationError,
    Preview,
    make_asked_change,
    make_change,
    preview_change,
)
from cidrgate.service.console.conflicts import Conflict, began_fields, conflict_since, merged_fields, overlaps
from cidrgate.service.console.fields import Began, Confirmations, Number, Proof, ShortText
from cidrgate.service.console.lists import AccountQuery, view_of
from cidrgate.service.console.messages import FormError, field_of, message_of, parent_message
from cidrgate.service.console.pages import go, page
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.stores import Transaction
from cidrgate.values import Account, AccountDeletion

__all__ = ["router"]

router = APIRouter(prefix="/accounts", route_class=ConsoleRoute)


@router.get("/edit")
def edit_page(request: Request, person: SignedIn, account: AccountQuery) -> Response:
    """Show the form for the names and the parent of an account."""
    person.principal.require_admin()
    now = service_of(request).manager.account(account)
    fields = _as_it_is(now)
    return _edit_form(request, person, account, now.version, fields, fields)


@router.post("/edit")
def edit(
    request: Request,
    person: SignedInForm,
    account: ShortText,
    version: Number,
    name: ShortText = "",
    display_name: ShortText = "",
    parent: ShortText = "",
    confirm: Confirmations = [],  # noqa: B006 - FastAPI copies defaults
    shown_for: Proof = "",
    began: Began = "",
) -> Response:
    """Change the names or the parent of an account."""
    person.principal.require_admin()
    manager = person.principal.changing(service_of(request).manager)
    needed: tuple[str, ...] = ()
    preview: Preview | None = None
    refused: str | None = None
    wrong: str | None = None
    conflict: Conflict | None = None
    fields = {"account": account, "version": version, "name": name.strip(), "parent": parent.strip()}
    agreement = Agreement("accounts/edit", fields, tuple(confirm), shown_for)
    typed = {"name": name, "display_name": display_name, "parent": parent}
    start: Mapping[str, str] = began_fields(began)
    made: Account | None = None

    def change(manager: RuleManager) -> None:
        nonlocal made
        made = manager.edit_account(
            account,
            name=name.strip(),
            display_name=display_name.strip() or None,
            parent=parent.strip() or None,
            actor=person.principal.name,
            expect_version=version,
        )

    try:
        make_asked_change(manager, change, None, agreement)
    except VersionConflictError:
        conflict, status = conflict_since(manager, account, version), 409
        if conflict is not None:
            stored, version = _as_it_is(manager.account(account)), conflict.version
            typed = merged_fields(start, typed, stored)
            conflict = replace(conflict, overlaps=overlaps(start, typed, stored, _TITLES))
            start = stored
    except NeedsConfirmationError as error:
        needed, preview, status = error.needed, error.preview, 409
    except (AccountNotFoundError, SubaccountError) as error:
        manager.account(account)  # the account itself, or the parent that was typed
        refused, wrong, status = parent_message(error, parent.strip()), field_of(error), 422
    except (AccountExistsError, AccountHasSubaccountsError, InvalidAccountError, InvalidTextError) as error:
        refused, wrong, status = message_of(error), field_of(error), 422
    else:
        return go(request, "list", account=made.name if made else account)
    return _edit_form(
        request,
        person,
        account,
        version,
        typed,
        start,
        refused=refused,
        wrong=wrong,
        conflict=conflict,
        needed=needed,
        preview=preview,
        agreement=agreement,
        status=status,
    )


_TITLES = {"name": "Name", "display_name": "Display name", "parent": "Parent"}


def _as_it_is(account: Account) -> dict[str, str]:
    """Return the fields of the form for an unchanged account."""
    return {"name": account.name, "display_name": account.display_name or "", "parent": account.parent or ""}


def _edit_form(
    request: Request,
    person: Person,
    account: str,
    version: int,
    typed: dict[str, Any],
    began: Mapping[str, str],
    *,
    refused: str | None = None,
    wrong: str | None = None,
    conflict: Conflict | None = None,
    needed: tuple[str, ...] = (),
    preview: Preview | None = None,
    agreement: Agreement | None = None,
    status: int = 200,
) -> Response:
    return page(
        request,
        "edit_account.html",
        person=person,
        view=view_of(request, person, account),
        version=version,
        began=began,
        refused=refused,
        wrong=wrong,
        conflict=conflict,
        needed=needed,
        preview=preview,
        agreement=agreement,
        status=status,
        tab="",
        **typed,
    )


@router.get("/delete")
def delete_page(request: Request, person: SignedIn, account: AccountQuery) -> Response:
    """Say what would be deleted with an account."""
    person.principal.require_admin()
    return _delete_form(request, person, account, service_of(request).manager.account(account).version)


@router.post("/delete")
def delete(
    request: Request,
    person: SignedInForm,
    account: ShortText,
    version: Number,
    recursive: ShortText = "",
    shown: ShortText = "",
    confirm: Confirmations = [],  # noqa: B006
    shown_for: Proof = "",
) -> Response:
    """Delete an account, with its subaccounts if the form says so and showed all of them."""
    person.principal.require_admin()
    manager = person.principal.changing(service_of(request).manager)

    sequence: int | None = None

    def in_transaction(transaction: Transaction, made: object) -> None:
        nonlocal sequence
        # The version of an account does not change with its subaccounts.
        if isinstance(made, AccountDeletion) and made.subaccounts and _proof_of(made.subaccounts) != shown:
            raise FormError("Another person or program has changed the subaccounts. Read them again, then decide.")
        [last] = transaction.changes(account, 1)
        sequence = last.sequence

    def change(manager: RuleManager) -> object:
        return manager.delete_account(
            account, recursive=recursive == "yes", actor=person.principal.name, expect_version=version
        )

    agreement = _agreement(account, version, tuple(confirm), shown_for)
    try:
        make_change(manager._with_transaction_hook(in_transaction), change, None, agreement)
    except NOT_OF_THE_FORM:
        raise
    except NeedsConfirmationError:
        return _delete_form(
            request, person, account, version, recursive=recursive, shown=shown, agreement=agreement, status=409
        )
    except VersionConflictError:
        conflict = conflict_since(manager, account, version)
        version = version if conflict is None else conflict.version
        return _delete_form(request, person, account, version, conflict=conflict, status=409)
    except CidrgateError as error:
        return _delete_form(request, person, account, version, refused=message_of(error), status=409)
    return go(request, "accounts", done=sequence)


def _delete_form(
    request: Request,
    person: Person,
    account: str,
    version: int,
    *,
    refused: str | None = None,
    conflict: Conflict | None = None,
    recursive: str = "",
    shown: str = "",
    agreement: Agreement | None = None,
    status: int = 200,
) -> Response:
    manager = service_of(request).manager
    tried: list[AccountDeletion] = []
    preview = preview_change(manager, lambda dry: tried.append(dry.delete_account(account, recursive=True)), None)
    subaccounts = tried[-1].subaccounts
    proof = _proof_of(subaccounts)
    return page(
        request,
        "delete_account.html",
        preview=preview,
        person=person,
        view=view_of(request, person, account),
        version=version,
        subaccounts=subaccounts,
        shown=proof,
        most=_MOST_NAMED,
        guard=Guard.DISABLE_ENFORCEMENT.value,
        refused=refused,
        conflict=conflict,
        recursive=recursive if shown == proof else "",
        agreement=agreement or _agreement(account, version),
        asked=status == 409 and refused is None and conflict is None,
        status=status,
        tab="",
    )


_MOST_NAMED = 5


def _proof_of(subaccounts: Collection[str]) -> str:
    """Return what a form carries to say which subaccounts it showed."""
    return hashlib.sha256("\n".join(sorted(subaccounts)).encode()).hexdigest()


def _agreement(account: str, version: int, confirmed: tuple[str, ...] = (), shown_for: str = "") -> Agreement:
    return Agreement("accounts/delete", {"account": account, "version": version}, confirmed, shown_for)
