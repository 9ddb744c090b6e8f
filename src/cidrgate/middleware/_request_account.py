"""The account of a request, found in one way at every edge: from a source, or from the application's own callable.

An edge says in a `RequestReader` how its framework's requests are read. It answers and runs the application itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from cidrgate.errors import UnclearAccountError
from cidrgate.gate.account_sources import EXEMPT, FromHeader, FromPath, FromRoute, check_source, required

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cidrgate.gate.account_sources import Exempt

__all__ = ["RequestReader", "account_finder", "find_account", "find_account_async", "is_exempt"]

Request = TypeVar("Request")
Source: TypeAlias = FromHeader | FromRoute | FromPath
Found: TypeAlias = "tuple[str | Exempt | None, Exception | None]"
"""The account, and what broke on the way to it: `Gate.decide` takes both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReader(Generic[Request]):
    """How the requests of a framework are read.

    Attributes:
        method: The request's method.
        path: The path that the application routes by, decoded. It may raise `UnclearAccountError`.
        raw_path: The path as the client sent it, encoded; None where the server does not say it.
        of_header: Makes the function that finds the account in a header.
        route_parameters: The parameters of the route; None where the edge does not know the route.
    """

    method: Callable[[Request], str]
    path: Callable[[Request], str]
    raw_path: Callable[[Request], bytes | None]
    of_header: Callable[[FromHeader], Callable[[Request], str | None]]
    route_parameters: Callable[[Request], Mapping[str, Any] | None] | None = None


def account_finder(account: Any, reader: RequestReader[Request]) -> Callable[[Request], Any]:
    """The function that finds the account of a request.

    Args:
        account: A source, or the application's own callable, which is returned as it is.
        reader: How requests are read.

    Raises:
        TypeError: If `account` is neither, or a `FromRoute` where the route is not known.
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
    """The function that finds the account, whatever is exempt."""
    if isinstance(source, FromHeader):
        return reader.of_header(source)
    if isinstance(source, FromRoute):
        parameters = reader.route_parameters
        if parameters is None:
            raise TypeError("this edge does not know the route: take a FromPath or a FromHeader")
        by_route = source
        return lambda request: required(by_route.account(parameters(request)))
    by_path = source
    return lambda request: required(by_path.account(reader.path(request), reader.raw_path(request)))


def is_exempt(source: Source, reader: RequestReader[Request], request: Request) -> bool:
    """Whether a request is exempt from naming an account; one whose path is unclear is not."""
    path: str | None
    try:
        path = reader.path(request)
    except UnclearAccountError:
        path = None
    return source.exemptions.match(reader.method(request), path, reader.raw_path(request))


def find_account(finder: Callable[[Request], Any], request: Request) -> Found:
    """The account of a request, or what broke: whatever it was, the gate decides.

    The short way of `asgi` and of `wsgi` has these lines in place, because a call costs a tenth of it.
    """
    try:
        account = finder(request)
    except Exception as error:  # noqa: BLE001 - the gate decides
        return None, error
    if account.__class__ is not str and isawaitable(account):
        getattr(account, "close", lambda: None)()
        return None, TypeError(
            "the account comes from a coroutine function, and nothing awaits it here: use a function"
        )
    return account, None


async def find_account_async(finder: Callable[[Request], Any], request: Request) -> Found:
    """The same, where the application's callable may be a coroutine function."""
    try:
        account = finder(request)
        if account.__class__ is not str and isawaitable(account):
            account = await account
    except Exception as error:  # noqa: BLE001 - the gate decides
        return None, error
    return account, None
