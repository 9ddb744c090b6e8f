"""Every type of problem details (RFC 9457) that an edge answers with: its code, title, status, meaning and advice.

There is one family of types. `type` is `/problems/<code>`, a page that the management service serves; the pages of the
errors' reference are made of the same table. A title never depends on the interpreter or on the error that was raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cidrgate import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROBLEM_JSON", "PROBLEM_TYPES", "TYPE_OF_CODE", "ProblemType", "problem_details", "type_of_error"]

PROBLEM_JSON: Final = "application/problem+json"
"""The media type of problem details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemType:
    """One type of problem.

    Attributes:
        code: Identifies the type, in `code` and at the end of `type`. It never changes.
        title: The title, the same for every problem of the type.
        status: The HTTP status; None if no HTTP response has this type.
        meaning: What has happened.
        advice: What to do about it.
        error: The error of the library that has this code; None if only HTTP responses or errors of the client have it.
    """

    code: str
    title: str
    status: int | None
    meaning: str
    advice: str
    error: type[errors.CidrgateError] | None = None

    @property
    def uri(self) -> str:
        """The `type` of the problem: a relative reference to the page that describes it."""
        return f"/problems/{self.code}"


def problem_details(code: str, detail: str, **more: Any) -> dict[str, Any]:
    """Return the JSON object of a problem.

    Args:
        code: The code of a type.
        detail: What is wrong with this request and how to correct it.
        more: Further members. `errors` is empty unless it is among them.

    Raises:
        KeyError: If no type that HTTP responses have has this code.

    Example:
        >>> problem_details("not_found", "there is nothing at this path")["type"]
        '/problems/not_found'
    """
    kind = TYPE_OF_CODE[code]
    return {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": code,
        "errors": [],
        **more,
    }


def type_of_error(error: errors.CidrgateError) -> ProblemType | None:
    """Return the type of an error: that of its class, or of the nearest base class that has one."""
    for kind in type(error).__mro__:
        if kind in _TYPE_OF_ERROR:
            return _TYPE_OF_ERROR[kind]
    return None


def _of(error: type[errors.CidrgateError], status: int | None, title: str, meaning: str, advice: str) -> ProblemType:
    return ProblemType(code=error.code, title=title, status=status, meaning=meaning, advice=advice, error=error)


def _http(code: str, status: int | None, title: str, meaning: str, advice: str) -> ProblemType:
    return ProblemType(code=code, title=title, status=status, meaning=meaning, advice=advice)


