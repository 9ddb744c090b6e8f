"""The console's words for every error: what happened and what to do, without names of Python, the API or the shell.

Every message that a page shows for an error comes from here. The library's own messages are for programmers and
operators: they name arguments, methods and options.
"""

import unicodedata
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cidrgate import errors
from cidrgate.errors import CidrgateError, Problem, RecommendationError, RuleError
from cidrgate.rules.account_names import MAX_ACCOUNT_NAME
from cidrgate.rules.characters import VARIATION_SELECTORS, unseen_character
from cidrgate.rules.limits import LONGEST_LABEL, some_of
from cidrgate.service.http.problems import ForbiddenError, InvalidRequestError, ServiceError

__all__ = [
    "FAILED",
    "INVALID_REQUEST",
    "NO_PAGE",
    "ConsoleForbiddenError",
    "FormError",
    "field_of",
    "hint_of",
    "message_of",
    "parent_message",
    "sentence",
]

FAILED: Final = "The console failed; its log has the reason. Nothing was changed, unless a page says so."
INVALID_REQUEST: Final = "A part of the request is missing, repeated, too long or invalid. Open the page again."
NO_PAGE: Final = "There is no page at this address."

_MOST_NAMED = 4


class FormError(CidrgateError):
    """A field has an invalid value. The message is in the console's words already.

    Attributes:
        field: The name of the field; None if it is none of the form's.
    """

    code = "invalid_form"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ConsoleForbiddenError(ForbiddenError):
    """The console refuses a form. The message is in the console's words already."""

    code = ForbiddenError.code


def message_of(error: CidrgateError) -> str:
    """Return what a page says of an error: sentences, with a full stop at the end.

    Example:
        >>> message_of(errors.AccountExistsError("account 'a' exists", account="a"))
        'There is already an account “a”.'
    """
    if isinstance(error, FormError | ConsoleForbiddenError):
        return str(error)
    for kind in type(error).__mro__:
        if kind in WORDS:
            words = WORDS[kind]
            return words if isinstance(words, str) else words(error)
    return _UNKNOWN


def parent_message(error: CidrgateError, parent: str) -> str:
    """Return what a page says of an error about the parent that a person named for an account.

    Args:
        error: The error.
        parent: The name of the parent, as typed.
    """
    if isinstance(error, errors.AccountNotFoundError):
        return f"There is no account “{parent}” that could be the parent."
    if isinstance(error, errors.SubaccountError):
        instead = f" Choose “{error.parent}” as the parent." if error.parent else ""
        return f"“{parent}” is a subaccount itself, and cannot have subaccounts.{instead}"
    return message_of(error)


def field_of(error: CidrgateError) -> str | None:
    """Return the field of a form that an error is about; None if the error does not say it.

    Example:
        >>> field_of(errors.InvalidTextError("too long", field="label")), field_of(errors.StoreError("down"))
        ('label', None)
    """
    if isinstance(error, FormError | errors.InvalidTextError):
        return error.field
    return next((field for kind, field in _FIELDS.items() if isinstance(error, kind)), None)


_FIELDS: Mapping[type[CidrgateError], str] = {
    errors.InvalidAccountError: "name",
    errors.AccountExistsError: "name",
    errors.AccountNotFoundError: "parent",
    errors.AccountHasSubaccountsError: "parent",
    errors.SubaccountError: "parent",
    errors.InvalidExpiryError: "ends_at",
    errors.InvalidAddressError: "exclude",
}


def hint_of(problem: Problem, listed: Collection[str] | None = None) -> str:
    """Return what a page says of a broken rule. The buttons beside it say what can be done.

    Args:
        problem: The broken rule.
        listed: The networks of the list; None if they are unknown.
    """
    conflicts = some_of(problem.conflicts, _MOST_NAMED, problem.more_conflicts)
    # What is not in the list is in the same input.
    typed = listed is not None and not set(problem.conflicts) & set(listed)
    match problem.code:
        case "duplicate_entry" if problem.conflicts:
            return f"You typed {conflicts} twice." if typed else f"{conflicts} is already listed."
        case "subset_exists" if problem.conflicts:
            where = "which you typed too, covers" if typed else "already covers"
            return f"{problem.conflicts[0]}{',' if typed else ''} {where} these addresses."
        case "superset_conflict" if problem.conflicts:
            one = len(problem.conflicts) + problem.more_conflicts == 1
            return f"It covers {conflicts}, which {'you typed too' if typed else 'is listed' if one else 'are listed'}."
    return sentence(problem.hint)


