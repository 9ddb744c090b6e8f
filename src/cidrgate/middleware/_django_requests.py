"""How to read Django's requests, under WSGI and ASGI: for the middleware, and for Django REST framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest  # noqa: TC002 - `READER` is of this type

from cidrgate.middleware import _asgi_requests as asgi, _wsgi_requests as wsgi
from cidrgate.middleware._request_account import RequestReader, decided_once
from cidrgate.process.weak_sets import SharedWeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from cidrgate.gate.account_sources import Exempt, FromHeader
    from cidrgate.gate.gate import Gate
    from cidrgate.gate.verdict import Verdict

__all__ = ["GATES", "READER", "verdict_on"]

GATES: SharedWeakSet[Gate] = SharedWeakSet()
"""The gates of all middlewares and permission classes of this process."""


def verdict_on(
    gate: Gate, request: HttpRequest, account: str | Exempt | None, failure: Exception | None = None
) -> Verdict:
    """Ask the gate about a Django request and its account, under WSGI or ASGI; the view finds the verdict in it.

    The gate is asked once about an account: REST framework's browsable API asks for the permission of each method.
    """

    def decide() -> Verdict:
        if hasattr(request, "scope"):
            return asgi.decide(gate, account, request.scope, failure)
        return wsgi.decide(gate, account, request.META, failure)

    request.cidrgate = verdict = decided_once(vars(request), gate, account, failure, decide)
    return verdict


def _account_of_headers(source: FromHeader) -> Callable[[HttpRequest], str | None]:
    """Return the function that finds the account in the headers, as the server's protocol represents them."""
    of_scope, of_environ = asgi.account_of_headers(source), wsgi.account_of_headers(source)
    return lambda request: of_scope(request.scope) if hasattr(request, "scope") else of_environ(request.META)


def _raw_path_of(request: HttpRequest) -> bytes | None:
    """Return the path as it was received, or None if the server does not provide it."""
    if hasattr(request, "scope"):
        raw: bytes | None = request.scope.get("raw_path")
        return raw
    return wsgi.raw_path_of(request.META)


READER: RequestReader[HttpRequest] = RequestReader(
    method=lambda request: request.method or "",
    path=lambda request: request.path_info,
    raw_path=_raw_path_of,
    of_header=_account_of_headers,
)
"""How to read Django's requests before their route is known."""