PROBLEM_TYPES: Final = (
    _of(
        errors.RuleError,
        422,
        "Rules broken",
        "The submission breaks rules; `errors` lists each of them. Nothing was changed.",
        "Follow the hints, and submit it again.",
    ),
    _of(
        errors.InvalidAddressError,
        422,
        "Invalid address",
        "The text is not an IP address, or not a network.",
        "Correct it.",
    ),
    _of(errors.InvalidAccountError, 422, "Invalid account name", "No account can have this name.", "Choose another."),
    _of(
        errors.InvalidTextError,
        422,
        "Invalid text",
        "A label or an actor is too long, or contains invisible characters.",
        "Correct it.",
    ),
    _of(
        errors.InvalidExpiryError,
        422,
        "Invalid expiry",
        "The expiry of an entry or a mode has no time zone, or is in the past, or the mode has no end.",
        "Write a time in the future, such as `2027-01-31T18:00:00+00:00`.",
    ),
    _of(
        errors.InvalidScopeError,
        422,
        "Invalid scope",
        "The scope or the name of a token is not valid.",
        "Use `admin`, `metrics`, `account:NAME:read` or `account:NAME:write`.",
    ),
    _of(
        errors.CredentialEndedError,
        401,
        "Credential ended",
        "The token or session was revoked, changed or has expired while the request was carried out. Nothing was "
        "changed.",
        "Sign in again, or use another token.",
    ),
    _of(
        errors.AccountNotFoundError,
        404,
        "Account not found",
        "No account has this name, or the token may not see it.",
        "Check the name, or create the account.",
    ),
    _of(
        errors.EntryNotFoundError,
        404,
        "Entry not found",
        "The list does not contain this entry.",
        "Read the list.",
    ),
    _of(errors.TokenNotFoundError, 404, "Token not found", "No token has this id.", "List the tokens."),
    _of(
        errors.SessionNotFoundError,
        404,
        "Session not found",
        "No console session has this id, or it has ended.",
        "List the sessions.",
    ),
    _of(
        errors.HistoryError,
        404,
        "Change not found",
        "The change log has no such change: it was deleted by retention, is in the future, or is from before the "
        "account was created.",
        "Choose another sequence from the history.",
    ),
    _of(
        errors.AccountExistsError,
        409,
        "Account exists",
        "An account with this name exists already.",
        "Use it, or choose another name.",
    ),
    _of(
        errors.AccountHasSubaccountsError,
        409,
        "Account has subaccounts",
        "The account has subaccounts, so it cannot be deleted alone, or become a subaccount. Nothing was changed.",
        "Delete the subaccounts first, or delete them with it; move them before it gets a parent.",
    ),
    _of(
        errors.SubaccountError,
        409,
        "List inherited",
        "A subaccount uses the list of its parent, so it has none that can be changed, and no subaccounts.",
        "Change the list of its parent.",
    ),
    _of(
        errors.WouldDisableEnforcementError,
        409,
        "Change would disable enforcement",
        "After the change no list would decide for the account any more, for example because its last entry is removed "
        "or the account is deleted. Nothing was changed.",
        "Repeat the change with the confirmation `disable_enforcement`, if that is wanted.",
    ),
    _of(
        errors.WouldLockOutCallerError,
        409,
        "Change would lock out the caller",
        "After the change your own address could not act for the account any more. Nothing was changed.",
        "List your address too, or repeat the change with the confirmation `lock_out`, if that is wanted.",
    ),
    _of(
        errors.WouldUseOtherListError,
        409,
        "Change would use another list",
        "With another parent, another list would decide for the account, and some addresses would lose or gain access. "
        "Nothing was changed.",
        "Repeat the change with the confirmation `other_list`, if that is wanted.",
    ),
    _of(
        errors.WouldAddWideEntryError,
        409,
        "Change would add a wide entry",
        "A network is wider than the policy allows without a confirmation. Nothing was changed.",
        "List a narrower network, or repeat the change with the confirmation `wide_entry`, if that is wanted.",
    ),
    _of(
        errors.UnconfirmedChangeError,
        None,
        "Change not confirmed",
        "A guard refused the change. It is the class of the errors of every guard. Nothing was changed.",
        "Repeat the change with the confirmations that the error names, if that is wanted.",
    ),
    _of(
        errors.ConflictError,
        None,
        "Conflict",
        "The state of the store contradicts the change. It is the class of every such error. Nothing was changed.",
        "Read the current state, and decide again.",
    ),
    _of(
        errors.UndoConflictError,
        409,
        "Change cannot be undone",
        "Later changes altered what the change did, or its entries have expired. Nothing was changed.",
        "Undo the later change that `later` names first, or change the list.",
    ),
    _of(
        errors.VersionConflictError,
        412,
        "Version conflict",
        "The list has another version than the request expects, so it was changed in the meantime. Nothing was "
        "changed.",
        "Read the list, and decide again.",
    ),
    _of(
        errors.StoreNotFoundError,
        None,
        "Store not found",
        "No store is at this path or URL. Nothing was created.",
        "Check the path, or create a store.",
    ),
    _of(
        errors.StoreOutgrownError,
        503,
        "Store outgrown",
        "A newer cidrgate has migrated the store, so this version cannot read its lists correctly. Nothing was "
        "changed.",
        "Stop this process, and start the newer cidrgate.",
    ),
    _of(
        errors.StoreConflictError,
        503,
        "Store conflict",
        "Another writer was first. Nothing was changed.",
        "Repeat the change.",
    ),
    _of(
        errors.StoreBusyError,
        503,
        "Store busy",
        "Another transaction held a lock that the request needs for longer than the lock timeout. Nothing was changed.",
        "Repeat the change later, or end that transaction; the log names it.",
    ),
    _of(
        errors.ChangeWithdrawnError,
        503,
        "Change withdrawn",
        "The process is stopping and rolled the change back. Nothing was changed.",
        "Repeat the change.",
    ),
    _of(
        errors.ForkedError,
        None,
        "Forked",
        "The process was forked during an operation on the store. Only the parent process continues it; nothing was "
        "changed in the child.",
        "Fork before stores are opened, or when no thread works on them.",
    ),
    _of(
        errors.OutcomeUnknownError,
        503,
        "Outcome unknown",
        "The store got the commit, and its answer was lost: the change may be stored or not.",
        "Repeat the request with the same `Idempotency-Key`. Without a key, look first at what it changes, as the "
        "detail says.",
    ),
    _of(
        errors.StoreError,
        503,
        "Store unavailable",
        "The store could not be opened, read or written. Nothing was changed.",
        "Repeat the request later. The log names the cause.",
    ),
    _of(
        errors.NoTrafficError,
        409,
        "No traffic",
        "No traffic is stored, so it is not known who uses the lists.",
        "Record it with `--traffic`, or evaluate observations of a log.",
    ),
    _of(
        errors.SnapshotError,
        None,
        "Invalid snapshot",
        "The file is not a snapshot, is damaged, or is of a newer version.",
        "Write it again with `cidrgate compile`.",
    ),
    _of(
        errors.InvalidCopyError,
        422,
        "Invalid export or backup",
        "The file is not an export or a backup, is damaged or incomplete, or is of a newer version.",
        "Write it again with `cidrgate export` or `cidrgate backup`. The message names the line.",
    ),
    _of(
        errors.RecommendationError,
        422,
        "No such list",
        "No list does all that was asked of a recommendation: too few entries are allowed, or a forced network is not.",
        "Allow as many entries as the error names, or leave out the forced networks that it names.",
    ),
    _of(
        errors.StoreNotEmptyError,
        None,
        "Store not empty",
        "A backup was to be restored to a store that has accounts, changes or tokens already.",
        "Restore it to a new store.",
    ),
    _of(
        errors.MissingExtraError,
        None,
        "Library missing",
        "A library that this part of cidrgate needs is not installed.",
        "Run the `pip install` that the message names.",
    ),
    _of(
        errors.ProxyProtocolError,
        None,
        "Invalid PROXY protocol header",
        "The connection does not start with a PROXY protocol header.",
        "Close the connection, and check the proxy.",
    ),
    _http(
        "address_not_allowed",
        403,
        "Address not allowed",
        "The account's allowlist does not contain the address that the request comes from.",
        "Ask the owner of the account to add the address that the answer names in `address`.",
    ),
    _http(
        "no_account",
        403,
        "No account",
        "The request does not name the account that it acts for.",
        "Send the credential or the header that names it.",
    ),
    _of(
        errors.MissingAccountError,
        None,
        "Account missing",
        "A gate that requires an account was asked without one.",
        "Name the account of the request, or set `require_account=False`.",
    ),
    _of(
        errors.UnclearAccountError,
        403,
        "Unclear account",
        "The request names its account more than once, or in a way that two readers could understand differently.",
        "Name the account once, and plainly.",
    ),
    _http(
        "check_failed",
        403,
        "Access could not be checked",
        "The server could not find out whether the address is allowed, so it denies the request.",
        "Give the operator the `request_id` of the answer; the log has the cause.",
    ),
    _http(
        "invalid_request",
        422,
        "Invalid request",
        "A parameter, a header or a member of the body is unknown, repeated, missing or has an invalid value; `errors` "
        "lists each.",
        "Correct the request.",
    ),
    _http(
        "invalid_cursor",
        422,
        "Invalid cursor",
        "The cursor is not a `next_cursor` of this operation.",
        "Begin with the first page.",
    ),
    _http(
        "idempotency_key_reused",
        422,
        "Idempotency key reused",
        "A different request used the same `Idempotency-Key`.",
        "Choose a new key for each change.",
    ),
    _http(
        "idempotency_in_progress",
        409,
        "Request in progress",
        "A request with the same `Idempotency-Key` is being carried out.",
        "Wait for its answer, or repeat the request later.",
    ),
    _http(
        "too_many_streams",
        503,
        "Too many streams",
        "This process has as many streams of changes as it serves at a time, or it is stopping.",
        "Connect again later, with the id of the last event as `Last-Event-ID`.",
    ),
    _http(
        "unauthorized",
        401,
        "Token required",
        "The token is missing, unknown, expired or revoked.",
        "Send a token as `Authorization: Bearer …`.",
    ),
    _http(
        "insufficient_scope",
        403,
        "Insufficient scope",
        "The scopes of the token do not allow this.",
        "Use a token with the scope that the answer names.",
    ),
    _http("not_found", 404, "Not found", "Nothing is at this path.", "Check the path."),
    _http(
        "method_not_allowed",
        405,
        "Method not allowed",
        "The path does not accept this method.",
        "Use a method that the header `Allow` names.",
    ),
    _http(
        "body_timeout",
        408,
        "Body timeout",
        "The body of the request did not arrive in time.",
        "Send it faster.",
    ),
    _http("body_too_large", 413, "Body too large", "The body of the request is too large.", "Send less at a time."),
    _http("query_too_long", 414, "Query too long", "The query of the request is too long.", "Send less at a time."),
    _http(
        "head_too_large",
        431,
        "Head too large",
        "The request has too many header lines, or they are too long.",
        "Send fewer or shorter headers.",
    ),
    _http(
        "malformed_request",
        400,
        "Malformed request",
        "The request is not valid HTTP.",
        "Correct the program that sends it.",
    ),
    _http(
        "malformed_body",
        400,
        "Malformed body",
        "The body is not JSON that the service accepts: UTF-8, no name twice in an object, and within the limits.",
        "Correct the body.",
    ),
    _http(
        "unsupported_media_type",
        415,
        "Unsupported media type",
        "The body has another media type than the operation accepts, or is encoded.",
        "Send JSON, with `Content-Type: application/json` and without `Content-Encoding`.",
    ),
    _http("invalid_host", 400, "Invalid host", "The `Host` header is missing, repeated or invalid.", "Send one."),
    _http(
        "wrong_host",
        421,
        "Wrong host",
        "The request names another host than the public URL of the service.",
        "Use the public URL, which the answer names.",
    ),
    _http(
        "too_many_failures",
        429,
        "Too many failures",
        "This address has sent too many wrong credentials lately.",
        "Wait for as long as `Retry-After` says. Right credentials are accepted meanwhile.",
    ),
    _http(
        "internal_error",
        500,
        "Internal error",
        "The service failed.",
        "Repeat the request later, and give the operator its time; the log has the cause.",
    ),
    _http(
        "connection_failed",
        None,
        "Service not reached",
        "The client could not reach the service. Nothing was changed.",
        "Check the address, the network and the service, and try again.",
    ),
    _http(
        "connection_lost",
        None,
        "Connection lost",
        "The client lost the connection after it had sent a change, and again at the second attempt: the change may be "
        "made or not.",
        "Look at what it changes, as the message says, and decide again.",
    ),
    _http(
        "http_error",
        None,
        "HTTP error",
        "The client got an answer that the service did not make, such as that of a proxy.",
        "Look at the status and at the log of the proxy.",
    ),
)
"""Every type of problem, those of the library's errors first."""

TYPE_OF_CODE: Final[Mapping[str, ProblemType]] = {kind.code: kind for kind in PROBLEM_TYPES}
"""The types by their codes."""

_TYPE_OF_ERROR = {kind.error: kind for kind in PROBLEM_TYPES if kind.error is not None}
