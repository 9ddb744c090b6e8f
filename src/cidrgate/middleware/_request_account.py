"""Finds the account of a request, in the same way for every edge: from a source or from the application's own callable.

An edge describes in a `RequestReader` how to read its framework's requests. The edge itself responds and runs the
application.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from cidrgate.errors import UnclearAccountError
from cidrgate.gate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute, check_source, required

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from cidrgate.gate.account_sources import Exempt
    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict

__all__ = ["RequestReader", "account_finder", "decided_once", "find_account", "find_account_async", "is_exempt"]

Request = TypeVar("Request")
Source: TypeAlias = FromHeader | FromRoute | FromPath
Found: TypeAlias = "tuple[str | Exempt | None, Exception | None]"
"""The account, and the error that occurred while it was found: `Gate.decide` takes both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReader(Generic[Request]):
    """How to read the requests of a framework.

    Attributes:
        method: The request's method.
        path: The path that the application routes by, decoded. It may raise `UnclearAccountError`.
        raw_path: The path as the client sent it, encoded; None if the server does not provide it.
        of_header: Makes the function that finds the account in a header.
        route_parameters: The parameters of the route; None if the edge does not know the route.
    """

    method: Callable[[Request], str]
    path: Callable[[Request], str]
    raw_path: Callable[[Request], bytes | None]
    of_header: Callable[[FromHeader], Callable[[Request], str | None]]
    route_parameters: Callable[[Request], Mapping[str, Any] | None] | None = None


def account_finder(account: Any, reader: RequestReader[Request]) -> Callable[[Request], Any]:
    """Return the function that finds the account of a request.

    Args:
        account: A source, or the application's own callable, which is returned unchanged.
        reader: How to read requests.

    Raises:
        TypeError: If `account` is neither, or if it is a `FromRoute` and the edge does not know the route.
    """
    if not isinstance(account, Source):
        check_source(account)
        own: Callable[[Request], Any] = account
        return own
    of_source = _of_source(account, reader)
    if not account.exempt:
        return of_source
    source: Source = account
    return lambda request: EXEMPT if is_exempt(source, reader, request) else of_source(request)


def _of_source(source: Source, reader: RequestReader[Request]) -> Callable[[Request], str | None]:
    """Return the function that finds the account; it ignores the exemptions."""
    if isinstance(source, FromHeader):
        return reader.of_header(source)
    if isinstance(source, FromRoute):
        parameters = reader.route_parameters
        if parameters is None:
            raise TypeError("this edge does not know the route: use a FromPath or a FromHeader")
        by_route = source
        return lambda request: required(by_route.account(parameters(request)))
    by_path = source
    return lambda request: required(by_path.account(reader.path(request), reader.raw_path(request)))


def is_exempt(source: Source, reader: RequestReader[Request], request: Request) -> bool:
    """Return whether a request is exempt from naming an account; a request with an unclear path is not."""
    path: str | None
    try:
        path = reader.path(request)
    except UnclearAccountError:
        path = None
    return source._exemptions.match(reader.method(request), path, reader.raw_path(request))


def find_account(finder: Callable[[Request], Any], request: Request) -> Found:
    """Return the account of a request, or the error that occurred; the gate decides in both cases.

    The fast paths of `asgi` and `wsgi` contain these lines inline, because a call costs a tenth of their time.
    """
    try:
        account = finder(request)
    except Exception as error:  # noqa: BLE001 - the gate decides
        return None, error
    if account.__class__ is not str and isawaitable(account):
        getattr(account, "close", lambda: None)()
        return None, TypeError(
            "the account callable is a coroutine function, which this edge cannot await: use a plain function"
        )
    return account, None


async def find_account_async(finder: Callable[[Request], Any], request: Request) -> Found:
    """Do the same as `find_account`; the application's callable may be a coroutine function."""
    try:
        account = finder(request)
        if account.__class__ is not str and isawaitable(account):
            account = await account
    except Exception as error:  # noqa: BLE001 - the gate decides
        return None, error
    return account, None


def decided_once(
    kept: MutableMapping[str, Any],
    gate: Gate,
    account: str | Exempt | None,
    failure: Exception | None,
    decide: Callable[[], Verdict],
) -> Verdict:
    """Return the verdict about a request; a framework may ask several times while it handles one request.

    Args:
        kept: What belongs to this request alone. It keeps the last verdict.
        gate: The gate that decides.
        account: The account of the request; None for no account, `EXEMPT` if it needs none.
        failure: The error that occurred before the account was known.
        decide: Asks the gate. It is called unless the last verdict is about the same account and by the same gate.
    """
    asked = (gate, account, failure.__class__)
    before, verdict = kept.get(_DECIDED, (None, None))
    if verdict is None or before != asked:
        verdict = decide()
        kept[_DECIDED] = (asked, verdict)
    made: Verdict = verdict
    return made


_DECIDED = "cidrgate.decided"
"""The key of the last verdict about a request, and of what was asked."""
