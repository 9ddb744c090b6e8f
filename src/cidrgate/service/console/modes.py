"""The page on which people set how a list decides: it is enforced, only reports, or is paused until a time."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from cidrgate.errors import CidrgateError, VersionConflictError
from cidrgate.manager import RuleManager
from cidrgate.service.console.changing import (
    NOT_OF_THE_FORM,
    Agreement,
    NeedsConfirmationError,
    Preview,
    make_asked_change,
)
from cidrgate.service.console.conflicts import began_fields, conflict_since, merged_fields, overlaps
from cidrgate.service.console.details import detail_of_text, detail_text
from cidrgate.service.console.fields import Began, Confirmations, Number, Proof, ShortText
from cidrgate.service.console.lists import AccountQuery, view_of
from cidrgate.service.console.messages import FormError, field_of, message_of
from cidrgate.service.console.pages import go_to_list, page
from cidrgate.service.console.sessions import Person, SignedIn, SignedInForm
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.values import DETAILS, MODES, Account

__all__ = ["router"]

router = APIRouter(prefix="/list/mode", route_class=ConsoleRoute)

_ENDS = {
    "1": "In 1 hour",
    "4": "In 4 hours",
    "24": "In 1 day",
    "168": "In 7 days",
    "never": "When somebody changes it",
    "at": "At a time …",
}
"""The choices of the form for the end of a mode, by the value that it sends: a number of hours."""

_USUAL_END = "1"

_MODE_TITLES = {"enforce": "Enforce", "report_only": "Only report", "off": "Pause"}

[_TIME] = [detail for detail in DETAILS if detail.name == "expires_at"]


@router.get("")
def mode_page(request: Request, person: SignedIn, account: AccountQuery) -> Response:
    """Show how a list decides, and the form to change it."""
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)
    now = manager.account(account)
    fields = _as_it_is(now)
    return _form(request, person, account, now.version, fields, fields)


@router.post("")
def set_mode(
    request: Request,
    person: SignedInForm,
    account: ShortText,
    version: Number,
    mode: ShortText = "",
    ends: ShortText = _USUAL_END,
    ends_at: ShortText = "",
    reason: ShortText = "",
    confirm: Confirmations = [],  # noqa: B006 - FastAPI copies defaults
    shown_for: Proof = "",
    began: Began = "",
) -> Response:
    """Set how a list decides."""
    manager = service_of(request).manager
    person.principal.require_account(manager, account, write=True)
    typed = {"mode": mode, "ends": ends, "ends_at": ends_at, "reason": reason}
    start: Mapping[str, str] = began_fields(began)
    refused, wrong, conflict = None, None, None
    needed: tuple[str, ...] = ()
    preview: Preview | None = None
    fields = {"account": account, "version": version, "mode": mode, "ends": ends, "ends_at": ends_at}
    agreement = Agreement("list/mode", fields, tuple(confirm), shown_for)
    try:
        now = manager.account(account)
        until = None if mode == "enforce" else _end(ends, ends_at, now.mode_until)
        why = _reason_of_enforcing(now) if mode == "enforce" else reason.strip() or None
        chosen = next((one for one in MODES if one == mode), None)
        if chosen is None:
            raise FormError("Choose how the list decides.", field="mode")

        def change(manager: RuleManager) -> object:
            return manager.set_mode(
                account,
                chosen,
                until=until,
                reason=why,
                actor=person.principal.name,
                expect_version=version,
            )

        changing = person.principal.changing(manager)
        sequence = make_asked_change(changing, change, person.guarded_address, agreement)
        return go_to_list(request, account, sequence)
    except NOT_OF_THE_FORM:
        raise
    except VersionConflictError:
        conflict, status = conflict_since(manager, account, version), 409
        if conflict is not None:
            stored, version = _as_it_is(manager.account(account)), conflict.version
            typed = merged_fields(start, typed, stored, _together(start, mode))
            said = overlaps(_in_words(start), _in_words(typed), _in_words(stored), _TITLES)
            conflict, start = replace(conflict, overlaps=said), stored
    except NeedsConfirmationError as error:
        needed, preview, status = error.needed, error.preview, 409
    except CidrgateError as error:
        refused, wrong, status = message_of(error), field_of(error), 422
    return _form(
        request,
        person,
        account,
        version,
        typed,
        start,
        message=refused,
        wrong=wrong,
        conflict=conflict,
        needed=needed,
        preview=preview,
        agreement=agreement,
        status=status,
    )


_TITLES = {"mode": "Mode", "ends": "Enforce it again", "ends_at": "At", "reason": "Reason"}


def _together(began: Mapping[str, str], mode: str) -> list[set[str]]:
    """Return the fields that count as changed together: an end or a reason chosen with a mode is its."""
    return [{"ends", "ends_at"} if began.get("mode") == mode else {*_TITLES}]


def _in_words(fields: Mapping[str, str]) -> dict[str, str]:
    """Return fields of the form with the words of their choices."""
    choices = {"mode": _MODE_TITLES, "ends": _ENDS}
    return {field: choices.get(field, {}).get(text, text) for field, text in fields.items()}


def _as_it_is(account: Account) -> dict[str, str]:
    """Return the fields of the form for the mode that counts now: a form that is sent unchanged changes nothing."""
    mode, until = account.mode_at(), account.mode_until
    if mode != account.mode:  # it has ended by itself
        return {"mode": mode, "ends": _USUAL_END, "ends_at": "", "reason": ""}
    ends = "at" if until is not None else _USUAL_END if mode == "enforce" else "never"
    reason = "" if mode == "enforce" else account.mode_reason or ""
    return {"mode": mode, "ends": ends, "ends_at": detail_text(_TIME, until), "reason": reason}


def _reason_of_enforcing(now: Account) -> str | None:
    """Return the reason with which a list is enforced: the form hides the field then, and what it holds is of a pause.

    Args:
        now: The account; an unchanged form keeps its reason.
    """
    return now.mode_reason if now.mode == "enforce" else None


def _end(ends: str, ends_at: str, now: datetime | None) -> datetime | None:
    """Return the end that a person chose.

    Args:
        ends: A key of `_ENDS`.
        ends_at: The time in UTC, if `ends` is `at`.
        now: The end that the mode has; an unchanged field keeps it, with the seconds that the field does not show.

    Raises:
        FormError: If there is no such choice, or the time is missing or invalid.
    """
    if ends == "never":
        return None
    if ends == "at":
        until: datetime | None = detail_of_text(_TIME, ends_at, now)
        if until is None:
            raise FormError("Choose when it ends.", field="ends_at")
        return until
    if ends not in _ENDS:
        raise FormError("Choose when it ends.", field="ends_at")
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=int(ends))


def _form(
    request: Request,
    person: Person,
    account: str,
    version: int,
    typed: dict[str, Any],
    began: Mapping[str, str],
    *,
    message: str | None = None,
    wrong: str | None = None,
    conflict: object = None,
    needed: tuple[str, ...] = (),
    preview: Preview | None = None,
    agreement: Agreement | None = None,
    status: int = 200,
) -> Response:
    return page(
        request,
        "mode.html",
        person=person,
        status=status,
        view=view_of(request, person, account),
        version=version,
        began=began,
        message=message,
        wrong=wrong,
        conflict=conflict,
        needed=needed,
        preview=preview,
        agreement=agreement,
        refused=bool(needed),
        choices=_ENDS,
        modes=_MODE_TITLES,
        tab="",
        **typed,
    )