def sentence(text: str) -> str:
    """Return a hint of the rules as a sentence.

    Example:
        >>> sentence("add the length: 8.8.8.8/32"), sentence("fe80::/10 is Link-Local Unicast")
        ('Add the length: 8.8.8.8/32.', 'fe80::/10 is Link-Local Unicast.')
    """
    first = text.partition(" ")[0]
    begun = text[:1].upper() + text[1:] if first.rstrip(",:").isalpha() else text
    return begun if not begun or begun.endswith(".") else f"{begun}."


def _recommendation(error: Any) -> str:
    found: RecommendationError = error
    if found.fewest is not None:
        return f"At least {found.fewest:,} entries are needed for everybody who called. Allow more, or leave some out."
    if found.networks:
        return f"No list can allow {some_of(found.networks, _MOST_NAMED)} here."
    return "Too many addresses called in these days. Choose fewer days."


def _broken_rules(error: Any) -> str:
    found: RuleError = error
    told = [f"{problem.text}: {hint_of(problem)}" if problem.text else hint_of(problem) for problem in found.problems]
    left = len(told[_MOST_NAMED:]) + found.more
    return " ".join([*told[:_MOST_NAMED], *([f"There are {left:,} more problems."] if left else [])])


def _invalid_account(error: Any) -> str:
    name: str | None = error.account
    if name is None:
        return "No account can have this name."
    if not name.strip():
        return "Type a name."
    if len(name) > MAX_ACCOUNT_NAME:
        return f"This name has {len(name):,} characters; at most {MAX_ACCOUNT_NAME} are allowed."
    if name != name.strip():
        return "The name begins or ends with a space. Leave it out."
    unseen = unseen_character(name) or getattr(VARIATION_SELECTORS.search(name), "group", lambda: None)()
    if unseen is not None:
        return f"The name contains an invisible character ({_code_point(unseen)}). Type it again without it."
    usual = unicodedata.normalize("NFC", name)
    if usual != name:
        return f"The name is written with separate accents. Write it as “{usual}”."
    return "No account can have this name."


_TEXTS: Mapping[str | None, str] = {
    "name": "name",
    "label": "label",
    "display_name": "display name",
    "reason": "reason",
}


def _invalid_text(error: Any) -> str:
    what = _TEXTS.get(error.field, "text")
    text: str | None = error.text
    if text is None:
        return f"This {what} is not allowed."
    if not text.strip():
        return f"Type a {what}."
    if len(text) > LONGEST_LABEL:
        return f"The {what} has {len(text):,} characters; at most {LONGEST_LABEL} are allowed."
    unseen = unseen_character(text)
    if unseen is not None:
        return f"The {what} contains an invisible character ({_code_point(unseen)}). Type it again without it."
    return f"The {what} begins or ends with a space. Leave it out."


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X}"


def _invalid_expiry(error: Any) -> str:
    at: datetime | None = error.expires_at
    if at is None:
        return "Choose when it expires."
    if at.utcoffset() is not None and at <= datetime.now(UTC):
        return "This time is in the past. Choose one in the future."
    return "This is not a time that an entry can have. Choose another."


def _invalid_scope(error: Any) -> str:
    kind, _, rest = (error.scope or "").partition(":")
    if kind == "account" and not rest.rpartition(":")[0].strip():
        return "Type the account that the token is for."
    return "No account can have this name." if kind == "account" else "Choose what the token may do."


def _undo(error: Any) -> str:
    if error.entries and error.later is not None:
        entries = some_of(error.entries, _MOST_NAMED)
        have = "has" if len(error.entries) == 1 else "have"
        return (
            f"{entries} {have} been changed or deleted since, by change {error.later}. Undo change {error.later} "
            "first, or edit the list."
        )
    if error.entries:
        return "Nothing is left to undo: these entries have expired, or are no longer as this change left them."
    return "This change cannot be undone."


def _inherited(error: Any) -> str:
    if error.account and error.parent:
        return f"“{error.account}” is a subaccount and inherits the list of “{error.parent}”. Change the list there."
    return "A subaccount inherits the list of its parent. Change the list there."


def _unknown_outcome(error: Any) -> str:
    check: str = error._check
    return f"The database did not report whether it stored this. {check[0].upper()}{check[1:]}."


