"""The errors of the client. An error of the service is also the library's error with the same code, if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cidrgate import errors
from cidrgate.errors import CidrgateError, OutcomeUnknownError, UnconfirmedChangeError
from cidrgate.serialization import data_of_record, error_data

if TYPE_CHECKING:
    from cidrgate.client.values import ProblemInfo
    from cidrgate.errors import Problem

__all__ = ["ApiConnectionError", "ApiConnectionLostError", "ApiError", "UnconfirmedError", "error_of"]


class ApiError(CidrgateError):
    """The service rejected a request or could not carry it out.

    If the library has an error with the same code, or with that of the first invalid part of the request, the error is
    an instance of both: `except VersionConflictError`
    catches the conflict, whether a `RuleManager` or a service found it. It has the attributes of the library's error,
    as far as the service sends them.

    Attributes:
        problem: The problem details of the response.
        status: The HTTP status.
        code: The error code. Later versions of the service may add codes.
        problems: Every broken rule of a submission.
        request_id: The `X-Request-ID` of the response, to give to the operator; None if it has none.
        retry_after: Seconds to wait before another attempt; None if the service did not send this.
        account: The account that the request was about; None if it was about no account.
    """

    code = "http_error"
    kinds: ClassVar[dict[str, type[ApiError]]] = {}
    """The class of the errors with each code; every other error is an `ApiError`."""
    _library: ClassVar[type[CidrgateError]] = CidrgateError
    """The library's error that it also is; `CidrgateError` if there is none with its code."""

    def __init__(
        self,
        problem: ProblemInfo,
        *,
        request_id: str | None = None,
        retry_after: float | None = None,
        account: str | None = None,
    ) -> None:
        # The constructor of the library's error, which is the next one, asks for other arguments.
        Exception.__init__(self, problem.detail)
        self.problem = problem
        self.status = problem.status
        self.code = problem.code
        self.problems: list[Problem] = problem.rules()
        self.more = problem.more_errors
        self.request_id = request_id
        self.retry_after = retry_after
        self.account = account
        for name, value in data_of_record(self._library, problem.data).items():
            if value is not None or name != "account":
                setattr(self, name, value)

    def __str__(self) -> str:
        """Return what is wrong and how to correct it."""
        return self.problem.detail


class UnconfirmedError(ApiError):
    """The service rejected a change because it must be confirmed; nothing was changed.

    `code` names the guard that rejected it: `would_disable_enforcement` or `would_lock_out_caller`.

    Attributes:
        confirm: Repeat the call with this value as `confirm`. Or pass `allow_empty=True` for `disable_enforcement`, and
            `allow_lock_out=True` for `lock_out`.
        consequence: What the change would do.
        way: How the client confirms it.
    """

    code = "unconfirmed_change"

    def __init__(
        self,
        problem: ProblemInfo,
        *,
        request_id: str | None = None,
        retry_after: float | None = None,
        account: str | None = None,
    ) -> None:
        super().__init__(problem, request_id=request_id, retry_after=retry_after, account=account)
        self.confirm = tuple(problem.confirm)
        self.consequence = problem.data.get("consequence", problem.detail)
        self.way = f"pass confirm={list(self.confirm)}"


class ApiConnectionError(CidrgateError):
    """The service could not be reached, or its response could not be read.

    The cause is the httpx error, unless its text may quote the request or the response, which may contain a token.

    No change was made, unless the error is an `ApiConnectionLostError`.
    """

    code = "connection_failed"


class ApiConnectionLostError(ApiConnectionError, OutcomeUnknownError):
    """The connection was lost after a change was sent, and so was the second attempt: it may be made or not.

    The message says what to look at before you try again.
    """

    code = "connection_lost"


def error_of(
    problem: ProblemInfo, *, request_id: str | None, retry_after: float | None, account: str | None
) -> ApiError:
    """Return the error for the problem details of a response.

    An invalid request has several codes: that of the first part that is wrong can be one of the library.
    """
    code = problem.errors[0].code if problem.code == "invalid_request" and problem.errors else problem.code
    kind = ApiError.kinds.get(code, UnconfirmedError if problem.confirm else ApiError)
    return kind(problem, request_id=request_id, retry_after=retry_after, account=account)


def _add_kind(error: type[CidrgateError]) -> None:
    """Make the class of the errors of the service that are an error of the library too."""
    if error.code in ApiError.kinds:  # a subclass without a code of its own comes after the class whose code it has
        return
    base = UnconfirmedError if issubclass(error, UnconfirmedChangeError) else ApiError
    name = f"Api{error.__name__}"
    said = f"The service answered with the problem `{error.code}`; see `cidrgate.errors.{error.__name__}`."
    members: dict[str, Any] = error_data(error) | {
        "_library": error,
        "__doc__": said,
        "__module__": __name__,
        "code": error.code,
    }
    ApiError.kinds[error.code] = globals()[name] = type(name, (base, error), members)


_BASES = (CidrgateError, errors.NotFoundError, errors.ConflictError, UnconfirmedChangeError)

for _error in (getattr(errors, _name) for _name in errors.__all__):
    if isinstance(_error, type) and issubclass(_error, CidrgateError) and _error not in _BASES:
        _add_kind(_error)