def _service(error: Any) -> str:
    wait = (error.headers or {}).get("Retry-After")
    if error.code == "too_many_failures" and wait:
        return f"Too many wrong tokens came from your address. Wait {wait} seconds, then try again."
    return _SERVICE.get(error.code, _UNKNOWN)


_UNKNOWN = "This was not possible, and nothing was changed. The log of the service has the reason."
_LATER = "Nothing was changed; try again in a moment."
_OPERATOR = "This needs the operator of the service: its log has the reason. Nothing was changed."

_SERVICE: Mapping[str, str] = {
    "insufficient_scope": "Your token does not allow this. Ask the person who gave it to you.",
    "unauthorized": "You are not signed in, or your session has ended.",
    "not_found": NO_PAGE,
    "invalid_cursor": "This page of the results is no longer there. Begin with the first page.",
    "version_conflict": "Another person or program has changed the list. Read it again, then decide.",
}

WORDS: Final[Mapping[type[CidrgateError], str | Callable[[Any], str]]] = {
    RuleError: _broken_rules,
    errors.InvalidAddressError: "This is not an IP address.",
    errors.InvalidAccountError: _invalid_account,
    errors.InvalidTextError: _invalid_text,
    errors.InvalidExpiryError: _invalid_expiry,
    errors.InvalidScopeError: _invalid_scope,
    errors.AccountExistsError: lambda error: (
        f"There is already an account “{error.account}”."
        if error.account
        else "There is already an account of this name."
    ),
    errors.AccountNotFoundError: lambda error: (
        f"There is no account “{error.account}”, or you may not see it."
        if error.account
        else "No account of this name exists, or you may not see it."
    ),
    errors.EntryNotFoundError: (
        "This entry is no longer in the list: another person or program has changed or deleted it."
    ),
    errors.TokenNotFoundError: "There is no such token.",
    errors.SessionNotFoundError: "There is no such session, or it has already ended.",
    errors.CredentialEndedError: "Your session or its token has ended. Nothing was changed.",
    errors.SubaccountError: _inherited,
    errors.AccountHasSubaccountsError: lambda error: (
        f"The account has subaccounts: {some_of(error.subaccounts, _MOST_NAMED)}. Delete them too, or move them first."
        if error.subaccounts
        else "The account has subaccounts. Delete them too, or move them first."
    ),
    errors.HistoryError: (
        "The history does not have this change: it was deleted because of its age, or belongs to another list."
    ),
    errors.UndoConflictError: _undo,
    errors.VersionConflictError: "Another person or program has changed the list. Read it again, then decide.",
    errors.WouldDisableEnforcementError: (
        "Without entries, every address may call for this account. Nothing was changed: confirm it first."
    ),
    errors.WouldLockOutCallerError: "This would deny your own address. Nothing was changed: confirm it first.",
    errors.UnconfirmedChangeError: "This must be confirmed first. Nothing was changed.",
    errors.OutcomeUnknownError: _unknown_outcome,
    errors.StoreBusyError: "Other people or programs keep this busy. Nothing was changed; try again in a few seconds.",
    errors.StoreConflictError: f"Another person or program was quicker. {_LATER}",
    errors.ChangeWithdrawnError: f"The service is about to restart. {_LATER}",
    errors.StoreOutgrownError: _OPERATOR,
    errors.StoreNotFoundError: _OPERATOR,
    errors.StoreError: f"The database does not answer. {_LATER}",
    errors.SnapshotError: _OPERATOR,
    errors.InvalidCopyError: _OPERATOR,
    errors.RecommendationError: _recommendation,
    errors.NoTrafficError: (
        "It is not known who called: no request of this account was recorded in these days. Who runs the service can "
        "have requests recorded."
    ),
    errors.MissingExtraError: _OPERATOR,
    errors.ProxyProtocolError: _OPERATOR,
    errors.MissingAccountError: "Choose an account first.",
    errors.UnclearAccountError: "The request names its account in two ways. Open the page again.",
    errors.ConflictError: "Something has changed in the meantime. Nothing was changed: read it again, then decide.",
    errors.NotFoundError: "This no longer exists.",
    InvalidRequestError: INVALID_REQUEST,
    ServiceError: _service,
}
"""The words for each class of errors. A class that is not listed has those of its base class."""
